"""`toolbox check`: one study held to the contract suite, which tries what every command keeps."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from toolbox.core import authoring
from toolbox.core.errors import StudyError, ToolboxError
from toolbox.core.places import VARIABLE as PLACES
from toolbox.core.spec import load_study
from toolbox.core.studies import study_group

VARIABLE = "TOOLBOX_CHECK"
"""Tells the suite which study alone it is to try."""
# What tests the suite itself, on studies that are not shipped.
_OF_THE_SUITE = ("test_of_the_contract.py", "test_not_yet.py")
_OF_THE_TOYS = "test_a_control_that_turns_nothing_is_found"


def check(study: str, arguments: Sequence[str] = ()) -> int:
    """Run the suite in a process of its own, on stdout; 0 when all of it is kept, else 1.

    arguments : more words for pytest

    Errors: `ToolboxError` for a study that cannot be loaded and without the extra `check`.
    """
    commands = load_study(study).commands
    defined = {str(command.name) for command in study_group(study).registered_commands}
    if missing := sorted(set(commands) ^ defined):
        raise StudyError(
            f"the study {study!r}: study.yaml and cli.py differ in the command {missing[0]!r}; "
            "declare it in both or in neither"
        )
    for command in commands:  # what is seen without a run is one sentence, not fifteen tests
        authoring.check(study, command)
    for package in ("pytest", "hypothesis"):
        if importlib.util.find_spec(package) is None:
            raise ToolboxError(f"check needs {package}: pip install 'toolbox[check]'")
    suite = folder()
    words = [sys.executable, "-m", "pytest", str(suite), "-c", str(suite / "check.ini"), "-q"]
    words += ["--confcutdir", str(suite), "-p", "no:cacheprovider"]
    words += [f"--ignore={suite / name}" for name in _OF_THE_SUITE]
    words += ["-k", f"not {_OF_THE_TOYS}", *arguments]
    # The suite works in folders of its own, from where a relative place would not be found.
    places = os.environ.get(PLACES, "").split(os.pathsep)
    ours = {VARIABLE: study, PLACES: os.pathsep.join(str(Path(p).resolve()) for p in places if p)}
    done = subprocess.run(words, env={**os.environ, **ours}, check=False)
    return 1 if done.returncode else 0


def folder() -> Path:
    """Where the suite is: in a checkout among its tests, else in the package.

    Errors: `ToolboxError` where neither is.
    """
    package = Path(__file__).parents[1]
    for place in (package.parent / "tests" / "contract", package / "contract"):
        if (place / "harness.py").is_file():
            return place
    raise ToolboxError(f"the contract suite is not in {package}; install toolbox from a wheel")
