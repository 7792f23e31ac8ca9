"""What the contract suite knows of a command: its name, its signature and its study.yaml."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolbox.core.params import Param
from toolbox.core.spec import CommandSpec, load_study
from toolbox.core.studies import study_group, study_names

from .warm import Warm

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "numpy", "scipy", "pandas", "matplotlib", "sklearn", "cvxpy", "plotext"}
TOYS = ROOT / "tests" / "toy_toolbox.py"
"""The front door with the toy studies; only in a checkout."""
MAIN = [str(TOYS)] if TOYS.is_file() else ["-m", "toolbox"]
MOUNTED = f"sys.path.insert(0, {str(TOYS.parent)!r}); import toy_toolbox" if TOYS.is_file() else ""
"""The line of a script that mounts the toy studies."""
CHECKED = os.environ.get("TOOLBOX_CHECK")
"""The one study that `toolbox check` tries; all of them without it."""


@dataclass(frozen=True)
class Case:
    """One registered command."""

    study: str
    command: str

    @property
    def spec(self) -> CommandSpec:
        return load_study(self.study).commands[self.command]

    @property
    def params(self) -> dict[str, Param]:
        return registered()[self.study, self.command].params

    @property
    def display(self) -> tuple[str, ...]:
        return registered()[self.study, self.command].display

    @property
    def words(self) -> list[str]:
        return [self.study, self.command]

    def __str__(self) -> str:
        return f"{self.study} {self.command}"


@cache
def registered() -> dict[tuple[str, str], Any]:
    """(study, command) -> what its `cli.py` defines, for every study that is there."""
    return {
        (study, command.name): command.callback.command
        for study in ([CHECKED] if CHECKED else study_names())
        for command in study_group(study).registered_commands
    }


def cases() -> list[Case]:
    return [Case(study, command) for study, command in registered()]


def one_of_each_study() -> list[Case]:
    """The quickest command of every study that lasts long enough to be stopped and killed."""
    studies: dict[str, list[Case]] = {}
    for case in cases():
        studies.setdefault(case.study, []).append(case)
    return [min(of_study, key=_short_but_no_instant) for of_study in studies.values()]


def _short_but_no_instant(case: Case) -> tuple[bool, float]:
    seconds = case.spec.seconds.get("smoke", 0.0)
    return seconds < 0.3, seconds


@contextmanager
def made_once(folder: Path) -> Iterator[bool]:
    """Whether what belongs in `folder` is still to be made, which no other process begins
    meanwhile: the test processes share it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not folder.exists()


class Boundaries:
    """Stands in for `signals.asked`, which a run calls at every step boundary."""

    def __init__(self) -> None:
        self.count = 0
        self.stop: int | None = None
        self.on_boundary: Callable[[], bool] = lambda: False

    def stop_at(self, number: int | None) -> None:
        """Ask for a stop at this boundary, counted from now; None: never."""
        self.count, self.stop = 0, number

    def asked(self) -> signal.Signals | None:
        here, self.count = self.count, self.count + 1
        # A signal stays asked for until the process has ended.
        stop = (self.stop is not None and here >= self.stop) or self.on_boundary()
        return signal.SIGTERM if stop else None


def start(*words: str, out: Path, **env: str) -> subprocess.Popen[str]:
    """Start a command line as its own process, far from any terminal."""
    return subprocess.Popen(
        [sys.executable, *MAIN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(out, env),
        cwd=out,
    )


def fork(*words: str, out: Path, memory: int | None = None, **env: str) -> Warm:
    """The same at a tenth of the cost, without the start of an interpreter.

    memory : bytes of private memory that the process may ask for
    """
    return Warm([*words], out, _environment(out, env), memory)


def _environment(out: Path, env: dict[str, str]) -> dict[str, str]:
    # The tree that is under test, from whatever folder the process starts in.
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TOOLBOX_OUT": str(out),
        "COLUMNS": "100",
        **env,
    }


def finish(process: subprocess.Popen[str] | Warm, timeout: float = 120) -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=timeout)
    assert process.returncode is not None
    return process.returncode, stdout, stderr


def shell(*words: str, out: Path, **env: str) -> tuple[int, str, str]:
    return finish(start(*words, out=out, **env))


def tables(folder: Path) -> dict[str, bytes]:
    """The bytes of every table of a run."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}


def folder_of(case: Case, out: Path) -> Path:
    """The one finished run of a command under `out`."""
    found = [
        path.parent
        for path in (out / case.study / case.command).glob("*/run.json")
        if not path.parent.name.startswith(".")
    ]
    assert len(found) == 1, found
    return found[0]


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def litter(out: Path) -> list[str]:
    """Anything that is neither a finished run nor a resumable or failed one's record."""
    return [
        str(path.relative_to(out))
        for path in out.glob("*/*/*")
        if path.name.startswith((".tmp-", ".old-"))
    ]


def wait_for_work(process: subprocess.Popen[str] | Warm, out: Path, case: Case) -> None:
    """Until the run has its temporary folder."""
    while process.poll() is None and not list((out / case.study).glob(f"{case.command}/.tmp-*")):
        time.sleep(0.005)


def some_share(case: Case) -> float:
    """A moment in the life of a run, a different one for every command."""
    return random.Random(str(case)).uniform(0, 1)
