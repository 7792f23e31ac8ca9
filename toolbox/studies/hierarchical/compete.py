"""The methods that `error`, `kernel` and `width` compare, by name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import baselines, common, data, measure, model
from .baselines import Training
from .cli import Fitted, Target
from .common import Crew
from .data import Task

Floats = NDArray[np.floating]

OTHERS = ("rf", "krr", "mlp", "oracle")


@dataclass(frozen=True)
class Contest:
    """What all methods of a run share.

    p : the network and its fit;  training : of the two-layer network, where it takes part
    n2_max : most samples of stage 2;  krr_max : most samples of kernel ridge
    """

    p: Fitted
    training: Training | None
    n2_max: int
    krr_max: int


def network_steps(method: str) -> int | None:
    """k of a method named netk, None of another."""
    match = re.fullmatch(r"net([1-9]\d?)", method)
    return int(match[1]) if match else None


def check_methods(methods: tuple[str, ...]) -> None:
    """Refuse an unknown method.

    Errors: `ParameterError`.
    """
    for method in methods:
        if network_steps(method) is None and method not in OTHERS:
            known = ", ".join(OTHERS)
            raise ParameterError(
                "methods", method, f"expected some of net1, net3 (any number of steps), {known}"
            )


def samples_of(method: str, n1: int, how: Contest) -> int:
    """Samples that a method uses where the network has n1 in stage 1.

    Every method but the oracle has as many as the network's two stages together.
    """
    n2 = min(n1, how.n2_max)
    if method == "oracle":
        return n2
    return min(n1 + n2, how.krr_max) if method == "krr" else n1 + n2


def compete(
    run: Run, workers: Crew, repeat: int, task: Task, n1: int, M: Floats | None,
    methods: tuple[str, ...], how: Contest,
) -> list[dict[str, Any]]:  # fmt: skip
    """One row per method, computed side by side."""
    jobs = [workers.pool.submit(_one, run, repeat, task, n1, M, method, how) for method in methods]
    rows = [common.result(run, job) for job in jobs]
    for row in rows:
        run.check_finite(row["test_error"], f"the test error of {row['method']} at n1 = {n1}")
    return rows


def _one(
    run: Run, repeat: int, task: Task, n1: int, M: Floats | None, method: str, how: Contest
) -> dict[str, Any]:
    d, total = task.d, samples_of(method, n1, how)
    test = common.stream(run, repeat, "test", d)
    whole = common.stream(run, repeat, "whole", d)
    row: dict[str, Any] = {
        "d": d, "method": method, "n1": n1, "n2": min(n1, how.n2_max), "samples": total,
        "samples_over_d4": total / d**4, "overlap": math.nan, "pca": math.nan,
    }  # fmt: skip
    if method in ("krr", "mlp"):
        x, y = common.sample(task, whole, total)
        x_test, y_test = common.sample(task, test, how.p.n_test)
        if method == "krr":
            predicted, tuned = baselines.kernel_ridge(x, y, x_test, how.p.penalties)
        else:
            assert how.training is not None
            rng = run.rng(repeat, "mlp", d, n1)
            predicted, tuned = baselines.two_layer(
                rng, x, y, x_test, how.training, common.check_the_run_goes_on
            )
        return row | {
            "test_error": common.relative_error(predicted - y_test, y_test),
            "tuned": tuned,
        }
    if method == "oracle":
        W = model.unit(run.rng(repeat, "oracle", d).standard_normal((how.p.m1, task.link.r)))
        source = common.stream(run, repeat, "second", d)
    elif method == "rf":
        # Independent neurons, not the paired ones of the network's start: the better baseline.
        W, source = common.initial_layer(run, repeat, d, how.p.m1), whole
    else:
        assert M is not None
        start = common.initial_layer(run, repeat, d, -(-how.p.m1 // 2))
        W = model.paired(model.steps(start, M, network_steps(method) or 1), how.p.m1)
        row |= {
            "overlap": float(np.median(measure.overlaps(W, task.theta))),
            "pca": measure.top_overlap(W, task.theta),
        }
        source = common.stream(run, repeat, "second", d)
    n = total if method == "rf" else int(row["n2"])
    hidden = common.hidden_layer(run, repeat, d, W, how.p.act)
    error, penalty = common.fit_and_test(
        task, hidden, source, n, test, how.p, oracle=method == "oracle"
    )
    return row | {"test_error": error, "tuned": penalty}


def kernel_row(run: Run, repeat: int, task: Task, n: int, how: Contest) -> dict[str, Any]:
    """Kernel ridge on exactly n samples."""
    x, y = common.sample(task, common.stream(run, repeat, "whole", task.d), n)
    x_test, y_test = common.sample(task, common.stream(run, repeat, "test", task.d), how.p.n_test)
    predicted, tuned = baselines.kernel_ridge(x, y, x_test, how.p.penalties)
    error = common.relative_error(predicted - y_test, y_test)
    return {"d": task.d, "method": "krr", "samples": n, "test_error": error, "tuned": tuned}


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as columns, as a table wants them."""
    return {key: [row[key] for row in rows] for key in rows[0]}


def check_features(p: Target, dims: tuple[int, ...]) -> None:
    """Refuse a dimension that cannot have r features.

    Errors: `ParameterError`.
    """
    for d in dims:
        data.check_features(p.features, d, p.r, "dims")
