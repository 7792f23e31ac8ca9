"""What replicates say together: aligned, averaged, with an interval; and thinning for drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toolbox.core import intervals

Array = NDArray[np.float64]

ENOUGH = 3  # with fewer replicates an interval says more about luck than about the method
MAX_CELLS = 20_000_000  # replicates x points of one aligned curve: 160 MB


def align(replicates: list[tuple[Array, Array]], fill: bool) -> tuple[Array, Array]:
    """Bring replicates to one grid: `x : (P,)`, values `(R, P)`.

    Each replicate is a pair of arrays `x` (rising, without repetition) and `y`. With `fill` a
    replicate's last value is carried to grid points between its own, never before its first or
    beyond its last: what is not there stays NaN. Without `fill` only equal x meet.
    """
    grid = np.unique(np.concatenate([x for x, _ in replicates]))
    if grid.size * len(replicates) > MAX_CELLS:
        ranks = np.linspace(0, grid.size - 1, MAX_CELLS // len(replicates))
        grid = grid[np.unique(ranks.astype(int))]
    values = np.full((len(replicates), grid.size), np.nan)
    for row, (x, y) in zip(values, replicates, strict=True):
        if x.size == 0:
            continue
        before = np.searchsorted(x, grid, side="right") - 1
        known = (before >= 0) & (grid <= x[-1])
        if not fill:
            known &= x[before] == grid
        row[known] = y[before[known]]
    return grid, values


def estimate(
    values: Array, kind: Literal["mean", "median"], level: float = 0.95
) -> tuple[Array, Array, Array]:
    """Centre and confidence limits over the rows of `values : (R, P)`, NaN left out: each `(P,)`.

    mean : Student-t interval, from three values on.
    median : order statistics, from six values on (distribution-free, hence conservative).
    Limits that do not exist are NaN.
    """
    if kind == "median":
        return intervals.median(values, level)
    centre, low, high = intervals.mean(values, level)
    few = np.sum(~np.isnan(values), axis=0) < ENOUGH
    return centre, np.where(few, np.nan, low), np.where(few, np.nan, high)


@dataclass(frozen=True)
class Ends:
    """Replicates that stop early: how many of how many, and where the first and the last stop."""

    early: int
    total: int
    first: float
    last: float


def ends(replicates: list[tuple[Array, Array]]) -> Ends | None:
    """None when all replicates reach the same last x with a finite value."""
    stops = [float(x[~np.isnan(y)][-1]) for x, y in replicates if not np.isnan(y).all()]
    missing = len(replicates) - len(stops)
    if not stops or (not missing and min(stops) == max(stops)):
        return None
    early = missing + sum(stop < max(stops) for stop in stops)
    return Ends(early, len(replicates), min(stops), max(stops))


def thin(x: Array, lines: list[Array], log: bool, buckets: int = 1200) -> NDArray[np.intp]:
    """Indices to keep when `x : (P,)`, rising, is drawn about `buckets` pixels wide.

    Each bucket keeps its ends and the smallest and largest value of every line, so that a spike
    of one point survives; and one gap, where there is one.
    """
    if x.size <= 4 * buckets:
        return np.arange(x.size)
    place = np.log(x) if log else x
    span = place[-1] - place[0]
    bucket = np.floor((place - place[0]) / (span if span > 0 else 1.0) * buckets).astype(int)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    kept = [starts, np.append(starts[1:], x.size) - 1]
    for line in lines:
        gaps = np.flatnonzero(np.isnan(line))
        kept.append(gaps[np.unique(bucket[gaps], return_index=True)[1]])
        # Sorted by bucket, then by value: the first of each bucket is its extreme.
        for sign in (1.0, -1.0):
            values = np.where(np.isnan(line), np.inf, sign * line)
            kept.append(np.lexsort((values, bucket))[starts])
    return np.unique(np.concatenate(kept))
