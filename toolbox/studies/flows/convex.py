"""The stationary preconditioner: the diagonal P to which RMSProp's average leads at a fixed point.

    P-bar = argmin  tr P + (1/eta^2) g^T P^-1 g   over diagonal P >= 0   s.t.  H <= 2 P,

and P-hat, the same without the second term. The dual, with Sigma >= 0, is

    max  2 sum_i (|g_i|/eta) sqrt(1 - 2 Sigma_ii) + <H, Sigma>   s.t.  2 Sigma_ii <= 1,

for P-hat a semidefinite program of the form of MAX-CUT. With Sigma = R R^T each row of R has a
closed best value given the others, up to one angle: sweeps over the rows (the mixing method of
Wang, Chang and Kolter, arXiv:1706.00476) end at the optimum, and the primal bounds the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SWEEPS = 400
RANK = 16
"""Columns of R, at most. The optimum needs about as many as there are eigenvalues at 2; were it
more, the gap would say so."""
ENOUGH = 1e-4
"""Relative gap between primal and dual value at which the sweeps end."""
LOOK_EVERY = 10


@dataclass(frozen=True)
class Stationary:
    """A preconditioner and how exactly it is known.

    P : (n,), feasible: no eigenvalue of P^-1 H is above 2;  R : (n, r), Sigma = R R^T
    gap : primal less dual value, relative; the error of the value is at most that
    """

    P: Floats
    R: Floats
    gap: float


def stationary(
    H: Floats, g: Floats, eta: float, start: Floats | None = None, enough: float = ENOUGH
) -> Stationary:
    """P-bar; with g = 0, P-hat.

    H : (n, n), symmetric;  g : (n,);  start : R of a problem nearby

    Coordinates whose row of H and whose g are zero do not enter: their P is 0.
    """
    live = (np.abs(H).max(1) > 0) | (g != 0)
    A, a = H[np.ix_(live, live)], np.abs(g[live]) / eta
    n = len(a)
    rank = min(n, RANK)
    if start is None:
        R = np.random.default_rng(0).standard_normal((n, rank))
        R *= np.sqrt(0.5) / np.linalg.norm(R, axis=1, keepdims=True)
    else:
        R = start[live].copy()
    P, gap = a, math.inf
    for turn in range(SWEEPS):
        _sweep(A, a, R)
        if turn % LOOK_EVERY == LOOK_EVERY - 1:
            P, gap = _primal(A, a, R)
            if gap <= enough:
                break
    whole, rows = np.zeros(len(g)), np.zeros((len(g), R.shape[1]))
    whole[live], rows[live] = P, R
    return Stationary(whole, rows, gap)


def _sweep(A: Floats, a: Floats, R: Floats) -> None:
    """Each row of R to its best value, in place."""
    diagonal = A.diagonal()
    for i in range(len(a)):
        c = A[i] @ R - diagonal[i] * R[i]
        size = math.sqrt(c @ c)
        angle = _angle(math.sqrt(2) * size, float(diagonal[i]), 2 * float(a[i]))
        if size > 0:
            R[i] = c * (math.sin(angle) * math.sqrt(0.5) / size)
        elif angle > 0:
            R[i] *= math.sin(angle) * math.sqrt(0.5) / max(math.sqrt(R[i] @ R[i]), 1e-300)


def _angle(b: float, d: float, e: float) -> float:
    """The theta in [0, pi/2] with the largest b sin(theta) + (d/2) sin(theta)^2 + e cos(theta).

    b, e >= 0. The derivative, over sin cos, b/sin + d - e/cos, falls with theta: one zero.
    """
    if e == 0:
        return math.pi / 2 if d >= 0 or b >= -d else math.asin(b / -d)
    if b == 0:
        return 0.0 if e >= d else math.acos(e / d)
    low, high = 0.0, math.pi / 2
    for _ in range(45):
        middle = (low + high) / 2
        if b * math.cos(middle) + d * math.sin(middle) * math.cos(middle) > e * math.sin(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _primal(A: Floats, a: Floats, R: Floats) -> tuple[Floats, float]:
    """A feasible P from the dual, and the relative gap.

    At the optimum (2 P - H) R = 0, and where a > 0 also P = a/sqrt(1 - 2 Sigma_ii).
    """
    squared = (R * R).sum(1)
    products = A @ R
    dual = float(2 * (a * np.sqrt((1 - 2 * squared).clip(0))).sum() + (products * R).sum())
    by_rows = (products * R).sum(1) / np.maximum(2 * squared, 1e-300)
    cosine = np.sqrt((1 - 2 * squared).clip(0))
    P = np.where(cosine > 0.5, a / np.maximum(cosine, 1e-300), by_rows)
    P = np.maximum(P, np.maximum(a * 1e-6, 1e-9 * np.abs(P).max()))
    root = 1 / np.sqrt(P)
    top = float(np.linalg.eigvalsh(A * root[:, None] * root)[-1])
    P = P * max(1.0, top / 2)
    value = float(P.sum() + (a * a / P).sum())
    return P, (value - dual) / max(abs(value), 1e-300)
