"""An optimiser and its flows, side by side.

`discrete` is the optimiser; `midpoint` its path without the oscillation,
(w[t-1] + 2 w[t] + w[t+1])/4; `central` the central flow; `ablated` the central flow without its
curvature penalty; `stable` the stable flow. All start at one point; a unit of time is one step.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from .central import Central, Oscillation, Setting, Stable, Tracker
from .complementarity import Unsolvable
from .eigen import NotConverged, Pairs
from .landscape import Objective, Point
from .rule import Rule

PROCESSES = ("discrete", "midpoint", "central", "ablated", "stable")
SHARPEST = 100.0
"""The stable flow ends here: above it, its Euler steps would be too many to be worth it."""
SMOOTHING = 5.0
"""Standard deviation in steps of the Gaussian that smooths measured variances."""


class Ended(Exception):
    """A process cannot go on; the message says which and why."""


@dataclass(frozen=True)
class Watch:
    """What is looked at, and how often.

    processes : some of `PROCESSES`; `discrete` is always among them
    eig_every : steps between two looks at eigenvalues of all processes but the central flow, which
                needs its own at every step
    kick : length by which the optimiser is moved, once, along the sharpest direction, at the first
           step with an effective sharpness above 2; 0 leaves it alone
    raw : the sharpness of the Hessian itself too; where P is a number it is known anyway
    coordinates : indices of parameters whose squared gradient and nu are recorded
    """

    processes: tuple[str, ...] = PROCESSES
    eig_every: int = 1
    kick: float = 0.0
    raw: bool = False
    coordinates: tuple[int, ...] = ()


class Comparison:
    """The processes at one time; `step` records them all and moves them by one step.

    w : (n,), where all start;  nu : see `Rule`, after the update with the gradient at w

    `trajectory`, `spectrum` and `coordinates` are rows of tables, lists of columns by name.
    """

    def __init__(
        self, objective: Objective, rule: Rule, w: Tensor, nu: Tensor, setting: Setting,
        watch: Watch, generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.objective, self.rule, self.watch = objective, rule, watch
        self.w, self.nu, self.before = w, nu, w
        self.time, self.kicked, self.stopped = 0, watch.kick == 0, False
        self.trajectory: list[dict[str, Any]] = []
        self.spectrum: list[dict[str, Any]] = []
        self.coordinates: list[dict[str, Any]] = []
        start = objective, rule, w, nu
        self.flows: dict[str, Central | Stable] = {}
        if "central" in watch.processes:
            self.flows["central"] = Central(*start, setting, generator)
        if "ablated" in watch.processes:
            self.flows["ablated"] = Central(*start, replace(setting, penalty=False), generator)
        if "stable" in watch.processes:
            self.flows["stable"] = Stable(*start, setting, generator)
        own = ["discrete", "midpoint"]
        raw = [f"raw {name}" for name in [*own, *self.flows]] if watch.raw else []
        self.trackers = {name: Tracker(len(w), setting, generator, w) for name in [*own, *raw]}

    def step(self) -> None:
        """Record and advance.

        Errors: `Ended` when a loss is not finite, or when eigenvalues cannot be followed.
        """
        looks = self.time % self.watch.eig_every == 0
        place = self.w
        self._optimiser(looks)
        for name, flow in self.flows.items():
            if not (name == "stable" and self.stopped):
                self._flow(name, flow, place, looks)
        self.time += 1

    def _optimiser(self, looks: bool) -> None:
        w, rule, watch = self.w, self.rule, self.watch
        point = self._point("discrete", w)
        if self.time:
            self.nu = rule.average(self.nu, point.gradient)
        P = rule.P(self.nu)
        after = w - point.gradient / P
        columns: dict[str, Any] = {"kick": 0.0}
        if looks:
            pairs = self._pairs("discrete", point, P, math.inf)  # the largest alone
            columns |= self._sharpness("discrete", point, P, float(pairs.values[0]))
            if not self.kicked and float(pairs.values[0]) > 2:
                direction = pairs.vectors[:, 0] / P.sqrt()
                after = after + watch.kick * direction / direction.norm()
                columns["kick"], self.kicked = watch.kick, True
        square = point.gradient.square()
        self._record("discrete", self.nu, point.loss, square, columns)
        if self.time and "midpoint" in watch.processes:
            point = self._point("midpoint", (self.before + 2 * w + after) / 4)
            columns = {}
            if looks:
                pairs = self._pairs("midpoint", point, P)
                columns = self._sharpness("midpoint", point, P, float(pairs.values[0]))
                self._eigenvalues("midpoint", pairs.values)
            self._record("midpoint", self.nu, point.loss, point.gradient.square(), columns)
        self.before, self.w = w, after

    def _flow(self, name: str, flow: Central | Stable, place: Tensor, looks: bool) -> None:
        """Record a flow and move it. place : where the optimiser is at this time"""
        w, nu = flow.w, flow.nu
        with ended_by(name):
            found = flow.advance() if isinstance(flow, Central) else flow.advance(looks)
        if not bool(flow.w.isfinite().all()):
            raise Ended(f"the gradient of the process {name} is not finite")
        P = self.rule.P(nu)
        columns = {
            "mean_loss": found.mean_loss, "mean_gradient_squared": found.mean_gradient,
            "critical": found.critical, "trace": float(found.X.trace()),
            "distance": float((w - place).norm()),
        }  # fmt: skip
        if looks or isinstance(flow, Central):
            point = self._point(name, w) if self.watch.raw else None
            columns |= self._sharpness(name, point, P, found.top)
        if isinstance(flow, Central):
            variances, directions = found.directions()
            measured = (directions.T @ (P * (place - w))).square()
            columns |= {"variance": float(measured.sum()), "least": found.least, "gap": found.gap}
            self._eigenvalues(name, found.values, variances, measured)
        elif found.top > SHARPEST:
            self.stopped = True
        self._record(name, nu, found.loss, found.gradient.square(), columns, found)

    # --------------------------------------------------------------------------------- parts

    def _point(self, name: str, w: Tensor) -> Point:
        point = Point(self.objective, w)
        if not math.isfinite(point.loss) or not bool(point.gradient.isfinite().all()):
            raise Ended(f"the loss or the gradient of the process {name} is not finite")
        return point

    def _pairs(self, name: str, point: Point, P: Tensor, threshold: float | None = None) -> Pairs:
        with ended_by(name):
            return self.trackers[name].pairs(point, P, threshold)

    def _sharpness(self, name: str, point: Point | None, P: Tensor, top: float) -> dict[str, float]:
        """Columns. top : largest eigenvalue of P^-1 H"""
        columns = {"sharpness": top}
        if len(P) == 1:
            columns["raw_sharpness"] = top * float(P)
        elif self.watch.raw and point is not None:
            pairs = self._pairs(f"raw {name}", point, torch.ones_like(P[:1]), math.inf)
            columns["raw_sharpness"] = float(pairs.values[0])
        return columns

    def _record(
        self, name: str, nu: Tensor, loss: float, square: Tensor, columns: dict[str, Any],
        found: Oscillation | None = None,
    ) -> None:  # fmt: skip
        here = {"process": name, "step": self.time}
        row = here | {"loss": loss, "gradient_squared": float(square.sum()), "critical": 0}
        if len(nu):
            row["nu"] = float(nu.sum())
        row["step_size"] = float((1 / self.rule.P(nu)).mean())
        self.trajectory.append(row | columns)
        for index in self.watch.coordinates:
            row = here | {"coordinate": index, "squared": float(square[index])}
            row["nu"] = float(nu[index])
            if found is not None:
                row["mean_squared"] = float(found.mean_square[index])
            self.coordinates.append(row)

    def _eigenvalues(
        self, name: str, values: Tensor, predicted: Tensor | None = None,
        measured: Tensor | None = None,
    ) -> None:  # fmt: skip
        for index, value in enumerate(values.tolist()):
            row = {"process": name, "step": self.time, "index": index, "eigenvalue": value}
            if predicted is not None and measured is not None and index < len(predicted):
                row["predicted_variance"] = float(predicted[index])
                row["measured_variance"] = float(measured[index])
            self.spectrum.append(row)

    # ---------------------------------------------------------------------------- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        parts = {**self.flows, **self.trackers}
        return {
            **{name: getattr(self, name) for name in _KEPT},
            "parts": {name: part.state_dict() for name, part in parts.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        for name in _KEPT:
            setattr(self, name, state[name])
        for name, part in {**self.flows, **self.trackers}.items():
            part.load_state_dict(state["parts"][name])


_KEPT = (
    "w", "nu", "before", "time", "kicked", "stopped", "trajectory", "spectrum", "coordinates"
)  # fmt: skip


@contextlib.contextmanager
def ended_by(name: str) -> Iterator[None]:
    """Say of a failure of the numerics which process it ends.

    Errors: `Ended`.
    """
    try:
        yield
    except (NotConverged, Unsolvable, LinAlgError, np.linalg.LinAlgError) as error:
        raise Ended(f"process {name}: {error}") from None


def smooth(values: pd.Series) -> pd.Series:
    """A Gaussian average over `SMOOTHING` steps of the values that are there."""
    from scipy.ndimage import gaussian_filter1d

    known = values.dropna()
    return pd.Series(gaussian_filter1d(known.to_numpy(), SMOOTHING), index=known.index)


def tables(sides: Comparison) -> dict[str, pd.DataFrame]:
    """The rows so far as tables.

    `trajectory` : `mean_loss` and `mean_gradient_squared` are predicted for a flow; for the
    optimiser they are its own, averaged in time by `smooth`.
    `spectrum` : `smoothed_variance` is the measured variance of a direction, averaged in time.
    """
    trajectory = pd.DataFrame(sides.trajectory)
    measured = trajectory["process"] == "discrete"
    for name in ("loss", "gradient_squared"):
        average = smooth(trajectory.loc[measured, name])
        trajectory.loc[measured, f"mean_{name}"] = average
    spectrum = pd.DataFrame(sides.spectrum).reindex(columns=SPECTRUM)
    groups = spectrum.groupby(["process", "index"])["measured_variance"]
    spectrum["smoothed_variance"] = groups.transform(smooth)
    found = {"trajectory": trajectory, "spectrum": spectrum}
    if sides.coordinates:
        found["coordinates"] = pd.DataFrame(sides.coordinates)
    return found


SPECTRUM = ("process", "step", "index", "eigenvalue", "predicted_variance", "measured_variance")
