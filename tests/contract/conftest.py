"""Parametrises every test that takes `case` over every command, also those added tomorrow.

A test that takes `one` runs on one command of each study: what it tries belongs to the core, and
a study could break it in the same way for all of its commands.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolbox.app import run
from toolbox.core import signals
from toolbox.core.places import VARIABLE

from .harness import Boundaries, Case, cases, folder_of, one_of_each_study
from .not_yet import NOT_YET


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No option from outside but where studies are; what stops a run is this test's alone."""
    for name in [*os.environ]:
        if name.startswith(("TOOLBOX_", "SLURM_", "PBS_", "LSB_", "SGE_")) and name != VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOOLBOX_OUT", str(tmp_path / "out"))
    monkeypatch.setattr(signals, "_asked", None)
    monkeypatch.setattr(signals, "_in_run", False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        chosen = one_of_each_study() if "one" in metafunc.fixturenames else cases()
        metafunc.parametrize("case", chosen, ids=str, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in NOT_YET:
            # How long a step takes depends on the machine; what is marked as diverged does not.
            timed = "three seconds" in NOT_YET[item.name]
            item.add_marker(pytest.mark.xfail(reason=NOT_YET[item.name], strict=not timed))


@pytest.fixture(scope="session")
def smoke_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An outputs folder in which every command's smoke run is made once."""
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="session")
def counted() -> dict[Case, int]:
    """How many step boundaries the smoke run of a command has."""
    return {}


@pytest.fixture
def smoke(
    case: Case, smoke_out: Path, counted: dict[Case, int], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of the command's smoke run; a failing one fails every test that needs it."""
    if not (smoke_out / case.study / case.command).exists():
        with monkeypatch.context() as patched:
            boundaries = Boundaries()
            patched.setattr(signals, "asked", boundaries.asked)
            code = run([*case.words, "--preset", "smoke", "--out", str(smoke_out), "--quiet"])
        assert code == 0
        counted[case] = boundaries.count
    return folder_of(case, smoke_out)


@pytest.fixture
def one(case: Case) -> Case:
    """The command that stands for its study."""
    return case


@pytest.fixture
def boundaries(monkeypatch: pytest.MonkeyPatch) -> Boundaries:
    """Counts the step boundaries of what runs in this process, and can stop it at one of them."""
    counter = Boundaries()
    monkeypatch.setattr(signals, "asked", counter.asked)
    return counter
