"""`hierarchical recover`: features found against samples and dimension (C1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import common, data, measure, model, theory
from .data import Task

Floats = NDArray[np.floating]

AUTO = {1: 1 / 6, 3: 1 / 2}
"""Half of what one step saturates at for flat p2 in high dimension (1/3), and of 1 for three."""
LARGEST_CLOSED_FORM = 64
"""The closed form of M holds D matrices of d x d."""


def recover(
    run: Run,
    *,
    dims: tuple[int, ...],
    inner_steps: tuple[int, ...],
    targets: tuple[float, ...],
    link: str,
    features: str,
    r: int,
    m1: int,
    low: float,
    high: float,
    per_octave: int,
    n_max: int,
) -> None:
    """Per dimension one growing sample; the neurons of every number of steps at each n.

    Errors: `UsageError`.
    """
    common.check_rising("--dims", dims)
    for d in dims:
        data.check_features(features, d, r, "--dims")
    thresholds = _thresholds(inner_steps, targets)
    if low >= high:
        raise UsageError(f"--low {low:g}: must be below --high {high:g}")
    g = common.checked_link(run, link, r, learned=True)
    cells = [(repeat, d) for repeat in range(run.repeats) for d in dims]
    grids = {d: _grid(d, low, high, per_octave, n_max) for d in dims}
    saved: dict[str, Any] = run.restore() or {"cell": 0, "curves": {}}
    curves: dict[int, dict[int, list[float]]] = saved["curves"]
    total = sum(grids[d][-1] for _, d in cells)
    done = sum(grids[d][-1] for _, d in cells[: saved["cell"]])
    with common.crew() as workers, run.progress(total, "samples", done) as bar:
        for index in range(saved["cell"], len(cells)):
            repeat, d = cells[index]
            task = data.make_task(run.rng(repeat, "features", d), d, features, g)
            expected = _expected(run, repeat, task, grids[d])
            W = common.initial_layer(run, repeat, d, -(-m1 // 2))
            here = saved if "moment" in saved and index == saved["cell"] else None
            grown = curves.setdefault(d, {k: [] for k in inner_steps})
            source = common.stream(run, repeat, "first", d)
            where = {"cell": index, "curves": curves}
            before = 0
            for n, M in common.growing(run, workers, task, source, grids[d], where, here):
                rows = _rows(task, W, M, inner_steps)
                for k in inner_steps:
                    grown[k].append(rows[k]["overlap"])
                ratio = n / d**4
                at = grids[d].index(n)
                columns = [
                    {
                        "d": d, "inner_steps": k, "n": n, "n_over_d4": ratio, **rows[k],
                        "expected": expected[at] if k == 1 else math.nan,
                    }
                    for k in inner_steps
                ]  # fmt: skip
                run.write("curve", {key: [c[key] for c in columns] for key in columns[0]}, repeat)
                bar.update(n - before)
                before = n
            if d == dims[-1]:
                _write_fits(run, repeat, curves, grids, thresholds)
                curves = {}


def _thresholds(inner_steps: tuple[int, ...], targets: tuple[float, ...]) -> dict[int, float]:
    if targets == (0.0,):
        return {k: AUTO[1] if k == 1 else AUTO[3] for k in inner_steps}
    if len(targets) != len(inner_steps) or not all(0 < each < 1 for each in targets):
        shown = ",".join(f"{each:g}" for each in targets)
        raise UsageError(
            f"--targets {shown}: give one overlap inside (0, 1) for each of the "
            f"{len(inner_steps)} --inner-steps, or 0 for the usual ones"
        )
    return dict(zip(inner_steps, targets, strict=True))


def _grid(d: int, low: float, high: float, per_octave: int, n_max: int) -> list[int]:
    """Sample sizes from low d^4 to high d^4, at least 2 and at most n_max."""
    count = max(2, 1 + round(per_octave * math.log2(high / low)))
    sizes = np.geomspace(low * d**4, high * d**4, count).round()
    return sorted({int(min(max(size, 2), n_max)) for size in sizes})


def _rows(
    task: Task, W: Floats, M: Floats, inner_steps: tuple[int, ...]
) -> dict[int, dict[str, float]]:
    """The measures after each of `inner_steps` steps."""
    found, done = {}, 0
    for k in sorted(inner_steps):
        before = model.steps(W, M, k - 1 - done)
        energy = measure.energy_overlap(before, M, task.theta)
        W, done = model.steps(before, M, 1), k
        each = measure.overlaps(W, task.theta)
        found[k] = {
            "overlap": float(np.median(each)),
            "mean_overlap": float(each.mean()),
            "energy_overlap": energy,
            "pca": measure.top_overlap(W, task.theta),
        }
    return found


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
    curves: dict[int, dict[int, list[float]]],
    grids: dict[int, list[int]],
    thresholds: dict[int, float],
) -> None:
    """n* of every dimension and the exponent of each number of steps."""
    for k, target in thresholds.items():
        needed = {d: measure.crossing(grids[d], curves[d][k], target) for d in curves}
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
