"""Closed forms: information bounds, reference lines, superposition, escape times."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

PAPER_LINEAR = 1.3
"""d^2 = 1.3 N ln N, the dashed line of Figure 1 left (official code)."""
PAPER_MLP = 0.35
"""m d = 0.35 N ln N, Figure 1 right (official code)."""
PAPER_FIXED = 1.2
"""m d = 1.2 N for 32 outputs, Figure 6 (official code)."""
PAPER_FACTS = 0.15
"""facts = 0.15 parameters, Figure 4 left (official code)."""
SHARP = 0.5
"""N ln N / d^2 at which a matrix stops to separate strictly, large d (arXiv:2605.10795)."""


def n_log_n(N: ArrayLike) -> np.ndarray:
    """N ln N."""
    N = np.asarray(N, dtype=float)
    return np.asarray(N * np.log(N))


def inverse_n_log_n(value: ArrayLike) -> np.ndarray:
    """The N >= 1 with N ln N = value >= 0, by Lambert's W."""
    value = np.asarray(value, dtype=float)
    return np.asarray(np.exp(special.lambertw(value).real))


def fano_bits(N: ArrayLike, D: int, error: float) -> np.ndarray:
    """Bits needed to recall a fraction 1 - error of N independent facts with D choices each.

    N (log2 D - h2(error) - error log2(D - 1)), Fano's inequality (the form of the paper's lower
    bound is derived here, not quoted). Zero where guessing does as well: error >= 1 - 1/D.
    """
    entropy = 0.0
    if 0 < error < 1:
        entropy = -error * math.log2(error) - (1 - error) * math.log2(1 - error)
    other = error * math.log2(D - 1) if D > 2 else 0.0
    per = math.log2(D) - entropy - other if error < 1 - 1 / D else 0.0
    return np.asarray(np.asarray(N, dtype=float) * max(per, 0.0))


def permutation_bits(N: ArrayLike) -> np.ndarray:
    """log2 N!: bits of the identity map on N items in unknown order."""
    return np.asarray(special.gammaln(np.asarray(N, dtype=float) + 1) / math.log(2))


def association_bits(N: ArrayLike, outputs: int | None, error: float) -> np.ndarray:
    """Bits needed by a memory of N associations at the given error.

    Identity map (outputs None): log2 of N! over the C(N, k) k! = N! / (N - k)! permutations at most
    that one set of parameters recalls up to k = error N wrong ones (counting). M outputs: Fano.
    """
    N = np.asarray(N, dtype=float)
    if outputs is not None:
        return fano_bits(N, outputs, error)
    wrong = np.floor(error * N)
    near = special.gammaln(N + 1) - special.gammaln(N - wrong + 1)
    return np.asarray(np.maximum(special.gammaln(N + 1) - near, 0) / math.log(2))


def most_associations(bits: float, outputs: int | None, error: float) -> float:
    """The largest N whose associations fit into `bits`: the upper bound on any capacity."""

    def excess(log_n: float) -> float:
        return float(association_bits(math.exp(log_n), outputs, error)) - bits

    if excess(math.log(2)) >= 0:
        return 2.0
    return math.exp(optimize.brentq(excess, math.log(2), math.log(max(bits, 4.0)) + 8))


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(100)


def superposition_prediction(N: ArrayLike, d: ArrayLike) -> np.ndarray:
    """Accuracy of the superposition for the identity map, logits taken as independent Gaussians.

    The right logit is 1 + N(0, (N-1)/d^2). A wrong one has two terms with one random overlap
    (variance 1/d each) and N - 2 with two: variance 2/d + (N-2)/d^2. N and d broadcast.
    """
    N, d = np.asarray(N, dtype=float)[..., None], np.asarray(d, dtype=float)[..., None]
    right = np.sqrt((N - 1) / d**2)
    wrong = np.sqrt(2 / d + (N - 2) / d**2)
    log_win = (N - 1) * special.log_ndtr((1 + right * NODES) / wrong)
    return np.asarray(np.exp(log_win) @ WEIGHTS / math.sqrt(2 * math.pi))


def superposition_capacity(d: ArrayLike, threshold: float) -> np.ndarray:
    """The N at which `superposition_prediction` falls to the threshold, by bisection, N real."""
    d = np.asarray(d, dtype=float)
    low, high = np.full(d.shape, 2.0), d * d
    for _ in range(50):
        middle = np.sqrt(low * high)
        holds = superposition_prediction(middle, d) >= threshold
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low


# ------------------------------------------------------------- linear attention, Section 2.4


def growth_rates(subjects: int, relations: int, answers: int) -> tuple[float, float]:
    """(relation, subject) growth rates of the gradient flow linearised at zero.

    g_r = sqrt(1/D - 1/(RD)) / R and g_s = sqrt(1/R - 1/(RD)) / S, for structured facts: the norm
    of E[c_v (onehot(y) - uniform)] (derived).
    """
    R, D = relations, answers
    relation = math.sqrt(1 / D - 1 / (R * D)) / R
    subject = math.sqrt(1 / R - 1 / (R * D)) / subjects
    return relation, subject


def escape_step(rate: float, lr: float, initial: float) -> float:
    """Step at which a mode that grows as exp(rate lr t) from `initial` is of order one.

    ln(2 / initial) / (lr rate): half of the initial vector lies along the growing mode (derived).
    """
    return math.log(2 / initial) / (lr * rate) if rate > 0 else math.inf
