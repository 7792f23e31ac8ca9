"""`hierarchical kernel`: samples that kernel ridge needs, measured and by theory, and d^{2p}."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import common, compete, data, measure, theory
from .compete import Contest
from .links import Link

Floats = NDArray[np.floating]

PAIRS = 200_000
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

    Two levels of error: `fixed`, which is `error`, and `top`, half of the target's energy in its
    highest degree 2p: there kernel ridge is learning that degree, whatever the others.

    Errors: `UsageError`.
    """
    for flag, values in (
        ("--dims", dims),
        ("--theory-dims", theory_dims),
        ("--samples", samples),
        ("--network-samples", network_samples),
    ):
        common.check_rising(flag, values)
    if compete.network_steps(network) is None:
        raise UsageError(f"--network {network}: expected net1, net3 or another number of steps")
    compete.check_features(features, dims, r, "--dims")
    g = common.checked_link(run, link, r, learned=True)
    cells = [(repeat, d) for repeat in range(run.repeats) for d in dims]
    saved: dict[str, Any] = run.restore() or {"cell": 0, "needed": []}
    needed: list[dict[str, Any]] = saved["needed"]
    halves = [n // 2 for n in network_samples]
    done = saved["cell"] * (1 + len(halves)) + saved.get("size", 0)
    total = len(cells) * (1 + len(halves))
    with common.crew() as workers, run.progress(total, "curves and sizes", done) as bar:
        for index in range(saved["cell"], len(cells)):
            repeat, d = cells[index]
            here = saved if "moment" in saved and index == saved["cell"] else None
            task = data.make_task(run.rng(repeat, "features", d), d, features, g)
            energies = theory.degree_energies(run.rng(repeat, "energy", d), task, PAIRS, g.degree)
            if here is None:
                run.checkpoint(lambda: {"cell": index, "needed": needed})
                jobs = [
                    workers.pool.submit(compete.kernel_row, run, repeat, task, n, how)
                    for n in samples
                ]
                rows = [job.result() for job in jobs]
                rows += [_by_theory(d, n, energies, how) for n in samples]
                run.write("kernel", compete.columns(rows), repeat)
                curves = {"krr": [row["test_error"] for row in rows[: len(samples)]], network: []}
                bar.update(1)
            else:
                curves = here["curves"]
            where = {"cell": index, "needed": needed, "curves": curves}
            source = common.stream(run, repeat, "first", d)
            for n1, M in common.growing(run, workers, task, source, halves, where, here):
                (row,) = compete.compete(run, workers, repeat, task, n1, M, (network,), how)
                curves[network].append(row["test_error"])
                kept = {key: row[key] for key in ("d", "method", "samples", "test_error", "tuned")}
                run.write("kernel", kept, repeat)
                bar.update(1)
            used = {"krr": samples, network: tuple(2 * n for n in halves)}
            for level, value in (("fixed", error), ("top", float(energies[-1]) / 2)):
                found = {
                    method: measure.crossing(used[method], curves[method], value, rising=False)
                    for method in used
                }
                if level == "fixed":
                    found["theory"] = theory.kernel_samples(value, d, energies)
                needed += [
                    {"d": d, "level": level, "method": method, "n": n, "level_error": value}
                    for method, n in found.items()
                ]
            if d == dims[-1]:
                needed += _law(theory_dims, g)
                run.write("threshold", compete.columns(_with_exponents(needed, g)), repeat)
                needed = []


def _by_theory(d: int, n: int, energies: Floats, how: Contest) -> dict[str, Any]:
    """The row of kernel ridge's theory at its best of the same penalties."""
    error = theory.kernel_error(n, d, energies, how.fitting.penalties)
    return {"d": d, "method": "theory", "samples": n, "test_error": error, "tuned": math.nan}


def _law(dims: tuple[int, ...], link: Link) -> list[dict[str, Any]]:
    """The theory's n* for half of a target of pure degree 2p; no sampling enters."""
    pure = [0.0] * (link.degree - 1) + [1.0]
    return [
        {
            "d": d,
            "level": "top",
            "method": "theory",
            "n": theory.kernel_samples(0.5, d, pure),
            "level_error": math.nan,
        }
        for d in dims
    ]


def _with_exponents(needed: list[dict[str, Any]], link: Link) -> list[dict[str, Any]]:
    """Adds d^{2p} and the local exponent: the log-log slope in d from the dimension before."""
    last: dict[tuple[str, str], tuple[int, float]] = {}
    for row in needed:
        d, n = last.get((row["level"], row["method"]), (row["d"], math.nan))
        row["kernel_law"] = float(row["d"]) ** (2 * link.degree)
        slope = np.log(row["n"] / n) / np.log(row["d"] / d) if row["d"] > d else math.nan
        row["exponent"] = float(slope)
        last[row["level"], row["method"]] = row["d"], row["n"]
    return needed
