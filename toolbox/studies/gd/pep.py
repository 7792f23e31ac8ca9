"""The exact worst case of a schedule as a semidefinite program (performance estimation, PEP).

The unknowns are the Gram matrix G of (x_0 - x*, g_0, ..., g_N) and the values f_0, ..., f_N with
f* = 0 and L = 1. They come from an L-smooth, mu-strongly convex f exactly if, for every ordered
pair i != j of {0, ..., N, *},

    f_i >= f_j + <g_j, x_i - x_j>
           + (|g_i - g_j|^2 + mu |x_i - x_j|^2 - 2 mu <g_i - g_j, x_i - x_j>) / (2 (1 - mu)).

Maximising a linear function of (G, f) under |x_0 - x*| <= 1 then gives the exact worst case.
Reference: Taylor, Hendrickx, Glineur, Smooth strongly convex interpolation and exact worst-case
performance of first-order methods, arXiv:1502.05666 (Theorem 4 and Section 3).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .model import Floats

METRICS = ("f", "g", "distance", "potential")
TOLERANCE = 1e-10


@dataclass(frozen=True)
class PepValue:
    """Optimum of the program, for |x_0 - x*| = 1 and L = 1.

    status, solver : as cvxpy names them; "optimal_inaccurate" means that the solver stopped short
        of ten digits; five were right wherever a closed form could tell
    """

    value: float
    status: str
    solver: str


def worst_case_pep(h: ArrayLike, mu: float = 0.0, metric: str = "f") -> PepValue:
    """Largest ``metric`` after the steps h, over all L-smooth mu-strongly convex functions.

    h : (N,) stepsizes in 1/L, N >= 1; the program has (N + 2)(N + 1) constraints
    mu : strong convexity in units of L, in [0, 1)
    metric : f: f(x_N) - f*; g: |grad f(x_N)|^2; distance: |x_N - x*|^2; potential: the left side
        A (f_N - f*) + A (A + 1) / 2 |g_N|^2 + |x_N - x*|^2 / 2 of Def. 2 of arXiv:2411.17668,
        at most 1/2 exactly if h is primitive

    Raises ValueError for a bad argument, ImportError without cvxpy and clarabel, and RuntimeError
    if the solver finds no optimum.
    """
    steps = np.asarray(h, dtype=np.float64)
    if steps.ndim != 1 or steps.size == 0 or not np.all(np.isfinite(steps)):
        raise ValueError("h must be a vector of at least one finite stepsize")
    if not 0.0 <= mu < 1.0:
        raise ValueError(f"mu must be in [0, 1), but got {mu}")
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: expected one of {', '.join(METRICS)}")

    import cvxpy as cp
    from scipy.sparse import csr_matrix

    A = float(steps.sum())
    scale = _gradient_size(steps)
    x, g = _coordinates(steps, scale)
    N = steps.size
    star = N + 1
    pairs = list(permutations(range(N + 2), 2))
    forms = np.empty((len(pairs), (N + 2) ** 2))
    values = np.zeros((len(pairs), N + 2))  # column star is f* = 0, dropped below
    for row, (i, j) in enumerate(pairs):
        dx, dg = x[i] - x[j], g[i] - g[j]
        curved = np.outer(dg, dg) + mu * np.outer(dx, dx) - 2.0 * mu * np.outer(dg, dx)
        form = np.outer(g[j], dx) + curved / (2.0 * (1.0 - mu))
        forms[row] = (0.5 * (form + form.T)).ravel() / scale
        values[row, j], values[row, i] = 1.0, -1.0

    G = cp.Variable((N + 2, N + 2), PSD=True)
    f = cp.Variable(N + 1)  # in units of scale
    gradient = g[N] @ G @ g[N]
    distance = x[N] @ G @ x[N]
    objective = {
        "f": f[N],
        "g": gradient / scale**2,
        "distance": distance,
        "potential": A * scale * f[N] + A * (A + 1.0) / 2.0 * gradient + distance / 2.0,
    }[metric]
    unit = {"f": scale, "g": scale**2}.get(metric, 1.0)
    interpolation = csr_matrix(forms) @ G.flatten(order="C") + csr_matrix(values[:, :star]) @ f
    problem: Any = cp.Problem(cp.Maximize(objective), [interpolation <= 0, G[0, 0] <= 1])
    tolerance = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), TOLERANCE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Solution may be inaccurate")  # the status says so
        problem.solve(solver=cp.CLARABEL, **tolerance)
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise RuntimeError(f"the solver returned {problem.status} for {N} steps, not an optimum")
    return PepValue(float(problem.value) * unit, problem.status, "CLARABEL")


def _gradient_size(h: Floats) -> float:
    """About how long g_N is in a worst case: 2 / A (Huber) or prod |1 - h_i| (x^2 / 2), at most 1.

    In this unit the entries of G are of one size, which is worth one or two digits of the optimum.
    """
    flat, curved = 2.0 / max(float(np.abs(h).sum()), 2.0), float(np.prod(np.abs(1.0 - h)))
    return min(1.0, max(flat, curved))


def _coordinates(h: Floats, scale: float) -> tuple[Floats, Floats]:
    """Points and gradients 0..N, * in the basis (x_0 - x*, g_0 / scale, ..., g_N / scale).

    Both arrays are (N + 2, N + 2).
    """
    N = h.size
    x, g = np.zeros((N + 2, N + 2)), np.zeros((N + 2, N + 2))
    x[: N + 1, 0] = 1.0
    x[: N + 1, 1 : N + 1] = -np.tril(np.ones((N + 1, N)), k=-1) * h * scale
    g[: N + 1, 1:] = np.eye(N + 1) * scale
    return x, g
