"""`gd horizon`: what a schedule gains when it knows its horizon, and loses elsewhere."""

from __future__ import annotations

import numpy as np

from toolbox.core.run import Run

from . import metrics, model
from .cli import Horizon
from .worst_case import CERTIFIED, CERTIFIED_CONSTANT, LOWER_BOUND, THEOREM, worst_case


def horizon(run: Run, p: Horizon) -> None:
    """One row per method and horizon; deterministic.

    PriDP and DomDP (Zhang and Jiang, arXiv:2410.12395) are rebuilt for every horizon, the silver
    schedule stands at its own horizons 2^k - 1, the anytime schedule is one for all.
    """
    horizons = _horizons(p.T_max)
    silver = 2 ** np.arange(1, int(np.log2(p.T_max + 1)) + 1) - 1
    primitive, _ = model.pridp_sums(p.T_max)
    dominant, _ = model.domdp_sums(p.T_max, primitive)
    best = np.array([model.optimal_constant_step(int(N)) for N in horizons])
    constant = np.array(
        [float(metrics.constant_tau(h, N)) for h, N in zip(best, horizons, strict=True)]
    )
    anytime = worst_case("anytime", horizons, curvatures=p.lambda_grid)
    certified = np.where(horizons <= CERTIFIED_CONSTANT, CERTIFIED, LOWER_BOUND)
    rows = {
        "silver": (silver, metrics.silver_tau(np.log2(silver + 1)), THEOREM),
        "pridp": (horizons, metrics.primitive_tau(primitive[horizons]), THEOREM),
        "domdp": (horizons, metrics.primitive_tau(dominant[horizons]), THEOREM),
        "constant-opt": (horizons, constant, certified),
        "anytime": (horizons, anytime.tau, anytime.exactness),
        "nesterov": (horizons, metrics.nesterov_tau(horizons), "upper-bound"),
    }
    for name in run.cells(list(rows), "schedules"):
        N, tau, exactness = rows[name]
        run.write(
            "horizon",
            {
                "schedule": name,
                "T": N,
                "tau": tau,
                "exactness": exactness,
                "exponent_to_date": metrics.running_exponents(N, tau),
            },
        )


def _horizons(T_max: int) -> np.ndarray:
    """Every horizon to 64, then 40 a decade, and the silver ones."""
    few = np.arange(1, min(64, T_max) + 1)
    many = np.geomspace(1, T_max, max(2, int(40 * np.log10(T_max)))).round().astype(np.int64)
    silver = 2 ** np.arange(1, int(np.log2(T_max + 1)) + 1) - 1
    return np.unique(np.concatenate((few, many[many > 64], silver, [T_max])))
