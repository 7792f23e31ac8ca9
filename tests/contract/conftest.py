"""Parametrises every test that takes `case` over every command, also those added tomorrow.

A test that takes `one` runs on one command of each study: what it tries belongs to the core, and
a study could break it in the same way for all of its commands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from toolbox.app import run
from toolbox.core import signals
from toolbox.core.places import VARIABLE

from .harness import (
    Boundaries,
    Case,
    cases,
    folder_of,
    made_once,
    manifest,
    one_of_each_study,
)
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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this session have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def smoke_out(shared: Path) -> Path:
    """An outputs folder in which every command's smoke run is made once."""
    return shared / "smoke"


@pytest.fixture
def smoke_of(smoke_out: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Case], Path]:
    """Command -> the folder of its smoke run; one that fails, fails every test that needs it."""

    def make(case: Case) -> Path:
        made = smoke_out / case.study / case.command
        with made_once(made) as missing:
            if missing:
                with monkeypatch.context() as patched:
                    counter = Boundaries()
                    patched.setattr(signals, "asked", counter.asked)
                    words = ["--preset", "smoke", "--out", str(smoke_out), "--quiet"]
                    assert run([*case.words, *words]) == 0
                made.with_suffix(".boundaries").write_text(str(counter.count))
        return folder_of(case, smoke_out)

    return make


@pytest.fixture
def smoke(case: Case, smoke_of: Callable[[Case], Path]) -> Path:
    """The folder of the command's smoke run."""
    return smoke_of(case)


@pytest.fixture
def counted(case: Case, smoke: Path) -> dict[Case, int]:
    """How many step boundaries the smoke run of the command has."""
    return {case: int(smoke.parent.with_suffix(".boundaries").read_text())}


@pytest.fixture
def several(case: Case, smoke: Path, shared: Path) -> Path:
    """An outputs folder with the smoke run of the command, of more replicates: as many as every
    claim needs."""
    out = shared / "several"
    with made_once(out / case.study / case.command) as missing:
        if missing:
            needed = [claim.min_seeds for claim in case.spec.claims.values()]
            repeats = max([manifest(smoke)["params"]["repeats"]["value"] + 1, 3, *needed])
            words = ["--preset", "smoke", "--quiet", "--repeats", str(repeats), "--out", str(out)]
            assert run([*case.words, *words]) == 0
    return out


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
