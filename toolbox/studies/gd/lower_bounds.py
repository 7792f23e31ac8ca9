"""Lower bounds on the worst case tau_N from functions that the long steps throw across 0.

tau_N = sup over convex, L-smooth f of (f(x_N) - f*) / (L |x_0 - x*|^2). Every bound here holds for
any schedule of positive steps. `overshoot` has a closed form and is part of `worst_case`; the
other two are optional: `two_sided_huber` searches a larger family by simulation,
`checkpoints` is the tool of the impossibility proofs (weak at these sizes, 0.25 to 0.5 of tau).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from . import model
from .model import Blocks, Floats

HUBER_LIMIT = 2000


def overshoot(blocks: Blocks, N: ArrayLike) -> Floats:
    """Lower bound on tau_N from one step k <= N that leaps over the minimiser, (n,).

        tau_N >= max_k (h_k - 1)^2 / (2 (A_{k-1} + 1)^2 (2 (A_N - A_k) + 1))

    The function is x^2 / 2 on [-d', d], linear outside, x_0 = 1: with d = 1 / (A_{k-1} + 1) the
    run reaches d just before step k, lands at -(h_k - 1) d, and crawls back along the left line;
    d' = (h_k - 1) d / (2 (A_N - A_k) + 1) keeps f(x_N) largest. For k = N, f is one-sided.

    The maximum is over the openings of all blocks with h_k > 2 (a shorter step lands no further
    away than it started) and, in the block of step N, of its halves, quarters, and so on.
    """
    index, silver_steps = blocks.locate(N)
    before = np.concatenate(([0.0], blocks.end_sums))
    opened = before[:-1] + blocks.long
    leap = _leap(blocks.long, opened)
    K = int(blocks.level.max())
    A = opened[index] + model.silver_counts(silver_steps, K) @ model.silver_values(K)
    best = leap[index] / (2.0 * (A - opened[index]) + 1.0)

    for digit in range(K):  # the silver steps that open what is left of the current block
        r = silver_steps >> digit << digit
        A_k = opened[index] + model.silver_counts(r, K) @ model.silver_values(K)
        value = _leap(model.silver_steps(np.maximum(r, 1)), A_k) / (2.0 * (A - A_k) + 1.0)
        best = np.maximum(best, np.where(r > 0, value, 0.0))

    leaps = np.flatnonzero(blocks.long > 2.0)
    if leaps.size:
        A_k, leap = opened[leaps], leap[leaps]
        past = np.searchsorted(leaps, index, side="right")
        for row in np.flatnonzero(past):
            m = past[row]
            best[row] = max(best[row], np.max(leap[:m] / (2.0 * (A[row] - A_k[:m]) + 1.0)))
    return best


def _leap(h: Floats, A: Floats) -> Floats:
    """f right after step h, (h - 1)^2 / (2 (A - h + 1)^2), where A is the sum including h."""
    return (h - 1.0) ** 2 / (2.0 * (A - h + 1.0) ** 2)


def two_sided_huber(h: ArrayLike, kinks: int = 64, curvatures: int = 12) -> Floats:
    """Lower bound on tau_N, for every N = 1..len(h), from asymmetric Huber functions: (N,).

    f(x) = x^2 / 2 up to the kink d+ on the right of 0 and linear beyond; on the left a x^2 / 2
    down to the kink -d- and linear beyond. The run starts at x_0 = 1. All combinations of d+,
    d- (log-spaced, and the d+ at which one of the longest steps starts) and a (0 < a <= 1) run
    side by side, and the largest f(x_N) is kept.

    h : (N,) stepsizes in 1/L
    kinks, curvatures : how many d+ and d-, and how many a

    Raises ValueError for more than 2,000 steps: the time grows with N kinks^2 curvatures.
    """
    steps = np.asarray(h, dtype=np.float64)
    if steps.size > HUBER_LIMIT:
        raise ValueError(f"two_sided_huber takes at most {HUBER_LIMIT} steps, got {steps.size}")
    A = np.cumsum(steps)
    lowest = 0.5 / (2.0 * A[-1] + 1.0)
    longest = np.argsort(-steps, kind="stable")[:kinks]
    starts = 1.0 / (A[longest] - steps[longest] + 1.0)
    right = np.append(np.geomspace(lowest, 1.0, kinks), starts)
    left = np.append(np.geomspace(lowest, 2.0, kinks - 1), np.inf)
    curvature = np.linspace(0.0, 1.0, curvatures + 1)[1:]
    d_right, d_left, a = (m.ravel() for m in np.meshgrid(right, left, curvature))
    x = np.ones(d_right.size)
    best = np.empty(steps.size)
    for n, step in enumerate(steps):
        x -= step * (np.clip(x, 0.0, d_right) + a * np.clip(x, -d_left, 0.0))
        up, down = np.clip(x, 0.0, d_right), np.clip(-x, 0.0, d_left)
        best[n] = np.max(up * (np.abs(x) - up / 2.0) + a * down * (np.abs(x) - down / 2.0))
    return best


def checkpoints(h: ArrayLike) -> Floats:
    """Lower bound on tau_N, for every N = 1..len(h), from the best set of checkpoints: (N,).

    For checkpoints t_1 < ... < t_k <= N with steps b_i = h_{t_i}, s_i the sum of the steps strictly
    between t_{i-1} and t_i, and s_{k+1} the sum after the last,

        2 tau_N >= 1 / (4 (1 + s_{k+1})) * prod_i (b_i / (2 (2 + s_i)))^2.

    The best set is found by dynamic programming on logarithms, O(N^2).
    Source: Lemma 2.3 of Jung, Cho and Yun as quoted by Ye and Liu, arXiv:2609.09152, eq. 5.
    """
    steps = np.asarray(h, dtype=np.float64)
    S = np.concatenate(([0.0], np.cumsum(steps)))
    V = np.zeros(steps.size + 1)  # best log product of the sets that end at checkpoint j
    for j in range(1, steps.size + 1):
        gaps = S[j - 1] - S[:j]
        V[j] = np.max(V[:j] - 2.0 * np.log(2.0 * (2.0 + gaps))) + 2.0 * np.log(steps[j - 1])
    return np.array(
        [
            np.max(np.exp(V[: n + 1]) / (8.0 * (1.0 + S[n] - S[: n + 1])))
            for n in range(1, steps.size + 1)
        ]
    )
