"""`hierarchical width`: a finite second layer beside the infinite one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import basis, common, data, measure, model
from .cli import Width
from .data import Task

Floats = NDArray[np.floating]


def width(run: Run, p: Width) -> None:
    """Per width of the second layer: the features found and the test error, on the same M.

    Errors: `ParameterError`.
    """
    d = p.d
    widths = [_width(text) for text in p.m2]
    data.check_features(p.features, d, p.r, "d")
    common.check_gram(p.m1, "neurons", "m1", p.m1)
    g = common.checked_link(run, p.link, p.r, learned=True)
    with common.crew(run) as workers:
        for repeat in run.replicates():
            task = data.make_task(run.rng(repeat, "features", d), d, p.features, g)
            first = common.stream(run, repeat, "first", d)
            for _, M in common.growing(run, workers, task, first, [p.n1]):
                jobs = [
                    (run, repeat, task, M, each, k, p) for each in widths for k in p.inner_steps
                ]
                rows = common.computed(run, workers, _row, jobs)
                for row in rows:
                    run.check_finite(row["test_error"], "a test error")
                run.write("width", {key: [row[key] for row in rows] for key in rows[0]}, repeat)


def _width(text: str) -> int | None:
    """The second layer's width, None for inf.

    Errors: `ParameterError`.
    """
    if text == "inf":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 10**6:
        raise ParameterError("m2", text, "expected whole numbers from 1 to 1000000, or inf")
    return int(text)


def _row(
    run: Run, repeat: int, task: Task, M: Floats, m2: int | None, steps: int, p: Width
) -> dict[str, Any]:
    d, D = task.d, basis.size(task.d)
    L = None if m2 is None else model.second_layer(run.rng(repeat, "second layer", d, m2), d, m2)
    W = model.steps(common.initial_layer(run, repeat, d, -(-p.m1 // 2), L), M, steps, L)
    each = measure.overlaps(W, task.theta)
    hidden = common.hidden_layer(run, repeat, d, model.paired(W, p.m1), p.act)
    second, test = common.stream(run, repeat, "second", d), common.stream(run, repeat, "test", d)
    error, penalty = common.fit_and_test(task, hidden, second, p.n2, test, p)
    # |L'L theta|^2 is 1 + (D - 1) / m2 on average where the part along theta is 1.
    kept = 1.0 if m2 is None else 1 / (1 + (D - 1) / m2)
    return {
        "m2": "inf" if m2 is None else str(m2),
        "m2_over_quadratics": math.nan if m2 is None else m2 / D,
        "inner_steps": steps,
        "overlap": float(np.median(each)),
        "pca": measure.top_overlap(W, task.theta),
        "kept": kept,
        "test_error": error,
        "tuned": penalty,
    }
