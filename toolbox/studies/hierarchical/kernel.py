"""`hierarchical kernel`: samples that kernel ridge needs, measured and by theory, and d^{2p}."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolbox.core.run import Run

from . import common, compete, data, measure, theory
from .compete import Contest

PAIRS = 100_000
"""Pairs of points from which the target's energy in each degree is estimated."""


def kernel(
    run: Run,
    *,
    dims: tuple[int, ...],
    theory_dims: tuple[int, ...],
    samples: tuple[int, ...],
    network_samples: tuple[int, ...],
    network: str,
    error: float,
    link: str,
    features: str,
    r: int,
    how: Contest,
) -> None:
    """Learning curves of kernel ridge and of the network, the theory's, and where they cross.

    Two levels of error: `error`, and half of the target's energy in its highest degree 2p, which
    is where that degree is being learned.

    Errors: `UsageError`.
    """
    for flag, values in (
        ("--dims", dims), ("--theory-dims", theory_dims), ("--samples", samples),
        ("--network-samples", network_samples),
    ):  # fmt: skip
        common.check_rising(flag, values)
    compete.check_methods("--network", (network,))
    compete.check_budget(how.m1, features, dims, r, "--dims")
    compete.check_budget(how.m1, features, theory_dims, r, "--theory-dims")
    g = common.checked_link(run, link, r, learned=True)
    every = sorted({*dims, *theory_dims})
    cells = [(repeat, d) for repeat in range(run.repeats) for d in every]
    saved: dict[str, Any] = run.restore() or {"cell": 0, "needed": []}
    needed: list[dict[str, Any]] = saved["needed"]
    halves = [n // 2 for n in network_samples]
    with common.crew() as workers, run.progress(len(cells), "dimensions", saved["cell"]) as bar:
        for index in range(saved["cell"], len(cells)):
            repeat, d = cells[index]
            here = saved if "moment" in saved and index == saved["cell"] else None
            run.checkpoint(lambda: {"cell": index, "needed": needed} if here is None else here)
            task = data.make_task(run.rng(repeat, "features", d), d, features, g)
            energies = theory.degree_energies(run.rng(repeat, "energy", d), task, PAIRS, g.degree)
            penalties = how.fitting.penalties
            levels = {"fixed": error, "top": float(energies[-1]) / 2}
            reached = {
                (level, "theory"): theory.kernel_samples(value, d, energies, penalties)
                for level, value in levels.items()
            }
            if d in dims:
                errors: list[float] = here["errors"] if here else []
                if not errors:
                    jobs = [
                        workers.pool.submit(compete.kernel_row, run, repeat, task, n, how)
                        for n in samples
                    ]
                    rows = [job.result() for job in jobs]
                    for row in rows:
                        row["theory"] = theory.kernel_error(row["samples"], d, energies, penalties)
                    run.write("kernel", compete.columns(rows), repeat)
                    errors = [row["test_error"] for row in rows]
                where = {"cell": index, "needed": needed, "errors": errors}
                source = common.stream(run, repeat, "first", d)
                falling: list[float] = here["falling"] if here else []
                where["falling"] = falling
                for n1, M in common.growing(run, workers, task, source, halves, where, here):
                    (row,) = compete.compete(run, workers, repeat, task, n1, M, (network,), how)
                    falling.append(row["test_error"])
                    run.write("kernel", _network_row(row), repeat)
                for level, value in levels.items():
                    reached[level, "krr"] = measure.crossing(samples, errors, value, False)
                    reached[level, network] = measure.crossing(
                        [2 * n for n in halves], falling, value, False
                    )
            needed += [
                {
                    "d": d, "level": level, "method": method, "n": n,
                    "level_error": levels[level], "kernel_law": float(d) ** (2 * g.degree),
                }
                for (level, method), n in reached.items()
            ]  # fmt: skip
            if d == every[-1]:
                run.write("threshold", compete.columns(_with_exponents(needed)), repeat)
                needed = []
            bar.update(1)


def _network_row(row: dict[str, Any]) -> dict[str, Any]:
    kept = {key: row[key] for key in ("d", "method", "samples", "test_error", "tuned")}
    return {**kept, "theory": math.nan}


def _with_exponents(needed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds the local exponent: the log-log slope in d from the dimension before, per curve."""
    last: dict[tuple[str, str], tuple[int, float]] = {}
    for row in needed:
        key = row["level"], row["method"]
        d, n = last.get(key, (row["d"], math.nan))
        row["exponent"] = (
            float(np.log(row["n"] / n) / np.log(row["d"] / d)) if row["d"] > d else math.nan
        )
        last[key] = row["d"], row["n"]
    return needed
