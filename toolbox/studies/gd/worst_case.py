"""The worst case of gradient descent along a whole schedule, without a semidefinite program.

tau_N = sup over convex, L-smooth f of (f(x_N) - f*) / (L |x_0 - x*|^2). Three families of
functions give lower bounds that often are the exact value (`exactness` says where):

    huber      1 / (4 A + 2), A = h_1 + ... + h_N           Huber function with its kink at 1/(2A+1)
    quadratic  max over lambda in (0, 1] of (lambda / 2) prod (1 - h_i lambda)^2
    overshoot  (h_k - 1)^2 / (2 (A_{k-1} + 1)^2 (2 (A_N - A_k) + 1)), best k <= N: a Huber function
               whose minimiser the run leaps over at step k (see `lower_bounds.overshoot`)

Only the quadratic bound costs time. A product does not see the order of its factors, so a prefix
of a schedule is a bag of steps: a few distinct silver steps with their counts, and the long steps.
On each interval between two zeros 1/h of the product its logarithm is strictly concave in lambda:
a grid finds the interval and Newton's method then finds the maximum in it.

Reference: Zhang, Lee, Du, Chen, Anytime Acceleration of Gradient Descent, arXiv:2411.17668 (the
schedule and its primitive prefixes). The tests hold the values against the exact SDP of `pep`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import lower_bounds, model
from .model import Blocks, Floats, Ints

THEOREM = "theorem"
CERTIFIED = "certified"
LOWER_BOUND = "lower-bound"

CERTIFIED_ANYTIME = (*range(1, 33), 33, 37, 45, 53)
"""Numbers of steps at which the anytime schedule's tau was compared with the exact SDP value."""

CERTIFIED_CONSTANT = 32  # every N up to here, checked at h = 1.1, 1.3, 1.5, 1.7, 1.9, 1.99
CERTIFIED_SILVER = tuple(N for N in range(1, 33) if N != 25)  # 0.931 of the exact value at 25

NEWTON_STEPS = 40
NEWTON_DECREMENT = 1e-10  # predicted relative gain of one more step
CANDIDATES = 4  # local maxima of the grid that are refined, at each N
CANDIDATE_GAP = 1.0  # ... unless their logarithm lies this far below the best
TINY = 1e-300


@dataclass(frozen=True)
class WorstCase:
    """Worst case after N steps, one entry per stopping time; all arrays are (n,).

    N : number of gradient steps (the paper's T is N + 1)
    cum_sum : A_N, in 1/L
    huber, quadratic, overshoot : lower bounds on tau_N, see the module
    tau : the largest of the three, in units of L |x_0 - x*|^2
    curvature : the lambda, in units of L, that attains ``quadratic``
    endpoint : whether the prefix is primitive
    exactness : theorem (tau is exact, proved), certified (equal to the SDP value, checked at this
        N), or lower-bound
    """

    N: Ints
    cum_sum: Floats
    huber: Floats
    quadratic: Floats
    overshoot: Floats
    tau: Floats
    curvature: Floats
    endpoint: NDArray[np.bool_]
    exactness: NDArray[np.str_]


@dataclass(frozen=True)
class _Bags:
    """Prefixes as bags of steps: counts[n, k] times values[k], and the first done[n] of long."""

    values: Floats
    counts: Floats
    long: Floats
    done: Ints

    def __getitem__(self, rows: Ints | slice) -> _Bags:
        return _Bags(self.values, self.counts[rows], self.long, self.done[rows])


def stopping_times(
    name: str, T: int, c: float = model.P, dense: int = 1000, per_decade: int = 100
) -> Ints:
    """The N at which a run up to T is recorded, increasing, (n,).

    Every N <= dense, then ``per_decade`` log-spaced ones, and T; of a schedule with silver blocks
    also every block's end (a primitive prefix) and its opening long step (a spike). A schedule of
    single steps, such as dynamic, stays log-spaced although each of its prefixes is primitive.
    """
    blocks = model.schedule_blocks(name, T, c)
    stops = [np.arange(1, min(dense, T) + 1), np.array([T])]
    if dense < T:
        start = max(dense, 1)
        n = int(np.ceil(np.log10(T / start) * per_decade)) + 1
        stops.append(np.geomspace(start, T, n).round().astype(np.int64))
    ends = blocks.ends
    wide = blocks.level > 0
    stops += [ends[wide], (ends - (1 << blocks.level) + 1)[wide]]
    merged = np.unique(np.concatenate(stops)).astype(np.int64)
    return merged[(merged >= 1) & (merged <= T)]


def worst_case(name: str, N: ArrayLike, c: float = model.P, curvatures: int = 1500) -> WorstCase:
    """Worst case of the schedule called ``name`` after N steps; see `WorstCase`.

    N : (n,) increasing numbers of steps >= 1; schedules with a fixed horizon are built for max N
    curvatures : points of the grid over lambda; the maximum is refined off the grid, so this
        decides the time, and the value is right to 1e-6 relative from 500 points on

    Raises ValueError for an empty, unsorted or non-positive N and an unknown name.
    """
    return _whole(Prefixes.of(name, N, c, curvatures))


def worst_case_of(
    steps: ArrayLike, N: ArrayLike | None = None, curvatures: int = 1500
) -> WorstCase:
    """The same for any list of steps, after N of them; see `WorstCase`.

    steps : (T,) positive stepsizes in units of 1/L
    N : (n,) increasing numbers of steps, by default 1, 2, ..., T
    Every value is attained by a function, so a lower bound on tau_N; `pep.worst_case_pep` has the
    exact one of some dozens of steps. Raises ValueError for steps that are not positive.
    """
    h = np.asarray(steps, dtype=np.float64)
    if h.ndim != 1 or h.size == 0 or not np.all(np.isfinite(h) & (h > 0)):
        raise ValueError("steps must be a vector of at least one positive number")
    stops = _stops(np.arange(1, h.size + 1) if N is None else N)
    if stops[-1] > h.size:
        raise ValueError(f"N asks for {stops[-1]} steps, but there are {h.size}")
    exactness = np.full(stops.size, LOWER_BOUND)
    return _whole(Prefixes.of_blocks(model.flat(h), stops, exactness, curvatures))


def _whole(prefixes: Prefixes) -> WorstCase:
    so_far = prefixes.start()
    parts = [vars(prefixes.worst_case(rows, so_far)) for rows in prefixes.chunks()]
    return WorstCase(**{name: np.concatenate([p[name] for p in parts]) for name in parts[0]})


@dataclass
class LongSteps:
    """Sum of log |1 - h lambda| over the long steps of the prefixes so far, and their number.

    logs : one entry per curvature of the grid
    """

    logs: Floats
    count: int = 0


@dataclass(frozen=True)
class Prefixes:
    """A schedule up to each of its stopping times, ready for its worst cases chunk by chunk."""

    stops: Ints
    cum_sum: Floats
    overshoot: Floats
    endpoint: NDArray[np.bool_]
    exactness: NDArray[np.str_]
    grid: Floats
    bags: _Bags

    @classmethod
    def of(cls, name: str, N: ArrayLike, c: float = model.P, curvatures: int = 1500) -> Prefixes:
        """Arguments and errors are those of `worst_case`."""
        stops = _stops(N)
        blocks = model.schedule_blocks(name, int(stops[-1]), c)
        exactness = exactness_of(name, stops, _primitive(blocks, stops), c)
        return cls.of_blocks(blocks, stops, exactness, curvatures)

    @classmethod
    def of_blocks(cls, blocks: Blocks, stops: Ints, exactness: Any, curvatures: int) -> Prefixes:
        """The same for steps that have no name; exactness : (n,) of text."""
        if curvatures < 2:
            raise ValueError(f"curvatures must be at least 2, but got {curvatures}")
        A = model.cum_sums(blocks, stops)
        return cls(
            stops,
            A,
            lower_bounds.overshoot(blocks, stops),
            _primitive(blocks, stops),
            exactness,
            curvature_grid(blocks, float(A[-1]), curvatures),
            _bags(blocks, stops),
        )

    def chunks(self, size: int = 256) -> list[slice]:
        """Consecutive rows; `worst_case` takes them in this order."""
        return [slice(first, first + size) for first in range(0, self.stops.size, size)]

    def start(self) -> LongSteps:
        """No long step yet."""
        return LongSteps(np.zeros(self.grid.size))

    def worst_case(self, rows: slice, so_far: LongSteps) -> WorstCase:
        """The worst cases of one chunk; `so_far` goes on to the end of it."""
        logs, so_far.logs[:] = _grid_logs(self.bags[rows], self.grid, so_far.logs, so_far.count)
        so_far.count = int(self.bags.done[rows][-1])
        best, curvature = _refine(self.bags[rows], self.grid, logs)
        huber, quadratic = 1.0 / (4.0 * self.cum_sum[rows] + 2.0), np.exp(best)
        return WorstCase(
            self.stops[rows],
            self.cum_sum[rows],
            huber,
            quadratic,
            self.overshoot[rows],
            np.maximum(np.maximum(huber, self.overshoot[rows]), quadratic),
            curvature,
            self.endpoint[rows],
            self.exactness[rows],
        )


def _stops(N: ArrayLike) -> Ints:
    stops = np.atleast_1d(np.asarray(N, dtype=np.int64))
    if stops.size == 0 or stops[0] < 1 or np.any(np.diff(stops) <= 0):
        raise ValueError("stopping times must be increasing whole numbers of at least 1")
    return stops


def _primitive(blocks: Blocks, stops: Ints) -> NDArray[np.bool_]:
    index, silver_done = blocks.locate(stops)
    return np.asarray(blocks.primitive[index] & (silver_done == (1 << blocks.level[index]) - 1))


def exactness_of(
    name: str, N: Ints, endpoint: NDArray[np.bool_], c: float = model.P
) -> NDArray[np.str_]:
    """What is known about tau of `worst_case` at each N: theorem, certified or lower-bound.

    theorem: primitive prefixes, 1/(4A + 2) (upper bound by the paper's Def. 2, lower by Huber);
    constant steps h <= 1 (Drori and Teboulle, arXiv:1206.3209); DomDP at its horizon (Zhang and
    Jiang, arXiv:2410.12395).
    certified: agrees with the SDP to solver accuracy: the anytime schedule with c = p at
    CERTIFIED_ANYTIME, constant 1 < h < 2 up to CERTIFIED_CONSTANT, silver at CERTIFIED_SILVER.
    """
    certified = np.zeros(N.size, dtype=bool)
    theorem = endpoint.copy()
    step = model.constant_step(name)
    if step is not None and step <= 1.0:
        theorem[:] = True
    elif step is not None and step < 2.0:
        certified = N <= CERTIFIED_CONSTANT
    elif name == "anytime" and c == model.P:
        certified = np.isin(N, CERTIFIED_ANYTIME)
    elif name == "silver":
        certified = np.isin(N, CERTIFIED_SILVER)
    elif name == "domdp":
        theorem[-1] = True
    return np.where(theorem, THEOREM, np.where(certified, CERTIFIED, LOWER_BOUND))


def curvature_grid(blocks: Blocks, A: float, points: int) -> Floats:
    """Increasing curvatures from below the first maximum up to 1 exactly.

    The first maximum of the product after sum A lies in [1/(3A), 1/(2A)] (or further right for
    fewer steps). The zeros 1/h are added, once per 0.3 %, so that neighbouring maxima separate.
    """
    steps = np.concatenate((blocks.long, model.silver_values(int(blocks.level.max()))))
    log_zeros = np.unique((np.log(steps[steps > 1.0]) * 300.0).round()) / -300.0
    log_grid = np.linspace(np.log(0.9 / max(3.0 * A, 1.0)), 0.0, points)
    grid: Floats = np.exp(np.union1d(log_grid, log_zeros[log_zeros > log_grid[0]]))
    grid[-1] = 1.0
    return grid


def _bags(blocks: Blocks, N: Ints) -> _Bags:
    """The first N steps of a schedule as bags of steps, one for each entry of N."""
    index, silver_done = blocks.locate(N)
    K = int(blocks.level.max())
    counts = model.silver_counts(silver_done, K)
    for level in range(1, K + 1):
        blocks_done = np.concatenate(([0], np.cumsum(blocks.level == level)))[index]
        counts += blocks_done[:, None] * model.silver_counts((1 << level) - 1, K)
    values = model.silver_values(K)
    distinct = np.unique(blocks.long)
    if distinct.size > 32:
        return _Bags(values, counts, blocks.long, index + 1)
    tally = np.stack([np.cumsum(blocks.long == h)[index] for h in distinct], axis=1)
    return _Bags(
        np.concatenate((values, distinct)),
        np.concatenate((counts, tally), axis=1),
        np.empty(0),
        np.zeros(N.size, dtype=np.int64),
    )


def _log_gap(h: Floats, curvature: Floats) -> Floats:
    """log |1 - h lambda|, bounded below so that 0 * log 0 = 0."""
    return np.asarray(np.log(np.maximum(np.abs(1.0 - h * curvature), TINY)))


def _log_products(factors: Floats) -> Floats:
    """Sum over axis 0 of log |factors|, one logarithm for eight factors: (n, m) -> (m,)."""
    n, m = factors.shape
    whole = n - n % 8
    groups = factors[:whole].reshape(whole // 8, 8, m).prod(axis=1)
    rest = factors[whole:].prod(axis=0, keepdims=True)
    logs = np.log(np.maximum(np.abs(np.concatenate((groups, rest))), TINY))
    return np.asarray(logs.sum(axis=0))


def _grid_logs(bags: _Bags, grid: Floats, running: Floats, done: int) -> tuple[Floats, Floats]:
    """log of the quadratic bound at every (stop, grid point), and the long steps' running sum."""
    totals = np.empty((bags.done.size, grid.size))
    for row, upto in enumerate(bags.done.tolist()):
        for a in range(done, upto, 512):
            piece = bags.long[a : min(a + 512, upto), None]
            running = running + _log_products(1.0 - piece * grid)
        done = upto
        totals[row] = running
    totals += bags.counts @ _log_gap(bags.values[:, None], grid)
    return np.log(grid / 2.0) + 2.0 * totals, running


def _tiles(bags: _Bags, width: int = 256) -> Iterator[tuple[slice, Floats]]:
    """Long steps of every prefix, tile by tile: rows still active and their steps, 0 when past."""
    for a in range(0, int(bags.done.max(initial=0)), width):
        first = int(np.searchsorted(bags.done, a, side="right"))
        steps = bags.long[a : a + width, None]
        left = bags.done[first:] - a
        if left[0] < steps.size:
            steps = np.where(np.arange(steps.size)[:, None] < left, steps, 0.0)
        yield slice(first, None), steps


def _log_bound(bags: _Bags, curvature: Floats) -> Floats:
    """log of (lambda / 2) prod (1 - h_i lambda)^2 for one lambda per bag, (n,)."""
    total = np.sum(bags.counts * _log_gap(bags.values, curvature[:, None]), axis=1)
    for rows, steps in _tiles(bags):
        total[rows] += _log_products(1.0 - steps * curvature[rows])
    return np.asarray(np.log(curvature / 2.0) + 2.0 * total)


def _slopes(bags: _Bags, curvature: Floats) -> tuple[Floats, Floats]:
    """First and second derivative in lambda of the log of the bound, one lambda per bag."""
    ratio = bags.values / _nonzero(1.0 - bags.values * curvature[:, None])
    first = np.sum(bags.counts * ratio, axis=1)
    second = np.sum(bags.counts * ratio**2, axis=1)
    for rows, steps in _tiles(bags):
        ratio = steps / _nonzero(1.0 - steps * curvature[rows])
        first[rows] += ratio.sum(axis=0)
        second[rows] += np.einsum("nm,nm->m", ratio, ratio)
    return 1.0 / curvature - 2.0 * first, -1.0 / curvature**2 - 2.0 * second


def _nonzero(x: Floats) -> Floats:
    return np.where(x == 0.0, np.finfo(np.float64).eps, x)


def _refine(bags: _Bags, grid: Floats, logs: Floats) -> tuple[Floats, Floats]:
    """Best value and curvature for each bag: local maxima of the grid, then guarded Newton."""
    padded = np.pad(logs, ((0, 0), (1, 1)), constant_values=-np.inf)
    peak = (logs >= padded[:, :-2]) & (logs >= padded[:, 2:])
    n = min(CANDIDATES, grid.size)
    peaks = np.where(peak, logs, -np.inf)
    top = np.argpartition(peaks, -n, axis=1)[:, -n:]
    values = np.take_along_axis(peaks, top, axis=1)
    best = values.max(axis=1)
    row, column = np.nonzero(values > best[:, None] - CANDIDATE_GAP)
    at = top[row, column]
    left, right = grid[np.maximum(at - 1, 0)], grid[np.minimum(at + 1, grid.size - 1)]
    lam = _newton(bags[row], grid[at], left, right)
    refined = _log_bound(bags[row], lam)
    on_grid = logs[row, at]
    lam = np.where(refined > on_grid, lam, grid[at])
    refined = np.maximum(refined, on_grid)
    order = np.lexsort((refined, row))
    last = order[np.searchsorted(row[order], np.arange(bags.done.size), side="right") - 1]
    return refined[last], lam[last]


def _newton(bags: _Bags, start: Floats, low: Floats, high: Floats) -> Floats:
    """Maximise the concave logarithm from ``start`` within [low, high]; bisect when Newton leaves.

    Stops when the Newton decrement promises less than NEWTON_DECREMENT; rows that are done rest.
    """
    lam, low, high = start.copy(), low.copy(), high.copy()
    active = np.arange(lam.size)
    for _ in range(NEWTON_STEPS):
        lam_active = lam[active]
        first, second = _slopes(bags[active], lam_active)
        low[active] = np.where(first > 0, lam_active, low[active])
        high[active] = np.where(first < 0, lam_active, high[active])
        step = lam_active - first / second
        inside = (step > low[active]) & (step < high[active])
        lam[active] = np.where(inside, step, 0.5 * (low[active] + high[active]))
        small = inside & (first**2 < -2.0 * NEWTON_DECREMENT * second)
        shut = high[active] - low[active] < 1e-13 * lam_active
        active = active[~(small | shut)]
        if active.size == 0:
            break
    return lam
