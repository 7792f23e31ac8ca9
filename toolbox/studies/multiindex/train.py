"""`multiindex train`: subspace first, then directions, then ridge on the second layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.compute import one_thread
from toolbox.core.run import Run

from . import data, metrics, theory
from .cli import Train
from .learn import Plan, Problem, plan, stages, warn
from .link import Link, parse_link
from .model import Learner, Shared

Floats = NDArray[np.float64]
LEVEL = 0.8
RIDGE_LAMBDA = 1e-4


def train(run: Run, p: Train) -> None:
    """Per replicate: the metrics at every 2 % of the samples, then the fit of the second layer.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    phi = parse_link(p.link)
    data.check_sizes(p.P, p.d, p.m)
    run.say(phi.describe())
    problem = Problem(phi, p.d, p.P, p.m, p.noise, p.rotate)
    steps = plan(problem, p)
    warn(run, p.eta)
    for repeat in run.replicates():
        first: list[int | None] = run.kept([None, None])

        def record(stage: int, n: int, u: Floats, first: list[int | None] = first) -> None:
            found = metrics.alignment(u)
            for kind, name in enumerate(("sub_median", "align_median")):
                if first[kind] is None and found[name] >= LEVEL:
                    first[kind] = n
            run.write("train", _row(phi, problem, steps, stage, n, found, first), repeat)
            shown = {
                "subspace": found["sub_median"], "alignment": found["align_median"],
                "worst direction": found["worst_dir"], "isotropy": found["iso_sum4"],
                "uniform direction": theory.null_sum4(p.P),
            }  # fmt: skip
            names, values = list(shown), list(shown.values())
            run.write("curves", {"samples": n, "quantity": names, "value": values}, repeat)

        with one_thread():
            learner = stages(run, repeat, problem, steps, record)
        found = metrics.alignment(learner.overlaps()[0].double().cpu().numpy())
        error = ridge(run, repeat, problem, learner, p.ridge_n)
        run.write(
            "final",
            {
                "link": phi.name, "d": p.d, "P": p.P, "m": p.m, "samples": _seen(steps),
                "t_sub": first[0], "t_dir": first[1], **found,
                "ridge_samples": p.ridge_n, "ridge_relative_error": error,
            },
            repeat,
        )  # fmt: skip


def _seen(steps: Plan) -> int:
    return sum(count * b for count, b in zip(steps.steps, steps.batches, strict=True))


def _row(
    phi: Link, problem: Problem, steps: Plan, stage: int, n: int, found: dict[str, float],
    first: list[int | None],
) -> dict[str, Any]:  # fmt: skip
    names = ("anneal",) if stage else ("subspace", "directions", "settled")
    passed = 0 if stage else sum(each is not None for each in first)
    return {
        "samples": n, "link": phi.name, "d": problem.d, "P": problem.P, "m": problem.m,
        "eta1": steps.etas[stage], "batch": steps.batches[stage], "stage": names[passed], **found,
    }  # fmt: skip


def ridge(run: Run, repeat: int, problem: Problem, learner: Learner, n: int) -> float:
    """Stage two: ridge regression of y on phi(v_j.x) with n fresh samples; its exact test error.

    a = (F^T F / n + lambda I)^-1 F^T y / n in float64. The error needs no test set:
    E phi(v.x) phi(w.x) = sum_q c_q^2 (v.w)^q.
    """
    assert isinstance(learner, Shared)
    v = learner.v.double().cpu().numpy()
    u = learner.overlaps()[0].double().cpu().numpy()
    phi, rng = problem.link, run.rng(repeat, "ridge")
    moment: Floats = np.zeros(problem.m)
    gram: Floats = np.zeros((problem.m, problem.m))
    sizes = _chunks(n, max(1, 2**22 // (problem.d + problem.m)))
    frame = None if learner.frame is None else learner.frame.double().cpu().numpy()
    for chunk in run.steps(len(sizes), rng, moment, gram, label="chunks of the ridge regression"):
        size = sizes[chunk]
        x = rng.standard_normal((size, problem.d))
        projected = x[:, : problem.P] if frame is None else x @ frame
        y = phi.value(projected).sum(axis=1) + problem.sigma * rng.standard_normal(size)
        features = phi.value(x @ v.T)
        gram += features.T @ features / n
        moment += features.T @ y / n
    gram[np.diag_indices(problem.m)] += RIDGE_LAMBDA
    a = np.linalg.solve(gram, moment).astype(np.float64)
    return theory.ridge_error(phi, u, v @ v.T, a)


def _chunks(n: int, most: int) -> list[int]:
    return [most] * (n // most) + ([n % most] if n % most else [])
