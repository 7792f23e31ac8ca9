"""Which studies are there: every folder of `toolbox/studies` with a study.yaml. No registry.

The one place where a study's code is found by its name, at run time: the front door mounts the
groups, a sweep runs one of their commands. Apart from `spec.py`, because help pages need the names
and not the files' contents.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from toolbox.core.errors import UsageError

if TYPE_CHECKING:
    from toolbox.core.command import Command


def study_names() -> list[str]:
    """The studies, by name."""
    return sorted({path.parent.name for d in _folders() for path in d.glob("*/study.yaml")})


def study_file(study: str) -> Path:
    """A study's `study.yaml`.

    Errors: `UsageError` listing the studies that exist.
    """
    for folder in _folders():
        if (folder / study / "study.yaml").is_file():
            return folder / study / "study.yaml"
    raise UsageError(f"no study {study!r}; the studies are {', '.join(study_names())}")


def study_group(study: str) -> typer.Typer:
    """The command group of a study, from its `cli.py` (which imports nothing heavy)."""
    group: typer.Typer = importlib.import_module(f"toolbox.studies.{study}.cli").app
    return group


def preset_times(study: str, command: str) -> dict[str, str]:
    """The presets of a command and the measured time of each in words, empty where not measured.

    Read by the quick YAML parser and not checked, because a help page needs no more.
    """
    import yaml

    from toolbox.core.times import in_words

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with study_file(study).open(encoding="utf-8") as handle:
        described = yaml.load(handle, Loader=loader)["commands"][command]
    seconds = described.get("seconds", {})
    return {
        preset: in_words(seconds[preset]) if preset in seconds else ""
        for preset in described["presets"]
    }


def registered(study: str, command: str) -> Command:
    """What a study's `cli.py` defines for a command.

    Errors: `UsageError` listing what there is.
    """
    from toolbox.core.spec import load_command

    load_command(study, command)
    for known in study_group(study).registered_commands:
        if known.name == command and known.callback is not None:
            found: Command = known.callback.command  # type: ignore[attr-defined]
            return found
    raise UsageError(f"{study} {command} is in study.yaml but {study}/cli.py has no such command")


def _folders() -> list[Path]:
    """The folders that hold studies (one, unless a test adds its own)."""
    found = importlib.util.find_spec("toolbox.studies")
    locations = found.submodule_search_locations if found else None
    return [Path(folder) for folder in locations or ()]
