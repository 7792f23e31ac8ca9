"""The flows of an optimiser: the stable flow, and the central flow of its time average.

Unified form: the optimiser is w <- w - P^-1 grad L(w) with P = P(nu). With oscillations of
covariance Sigma = U X U^T on the directions U whose effective curvature is 2,

    dw/dt  = -P^-1 [grad L + grad_w <H(w), Sigma>/2]
    dnu/dt = c [g^2 + (what the oscillations add to g^2) - nu],   c = (1 - beta2)/beta2,

where X >= 0 is such that no eigenvalue of P^-1 H passes 2 and Sigma rests on those at 2: a
semidefinite complementarity problem at every substep. With X = 0 it is the stable flow; for
gradient descent that is the gradient flow. A unit of time is one step of the optimiser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import complementarity, eigen, landscape
from .landscape import Objective, Point
from .rule import LOWEST_NU, Rule

MOST_DIRECTIONS = 16


@dataclass(frozen=True)
class Setting:
    """How the flows are computed.

    substeps : Euler steps of the central flow per step of the optimiser
    track : eigenvalues of P^-1 H are tracked down to here
    critical : above this, a direction enters the complementarity problem; below 2, above `track`
    tolerance : of the eigenpairs' residuals, relative
    penalty : False leaves out the curvature penalty, the ablation of the paper
    """

    substeps: int = 4
    track: float = 1.8
    critical: float = 1.95
    tolerance: float = 1e-4
    penalty: bool = True


class Tracker:
    """The eigenpairs of P^-1 H along a path, each point warm-started by the two before.

    On a smooth path the vectors of two points predict those of the next; on one that oscillates the
    last but one is nearer than the last.

    vectors : where the next search starts, (n, b), in the coordinates P^(1/2) w
    """

    def __init__(self, n: int, setting: Setting, generator: torch.Generator, like: Tensor) -> None:
        self.setting, self.generator, self._like = setting, generator, like
        self.vectors = self._draw(n, 1)
        self._before = self.vectors[:, :0]

    def _draw(self, n: int, m: int) -> Tensor:
        drawn = torch.randn(n, m, dtype=torch.float64, generator=self.generator)
        return drawn.to(self._like)

    def pairs(self, point: Point, P: Tensor, threshold: float | None = None) -> eigen.Pairs:
        """The eigenpairs of P^-1/2 H P^-1/2 above a threshold (the setting's `track`), and one.

        P : (1,) or (n,)
        """
        n = len(point.gradient)
        threshold = self.setting.track if threshold is None else threshold
        found = eigen.above(
            scaled(point, P), self.vectors, threshold, self.setting.tolerance,
            lambda m: self._draw(n, m), min(MOST_DIRECTIONS, n),
        )  # fmt: skip
        self.vectors = torch.cat([found.vectors, found.spare, self._before], 1)
        self._before = found.vectors
        return found

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"vectors": self.vectors, "before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.vectors, self._before = state["vectors"], state["before"]


def scaled(point: Point, P: Tensor) -> Any:
    """V -> P^-1/2 H P^-1/2 V."""
    root = P.sqrt()[:, None]
    return lambda vectors: point.hessian_times(vectors / root) / root


@dataclass(frozen=True)
class Oscillation:
    """The predicted oscillations at one point.

    X : (k, k);  U : (n, k), U^T P U = I;  HU : (n, k);  critical : k
    least, gap : how exactly the complementarity problem is solved, see `complementarity.Solution`
    top : largest effective eigenvalue;  values : (m,) all that are tracked
    loss, gradient : of the flow's own point
    """

    X: Tensor
    U: Tensor
    HU: Tensor
    values: Tensor
    loss: float
    gradient: Tensor
    least: float = 0.0
    gap: float = 0.0

    @property
    def critical(self) -> int:
        """Number of directions at the edge of stability."""
        return self.X.shape[0]

    @property
    def top(self) -> float:
        """The largest effective eigenvalue."""
        return float(self.values[0])

    @property
    def mean_loss(self) -> float:
        """The predicted time average of the loss, L + tr(H Sigma)/2 = L + tr X."""
        return self.loss + float(self.X.trace())

    @property
    def mean_gradient(self) -> float:
        """The predicted time average of |grad L|^2."""
        return float(self.gradient @ self.gradient + (self.HU @ self.X * self.HU).sum())

    @property
    def mean_square(self) -> Tensor:
        """The predicted time average of (grad L)^2, (n,)."""
        return self.gradient**2 + (self.HU @ self.X * self.HU).sum(1)

    def directions(self) -> tuple[Tensor, Tensor]:
        """Variances and generalised eigenvectors of Sigma: (k,) falling; (n, k), V^T P V = I."""
        values, rotation = torch.linalg.eigh(self.X)
        return values.flip(0), self.U @ rotation.flip(1)


class Central:
    """The central flow. w : (n,) and nu are its state; `advance` moves it by one step."""

    def __init__(
        self, objective: Objective, rule: Rule, w: Tensor, nu: Tensor, setting: Setting,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.objective, self.rule, self.setting = objective, rule, setting
        self.w, self.nu = w.clone(), nu.clone()
        self.tracker = Tracker(len(w), setting, generator, w)

    def advance(self) -> Oscillation:
        """One unit of time. Returns the oscillation at its beginning."""
        first: Oscillation | None = None
        pairs: eigen.Pairs | None = None
        dt = 1 / self.setting.substeps
        for _ in range(self.setting.substeps):
            point = Point(self.objective, self.w)
            P = self.rule.P(self.nu)
            if pairs is None:
                pairs = self.tracker.pairs(point, P)
            elif float(pairs.values[0]) > self.setting.track:
                # Between eigen-solves the eigenvectors are the best in the tracked subspace.
                pairs = eigen.ritz(pairs.vectors, scaled(point, P)(pairs.vectors))
            found, w_rate, nu_rate = self._rates(point, P, pairs, dt)
            self.w = self.w + dt * w_rate
            if len(self.nu):
                self.nu = (self.nu + dt * nu_rate).clamp_min(LOWEST_NU)
            first = first or found
        assert first is not None
        return first

    def _rates(
        self, point: Point, P: Tensor, pairs: eigen.Pairs, dt: float
    ) -> tuple[Oscillation, Tensor, Tensor]:
        """The oscillation, dw/dt and dnu/dt at one point."""
        rule, g = self.rule, point.gradient
        w_rate = -g / P
        nu_rate = rule.speed * (rule.squared(g) - self.nu)
        k = int((pairs.values > self.setting.critical).sum())
        U = pairs.vectors[:, :k] / P.sqrt()[:, None]
        if k == 0:
            none = g.new_zeros(0, 0)
            return Oscillation(none, U, U, pairs.values, point.loss, g), w_rate, nu_rate
        T, HU = point.third(U)
        E = torch.as_tensor(complementarity.basis(k)).to(g).flatten(1)  # (m, k k)
        TE = E @ T.flatten(0, 1)
        w_turn = -0.5 * TE / P  # what one unit of each X_m adds to dw/dt
        if not self.setting.penalty:
            w_turn = torch.zeros_like(w_turn)
        change = -TE @ w_rate  # <E_m, -dH> of the stable part
        B = -TE @ w_turn.T
        nu_turn = None
        if len(self.nu):
            pair = torch.stack(
                [rule.oscillation(HU[:, i], HU[:, j]) for i in range(k) for j in range(k)]
            )
            nu_turn = rule.speed * E @ pair
            rows = torch.stack([U[:, i] * U[:, j] for i in range(k) for j in range(k)])
            if len(self.nu) == 1:
                rows = rows.sum(1, keepdim=True)
            Q = E @ (rows * rule.slope(self.nu))
            change = change + 2 * Q @ nu_rate
            B = B + 2 * Q @ nu_turn.T
        A = torch.diag(2 - pairs.values[:k]) + dt * (change @ E).view(k, k)
        solved = complementarity.solve(A.double().cpu().numpy(), (dt * B).double().cpu().numpy())
        X = torch.as_tensor(solved.X).to(g)
        x = E @ X.flatten()
        w_rate = w_rate + x @ w_turn
        if nu_turn is not None:
            nu_rate = nu_rate + x @ nu_turn
        found = Oscillation(X, U, HU, pairs.values, point.loss, g, solved.least, solved.gap)
        return found, w_rate, nu_rate

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"w": self.w, "nu": self.nu, "tracker": self.tracker.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.w, self.nu = state["w"], state["nu"]
        self.tracker.load_state_dict(state["tracker"])


class Stable:
    """The stable flow, dw/dt = -P^-1 grad L: no oscillation at all."""

    def __init__(
        self, objective: Objective, rule: Rule, w: Tensor, nu: Tensor, setting: Setting,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.objective, self.rule = objective, rule
        self.w, self.nu = w.clone(), nu.clone()
        self.tracker = Tracker(len(w), setting, generator, w)
        self.values: Tensor | None = None

    def advance(self, looks: bool = True) -> Oscillation:
        """One unit of time in Euler steps short enough for the curvature. Returns its beginning.

        looks : False takes the largest eigenvalue as it was last seen
        """
        point, P = Point(self.objective, self.w), self.rule.P(self.nu)
        if looks or self.values is None:
            self.values = self.tracker.pairs(point, P, math.inf).values
        k, n = 0, len(self.w)
        first = Oscillation(
            self.w.new_zeros(k, k), self.w.new_zeros(n, k), self.w.new_zeros(n, k),
            self.values, point.loss, point.gradient,
        )  # fmt: skip
        count = max(4, math.ceil(2 * first.top))
        gradient = point.gradient
        for turn in range(count):
            if turn:
                gradient = landscape.gradient(self.objective, self.w)
            P = self.rule.P(self.nu)
            if len(self.nu):
                rate = self.rule.speed * (self.rule.squared(gradient) - self.nu)
                self.nu = (self.nu + rate / count).clamp_min(LOWEST_NU)
            self.w = self.w - gradient / P / count
        return first

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"w": self.w, "nu": self.nu, "tracker": self.tracker.state_dict(),
                "values": self.values}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.w, self.nu, self.values = state["w"], state["nu"], state["values"]
        self.tracker.load_state_dict(state["tracker"])
