"""`hierarchical kernel`: samples that kernel ridge needs, measured and by theory, and d^{2p}."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, compete, data, measure, theory
from .cli import Kernel
from .compete import Contest
from .links import Link

Floats = NDArray[np.floating]

PAIRS = 200_000
"""Pairs of points from which the target's energy in each degree is estimated."""


def kernel(run: Run, p: Kernel) -> None:
    """Learning curves of kernel ridge and of the network, the theory's, and where they cross.

    Two levels of error: `fixed`, which is `p.error`, and `top`, half of the target's energy in its
    highest degree 2p: there kernel ridge is learning that degree, whatever the others.

    Errors: `ParameterError`.
    """
    for field in ("dims", "theory_dims", "samples", "network_samples"):
        common.check_rising(field, getattr(p, field))
    if compete.network_steps(p.network) is None:
        raise ParameterError("network", p.network, "expected net1, net3 or another number of steps")
    compete.check_features(p, p.dims)
    g = common.checked_link(run, p.link, p.r, learned=True)
    largest = max(*p.samples, *p.network_samples)
    common.check_gram(p.m1, "neurons", "m1", p.m1)
    for n in p.samples[-1:]:
        common.check_gram(n, "samples of kernel ridge", "samples", n)
    how = Contest(p, None, largest, largest)
    halves = [n // 2 for n in p.network_samples]
    used = {"krr": p.samples, p.network: tuple(2 * n for n in halves)}
    with common.crew(run) as workers:
        for repeat in run.replicates():
            needed: list[dict[str, Any]] = run.kept([])
            for d in run.cells(p.dims, "dimensions"):
                task = data.make_task(run.rng(repeat, "features", d), d, p.features, g)
                energies = theory.degree_energies(
                    run.rng(repeat, "energy", d), task, PAIRS, g.degree
                )
                curves: dict[str, list[float]] = run.kept({"krr": [], p.network: []})
                for _ in run.cells(["kernel ridge"], "kernel curves"):
                    jobs = [
                        workers.pool.submit(compete.kernel_row, run, repeat, task, n, how)
                        for n in p.samples
                    ]
                    rows = [common.result(run, job) for job in jobs]
                    curves["krr"] += [row["test_error"] for row in rows]
                    rows += [_by_theory(d, n, energies, p) for n in p.samples]
                    run.write("kernel", compete.columns(rows), repeat)
                source = common.stream(run, repeat, "first", d)
                for n1, M in common.growing(run, workers, task, source, halves):
                    (row,) = compete.compete(run, workers, repeat, task, n1, M, (p.network,), how)
                    curves[p.network].append(row["test_error"])
                    names = ("d", "method", "samples", "test_error", "tuned")
                    run.write("kernel", {key: row[key] for key in names}, repeat)
                for level, value in (("fixed", p.error), ("top", float(energies[-1]) / 2)):
                    crossings = {
                        method: measure.crossing(used[method], curves[method], value, rising=False)
                        for method in used
                    }
                    if level == "fixed":
                        crossings["theory"] = theory.kernel_samples(value, d, energies)
                    needed += [
                        {"d": d, "level": level, "method": method, "n": n, "level_error": value}
                        for method, n in crossings.items()
                    ]
            every = needed + _law(p.theory_dims, g)
            run.write("threshold", compete.columns(_with_exponents(every, g)), repeat)


def _by_theory(d: int, n: int, energies: Floats, p: Kernel) -> dict[str, Any]:
    """The row of kernel ridge's theory at its best of the same penalties."""
    error = theory.kernel_error(n, d, energies, p.penalties)
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
