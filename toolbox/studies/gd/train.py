"""`gd train`: gradient descent with each schedule on concrete objectives and real data.

A companion to the theory: what happens on one function, never the worst case.
"""

from __future__ import annotations

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data, model
from .anytime import check_schedules
from .cli import Train
from .worst_case import worst_case


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
    worst = {name: worst_case(name, stops, p.c) for name in p.schedules}
    cells = [(r, o, s) for r in range(run.repeats) for o in p.objectives for s in p.schedules]
    for repeat, name, schedule in run.cells(cells, "trainings"):
        objective = data.objective(name, run.rng(repeat, name))
        gap, best = descend(objective, model.schedule(schedule, p.T, p.c), stops)
        run.write(
            "curve",
            {
                "objective": name,
                "schedule": schedule,
                "t": stops,
                "gap": gap,
                "best_gap": best,
                "tau": worst[schedule].tau,
                "exactness": worst[schedule].exactness,
            },
            repeat,
        )


def descend(
    objective: data.Objective, h: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Run x_{t+1} = x_t - (h_{t+1} / L) grad f(x_t); the normalised gap and the best so far.

    h : (T,) stepsizes in 1/L; stops : (n,) increasing steps in 1..T. Returns two (n,) arrays, NaN
    from the first non-finite iterate on.
    """
    scale = objective.L * float(np.sum((objective.x0 - objective.x_star) ** 2))
    x, smallest = objective.x0.copy(), np.inf
    gap, best = np.full(stops.size, np.nan), np.full(stops.size, np.nan)
    recorded = 0
    for t, step in enumerate((h / objective.L).tolist(), start=1):
        x -= step * objective.gradient(x)
        if t == stops[recorded]:
            value = (objective.value(x) - objective.f_star) / scale
            if not np.isfinite(value):
                break
            smallest = min(smallest, value)
            gap[recorded], best[recorded] = value, smallest
            recorded += 1
    return gap, best


def _stops(T: int) -> np.ndarray:
    """Every step to 100, then 100 a decade, and T."""
    many = np.geomspace(1, T, max(2, int(100 * np.log10(T)) + 1)).round().astype(np.int64)
    return np.unique(np.concatenate((np.arange(1, min(100, T) + 1), many)))
