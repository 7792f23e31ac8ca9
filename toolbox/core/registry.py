"""The one place where a study's code is found by its name, at run time.

`core` and `commands` know no study; the front door mounts them and a sweep runs one of their
commands, both through these two functions.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import typer

from toolbox.core.errors import UsageError
from toolbox.core.spec import load_command


def study_group(study: str) -> typer.Typer:
    """The command group of a study, from its `cli.py` (which imports nothing heavy)."""
    group: typer.Typer = importlib.import_module(f"toolbox.studies.{study}.cli").app
    return group


def registered(study: str, command: str) -> Callable[..., None]:
    """The function that Typer calls for a command; `core.cli.command` gave it the attributes
    `params`, `experiment` and `display`.

    Errors: `UsageError` listing what there is.
    """
    load_command(study, command)
    for known in study_group(study).registered_commands:
        if known.name == command and known.callback is not None:
            found: Callable[..., Any] = known.callback
            return found
    raise UsageError(f"{study} {command} is in study.yaml but {study}/cli.py has no such command")
