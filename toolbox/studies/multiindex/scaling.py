"""`multiindex scaling`: samples to the subspace and to the directions against d."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.compute import one_thread
from toolbox.core.run import Run

from . import data, metrics, theory
from .cli import Scaling, UntilArrival
from .learn import Arrival, Problem, prepare, race
from .link import Link, parse_links


def scaling(run: Run, p: Scaling) -> None:
    """Per replicate, link and d: every step size of the grid, the best one, and the fits.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(p.links)
    for d in p.dims:
        data.check_sizes(p.P, d, p.m)
    for link in parsed:
        run.say(link.describe())
    problems = [
        Problem(link, d, p.P, p.m, p.noise, reduced=p.stream == "reduced")
        for d in sorted(p.dims)
        for link in parsed
    ]
    cells(run, p, problems, "d")


def cells(run: Run, p: UntilArrival, problems: Sequence[Problem], size: str) -> None:
    """Race every problem in every replicate, and fit the powers of `size`, `d` or `P`.

    The step sizes of a cell share one stream and so one batch, that of the largest step.
    """
    for repeat in run.replicates():
        best: list[dict[str, Any]] = run.kept([])
        for problem in run.cells(problems, "cells"):
            unit = theory.step_unit(problem.link, problem.P, problem.d, problem.sigma)
            scales = np.array(sorted(p.eta_grid))
            b = min(
                p.max_samples,
                theory.batch_size(problem.link, float(unit * scales[-1]), p.batch, problem.numbers),
            )
            learner, stream = prepare(run, repeat, problem, unit * scales * b, b, "samples")
            with one_thread(), contextlib.closing(stream):
                found = race(run, p, problem, learner, stream)
            run.write("steps", _rows(problem, scales, unit * scales, b, found), repeat)
            chosen = _best(problem, scales, unit * scales, b, p.level, found)
            run.write("samples", chosen, repeat)
            best.append(chosen)
            run.note(f"{problem.link.name} {size} {getattr(problem, size)}")
        run.write("fit", _fits(pd.DataFrame(best), problems, size), repeat)
        run.write("laws", _laws(pd.DataFrame(best), problems, size), repeat)
        edge = sum(row["at_edge"] for row in best)
        if edge:
            run.say(
                f"replicate {repeat}: the best step size is at the edge of the grid in {edge} of "
                f"{len(best)} cells; widen the grid"
            )


def _rows(problem: Problem, scales: Any, etas: Any, batch: int, found: Arrival) -> dict[str, Any]:
    goal = found.direction if problem.link.names_directions else found.subspace
    return {
        "link": problem.link.name, "d": problem.d, "P": problem.P, "eta_scale": scales,
        "eta1": etas, "batch": batch, "samples_sub": pd.array(found.subspace).astype("Int64"),
        "samples_dir": pd.array(found.direction).astype("Int64"),
        "seen": found.seen.astype(np.int64), "censored": np.isnan(goal),
    }  # fmt: skip


def _best(
    problem: Problem, scales: Any, etas: Any, batch: int, level: float, found: Arrival
) -> dict[str, Any]:
    """The step size that arrives first, the largest where none arrives.

    Flow times are samples times step. Plain numbers and None, so that a checkpoint can hold them.
    """
    goal = found.direction if problem.link.names_directions else found.subspace
    arrived = not np.isnan(goal).all()
    best = int(np.nanargmin(goal)) if arrived else len(goal) - 1
    eta1 = float(etas[best])

    def count(samples: float) -> int | None:
        return None if np.isnan(samples) else int(samples)

    start = theory.typical_start(problem.P, problem.d)
    return {
        "link": problem.link.name, "d": problem.d, "P": problem.P,
        "eta_scale": float(scales[best]), "eta1": eta1, "batch": batch,
        "samples_sub": count(found.subspace[best]), "samples_dir": count(found.direction[best]),
        "seen": int(found.seen[best]), "censored": not arrived,
        "at_edge": arrived and len(goal) > 1 and best in (0, len(goal) - 1),
        "time_sub": float(found.subspace[best]) * eta1,
        "time_dir": float(found.direction[best]) * eta1,
        "time_theory": float(theory.leading_time(problem.link, start, level)[0]),
    }  # fmt: skip


def _fits(best: pd.DataFrame, problems: Sequence[Problem], size: str) -> pd.DataFrame:
    """Exponent of the samples and of the flow time per link and target; censored cells left out."""
    parts = []
    for link in dict.fromkeys(problem.link for problem in problems):
        rows = best[best["link"] == link.name]
        for target in ("sub", "dir"):
            samples = rows[f"samples_{target}"].astype(float)
            seen = samples.notna()
            slope = metrics.loglog_slope(rows[size][seen], samples[seen])
            times = rows[f"time_{target}"].astype(float)[seen]
            parts.append(
                {
                    "link": link.name, "target": target, "points": int(seen.sum()),
                    "censored": int((~seen).sum()), "exponent": slope,
                    "time_exponent": metrics.loglog_slope(rows[size][seen], times),
                }
            )  # fmt: skip
    return pd.DataFrame(parts)


def _laws(best: pd.DataFrame, problems: Sequence[Problem], size: str) -> pd.DataFrame:
    """What was measured, and the theory's powers through one measured size.

    Powers of d, through the last size that arrived: d log d (p = 2) or d^max(1, p-1) in samples,
    log d or d^max(0, (p-2)/2) in flow time. Powers of P, through the first: the upper bound
    P^(L-1), L the lowest order above 2; none in flow time.
    """
    parts = []
    for link in dict.fromkeys(problem.link for problem in problems):
        rows = best[best["link"] == link.name]
        target = "dir" if link.names_directions else "sub"
        measured = rows[["link", "d", "P"]].assign(
            source="measured",
            samples=rows[f"samples_{target}"].astype(float),
            time=rows[f"time_{target}"].astype(float),
        )
        parts.append(measured)
        arrived = measured.dropna(subset="samples")
        if len(arrived):
            last = arrived.iloc[-1 if size == "d" else 0]
            x, end = measured[size].astype(float), float(last[size])
            samples, times = _powers(link, size, x)
            scale_n, scale_t = _powers(link, size, pd.Series([end]))
            law = measured.assign(
                source="theory",
                samples=last["samples"] * samples / scale_n.iloc[0],
                time=last["time"] * times / scale_t.iloc[0],
            )
            parts.append(law)
    return pd.concat(parts, ignore_index=True)


def _powers(link: Link, size: str, x: pd.Series) -> tuple[pd.Series, pd.Series]:
    if size == "P":
        higher = [q for q, _ in link.terms if q > 2]
        return x ** ((min(higher) if higher else 2) - 1), x * np.nan
    log = np.log(x) if link.lowest == 2 else 1.0
    power = theory.sample_exponent(link), theory.time_exponent(link)
    return x ** power[0] * log, x ** power[1] * log
