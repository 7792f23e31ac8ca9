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
    """Replicates of different extent: where the part begins and ends that all of them have."""

    total: int
    without: int
    """How many have no finite value at all."""
    known: tuple[float, float] | None
    reach: tuple[float, float]
    """From the first beginning to the last end."""

    def text(self, x: str) -> str:
        """A sentence on it."""
        said = []
        if self.without:
            said.append(f"{self.without} of {self.total} replicates have no value")
        if self.known is None:
            said.append(f"no {x} is common to all replicates, so each is drawn alone")
        elif self.known != self.reach:
            said.append(
                f"only from {x} = {self.known[0]:g} to {self.known[1]:g} are all replicates there; "
                "elsewhere each is drawn alone"
            )
        return "; ".join(said)


def common_range(replicates: list[tuple[Array, Array]]) -> tuple[float, float] | None:
    """The x from the last beginning to the first end of the replicates that have values."""
    spans = _spans(replicates)
    if not spans:
        return None
    low, high = max(first for first, _ in spans), min(last for _, last in spans)
    return (low, high) if low <= high else None


def _spans(replicates: list[tuple[Array, Array]]) -> list[tuple[float, float]]:
    """First and last x with a finite value, of each replicate that has one."""
    finite = [x[~np.isnan(y)] for x, y in replicates]
    return [(float(x[0]), float(x[-1])) for x in finite if x.size]


def ends(replicates: list[tuple[Array, Array]]) -> Ends | None:
    """None when all replicates begin at one x and end at one x, with finite values."""
    spans = _spans(replicates)
    if not spans:
        return None
    without = len(replicates) - len(spans)
    reach = (min(first for first, _ in spans), max(last for _, last in spans))
    known = common_range(replicates)
    if not without and known == reach:
        return None
    return Ends(len(replicates), without, known, reach)


WINDOW = 0.05  # length of an interval, as a share of the axis
REACH = 2  # points that an interval holds beside its own at least
STANDS_OUT = 0.04  # of the height of the drawn values


def spikes(
    x: Array, y: Array, logx: bool, logy: bool
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """The line below the spikes of a curve, and the spikes: places, feet, tips `(S,)`.

    The line is the morphological opening of y: at each point the greatest lower bound that holds
    on some interval around it. It follows the curve wherever that is monotone, and passes below
    whatever is narrower than an interval. x rises; a NaN stays a gap. Long curves are thinned.
    """
    kept = thin(x, [y], logx)
    x, y = x[kept], y[kept]
    base, good = y.copy(), np.flatnonzero(~np.isnan(y))
    u = np.log(x[good]) if logx else x[good]
    v = np.log(y[good]) if logy else y[good]
    if u.size < 5:
        return (x, y), (np.empty(0), np.empty(0), np.empty(0))
    opened = _opening(u, v)
    out = good[v - opened > STANDS_OUT * (v.max() - v.min())]
    lower = np.exp(opened) if logy else opened
    base[out] = lower[np.searchsorted(good, out)]
    return (x, base), (x[out], base[out], y[out])


def _opening(u: Array, v: Array) -> Array:
    """The opening of `v (P,)` over the places `u (P,)`; see `spikes`."""
    length = WINDOW * (u[-1] - u[0])
    # Mirrored at both ends, so that a curve that rises or falls there is no spike.
    before = max(REACH, int(np.searchsorted(u, u[0] + length, "right")) - 1)
    behind = max(REACH, int(np.searchsorted(-u[::-1], length - u[-1], "right")) - 1)
    ends = ((u[0], v[0], slice(before, 0, -1)), (u[-1], v[-1], slice(-2, -2 - behind, -1)))
    pads = [(2 * at - u[part], 2 * value - v[part]) for at, value, part in ends]
    u, v = (np.concatenate([pads[0][k], (u, v)[k], pads[1][k]]) for k in (0, 1))
    index = np.arange(u.size)
    first = np.minimum(np.searchsorted(u, u - length, "left"), np.maximum(index - REACH, 0))
    last = np.maximum(np.searchsorted(u, u + length, "right") - 1, index + REACH)
    last = np.minimum(last, u.size - 1)
    opened = np.full(v.size, -np.inf)
    for start, stop in [*zip(first, index, strict=True), *zip(index, last, strict=True)]:
        inside = slice(start, stop + 1)
        opened[inside] = np.maximum(opened[inside], v[inside].min())
    return opened[len(pads[0][0]) : v.size - len(pads[1][0])]


def thin(x: Array, lines: list[Array], log: bool, buckets: int = 1200) -> NDArray[np.intp]:
    """Indices to keep when `x : (P,)`, rising, is drawn about `buckets` pixels wide.

    Each bucket keeps its ends and the smallest and largest value of every line, so that a spike
    of one point survives; and one gap, where there is one.
    """
    if x.size <= 4 * buckets:
        return np.arange(x.size)
    position = np.log(x) if log else x
    span = position[-1] - position[0]
    bucket = np.floor((position - position[0]) / (span if span > 0 else 1.0) * buckets).astype(int)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    kept = [starts, np.append(starts[1:], x.size) - 1]
    for line in lines:
        gaps = np.flatnonzero(np.isnan(line))
        kept.append(gaps[np.unique(bucket[gaps], return_index=True)[1]])
        for sign in (1.0, -1.0):
            values = np.where(np.isnan(line), np.inf, sign * line)
            lowest = np.minimum.reduceat(values, starts)
            at = np.flatnonzero(values == np.repeat(lowest, np.diff(starts, append=x.size)))
            kept.append(at[np.diff(bucket[at], prepend=-1) > 0])
    return np.unique(np.concatenate(kept))
