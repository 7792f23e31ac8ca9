"""What the contract suite knows of a command: its name, its signature and its study.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from toolbox.core.params import Param
from toolbox.core.spec import CommandSpec, load_study
from toolbox.core.studies import study_group, study_names

from .warm import Warm

ROOT = Path(__file__).parents[2]
TOYS = ROOT / "tests" / "toy_toolbox.py"


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
        for study in study_names()
        for command in study_group(study).registered_commands
    }


def cases() -> list[Case]:
    return [Case(study, command) for study, command in registered()]


def start(*words: str, out: Path, **env: str) -> subprocess.Popen[str]:
    """Start a command line as its own process, far from any terminal."""
    return subprocess.Popen(
        [sys.executable, str(TOYS), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(out, env),
        cwd=out,
    )


def fork(*words: str, out: Path, **env: str) -> Warm:
    """The same at a tenth of the cost, without the start of an interpreter."""
    return Warm([*words], cwd=out, env=_environment(out, env))


def _environment(out: Path, env: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "TOOLBOX_OUT": str(out), "COLUMNS": "100", **env}


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
