"""Parametrises every test that takes `case` over every command, also those added tomorrow."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolbox.app import run

from .harness import Case, cases, folder_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases(), ids=str, scope="session")


@pytest.fixture(scope="session")
def smoke_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder in which every command's smoke run is made once."""
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture
def smoke(case: Case, smoke_out: Path) -> Path:
    """The folder of the command's smoke run; a failing one fails every test that needs it."""
    if not (smoke_out / case.study / case.command).exists():
        code = run([*case.words, "--preset", "smoke", "--out", str(smoke_out), "--quiet"])
        assert code == 0
    return folder_of(case, smoke_out)
