"""Node-local disk for tables that grow: appended to there, then copied home and renamed whole.

A rename is atomic only inside one file system, so the final step never leaves the target: the
finished tables are copied into the run's temporary folder beside its final name, made durable, and
that folder is renamed as always. Where scratch and target are one file system it is of no use and
is not used.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from toolbox.core import atomic
from toolbox.core.errors import UsageError


def folder_for(target: Path, asked: Path | None) -> Path:
    """Where the tables of the run in the temporary folder `target` are written.

    asked : `--scratch`; None means `$TMPDIR`, which is passed over when it is unset or unusable

    Errors: `UsageError` when the folder asked for cannot be written.
    """
    parent = asked or (Path(named) if (named := os.environ.get("TMPDIR")) else None)
    if parent is None:
        return target
    try:
        if parent.stat().st_dev == target.stat().st_dev:
            return target
        folder = parent / target.name
        _sweep_out(parent, target.name.split("-")[1])
        folder.mkdir()
    except OSError as error:
        if asked is None:
            return target
        raise UsageError(
            f"--scratch {asked}: {error.strerror}; name a folder that is there and can be written"
        ) from None
    return folder


def bring_home(scratch: Path, target: Path) -> None:
    """Copy the tables and files into the run's temporary folder and make them durable.

    Errors: `ToolboxError` naming the file when the target's disk refuses.
    """
    for path in sorted(scratch.glob("[!.]*")):
        with path.open("rb") as source, atomic.replacing(target / path.name) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)


def _sweep_out(folder: Path, run: str) -> None:
    """What a killed attempt at the same run left on this node."""
    for left in folder.glob(f".tmp-{run}-*"):
        if atomic.is_stale(left):
            shutil.rmtree(left, ignore_errors=True)
