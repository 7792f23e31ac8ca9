"""`hierarchical recover`: features found against samples and dimension (C1)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, data, measure, model, theory
from .cli import Recover
from .data import Task

Floats = NDArray[np.floating]

AUTO = {1: 1 / 6, 3: 1 / 2}
"""Half of what one step saturates at for flat p2 in high dimension (1/3), and of 1 for three."""
LARGEST_CLOSED_FORM = 64
"""The closed form of M holds D matrices of d x d."""


def recover(run: Run, p: Recover) -> None:
    """Per dimension one growing sample; the neurons of every number of steps at each n.

    Errors: `ParameterError`.
    """
    common.check_rising("dims", p.dims)
    for d in p.dims:
        data.check_features(p.features, d, p.r, "dims")
    thresholds = _thresholds(p)
    if p.low >= p.high:
        raise ParameterError("low", p.low, f"must be below {{high}} {p.high:g}")
    g = common.checked_link(run, p.link, p.r, learned=True)
    grids = {d: _grid(p, d) for d in p.dims}
    with common.crew(run) as workers:
        for repeat in run.replicates():
            curve: list[list[float]] = run.kept([])
            for d in run.cells(p.dims, "dimensions"):
                task = data.make_task(run.rng(repeat, "features", d), d, p.features, g)
                expected = _expected(run, repeat, task, grids[d])
                W = common.initial_layer(run, repeat, d, -(-p.m1 // 2))
                source = common.stream(run, repeat, "first", d)
                for n, M in common.growing(run, workers, task, source, grids[d]):
                    rows = _rows(task, W, M, p.inner_steps)
                    at = grids[d].index(n)
                    columns = [
                        {
                            "d": d, "inner_steps": k, "n": n, "n_over_d4": n / d**4, **rows[k],
                            "expected": expected[at] if k == 1 else math.nan,
                        }
                        for k in p.inner_steps
                    ]  # fmt: skip
                    table = {key: [row[key] for row in columns] for key in columns[0]}
                    run.write("curve", table, repeat)
                    curve += [[d, k, rows[k]["overlap"]] for k in p.inner_steps]
            _write_fits(run, repeat, curve, grids, thresholds)


def _thresholds(p: Recover) -> dict[int, float]:
    if p.targets == (0.0,):
        return {k: AUTO[1] if k == 1 else AUTO[3] for k in p.inner_steps}
    if len(p.targets) != len(p.inner_steps) or not all(0 < each < 1 for each in p.targets):
        raise ParameterError(
            "targets",
            ",".join(f"{each:g}" for each in p.targets),
            f"give one overlap inside (0, 1) for each of the {len(p.inner_steps)} {{inner_steps}}",
            "or 0 for the usual ones",
        )
    return dict(zip(p.inner_steps, p.targets, strict=True))


def _grid(p: Recover, d: int) -> list[int]:
    """Sample sizes from low d^4 to high d^4, at least 2 and at most n_max."""
    count = max(2, 1 + round(p.per_octave * math.log2(p.high / p.low)))
    sizes = np.geomspace(p.low * d**4, p.high * d**4, count).round()
    return sorted({int(min(max(size, 2), p.n_max)) for size in sizes})


def _rows(
    task: Task, W: Floats, M: Floats, inner_steps: tuple[int, ...]
) -> dict[int, dict[str, float]]:
    """The measures after each of `inner_steps` steps."""
    measured, done = {}, 0
    for k in sorted(inner_steps):
        before = model.steps(W, M, k - 1 - done)
        energy = measure.energy_overlap(before, M, task.theta)
        W, done = model.steps(before, M, 1), k
        each = measure.overlaps(W, task.theta)
        measured[k] = {
            "overlap": float(np.median(each)),
            "mean_overlap": float(each.mean()),
            "energy_overlap": energy,
            "pca": measure.top_overlap(W, task.theta),
        }
    return measured


def _expected(run: Run, repeat: int, task: Task, grid: list[int]) -> Floats:
    """The closed form of the one-step `energy_overlap`, NaN where there is none."""
    quadratic = all(sum(orders) == 2 for orders, _ in task.link.terms)
    if not quadratic or task.d > LARGEST_CLOSED_FORM:
        return np.full(len(grid), math.nan)
    x, y = common.sample(task, common.stream(run, repeat, "energy", task.d), 8 * common.POINTS)
    p = data.features(task, x)
    energy = float(np.mean((y - y.mean()) ** 2 * np.sum(p**2, axis=0)))
    return theory.expected_overlap(task, grid, energy)


def _write_fits(
    run: Run,
    repeat: int,
    curve: list[list[float]],
    grids: dict[int, list[int]],
    thresholds: dict[int, float],
) -> None:
    """n* of every dimension and the exponent of each number of steps.

    curve : rows of dimension, number of steps and overlap, for rising n
    """
    for k, target in thresholds.items():
        grown = {
            d: [overlap for at, steps, overlap in curve if (at, steps) == (d, k)] for d in grids
        }
        needed = {d: measure.crossing(grids[d], grown[d], target) for d in grids}
        for d, n in needed.items():
            run.write("threshold", {"inner_steps": k, "d": d, "threshold": target, "n": n}, repeat)
        reached = [d for d, n in needed.items() if math.isfinite(n)]
        slope, error = theory.fitted_slope(reached, [needed[d] for d in reached])
        run.write(
            "fit",
            {
                "inner_steps": k, "threshold": target, "exponent": slope, "stderr": error,
                "dims": len(reached),
            },
            repeat,
        )  # fmt: skip
