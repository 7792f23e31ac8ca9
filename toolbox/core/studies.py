"""A study's code and files, found by its name; `places.py` says which studies there are.

The one place where a study's code is found by its name, at run time: the front door mounts the
groups, a sweep runs one of their commands. Apart from `spec.py`, because help pages need the names
and not the files' contents.
"""

from __future__ import annotations

import ast
import importlib
import re
import tokenize
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import typer

from toolbox.core.errors import StudyError, UsageError
from toolbox.core.places import discover

if TYPE_CHECKING:
    from toolbox.core.command import Command


def study_names() -> list[str]:
    """The studies, by name."""
    return sorted(discover().folders)


def study_file(study: str) -> Path:
    """A study's `study.yaml`.

    Errors: `UsageError` listing the studies that exist, or why this one cannot be used.
    """
    found = discover()
    if study in found.refused:
        raise UsageError(found.refused[study])
    if study not in found.folders:
        raise UsageError(f"no study {study!r}; the studies are {', '.join(study_names())}")
    return found.folders[study] / "study.yaml"


def docstring_of(path: Path) -> str:
    """The docstring of a Python file, read from its first lines without importing or parsing it.

    Empty where there is none to be read: the front page shows all studies, also a broken one.
    """
    passed = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING)
    try:
        with path.open(encoding="utf-8") as handle:
            for token in tokenize.generate_tokens(handle.readline):
                if token.type == tokenize.STRING:
                    return str(ast.literal_eval(token.string))
                if token.type not in passed:
                    return ""
    except (OSError, SyntaxError, ValueError, tokenize.TokenError):
        return ""
    return ""


def load_part(study: str, part: str) -> ModuleType:
    """The module `<study>/<part>.py`: `cli`, `metrics`.

    Errors: `StudyError`, one sentence with file and line, where it cannot be imported.
    """
    folder = study_file(study).parent
    try:
        return importlib.import_module(f"toolbox.studies.{study}.{part}")
    except Exception as error:
        raise StudyError(
            f"{_where(error, folder, part)}: the study {study!r} cannot be used: {_said(error)}"
        ) from error


def refuse_import(study: str, error: ImportError) -> None:
    """Turn an import that failed in a study's own file to a sentence.

    Errors: `StudyError`; nothing is raised for an import elsewhere.
    """
    folder = study_file(study).parent
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    if frames and Path(frames[-1].filename).is_relative_to(folder):
        last = frames[-1]
        raise StudyError(f"{last.filename}:{last.lineno}: {_said(error)}") from error


def study_group(study: str) -> typer.Typer:
    """The command group of a study, from its `cli.py` (which imports nothing heavy).

    Errors: `StudyError` with file and line where it cannot be imported or defines no `app`.
    """
    module = load_part(study, "cli")
    group = getattr(module, "app", None)
    if not isinstance(group, typer.Typer):
        raise StudyError(
            f"{module.__file__}:1: the study {study!r} cannot be used: it defines no command "
            "group; write app = study_app(__doc__)"
        )
    return group


def _where(error: BaseException, folder: Path, part: str) -> str:
    """`file:line` of the study at which an import failed."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)]
    if not ours:
        return f"{folder / part}.py:1"
    line = _line_of_field(Path(ours[-1].filename), error) or ours[-1].lineno
    return f"{ours[-1].filename}:{line}"


def _line_of_field(path: Path, error: BaseException) -> int | None:
    """The line of the dataclass field that an error names, which its traceback does not show."""
    named = re.match(r"parameter (\w+):", str(error))
    if named is None:
        return None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == named[1]:
            return target.lineno
    return None


def _said(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def described(study: str) -> dict[str, Any]:
    """What `study.yaml` says, by the quick YAML parser and not checked: enough to show names.

    Errors: whatever a broken file raises.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    with study_file(study).open(encoding="utf-8") as handle:
        declared: dict[str, Any] = yaml.load(handle, Loader=loader)
    return declared


def preset_times(study: str, command: str) -> dict[str, str]:
    """The presets of a command and the time of each in words, empty where it is not known.

    Errors: `UsageError` with file and line where `study.yaml` cannot be read.
    """
    from toolbox.core.times import preset_time

    try:
        spec = described(study)["commands"][command]
        known = spec.get("seconds") or {}, spec.get("projected") or {}
        return {preset: preset_time(preset, *known) for preset in spec["presets"]}
    except Exception:
        # Whatever is wrong with the file, the strict reader says it in one sentence.
        from toolbox.core.spec import load_command

        return dict.fromkeys(load_command(study, command).presets, "")


def registered(study: str, command: str) -> Command:
    """What a study's `cli.py` defines for a command.

    Errors: `UsageError` listing what there is.
    """
    from toolbox.core.spec import load_command

    load_command(study, command)
    for known in study_group(study).registered_commands:
        if known.name == command and known.callback is not None:
            defined: Command = known.callback.command  # type: ignore[attr-defined]
            return defined
    raise UsageError(f"{study} {command} is in study.yaml but {study}/cli.py has no such command")
