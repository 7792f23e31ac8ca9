"""`hierarchical transfer`: features learned on one link serve another (C3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.run import Run

from . import common, data, model, moments
from .common import Fitting
from .data import Task
from .links import Link

Floats = NDArray[np.floating]
METHODS = ("net", "rf", "oracle", "scratch")


def transfer(
    run: Run,
    *,
    d: int,
    n1: int,
    n2: tuple[int, ...],
    link: str,
    links: tuple[str, ...],
    inner_steps: int,
    features: str,
    r: int,
    m1: int,
    act: str,
    fitting: Fitting,
) -> None:
    """Stage 1 on n1 labels of `link`, then stage 2 on n2 fresh labels of each target link.

    Errors: `UsageError`.
    """
    common.check_rising("--n2", n2)
    data.check_features(features, d, r, "--d")
    source_link = common.checked_link(run, link, r, learned=True)
    targets = [common.checked_link(run, text, r, learned=False, flag="--links") for text in links]
    saved: dict[str, Any] = run.restore() or {"cell": 0}
    with (
        common.crew() as workers,
        run.progress(run.repeats, "replicates", saved["cell"]) as bar,
    ):
        for repeat in range(saved["cell"], run.repeats):
            task = data.make_task(run.rng(repeat, "features", d), d, features, source_link)
            here = saved if "moment" in saved and repeat == saved["cell"] else None
            first = common.stream(run, repeat, "first", d)
            start = common.initial_layer(run, repeat, d, -(-m1 // 2))
            for _, M in common.growing(run, workers, task, first, [n1], {"cell": repeat}, here):
                layers = {
                    "net": model.paired(model.steps(start, M, inner_steps), m1),
                    "rf": common.initial_layer(run, repeat, d, m1),
                    "oracle": model.unit(run.rng(repeat, "oracle", d).standard_normal((m1, r))),
                }
                jobs = [
                    workers.pool.submit(
                        _row, run, repeat, task, target, n, method, layers, start, act,
                        inner_steps, fitting,
                    )
                    for target in targets
                    for n in n2
                    for method in METHODS
                ]  # fmt: skip
                rows = [job.result() for job in jobs]
                for row in rows:
                    run.check_finite(row["test_error"], "a test error")
                table = {key: [row[key] for row in rows] for key in rows[0]}
                run.write("transfer", {"source_link": link, **table}, repeat)
            bar.update(1)


def _row(
    run: Run, repeat: int, source: Task, link: Link, n: int, method: str,
    layers: dict[str, Floats], start: Floats, act: str, inner_steps: int, fitting: Fitting,
) -> dict[str, Any]:  # fmt: skip
    """One method on one target link with n fresh samples."""
    task, d = replace(source, link=link), source.d
    second, test = common.stream(run, repeat, "second", d), common.stream(run, repeat, "test", d)
    m1 = len(layers["rf"])
    fitted = n
    if method == "scratch":
        # Both stages on the same few samples: half for the features, half for the outer layer.
        half = n // 2
        third = common.stream(run, repeat, "scratch", d)
        moment = moments.Moment.start(task, third, half)
        moment.add(*moments.block_sum(task, third(0), half, moment.centre), half)
        W = model.paired(model.steps(start, moment.matrix(), inner_steps), m1)
        fitted = n - half
    else:
        W = layers[method]
    hidden = common.hidden_layer(run, repeat, d, W, act)
    error, penalty = common.fit_and_test(
        task, hidden, second, fitted, test, fitting, oracle=method == "oracle"
    )
    return {
        "target_link": link.text, "n2": n, "method": method, "test_error": error,
        "tuned": penalty,
    }  # fmt: skip
