"""Stepsize schedules of gradient descent, ``x_{t+1} = x_t - (h_{t+1} / L) grad f(x_t)``.

Every schedule here is stored as *blocks*: a long step followed by a silver block, again and again.
The silver block ``s_j`` has ``2^j - 1`` steps that sum to ``rho^j - 1``, so a schedule of a million
steps is a few thousand numbers, its sums have closed forms, and the worst case of a whole block
costs as much as that of one step (see ``worst_case``).

Symbols: ``rho = 1 + sqrt(2)``, ``p = log2(rho)``, ``theta = 2p / (1 + p)``; stepsizes ``h`` are in
units of ``1/L``; ``N`` counts gradient steps (the paper indexes iterates from 1: its T is N + 1).

Reference: Zhang, Lee, Du, Chen, Anytime Acceleration of Gradient Descent, arXiv:2411.17668.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from toolbox.core.suggest import did_you_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RHO = 1.0 + math.sqrt(2.0)
P = math.log2(RHO)
THETA = 2.0 * P / (1.0 + P)

NAMES = (
    "anytime",
    "constant<h>",
    "constant-opt",
    "domdp",
    "dynamic",
    "grimmer3",
    "grimmer7",
    "pridp",
    "silver",
)
"""The one list of schedule names; ``constant<h>`` stands for constant1, constant1.9, and so on."""

FIXED_HORIZON = ("constant-opt", "domdp", "pridp")
"""Schedules built for one horizon: their first N steps depend on T."""

GRIMMER = {
    "grimmer3": (1.5, 4.9, 1.5),
    "grimmer7": (1.5, 2.2, 1.5, 12.0, 1.5, 2.2, 1.5),
}
DP_LIMIT = 20_000


@dataclass(frozen=True)
class Blocks:
    """A schedule as blocks: step ``long[i]``, then the silver block of level ``level[i]``.

    long : (S,) opening stepsize of each block, in 1/L
    level : (S,) level j of the silver block behind it; the whole block has 2^j steps
    primitive : (S,) whether the schedule up to the end of block i is primitive (paper, Def. 2)
    """

    long: Floats
    level: Ints
    primitive: NDArray[np.bool_]

    @property
    def ends(self) -> Ints:
        """Number of steps up to the end of each block, (S,)."""
        return np.cumsum(np.int64(1) << self.level)

    @property
    def end_sums(self) -> Floats:
        """Sum of the stepsizes up to the end of each block, (S,)."""
        return np.cumsum(self.long + silver_sum(self.level))

    def locate(self, N: ArrayLike) -> tuple[Ints, Ints]:
        """Block that holds step N >= 1 and the number of silver steps of it done by then."""
        steps = np.asarray(N, dtype=np.int64)
        ends = self.ends
        index = np.searchsorted(ends, steps)
        return index, steps - 1 - (ends[index] - (np.int64(1) << self.level[index]))


def phi(x: ArrayLike, y: ArrayLike) -> Floats:
    """Step that joins a primitive schedule of sum x to one of sum y (paper, eq. 10).

    phi(x, y) = (-(x + y) + sqrt((x + y + 2)^2 + 4 (x + 1)(y + 1))) / 2,
    written without the cancellation that ruins it for large sums. Broadcasts.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    s, cross = x + y, 4.0 * (x + 1.0) * (y + 1.0)
    return np.asarray((4.0 * s + 4.0 + cross) / (2.0 * (s + np.sqrt((s + 2.0) ** 2 + cross))))


def psi(x: ArrayLike, y: ArrayLike) -> Floats:
    """Step that joins a primitive schedule of sum x to a dominant one of sum y.

    psi(x, y) = (3 - 2y + sqrt((2y + 1)(2y + 8x + 9))) / 4, in a cancellation-free form for
    y > 3/2. Broadcasts. Source: Zhang and Jiang, arXiv:2410.12395.
    """
    x, y = np.broadcast_arrays(np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64))
    root = np.sqrt((2.0 * y + 1.0) * (2.0 * y + 8.0 * x + 9.0))
    large = y > 1.5
    difference = (3.0 - 2.0 * y + root) / 4.0
    denominator = np.where(large, 2.0 * y - 3.0 + root, 1.0)
    return np.where(large, (4.0 * x * y + 8.0 * y + 2.0 * x) / denominator, difference)


def silver_steps(t: ArrayLike) -> Floats:
    """Steps t >= 1 of the infinite silver schedule, 1 + rho^(nu2(t) - 1)."""
    index = np.asarray(t, dtype=np.int64)
    _, exponent = np.frexp((index & -index).astype(np.float64))  # index & -index = 2^nu2
    return 1.0 + RHO ** (exponent.astype(np.float64) - 2.0)


def silver_sum(level: ArrayLike) -> Floats:
    """Sum of the silver block s_j, rho^j - 1."""
    return RHO ** np.asarray(level, dtype=np.float64) - 1.0


def silver_counts(r: ArrayLike, count: int) -> Floats:
    """How often each step 1 + rho^(k-1), k = 0..count-1, is among the first r silver steps.

    r : (...) integers >= 0; returns (..., count) whole numbers as floats. Sums and products over
    a silver block need these counts only, not the 2^j steps.
    """
    k = np.arange(count)
    return ((np.asarray(r, dtype=np.int64)[..., None] + (1 << k)) >> (k + 1)).astype(np.float64)


def silver_values(count: int) -> Floats:
    """The distinct silver steps 1 + rho^(k-1), k = 0..count-1."""
    return 1.0 + RHO ** (np.arange(count, dtype=np.float64) - 1.0)


def cum_sums(blocks: Blocks, N: ArrayLike) -> Floats:
    """A_N, the sum of the first N >= 1 stepsizes; closed forms inside blocks, so no drift."""
    index, silver_done = blocks.locate(N)
    before = np.concatenate(([0.0], blocks.end_sums))[index]
    K = int(blocks.level.max())
    return before + blocks.long[index] + silver_counts(silver_done, K) @ silver_values(K)


def expand(blocks: Blocks, T: int) -> Floats:
    """The first T stepsizes of a schedule in blocks, (T,)."""
    index, silver_done = blocks.locate(np.arange(1, T + 1))
    return np.where(silver_done == 0, blocks.long[index], silver_steps(np.maximum(silver_done, 1)))


def flat(steps: Floats) -> Blocks:
    """Any schedule as blocks of one step, none of them known to be primitive."""
    zeros = np.zeros(steps.size, dtype=np.int64)
    return Blocks(np.asarray(steps, dtype=np.float64), zeros, zeros.astype(bool))


def _joined(level: Ints) -> Blocks:
    """Concatenate silver blocks of the given levels one after another; every end is primitive."""
    y = silver_sum(level)
    A = 0.0
    sums = np.zeros(y.size)
    for i, y_i in enumerate(y.tolist()):  # sequential: each join needs the sum before it
        sums[i] = A
        A = 0.5 * (A + y_i + math.sqrt((A + y_i + 2.0) ** 2 + 4.0 * (A + 1.0) * (y_i + 1.0)))
    return Blocks(phi(sums, y), level, np.ones(y.size, dtype=bool))


def anytime_blocks(T: int, c: float = P) -> Blocks:
    """The anytime schedule (paper, Section 4): level j is k_j = floor(2 * 2^(c j)) blocks s_j.

    c : growth of the number of blocks per level, > 0; the paper's schedule has c = p
    """
    if not (c > 0 and math.isfinite(c)):
        raise ValueError(f"c must be a positive number, but got {c}")
    levels, length, j = [], 0, 0
    while length < T:
        j += 1
        k = min(math.floor(2.0 * 2.0 ** min(c * j, 62.0)), -(-(T - length) >> j) + 1)
        levels.append(np.full(k, j, dtype=np.int64))
        length += k << j
    level = np.concatenate(levels)
    return _joined(level[: np.searchsorted(np.cumsum(1 << level), T) + 1])


def silver_blocks(T: int) -> Blocks:
    """The infinite silver schedule: step 1 + rho^(j-1), then s_j, for j = 0, 1, 2, ..."""
    level = np.arange(T.bit_length(), dtype=np.int64)
    return Blocks(silver_values(level.size), level, np.ones(level.size, dtype=bool))


def dynamic_blocks(T: int) -> Blocks:
    """Join the empty schedule again and again: steps phi(A, 0) -> 2, every prefix primitive."""
    return _joined(np.zeros(T, dtype=np.int64))


def optimal_constant_step(N: int) -> float:
    """Constant step in (1, 2) with the least worst case at N: 1 / (2 N h + 1) = (h - 1)^(2N).

    Source: the two branches cross there; Drori and Teboulle, arXiv:1206.3209 (conjecture).
    """
    from scipy.optimize import brentq

    def gap(h: float) -> float:
        return 2.0 * N * math.log(h - 1.0) + math.log1p(2.0 * N * h)

    return float(brentq(gap, 1.0 + 1e-9, 2.0, xtol=1e-15))


def pridp_sums(T: int) -> tuple[Floats, Ints]:
    """Largest sum of a primitive schedule of each length 0..T, and the left part that gives it.

    S_n = max_k S_k + phi(S_k, S_{n-1-k}) + S_{n-1-k}: O(T^2). Zhang and Jiang, arXiv:2410.12395.
    """
    S, split = np.zeros(T + 1), np.zeros(T + 1, dtype=np.int64)
    for n in range(1, T + 1):
        k = np.arange((n + 1) // 2)  # phi is symmetric: half of the splits suffice
        total = S[k] + phi(S[k], S[n - 1 - k]) + S[n - 1 - k]
        split[n] = np.argmax(total)
        S[n] = total[split[n]]
    return S, split


def domdp_sums(T: int, S: Floats) -> tuple[Floats, Ints]:
    """Largest sum of a dominant schedule of each length 0..T, and its (primitive) left part.

    D_n = max_k S_k + psi(S_k, D_{n-1-k}) + D_{n-1-k}; S from ``pridp_sums``: O(T^2).
    """
    D, split = np.zeros(T + 1), np.zeros(T + 1, dtype=np.int64)
    for n in range(1, T + 1):
        right = D[n - 1 :: -1]
        total = S[:n] + psi(S[:n], right) + right
        split[n] = np.argmax(total)
        D[n] = total[split[n]]
    return D, split


def _fixed_horizon(T: int, dominant: bool) -> Blocks:
    if T > DP_LIMIT:
        raise ValueError(
            f"pridp and domdp compare all splits, O(T^2): T must be at most {DP_LIMIT}, got {T}"
        )
    S, split = pridp_sums(T)
    D, right_split = domdp_sums(T, S) if dominant else (S, split)
    h = np.empty(T)
    todo = [(0, T, dominant)]  # (first step, length, whether this part is dominant)
    while todo:
        first, n, is_dominant = todo.pop()
        if n == 0:
            continue
        k = int((right_split if is_dominant else split)[n])
        join = psi(S[k], D[n - 1 - k]) if is_dominant else phi(S[k], S[n - 1 - k])
        h[first + k] = float(join)
        todo += [(first, k, False), (first + k + 1, n - 1 - k, is_dominant)]
    blocks = flat(h)
    blocks.primitive[-1] = not dominant
    return blocks


def pridp_blocks(T: int) -> Blocks:
    """Primitive schedule of length T with the largest sum (Zhang and Jiang, arXiv:2410.12395)."""
    return _fixed_horizon(T, dominant=False)


def domdp_blocks(T: int) -> Blocks:
    """Dominant schedule of length T with the largest sum (Zhang and Jiang, arXiv:2410.12395)."""
    return _fixed_horizon(T, dominant=True)


def constant_step(name: str) -> float | None:
    """The number in a name such as constant1.9, None if ``name`` is no constant schedule."""
    tail = name.removeprefix("constant")
    try:
        h = float(tail) if tail != name else math.nan
    except ValueError:
        return None
    return h if 0.0 < h < math.inf else None


def schedule_blocks(name: str, T: int, c: float = P) -> Blocks:
    """The schedule called ``name``, in blocks that hold at least its first T steps.

    Raises ValueError if T < 1, if c is not positive, or if the name is unknown.
    """
    if T < 1:
        raise ValueError(f"T must be at least 1, but got {T}")
    if (h := constant_step(name)) is not None:
        return flat(np.full(T, h))
    if name in GRIMMER:
        return flat(np.resize(np.array(GRIMMER[name]), T))
    if name == "anytime":
        return anytime_blocks(T, c)
    if name == "silver":
        return silver_blocks(T)
    if name == "dynamic":
        return dynamic_blocks(T)
    if name == "pridp":
        return pridp_blocks(T)
    if name == "domdp":
        return domdp_blocks(T)
    if name == "constant-opt":
        return flat(np.full(T, optimal_constant_step(T)))
    hint = did_you_mean(name, [*NAMES, "constant1", "constant1.9"], cutoff=0.3)
    raise ValueError(f"unknown schedule {name!r}: expected one of {', '.join(NAMES)}{hint}")


def schedule(name: str, T: int, c: float = P) -> Floats:
    """The first T stepsizes of the schedule called ``name``, in units of 1/L, (T,).

    name : one of NAMES, as in the command line, the tables and the legends
    c : growth parameter of the anytime schedule; the others ignore it

    Raises ValueError if T < 1, if c is not positive, or if the name is unknown.
    """
    return expand(schedule_blocks(name, T, c), T)


def structure(name: str, T: int, c: float = P) -> tuple[Ints, NDArray[np.bool_]]:
    """Level of the block of each step and whether the prefix up to it is primitive, both (T,)."""
    blocks = schedule_blocks(name, T, c)
    index, silver_done = blocks.locate(np.arange(1, T + 1))
    level = blocks.level[index]
    return level, blocks.primitive[index] & (silver_done == (1 << level) - 1)


def chebyshev(T: int, mu: float) -> Floats:
    """Steps that minimise max |prod (1 - h_i lambda)| over curvatures lambda in [mu, 1], (T,).

    The inverse roots of a Chebyshev polynomial: a reference for quadratics only, and in this
    order numerically unstable for long T (the products are fine, the iterates are not).
    """
    k = np.arange(1, T + 1)
    return 2.0 / (1.0 + mu - (1.0 - mu) * np.cos((2 * k - 1) * np.pi / (2 * T)))
