"""`gd anytime`: the worst case of each schedule at every stopping time (Theorem 1 of the paper)."""

from __future__ import annotations

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import lower_bounds, model
from .cli import Anytime
from .worst_case import LOWER_BOUND, Prefixes, stopping_times

TWO_SIDED_LIMIT = 2000


def anytime(run: Run, p: Anytime) -> None:
    """One row per schedule and stopping time; deterministic.

    Errors: `ParameterError` for an unknown schedule, a constant step >= 2 without
    `allow_divergent`, a horizon too long for a fixed-horizon schedule or the two-sided bound.
    """
    check_schedules(p.schedules, p.T, p.allow_divergent)
    if p.two_sided and p.T > TWO_SIDED_LIMIT:
        raise ParameterError(
            "T",
            p.T,
            "the bound of {two_sided} simulates every step",
            f"T <= {TWO_SIDED_LIMIT}",
        )
    stops = {
        name: np.arange(1, p.T + 1) if p.dense else stopping_times(name, p.T, p.c)
        for name in p.schedules
    }
    for name in run.cells(p.schedules, "schedules"):
        better = None
        if p.two_sided:
            better = lower_bounds.two_sided_huber(model.schedule(name, p.T, p.c))
        prefixes = Prefixes.of(name, stops[name], p.c, p.lambda_grid)
        so_far = prefixes.start()
        for rows in run.cells(prefixes.chunks(), "chunks of stopping times", so_far):
            part = prefixes.worst_case(rows, so_far)
            tau, exactness = part.tau, part.exactness
            if better is not None:
                raised = (better[part.N - 1] > tau) & (exactness == LOWER_BOUND)
                tau = np.where(raised, better[part.N - 1], tau)
            run.write(
                "worst_case",
                {
                    "schedule": name,
                    "T": part.N,
                    "cum_sum": part.cum_sum,
                    "tau": tau,
                    "huber": part.huber,
                    "quadratic": part.quadratic,
                    "overshoot": part.overshoot,
                    "curvature": part.curvature,
                    "exactness": exactness,
                    "endpoint": part.endpoint,
                    "scaled": part.N**model.THETA * tau,
                },
            )


def check_schedules(
    schedules: tuple[str, ...], T: int, allow_divergent: bool = False, field: str = "schedules"
) -> None:
    """Refuse what cannot be computed, before anything is.

    Errors: `ParameterError` naming the schedule and the fix.
    """
    for name in schedules:
        if name in model.FIXED_HORIZON and T > model.DP_LIMIT:
            raise ParameterError(
                field,
                name,
                f"with {{T}} {T} its dynamic programme over all splits takes too long",
                f"T <= {model.DP_LIMIT}",
            )
        try:
            model.schedule_blocks(name, 1)
        except ValueError as error:
            raise ParameterError(field, name, str(error)) from None
        step = model.constant_step(name)
        if step is not None and step >= 2 and not allow_divergent:
            raise ParameterError(
                field,
                name,
                "a constant step of 2/L or more does not converge",
                "take one below 2 or say {allow_divergent}",
            )
