"""Files that a run publishes beside its tables, such as a trained model."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolbox.core.errors import TableError
from toolbox.core.table import difference, sha256

PART = ".part-"
"""What the name of a file begins with while it is written."""


def is_name(name: str) -> bool:
    """Whether a file of a run may have this name."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name)) and name != "run.json"


def published(part: Path, path: Path) -> dict[str, Any]:
    """Make a written file durable, give it its name, and describe it for the manifest."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    described = {"bytes": part.stat().st_size, "sha256": sha256(part)}
    part.replace(path)
    return described


def checked(folder: Path, manifest: Mapping[str, Any], name: str) -> Path:
    """The path of a published file after it was checked against the manifest.

    Errors: `TableError` naming a file that is missing, cut or altered, or that the run never wrote.
    """
    path, described = folder / name, manifest.get("files", {}).get(name)
    if described is None:
        raise TableError(f"{path}: the run wrote no such file; make it again with --again")
    if wrong := difference(path, described):
        raise TableError(f"{wrong}; make it again with --again")
    return path
