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

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

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
    method: str,
    kappa: float,
    eps: float = 1e-8,
    curvatures: int = 1500,
    steps: Callable[[Restarted], Iterable[Any]] = itertools.repeat,
) -> Iterations:
    """Steps of ``method`` to accuracy ``eps`` in squared distance, at condition number kappa.

    method : one of METHODS; nesterov (constant momentum) and chebyshev (steps for this very N) are
        references on quadratics only, constant is 2 / (1 + mu)
    curvatures : quadratics tried, log-spaced and evenly spaced in [1/kappa, 1]
    steps : the loop that carries a restarted schedule on, as long as it takes

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
    restarted = Restarted(restart_steps(method, kappa), kappa, eps, curvatures)
    for _ in steps(restarted):
        if restarted.count:
            break
        restarted.advance()
    count, member = restarted.count, restarted.family_member
    return Iterations(method, kappa, restarted.period.size, count, member)


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


@dataclass
class Restarted:
    """A restarted schedule on all members of the family at once, as far as it has gone.

    Quadratics of every curvature, and Huber functions of curvature 1 in [-d, d] and mu outside,
    with d log-spaced.
    """

    period: Floats
    kappa: float
    eps: float
    curvatures: int
    done: int = 0
    """Steps after which some member was not within eps."""
    quadratic_late: bool = True
    """Whether a quadratic was among those that were not."""
    count: int = 0
    """The first N at which all members are within eps, once it is known."""
    family_member: str = ""
    """The member that came last, "quadratic" if both did."""

    factor: Floats = field(init=False)
    """x_N / x_0 of each quadratic, and of each Huber function below."""
    x: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.curvature = _curvatures(self.kappa, self.curvatures)
        self.kink = np.geomspace(self.eps, 1.0, 200)
        self.factor, self.x = np.ones(self.curvature.size), np.ones(self.kink.size)

    def advance(self) -> None:
        """Take 128 steps more."""
        mu, kink, x = 1.0 / self.kappa, self.kink, self.x
        chunk = self.period[np.arange(self.done, self.done + 128) % self.period.size]
        factors = self.factor * np.cumprod(1.0 - chunk[:, None] * self.curvature, axis=0)
        quadratic = np.abs(factors).max(axis=1) ** 2
        huber = np.empty(chunk.size)
        for n, step in enumerate(chunk.tolist()):
            x -= step * (mu * x + (1.0 - mu) * np.minimum(np.maximum(x, -kink), kink))
            huber[n] = max(x.max(), -x.min()) ** 2
        within = np.flatnonzero(np.maximum(quadratic, huber) <= self.eps)
        if within.size:
            stop = int(within[0])
            late = quadratic[stop - 1] > self.eps if stop else self.quadratic_late
            self.count = self.done + stop + 1
            self.family_member = "quadratic" if late else "huber"
            return
        self.quadratic_late = bool(quadratic[-1] > self.eps)
        self.factor = factors[-1]
        # What is below this never comes back, and subnormals are slow.
        self.factor[np.abs(self.factor) < 1e-100] = 0.0
        self.done += chunk.size


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
