"""Strongly convex functions: how many steps reach a given accuracy, for condition number kappa.

A primitive period of sum A contracts |x - x*|^2 by 1 / (1 + A/kappa + A (A + 1)/kappa^2). With
x = A / kappa, a period costs about x^(1/theta) steps and gains log(1 + x + x^2): the best ratio is
at x = 1.0778. Restarting the anytime schedule at its first block end with A >= 1.0778 kappa needs
O(kappa^(1/theta) log(1/eps)) = O(kappa^0.893 log(1/eps)) steps (paper, abstract, v2); the rule
for the period is ours.

Counts are over a family of functions, hence lower estimates of the worst case: quadratics of
every curvature in [mu, 1] and strongly convex Huber functions. The metric is |x_N - x*|^2.

Reference: Zhang, Lee, Du, Chen, Anytime Acceleration of Gradient Descent, arXiv:2411.17668.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import model
from .model import Floats

METHODS = ("constant", "anytime", "silver", "nesterov", "chebyshev")
RESTART_RATIO = 1.0778264838522664
"""The x > 0 that maximises log(1 + x + x^2) / x^(1/theta)."""


@dataclass(frozen=True)
class Iterations:
    """Number of gradient steps that ``method`` needs.

    count : least N with |x_N - x*|^2 <= eps |x_0 - x*|^2 on the whole family
    period : steps between restarts (1 for constant steps, 0 where there is no restart)
    family_member : the member that is not there one step earlier: "quadratic" (if both), "huber"
    """

    method: str
    kappa: float
    period: int
    count: int
    family_member: str


def iterations_to(
    method: str, kappa: float, eps: float = 1e-8, curvatures: int = 1500
) -> Iterations:
    """Steps of ``method`` to accuracy ``eps`` in squared distance, at condition number kappa.

    method : one of METHODS; nesterov (constant momentum) and chebyshev (steps for this very N) are
        references on quadratics only, constant is 2 / (1 + mu)
    curvatures : quadratics tried, log-spaced and evenly spaced in [1/kappa, 1]

    Raises ValueError for an unknown method, kappa <= 1 or eps outside (0, 1).
    """
    if not (1.0 < kappa < math.inf):
        raise ValueError(f"kappa must be greater than 1, but got {kappa}")
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps must be in (0, 1), but got {eps}")
    if method == "constant":  # |1 - h lambda| <= (kappa - 1) / (kappa + 1), attained at mu and 1
        rate = math.log1p(-2.0 / (kappa + 1.0))
        return Iterations(method, kappa, 1, _ceil(math.log(eps) / (2.0 * rate)), "quadratic")
    if method == "chebyshev":  # max |T_N(z) / T_N((kappa+1)/(kappa-1))| = 1 / cosh(N arccosh ...)
        growth = 2.0 * math.atanh(1.0 / math.sqrt(kappa))  # = arccosh((kappa + 1) / (kappa - 1))
        return Iterations(method, kappa, 0, _ceil(math.acosh(eps**-0.5) / growth), "quadratic")
    if method == "nesterov":
        return Iterations(method, kappa, 0, _nesterov(kappa, eps, curvatures), "quadratic")
    steps = restart_steps(method, kappa)
    count, member = _count(steps, kappa, eps, curvatures)
    return Iterations(method, kappa, steps.size, count, member)


def restart_steps(method: str, kappa: float) -> Floats:
    """One period of the restarted schedule, (P,): the shortest primitive prefix that is due.

    anytime: up to the first block end with A >= 1.0778 kappa; silver: the first s_k with
    rho^k - 1 >= 1.0778 kappa; constant: the one step 2 / (1 + mu).
    """
    if method == "constant":
        return np.array([2.0 / (1.0 + 1.0 / kappa)])
    due = RESTART_RATIO * kappa
    if method == "silver":
        return model.schedule("silver", 2 ** math.ceil(math.log(due + 1.0, model.RHO)) - 1)
    if method == "anytime":
        length = 64
        while (blocks := model.anytime_blocks(length)).end_sums[-1] < due:
            length *= 2
        end = np.searchsorted(blocks.end_sums, due)
        return model.expand(blocks, int(blocks.ends[end]))
    raise ValueError(f"unknown method {method!r}: expected one of {', '.join(METHODS)}")


def _ceil(x: float) -> int:
    return math.ceil(x - 1e-9)


def _curvatures(kappa: float, count: int) -> Floats:
    mu = 1.0 / kappa
    both = np.concatenate((np.geomspace(mu, 1.0, count), np.linspace(mu, 1.0, count)))
    return np.unique(np.clip(both, mu, 1.0))


def _count(period: Floats, kappa: float, eps: float, curvatures: int) -> tuple[int, str]:
    """First N at which quadratics and strongly convex Huber functions are all within eps.

    The Huber members have curvature 1 in [-d, d] and mu outside; d is log-spaced.
    """
    curvature = _curvatures(kappa, curvatures)
    mu = 1.0 / kappa
    kink = np.geomspace(eps, 1.0, 200)
    factor, x = np.ones(curvature.size), np.ones(kink.size)
    done, quadratic_late = 0, True
    while True:
        chunk = period[np.arange(done, done + 128) % period.size]
        factors = factor * np.cumprod(1.0 - chunk[:, None] * curvature, axis=0)
        quadratic = np.abs(factors).max(axis=1) ** 2
        huber = np.empty(chunk.size)
        for n, step in enumerate(chunk.tolist()):
            x -= step * (mu * x + (1.0 - mu) * np.minimum(np.maximum(x, -kink), kink))
            huber[n] = max(x.max(), -x.min()) ** 2
        within = np.flatnonzero(np.maximum(quadratic, huber) <= eps)
        if within.size:
            stop = int(within[0])
            late = quadratic[stop - 1] > eps if stop else quadratic_late
            return done + stop + 1, "quadratic" if late else "huber"
        quadratic_late = bool(quadratic[-1] > eps)
        factor = factors[-1]
        factor[np.abs(factor) < 1e-100] = 0.0  # never comes back, and subnormals are slow
        done += chunk.size


def _nesterov(kappa: float, eps: float, curvatures: int) -> int:
    """Nesterov's method with step 1 and momentum (sqrt kappa - 1) / (sqrt kappa + 1)."""
    curvature = _curvatures(kappa, curvatures)
    momentum = (math.sqrt(kappa) - 1.0) / (math.sqrt(kappa) + 1.0)
    x = y = np.ones(curvature.size)
    n = 0
    while np.abs(x).max() ** 2 > eps:
        x_next = (1.0 - curvature) * y
        y = x_next + momentum * (x_next - x)
        x = x_next
        n += 1
    return n
