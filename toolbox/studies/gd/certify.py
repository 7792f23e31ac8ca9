"""`gd certify`: exact worst cases by semidefinite programming (Definition 2 and Lemma 4)."""

from __future__ import annotations

import importlib.util
import time

import numpy as np

from toolbox.core.errors import ParameterError, UsageError
from toolbox.core.run import Run

from . import metrics, model, pep
from .anytime import check_schedules
from .cli import Certify
from .worst_case import CERTIFIED, LOWER_BOUND, THEOREM, worst_case

LIMIT = 60


def certify(run: Run, p: Certify) -> None:
    """One row per number of steps and metric: the optimum of the SDP and what theory says.

    Errors: `ParameterError` for an unknown schedule or metric, N > 60 without
    `--allow-costly`, and missing solvers.
    """
    check_schedules((p.schedule,), max(p.N), allow_divergent=True, field="schedule")
    for name in p.metric:
        if name not in pep.METRICS:
            raise ParameterError("metric", name, f"expected some of {', '.join(pep.METRICS)}")
    if max(p.N) > LIMIT and not run.allow_costly:
        raise ParameterError(
            "N",
            max(p.N),
            f"a program of {(max(p.N) + 2) * (max(p.N) + 1)} constraints takes minutes and "
            "gigabytes",
            f"stay at {LIMIT} or say {{allow_costly}}",
        )
    if not all(importlib.util.find_spec(package) for package in ("cvxpy", "clarabel")):
        raise UsageError("gd certify needs cvxpy and clarabel; run: pip install 'toolbox[pep]'")
    cells = [(steps, name) for steps in p.N for name in p.metric]
    for steps, name in run.cells(cells, "programs"):
        h = model.schedule(p.schedule, steps, p.c)
        began = time.perf_counter()
        worst = pep.worst_case_pep(h, p.mu, name)
        run.say(f"N {steps} {name}: {time.perf_counter() - began:.1f} s")
        theory, relation = closed_form(p.schedule, steps, p.mu, name, p.c)
        run.write(
            "certificates",
            {
                "schedule": [p.schedule],
                "T": steps,
                "metric": name,
                "mu": p.mu,
                "pep_value": worst.value,
                "closed_form": theory,
                "relation": relation,
                "rel_gap": abs(worst.value / theory - 1.0),
                "solver": worst.solver,
                "solver_status": worst.status,
            },
        )
        sources = {"semidefinite program": worst.value, "closed form": theory}
        named = {"T": steps, "metric": name, "source": list(sources)}
        run.write("values", {**named, "value": list(sources.values())})


def closed_form(schedule: str, N: int, mu: float, metric: str, c: float) -> tuple[float, str]:
    """What theory says of a metric after N steps, and how it relates to the program's value:
    equal (a theorem), certified (equal so far, no proof), lower bound, upper bound or none.

    For a primitive prefix of sum A and mu = 0 all four are exact: f 1/(4A + 2), potential 1/2
    (Def. 2), g 1/(A + 1)^2 (Def. 2 with f - f* >= |g|^2/2 and |x - x*| >= |g|; attained by a Huber
    function that is linear until x_N), distance 1 (a constant function).
    """
    at = worst_case(schedule, [N], c)
    A, primitive = float(at.cum_sum[0]), bool(at.endpoint[0])
    if mu > 0:
        if metric == "distance" and primitive:
            return float(metrics.restart_contraction(A, 1.0 / mu)), "upper bound"
        return np.nan, "none"
    if metric == "distance":
        return 1.0, "equal" if primitive else "lower bound"
    if metric == "f":
        relation = {THEOREM: "equal", CERTIFIED: "certified", LOWER_BOUND: "lower bound"}
        return float(at.tau[0]), relation[str(at.exactness[0])]
    value = 0.5 if metric == "potential" else 1.0 / (A + 1.0) ** 2
    return value, "equal" if primitive else "lower bound"
