"""`gd train`: gradient descent with each schedule on concrete objectives and real data.

A companion to the theory: what happens on one function, never the worst case.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data, model
from .anytime import check_schedules
from .cli import Train
from .worst_case import Prefixes

BLOCK = 1000
"""Steps between two looks for a stop."""


def train(run: Run, p: Train) -> None:
    """One row per objective, schedule and recorded step.

    gap = (f(x_t) - f*) / (L |x_0 - x*|^2), the unit of tau, so that a run can be held against the
    worst case of its schedule. A diverging schedule ends at its first non-finite gap.

    Errors: `ParameterError` for an unknown objective or schedule.
    """
    check_schedules(p.schedules, p.T)
    for name in p.objectives:
        if name not in data.OBJECTIVES:
            raise ParameterError(
                "objectives", name, f"expected some of {', '.join(data.OBJECTIVES)}"
            )
    stops = _stops(p.T)
    worst: dict[str, dict[str, list[float] | list[str]]] = run.kept({})
    for name in run.cells(p.schedules, "worst cases"):
        prefixes = Prefixes.of(name, stops, p.c)
        so_far = prefixes.start()
        tau: list[float] = run.kept([])
        exactness: list[str] = run.kept([])
        for rows in run.cells(prefixes.chunks(32), "chunks of stopping times", so_far):
            part = prefixes.worst_case(rows, so_far)
            tau += part.tau.tolist()
            exactness += part.exactness.tolist()
        worst[name] = {"tau": tau, "exactness": exactness}
    cells = [(r, o, s) for r in range(run.repeats) for o in p.objectives for s in p.schedules]
    for repeat, name, schedule in run.cells(cells, "trainings"):
        objective = data.objective(name, run.rng(repeat, name))
        h = model.schedule(schedule, p.T, p.c)
        at = Descent.start(objective, stops)
        for block in run.steps(-(-p.T // BLOCK), at, label="blocks of steps"):
            if not at.advance(objective, h[block * BLOCK :][:BLOCK].tolist(), stops):
                break
        run.write(
            "curve",
            {
                "objective": name,
                "schedule": schedule,
                "t": stops,
                "gap": at.gap,
                "best_gap": at.best,
                **worst[schedule],
            },
            repeat,
        )


@dataclass
class Descent:
    """Where x_{t+1} = x_t - (h_{t+1} / L) grad f(x_t) stands.

    x : the iterate after t steps;  smallest : the least normalised gap at a recorded step so far
    gap, best : (n,) the gap at each recorded step and the least until there; NaN from the first
        iterate on that is not finite
    """

    x: np.ndarray
    gap: np.ndarray
    best: np.ndarray
    t: int = 0
    recorded: int = 0
    smallest: float = np.inf

    @classmethod
    def start(cls, objective: data.Objective, stops: np.ndarray) -> Descent:
        """At x_0, before the steps `stops`, (n,), at which it is to be recorded."""
        empty = np.full(stops.size, np.nan)
        return cls(objective.x0.copy(), empty.copy(), empty)

    def advance(self, objective: data.Objective, h: list[float], stops: np.ndarray) -> bool:
        """Take the steps h, in 1/L. Returns whether the gap was finite wherever it was recorded."""
        scale = objective.L * float(np.sum((objective.x0 - objective.x_star) ** 2))
        for step in h:
            self.x -= step / objective.L * objective.gradient(self.x)
            self.t += 1
            if self.t == stops[self.recorded]:
                value = float(objective.value(self.x) - objective.f_star) / scale
                if not np.isfinite(value):
                    return False
                self.smallest = min(self.smallest, value)
                self.gap[self.recorded], self.best[self.recorded] = value, self.smallest
                self.recorded += 1
        return True


def _stops(T: int) -> np.ndarray:
    """Every step to 100, then 100 a decade, and T."""
    many = np.geomspace(1, T, max(2, int(100 * np.log10(T)) + 1)).round().astype(np.int64)
    return np.unique(np.concatenate((np.arange(1, min(100, T) + 1), many)))
