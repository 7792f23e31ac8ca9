"""Runs that differ only in seed and repeats, taken together: their tables and who is missing."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.claims import Evidence, Replicate
from toolbox.core.params import run_id
from toolbox.core.spec import CommandSpec, load_command
from toolbox.core.status import Status
from toolbox.core.store import RunRecord, runs

if TYPE_CHECKING:
    import pandas as pd

Cell = tuple[Any, ...]


@dataclass(frozen=True)
class Pool:
    """Finished runs that differ only in seed and repeats (and in the declared `pool_over`)."""

    study: str
    command: str
    id: str
    runs: tuple[RunRecord, ...]
    """Complete ones, and those that diverged, whose rows up to there are kept."""
    spec: CommandSpec

    @property
    def params(self) -> dict[str, Any]:
        """The parameters that its runs share."""
        return pool_params(self.runs[0].params, self.spec)

    @property
    def newest(self) -> str:
        """When its last run ended; ISO times sort as text."""
        return max(str(run.manifest["ended"]) for run in self.runs)

    def read(self, table: str) -> pd.DataFrame:
        """The verified tables of all its runs in one frame, every row of a replicate once.

        Seed 0 with three repeats and seed 0 with five hold the same first three replicates.
        """
        import pandas as pd

        done: dict[Replicate, frozenset[Cell]] = {}
        frames, overlapping = [], False
        for run in sorted(self.runs, key=lambda run: (-run.params["repeats"], run.id)):
            cells, fresh = self._cells(run), []
            for repeat in range(run.params["repeats"]):
                known = done.get((run.params["seed"], repeat), frozenset())
                if not cells <= known:
                    fresh.append(repeat)
                    overlapping |= bool(cells & known)
                    done[run.params["seed"], repeat] = cells | known
            if fresh:
                frame = run.read(table, self.spec)
                frames.append(frame[frame["repeat"].isin(fresh)])
        frame = pd.concat(frames, ignore_index=True)
        if overlapping:  # a grid of sizes 1, 2 and one of 2, 3: the rows of 2 are there twice
            columns = self.spec.tables[table].all_columns
            frame = frame.drop_duplicates([n for n, c in columns.items() if c.role != "metric"])
        return frame.sort_values(["seed", "repeat"], kind="stable", ignore_index=True)

    def _cells(self, run: RunRecord) -> frozenset[Cell]:
        """The cells of the grid that `pool_over` spans which one run holds."""
        values = [_listed(run.params[name]) for name in self.spec.pool_over]
        return frozenset(itertools.product(*values))

    @cached_property
    def cells(self) -> dict[Replicate, frozenset[Cell]]:
        """What each replicate has of the grid that `pool_over` spans."""
        cells: dict[Replicate, frozenset[Cell]] = {}
        for run in self.runs:
            for repeat in range(run.params["repeats"]):
                key = (run.params["seed"], repeat)
                cells[key] = cells.get(key, frozenset()) | self._cells(run)
        return cells

    @cached_property
    def evidence(self) -> Evidence:
        """The tables, with the replicates that diverged and those left out for other cells.

        A statistic over cells (a maximum, a slope) must see the same cells in every replicate.
        Those are kept that have the most rows together: five of four sizes before eight of two.
        """
        counts = Counter(self.cells.values())
        usual = max(counts, key=lambda cells: (counts[cells] * len(cells), len(cells)))
        left_out = frozenset(key for key, cells in self.cells.items() if cells != usual)
        diverged = frozenset().union(*(diverged_replicates(run) for run in self.runs))
        return Evidence(self.read, diverged - left_out, left_out)


def diverged_replicates(run: RunRecord) -> frozenset[Replicate]:
    """The replicates of a run that diverged; all of them where the manifest does not say which."""
    named = run.manifest.get("diverged")
    if named is None:
        named = (
            [{"repeat": repeat} for repeat in range(run.params["repeats"])]
            if run.status is Status.DIVERGED
            else []
        )
    return frozenset((run.params["seed"], each["repeat"]) for each in named)


@dataclass(frozen=True)
class Survey:
    """The pools of a command, and the finished runs that cannot be used."""

    pools: list[Pool]
    """The newest last."""
    left_out: list[RunRecord]
    """Damaged, or made by a version with other tables or parameters; `damage` says which."""


def survey(out: Path, study: str, command: str) -> Survey:
    """Sort out the finished runs of a command; every table is compared with its manifest."""
    spec = load_command(study, command)
    groups: dict[str, list[RunRecord]] = {}
    left_out = []
    for each in runs(out, study, command):
        run = each.checked()
        if run.status not in (Status.COMPLETE, Status.DIVERGED, None) or run.state == "running":
            continue
        if wrong := run.damage or run.mismatch(spec):
            left_out.append(replace(run, damage=wrong))
            continue
        shared = pool_params(run.params, spec)
        groups.setdefault(run_id(study, command, shared), []).append(run)
    pools = [Pool(study, command, key, tuple(group), spec) for key, group in groups.items()]
    return Survey(sorted(pools, key=lambda pool: (pool.newest, pool.id)), left_out)


def pools_of(out: Path, study: str, command: str) -> list[Pool]:
    """The pools of a command, the newest last, without the runs that cannot be used."""
    return survey(out, study, command).pools


def left_out_text(left_out: Sequence[RunRecord]) -> str:
    """What was left out and why, one line each; nothing where there is nothing."""
    if not left_out:
        return ""
    count = "1 run was" if len(left_out) == 1 else f"{len(left_out)} runs were"
    lines = [f"  {run.study} {run.command} {run.id}: {run.damage}" for run in left_out]
    return "\n".join([f"{count} left out:", *lines, "toolbox clean lists those that are damaged"])


def choose(pools: list[Pool], asked: str) -> list[Pool]:
    """The newest pool, all of them, or those whose id begins with `asked`."""
    if asked == "all":
        return pools
    if asked == "newest":
        return pools[-1:]
    return [pool for pool in pools if pool.id.startswith(asked)]


def pool_params(params: Mapping[str, Any], spec: CommandSpec) -> dict[str, Any]:
    """The parameters without those over which runs are pooled."""
    apart = {"seed", "repeats", *spec.pool_over}
    return {name: value for name, value in params.items() if name not in apart}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
