"""`flows stationary`: where RMSProp's average comes to rest, and what that is good for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolbox.core.crew import Worker
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, convex
from .central import Central
from .cli import Stationary
from .comparison import Ended, ended_by
from .landscape import Objective, Point
from .rule import Rule

LARGEST = 3000
"""Parameters above which the whole Hessian would be too much."""
SHARE = 1e-3
"""Directions of the stationary covariance with less than this share of the largest are rounding."""


@dataclass(frozen=True)
class Job:
    """One replicate."""

    repeat: int
    p: Stationary


def stationary(run: Run, p: Stationary) -> None:
    """Tables `average`, `preconditioners` and `flow`.

    Errors: `ParameterError` for flags that do not fit together, or a network with too many
    parameters for its whole Hessian.
    """
    if p.flow_steps > p.steps:
        reason = f"is above {{steps}} {p.steps}"
        raise ParameterError("flow_steps", p.flow_steps, reason, "lower it")
    weights = common.check(run, p)
    if weights > LARGEST:
        reason = f"gives {weights} weights; the whole Hessian is made of at most {LARGEST}"
        raise ParameterError("width", p.width, reason, "lower it")
    common.check_numerics(p)
    with run.crew() as crew:
        jobs = [Job(repeat, p) for repeat in range(run.repeats)]
        for job, seen in crew.map(watch, jobs, "replicates"):
            common.write(run, seen["tables"], job.repeat)
            if seen["ended"]:
                run.diverged(job.repeat, f"{seen['ended']} at step {seen['step']}", seen["step"])


def watch(worker: Worker, job: Job) -> dict[str, Any]:
    """The central flow of RMSProp, its stationary points now and then, and the stationary flow."""
    p = job.p
    rule = Rule("rmsprop", p.eta, p.beta2, p.eps)
    loss, w = common.build(p, worker, job.repeat)
    w, nu = common.warmed(loss, rule, w, p.warm)
    generator = worker.torch_generator(job.repeat, "directions", device="cpu")
    central = Central(loss, rule, w, nu, common.setting_of(p), generator)
    flow = StationaryFlow(loss, p.eta, p.nsub)
    rows: dict[str, list[dict[str, Any]]] = {"average": [], "preconditioners": [], "flow": []}
    ended, step = "", 0
    for step in worker.steps(p.steps + 1, central, generator, flow, rows):
        try:
            with ended_by("central"):
                if step % p.every == 0:
                    _look(loss, central, p, step, rows)
                if step == p.steps - p.flow_steps:
                    flow.start(central.w)
                if step >= p.steps - p.flow_steps:
                    _flows(central, flow, step, rows["flow"], loss)
                if step < p.steps:
                    central.advance()
        except Ended as error:
            ended = str(error)
            break
    tables = {name: _columns(table) for name, table in rows.items() if table}
    return {"tables": tables, "ended": ended, "step": step}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _look(
    loss: Objective, central: Central, p: Stationary, step: int, rows: dict[str, list[Any]]
) -> None:
    """The stationary preconditioners at one point of the central flow."""
    point = Point(loss, central.w)
    if not math.isfinite(point.loss):
        raise Ended("the loss of the process central is not finite")
    H, g = point.hessian().double().cpu().numpy(), point.gradient.double().cpu().numpy()
    H = (H + H.T) / 2
    P = central.rule.P(central.nu).double().cpu().numpy()
    bar, hat = convex.stationary(H, g, p.eta), convex.stationary(H, np.zeros_like(g), p.eta)
    nu, nu_bar = central.nu.double().cpu().numpy(), (p.eta * bar.P) ** 2
    cosine = float(nu @ nu_bar / (np.linalg.norm(nu) * np.linalg.norm(nu_bar)))
    rows["average"].append({"step": step, "loss": point.loss, "cosine": cosine, "gap": bar.gap})
    half = np.full(len(g), float(np.linalg.eigvalsh(H)[-1]) / 2)
    for name, each in (("rmsprop", P), ("stationary", bar.P), ("first-term", hat.P), ("gd", half)):
        live = g != 0
        speed = float((g[live] ** 2 / each[live]).sum())
        rows["preconditioners"].append(
            {"step": step, "preconditioner": name, "speed": speed, "trace": float(each.sum())}
        )


def _flows(
    central: Central, flow: StationaryFlow, step: int, rows: list[dict[str, Any]], loss: Objective
) -> None:
    """Both flows at one step, and the stationary one moved."""
    away = float((central.w - flow.w).norm())
    rows.append(
        {"process": "central", "step": step, "loss": float(loss(central.w)), "distance": 0.0}
    )
    rows.append(
        {"process": "stationary", "step": step, "loss": float(loss(flow.w)), "distance": away}
    )
    flow.advance()


class StationaryFlow:
    """The central flow with the average at rest at every point: P and Sigma of the convex program.

    dw/dt = -P-bar(w)^-1 [grad L + grad <H(w), Sigma-bar(w)>/2]

    At the fixed point of nu in the central flow 1 = g^2/nu + (4/eta^2) Sigma_ii, and the program
    has 1 = g^2/(eta^2 P^2) + 2 S_ii with its dual S: so Sigma-bar = (eta^2/2) S.
    """

    def __init__(self, objective: Objective, eta: float, substeps: int) -> None:
        self.objective, self.eta, self.substeps = objective, eta, substeps
        self.w = torch.zeros(0)
        self.R: np.ndarray | None = None

    def start(self, w: Tensor) -> None:
        """Where it begins. w : (n,)"""
        self.w = w.clone()

    def advance(self) -> None:
        """One step of the optimiser's time."""
        for _ in range(self.substeps):
            point = Point(self.objective, self.w)
            H, g = point.hessian().double().cpu().numpy(), point.gradient.double().cpu().numpy()
            found = convex.stationary((H + H.T) / 2, g, self.eta, self.R)
            self.R = found.R
            left, sizes, _ = np.linalg.svd(found.R, full_matrices=False)
            kept = sizes > SHARE * sizes.max()
            columns = left[:, kept] * sizes[kept] * self.eta / math.sqrt(2)
            turn = 0.5 * point.curvature_gradient(torch.as_tensor(columns).to(self.w))
            P = torch.as_tensor(np.where(found.P > 0, found.P, np.inf)).to(self.w)
            self.w = self.w - (point.gradient + turn) / P / self.substeps

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"w": self.w, "R": self.R}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave."""
        self.w, self.R = state["w"], state["R"]
