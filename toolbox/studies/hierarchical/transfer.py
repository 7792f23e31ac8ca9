"""`hierarchical transfer`: features learned on one link serve another (C3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.run import Run

from . import common, data, model, moments
from .cli import Transfer
from .data import Task
from .links import Link

Floats = NDArray[np.floating]
METHODS = ("net", "rf", "oracle", "scratch")


def transfer(run: Run, p: Transfer) -> None:
    """Stage 1 on n1 labels of the source link, then stage 2 on n2 fresh labels of each target.

    Errors: `ParameterError`.
    """
    d = p.d
    common.check_rising("n2", p.n2)
    data.check_features(p.features, d, p.r, "d")
    common.check_gram(p.m1, "neurons", "m1", p.m1)
    source_link = common.checked_link(run, p.link, p.r, learned=True)
    targets = [common.checked_link(run, text, p.r, False, "links") for text in p.links]
    with common.crew(run) as workers:
        for repeat in run.replicates():
            task = data.make_task(run.rng(repeat, "features", d), d, p.features, source_link)
            first = common.stream(run, repeat, "first", d)
            start = common.initial_layer(run, repeat, d, -(-p.m1 // 2))
            for _, M in common.growing(run, workers, task, first, [p.n1]):
                layers = {
                    "net": model.paired(model.steps(start, M, p.inner_steps), p.m1),
                    "rf": common.initial_layer(run, repeat, d, p.m1),
                    "oracle": model.unit(run.rng(repeat, "oracle", d).standard_normal((p.m1, p.r))),
                }
                jobs = [
                    (run, repeat, task, target, n, method, layers, start, p)
                    for target in targets
                    for n in p.n2
                    for method in METHODS
                ]
                rows = common.computed(run, workers, _row, jobs)
                for row in rows:
                    run.check_finite(row["test_error"], "a test error")
                table = {key: [row[key] for row in rows] for key in rows[0]}
                run.write("transfer", {"source_link": p.link, **table}, repeat)


def _row(
    run: Run, repeat: int, source: Task, link: Link, n: int, method: str,
    layers: dict[str, Floats], start: Floats, p: Transfer,
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
        W = model.paired(model.steps(start, moment.matrix(), p.inner_steps), m1)
        fitted = n - half
    else:
        W = layers[method]
    hidden = common.hidden_layer(run, repeat, d, W, p.act)
    error, penalty = common.fit_and_test(
        task, hidden, second, fitted, test, p, oracle=method == "oracle"
    )
    return {
        "target_link": link.text, "n2": n, "method": method, "test_error": error,
        "tuned": penalty,
    }  # fmt: skip
