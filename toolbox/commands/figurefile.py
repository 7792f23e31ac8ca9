"""A figure's flags in a small YAML file: written on request, and drawn again from there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolbox.core.atomic import replacing
from toolbox.core.errors import UsageError
from toolbox.core.strict_yaml import load_mapping
from toolbox.core.studies import study_names

SUFFIXES = (".yaml", ".yml")
_HEAD = "# A figure for toolbox plot: what it shows, and how.\n"
_DRAWN_FROM = ("target", "command", "figure", "pool", "sep", "decimal", "thousands")


def save(
    path: Path, drawn_from: Mapping[str, Any], changes: Mapping[str, Any], *, is_path: bool
) -> None:
    """Write what was drawn and how.

    is_path : the target is a file or folder, which is then named from the new file's folder

    Errors: `UsageError` when another file is there, or the target is a pipe.
    """
    import yaml

    target = Path(drawn_from["target"])
    if is_path and not (target.is_file() or target.is_dir()):
        raise UsageError(f"--save-spec {path}: a pipe cannot be drawn again; name a file")
    if path.exists() and not path.read_bytes().startswith(_HEAD.encode()):
        raise UsageError(f"--save-spec {path}: the file is there and is no figure; name another")
    given = {name: drawn_from[name] for name in _DRAWN_FROM if drawn_from.get(name) is not None}
    if is_path:
        given["target"] = os.path.relpath(target.resolve(), path.resolve().parent)
    body = yaml.safe_dump({**given, **changes}, sort_keys=False, allow_unicode=True)
    with replacing(path, "--save-spec") as handle:
        handle.write(f"{_HEAD}# Draw it again: toolbox plot {path.name}\n{body}".encode())


def load(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the file names (target, command, ...) and how it is drawn (fields of a figure).

    Errors: `UsageError` with file and key.
    """
    document = load_mapping(path)
    if not isinstance(document.get("target"), str):
        raise UsageError(f"{path}: no target; name the study or the table that it draws")
    for key in _DRAWN_FROM:
        if key in document and not isinstance(document[key], str):
            raise UsageError(f"{document.where(key)}: {key}: expected text, not {document[key]!r}")
    drawn_from = {key: document[key] for key in _DRAWN_FROM if key in document}
    if drawn_from["target"] not in study_names():
        drawn_from["target"] = str(path.parent / drawn_from["target"])
    return drawn_from, {key: value for key, value in document.items() if key not in _DRAWN_FROM}
