"""`gd anytime`: the worst case of each schedule at every stopping time (Theorem 1 of the paper)."""

from __future__ import annotations

import numpy as np

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import lower_bounds, model
from .cli import Anytime
from .worst_case import LOWER_BOUND, stopping_times, worst_case_chunks

TWO_SIDED_LIMIT = 2000


def anytime(run: Run, p: Anytime) -> None:
    """One row per schedule and stopping time; deterministic.

    Errors: `UsageError` for an unknown schedule, a constant step >= 2 without
    `--allow-divergent`, a horizon too long for a fixed-horizon schedule or the two-sided bound.
    """
    check_schedules(p.schedules, p.T, p.allow_divergent)
    if p.two_sided and p.T > TWO_SIDED_LIMIT:
        raise UsageError(
            f"--two-sided with --T {p.T}: that bound simulates every step; T <= {TWO_SIDED_LIMIT}"
        )
    stops = {
        name: np.arange(1, p.T + 1) if p.dense else stopping_times(name, p.T, p.c)
        for name in p.schedules
    }
    done = run.restore() or {"schedule": 0, "chunk": 0}
    total = sum(stop.size for stop in stops.values())
    before = sum(stops[name].size for name in p.schedules[: done["schedule"]])
    with run.progress(total, "stopping times", before) as progress:
        for number in range(done["schedule"], len(p.schedules)):
            name = p.schedules[number]
            better = None
            if p.two_sided:
                better = lower_bounds.two_sided_huber(model.schedule(name, p.T, p.c))
            first_chunk = done["chunk"] if number == done["schedule"] else 0
            for chunk, part in enumerate(worst_case_chunks(name, stops[name], p.c, p.lambda_grid)):
                run.checkpoint(lambda: {"schedule": number, "chunk": chunk})
                if chunk < first_chunk:  # its rows are in the table already
                    continue
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
                progress.update(part.N.size, name)


def check_schedules(
    schedules: tuple[str, ...], T: int, allow_divergent: bool = False, flag: str = "--schedules"
) -> None:
    """Refuse what cannot be computed, before anything is.

    Errors: `UsageError` naming the schedule and the fix.
    """
    for name in schedules:
        if name in model.FIXED_HORIZON and T > model.DP_LIMIT:
            raise UsageError(
                f"{flag} {name} with --T {T}: its steps come from a dynamic programme over "
                f"all splits; T <= {model.DP_LIMIT}"
            )
        try:
            model.schedule_blocks(name, 1)
        except ValueError as error:
            raise UsageError(f"{flag} {name}: {error}") from None
        step = model.constant_step(name)
        if step is not None and step >= 2 and not allow_divergent:
            raise UsageError(
                f"{flag} {name}: a constant step of 2/L or more does not converge; take one "
                "below 2 or say --allow-divergent"
            )
