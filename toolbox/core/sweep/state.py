"""What has become of each cell, read from `outputs/` alone: no database, no scheduler's memory."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.core import atomic, checkpoint
from toolbox.core import manifest as manifests
from toolbox.core.paths import RunPaths
from toolbox.core.status import Status
from toolbox.core.sweep.cells import Cell, Sweep

COMPLETE, DIVERGED = str(Status.COMPLETE), str(Status.DIVERGED)
INTERRUPTED, FAILED = str(Status.INTERRUPTED), str(Status.FAILED)
RUNNING, MISSING, CORRUPT = "running", "missing", "corrupt"
STATES = {
    COMPLETE: "every table is there as it was written",
    RUNNING: "at work now",
    INTERRUPTED: "stopped or killed with a checkpoint; the same line resumes it",
    DIVERGED: "a value was not finite; the rows before it are kept",
    FAILED: "ended by an error; the same line starts it again",
    CORRUPT: "a table is not what was written; the same line makes it again",
    MISSING: "not begun, or killed before its first checkpoint",
}
TO_DO = (INTERRUPTED, FAILED, CORRUPT, MISSING)
"""States that another attempt can change. A diverged cell would diverge again; `--again` on the
plain command makes it again."""


@dataclass(frozen=True)
class CellState:
    """A cell and what has become of it."""

    cell: Cell
    state: str
    message: str
    """One line: what a failed or diverged cell said, what is wrong with a table."""


def states(sweep: Sweep, out: Path) -> list[CellState]:
    """The state of every cell, in their order. Tables are checked by size; `gather` reads them."""
    folder = out / sweep.study / sweep.command
    at_work = _at_work(folder)
    return [_state(cell, RunPaths(folder, cell.id), at_work.get(cell.id)) for cell in sweep.cells]


def count(cell_states: Sequence[CellState]) -> str:
    """'60 complete, 4 missing': the states that occur, in their order."""
    seen = Counter(one.state for one in cell_states)
    return ", ".join(f"{seen[state]} {state}" for state in STATES if seen[state])


def _state(cell: Cell, paths: RunPaths, at_work: bool | None) -> CellState:
    manifest = manifests.read(paths.final)
    if manifest is not None:
        if bad := _damage(paths.final, manifest):
            return CellState(cell, CORRUPT, bad)
        return CellState(cell, manifest["status"], _line(manifest))
    if at_work:
        return CellState(cell, RUNNING, "")
    if paths.final.exists() and any(paths.final.iterdir()):  # Snakemake makes empty folders
        return CellState(cell, CORRUPT, f"{paths.final / 'run.json'} is not a whole manifest")
    if paths.failure.exists() and not _newer(paths.checkpoint, paths.failure):
        said: Any = None
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(paths.failure.read_text(encoding="utf-8"))
        return CellState(cell, FAILED, _line(said) if isinstance(said, dict) else "")
    if paths.checkpoint.exists():
        try:
            saved = checkpoint.read_manifest(paths.checkpoint).get("saved", "?")
            return CellState(cell, INTERRUPTED, f"checkpoint of {saved}")
        except checkpoint.BadCheckpoint as error:
            return CellState(cell, INTERRUPTED, f"{error}; it will start afresh")
    killed = "an attempt was killed before its first checkpoint" if at_work is False else ""
    return CellState(cell, MISSING, killed)


def _damage(folder: Path, manifest: dict[str, Any]) -> str:
    """What is wrong with a finished run's tables, by their sizes."""
    for name, table in manifest.get("tables", {}).items():
        path = folder / f"{name}.csv"
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != table["bytes"]:
            return f"{path} has {path.stat().st_size} bytes, {table['bytes']} were written"
    return ""


def _line(manifest: dict[str, Any]) -> str:
    return str(manifest.get("message", "")).partition("\n")[0]


def _newer(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime > other.stat().st_mtime


# ------------------------------------------------------------------------------ who is at work


def _at_work(folder: Path) -> dict[str, bool]:
    """For each run with a temporary folder: whether some process still works in one of them."""
    at_work: dict[str, bool] = {}
    jobs: set[str] | None = None
    asked = False
    for path in folder.glob(".tmp-*"):
        run = path.name.split("-")[1]
        alive = path.is_dir() and not atomic.is_stale(path)
        if alive and not atomic.is_of_this_host(path):
            # A process of another node cannot be asked, but the scheduler knows its job.
            if not asked:
                jobs, asked = _slurm_jobs(), True
            job = _job_of(path)
            alive = jobs is None or job is None or job in jobs
        at_work[run] = at_work.get(run, False) or alive
    return at_work


def _job_of(temporary: Path) -> str | None:
    """The Slurm job that made a temporary folder, from the manifest in it."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        manifest = json.loads((temporary / "run.json").read_text(encoding="utf-8"))
        scheduler = manifest.get("scheduler") or {}
        if scheduler.get("kind") == "slurm":
            return str(scheduler["job"])
    return None


def _slurm_jobs() -> set[str] | None:
    """The ids of all jobs that Slurm holds now; None where it cannot be asked."""
    if shutil.which("squeue") is None:
        return None
    try:
        done = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%A", "--states=R,CG,S,SI,SO,ST"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())
