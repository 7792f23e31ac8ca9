"""Fixtures of every test: the toy studies mounted, outputs in a temporary folder, ways to run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from started import TOYS, fork

import toolbox.studies
from toolbox.core import signals, spec

TESTS = Path(__file__).parent
# The studies of `tests/toys` stand beside the real ones; at import, because the contract suite
# asks for every command while tests are collected.
toolbox.studies.__path__.append(str(TOYS))


class Result(NamedTuple):
    """What a command line answered."""

    code: int
    stdout: str
    stderr: str

    @property
    def folder(self) -> Path:
        """The run's folder, which a run prints alone on stdout."""
        assert self.code == 0, self.stderr
        return Path(self.stdout.strip())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the runs of a test live; TOOLBOX_OUT names it."""
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, out: Path) -> Iterator[None]:
    """No option from outside, and nothing that a run sets for its process outlives a test."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("TOOLBOX_", "SLURM_", "PBS_", "LSB_", "SGE_", "TMPDIR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TOOLBOX_OUT", str(out))
    monkeypatch.setattr(signals, "_asked", None)
    monkeypatch.setattr(signals, "_in_run", False)
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in set(os.environ) - set(before) - {"TOOLBOX_OUT", "PYTEST_CURRENT_TEST"}:
        del os.environ[name]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run one command line in this process: cli("coin", "toss", "--tosses", 100)."""
    from toolbox.app import run

    def call(*arguments: Any) -> Result:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Result]:
    """Run one command line in a process of its own; keywords are environment variables.

    It is forked from one that has imported the heavy libraries; `interpreter` starts anew.
    """

    def call(*arguments: Any, **environment: str) -> Result:
        process = fork(*arguments, cwd=tmp_path, **environment)
        stdout, stderr = process.communicate(timeout=120)
        return Result(process.returncode or 0, stdout, stderr)

    return call


@pytest.fixture
def interpreter() -> Callable[..., Result]:
    """Run one command line in an interpreter of its own; keywords are environment variables."""

    def call(*arguments: Any, **environment: str) -> Result:
        done = subprocess.run(
            [sys.executable, str(TESTS / "toy_toolbox.py"), *map(str, arguments)],
            env={**os.environ, "TERM": "dumb", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that a signal came before the n-th step boundary from now; None: never."""

    def arm(step: int | None, number: signal.Signals = signal.SIGTERM) -> None:
        boundary = itertools.count()
        monkeypatch.setattr(signals, "asked", lambda: number if next(boundary) == step else None)

    return arm


@pytest.fixture
def launch(out: Path) -> Callable[..., Any]:
    """Execute a function of a run as if it were `coin train`: launch(experiment, seed=1)."""
    from toolbox.core.execute import Request, execute

    def call(experiment: Callable[..., None], command: str = "train", **asked: Any) -> Any:
        controls = {
            "again": False,
            "allow_costly": False,
            "quiet": True,
            "device": "cpu",
            "threads": None,
            "out": out,
        }
        controls.update({name: asked.pop(name) for name in list(asked) if name in controls})
        params = {"seed": 0, "repeats": 1, **asked}
        origins = dict.fromkeys(params, "flag")
        request = Request("coin", command, params, origins, preset="small", **controls)
        with signals.defer():  # as the command line does
            return execute(request, experiment)

    return call


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Make copies of the toy study beside the real ones: studies("broken", cli=text)."""
    place = tmp_path / "studies"
    toolbox.studies.__path__.append(str(place))
    monkeypatch.setattr(spec, "tell_once", spec.tell_once.__wrapped__)
    spec.load_study.cache_clear()

    def make(name: str, **changed: str) -> Path:
        folder = place / name
        folder.mkdir(parents=True)
        for path in (TOYS / "coin").glob("*.*"):
            text = path.read_text(encoding="utf-8")
            (folder / path.name).write_text(text, encoding="utf-8")
        for stem, text in changed.items():
            path = folder / (f"{stem}.yaml" if stem == "study" else f"{stem}.py")
            path.write_text(text, encoding="utf-8")
        return folder

    yield make
    toolbox.studies.__path__.remove(str(place))
    for module in [m for m in sys.modules if m.startswith("toolbox.studies.")]:
        if getattr(sys.modules[module], "__file__", "").startswith(str(place)):
            del sys.modules[module]
    spec.load_study.cache_clear()
