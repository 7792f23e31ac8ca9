"""What a job needs, in memory and time: by flag, else by the sweep file's formulas, else a default;
and more memory for cells that were killed for want of it.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolbox.core import atomic
from toolbox.core.sweep.cells import Cell, Sweep

DEFAULT_MEGABYTES = 4096
DEFAULT_MINUTES = 60


@dataclass(frozen=True)
class Batch:
    """Jobs that ask for the same: one array."""

    jobs: tuple[tuple[int, ...], ...]
    """The indices of the cells of each job."""
    megabytes: int
    minutes: int


def megabytes(sweep: Sweep, cell: Cell, asked: int | None) -> int:
    """The memory of a cell. asked : what a flag says"""
    return asked or sweep.megabytes(cell) or DEFAULT_MEGABYTES


def minutes(sweep: Sweep, jobs: Sequence[Sequence[int]], asked: int | None, warn: int) -> int:
    """The time limit that is enough for each of these jobs, whose cells run one after the other.

    jobs : indices of cells;  asked : what a flag says for a job
    warn : seconds before the limit at which jobs are told to stop; a formula's time comes on top
    """
    if asked or not sweep.time:
        return asked or DEFAULT_MINUTES
    longest = max(sum(sweep.minutes(sweep.cells[i]) or 0 for i in job) for job in jobs)
    return longest + math.ceil(warn / 60)


def batches(
    sweep: Sweep,
    todo: Sequence[int],
    asked_mb: int | None,
    asked_minutes: int | None,
    warn: int,
    most_jobs: int,
    more: Mapping[str, int],
) -> list[Batch]:
    """The cells in arrays whose memory differs by less than a factor of two.

    todo : indices;  asked_mb, asked_minutes, warn : what flags say
    most_jobs : of an array; more cells than that share jobs
    more : run id -> megabytes that a cell needs at least
    """
    classes: dict[int, dict[int, int]] = defaultdict(dict)
    for index in todo:
        cell = sweep.cells[index]
        need = max(megabytes(sweep, cell, asked_mb), more.get(cell.id, 0))
        classes[math.ceil(math.log2(need))][index] = need
    groups = []
    for _, needs in sorted(classes.items()):
        indices = list(needs)
        count = min(most_jobs, len(indices))
        jobs = tuple(tuple(indices[k::count]) for k in range(count))
        groups.append(Batch(jobs, max(needs.values()), minutes(sweep, jobs, asked_minutes, warn)))
    return groups


# --------------------------------------------------------------------------- killed for memory


@dataclass(frozen=True)
class OutOfMemory:
    """An attempt at a cell that Slurm ended because it used more memory than it had asked for."""

    job: str
    megabytes: int | None
    """What it had; None when the job does not know."""


def out_of_memory(sweep: Sweep, out: Path, cells: Iterable[Cell]) -> dict[str, OutOfMemory]:
    """Run id -> the attempt with most memory of those that were killed for want of it.

    A killed attempt leaves its temporary folder, whose manifest names its job; what became of the
    job is asked of Slurm. Nothing is found where Slurm is not there or has forgotten the job.
    """
    wanted = {cell.id for cell in cells}
    attempts: dict[str, list[OutOfMemory]] = defaultdict(list)
    for path in (out / sweep.study / sweep.command).glob(".tmp-*/run.json"):
        run = atomic.run_of(path.parent)
        if run in wanted and (attempt := _attempt(path)):
            attempts[run].append(attempt)
    killed = _jobs_out_of_memory({each.job for tried in attempts.values() for each in tried})
    largest = {}
    for run, each in attempts.items():
        if those := [attempt for attempt in each if attempt.job in killed]:
            largest[run] = max(those, key=lambda attempt: attempt.megabytes or 0)
    return largest


def _attempt(manifest: Path) -> OutOfMemory | None:
    try:
        scheduler = json.loads(manifest.read_text(encoding="utf-8"))["scheduler"]
        if scheduler["kind"] != "slurm" or not str(scheduler["job"]).isdecimal():
            return None
        memory = str(scheduler.get("memory_mb", ""))
        had = int(memory) if memory.isdecimal() else 0
        return OutOfMemory(str(scheduler["job"]), had or None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _jobs_out_of_memory(jobs: set[str]) -> set[str]:
    """Those of these Slurm jobs that ended in the state OUT_OF_MEMORY, or a step of which did."""
    if not jobs:
        return set()
    listed = ",".join(sorted(jobs))
    said = _ask("sacct", "--noheader", "--parsable2", "--format=JobIDRaw,State", f"--jobs={listed}")
    if said is not None:
        rows = [line.split("|") for line in said.splitlines() if "|" in line]
        return {row[0].partition(".")[0] for row in rows if row[1].startswith("OUT_OF_ME")} & jobs
    # Without accounting the controller still knows jobs that ended some minutes ago. Where a step
    # was killed (submitit's jobs have one), the job itself is FAILED.
    show = ("scontrol", "--details", "--oneliner", "show", "job")
    signs = ("JobState=OUT_OF_MEMORY", "DerivedExitCode=0:125")
    return {job for job in jobs if any(sign in (_ask(*show, job) or "") for sign in signs)}


def _ask(*words: str) -> str | None:
    """What a program answers; None where it is not there or refuses."""
    if shutil.which(words[0]) is None:
        return None
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
