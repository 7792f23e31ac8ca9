"""`recall linear` and `recall mlp`: how much an associative memory holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import theory
from .cli import Linear, Mlp
from .ensemble import Budget, train
from .memory import Memory, Shape, superposition_accuracy
from .search import Search, next_trial

POINTS = 60
"""Points of a reference line."""
PER_OCTAVE = 4
"""Points per octave of d at which a law is solved for its capacity, some 50 ms each."""
FLOAT_BITS = 32
"""Bits of a trained number; no search goes beyond what they can hold."""


@dataclass(frozen=True)
class Method:
    """How a capacity is searched: trained by Adam, or in closed form."""

    rates: tuple[float, ...]
    budget: Budget
    bits: float
    draws: int = 1

    @classmethod
    def of(cls, p: Linear | Mlp, draws: int = 1) -> Method:
        """What the flags say."""
        budget = Budget(p.steps, p.every, p.threshold, p.early_stop)
        return cls(p.lr, budget, p.bits, draws)


class Trial(NamedTuple):
    """How one size went for one replicate."""

    learnt: bool
    diverged_at: int | None = None
    """The step by which every rate had diverged."""


def linear(run: Run, p: Linear) -> None:
    """Capacity of a d x d matrix (Theorem 1 and Figure 1, left).

    The search starts in [d, d^2 / 2] as in the paper; in [2, d^2 / 2] for the superposition, which
    holds less than d.
    """
    how = Method.of(p, p.draws)
    shapes = [Shape(d) for d in p.dims]
    names = ("superposition", "trained") if p.method == "both" else (p.method,)
    points = [(name, shape) for name in names for shape in shapes]
    _capacities(run, points, how, lambda s: (s.d, s.d * s.d // 2))
    grid = _span([shape.parameters for shape in shapes])
    lines = {
        "paper": theory.inverse_n_log_n(grid / theory.PAPER_LINEAR),
        "sharp": theory.inverse_n_log_n(grid * theory.SHARP),
        "bound": _bound(grid, None, how),
    }
    if "superposition" in names:
        d, level = np.sqrt(grid), how.budget.threshold
        few = np.geomspace(d[0], d[-1], 3 + int(PER_OCTAVE * np.log2(d[-1] / d[0])))
        laws: dict[str, Callable[[float, float], Any]] = {
            "predicted": theory.superposition_prediction,
            "finite": theory.superposition_finite,
        }
        for name, law in laws.items():
            solved = np.log(theory.superposition_capacity(few, level, law))
            lines[name] = np.exp(np.interp(np.log(d), np.log(few), solved))
    _write_lines(run, grid, lines)


def mlp(run: Run, p: Mlp) -> None:
    """Capacity of an MLP of width m = ratio d (Theorem 2; Figure 1, right; Figure 6).

    The search starts in [d, m d] as in the paper.
    """
    how = Method.of(p)
    shapes = [Shape(d, int(r * d), p.outputs or None) for r in p.ratios for d in p.dims]
    for shape in shapes:
        if not shape.width or shape.parameters < shape.d + 2:
            raise ParameterError(
                "ratios",
                f"{min(p.ratios):g}",
                f"gives the width {shape.width} at d = {shape.d}, and the search needs one of at "
                "least 2",
                "raise the ratio",
            )
    _capacities(run, [("trained", shape) for shape in shapes], how, lambda s: (s.d, s.parameters))
    grid = _span([shape.parameters for shape in shapes])
    if p.outputs:
        paper = grid / theory.PAPER_FIXED
    else:
        paper = theory.inverse_n_log_n(grid / theory.PAPER_MLP)
    # Every trained number counts as capacity: 2 m d + m, at the smallest dimension 2 + 1/d per m d.
    held = grid * (2 + 1 / min(p.dims))
    _write_lines(run, grid, {"paper": paper, "bound": _bound(held, p.outputs or None, how)})


def _bound(held: np.ndarray, outputs: int | None, how: Method) -> np.ndarray:
    error = 1 - how.budget.threshold
    return np.array([theory.most_associations(how.bits * p, outputs, error) for p in held])


def _capacities(
    run: Run,
    points: Sequence[tuple[str, Shape]],
    how: Method,
    bracket: Callable[[Shape], tuple[int, int]],
) -> None:
    """One search per replicate and point; a row of `capacity` each, a row of `trials` per trial.

    A search ends without a capacity when a trial diverges at every rate.
    """
    for name, shape in run.cells(points, "capacities"):
        low, high = bracket(shape)
        if name == "superposition":
            low = 2
        error = 1 - how.budget.threshold
        most = math.ceil(theory.most_associations(FLOAT_BITS * shape.held, shape.outputs, error))
        learns = _closed_form if name == "superposition" else _trained
        searches = [Search.between(low, high, most) for _ in range(run.repeats)]
        for N, who in run.search(partial(next_trial, searches), searches):
            for repeat, trial in learns(run, shape, how, N, who).items():
                if trial.diverged_at is None:
                    searches[repeat].tell(N, trial.learnt)
                    continue
                searches[repeat].diverged = True
                run.diverged(
                    repeat, f"{shape} with N = {N}: the weights are not finite at any rate",
                    trial.diverged_at, str(shape), len(points),
                )  # fmt: skip
        for repeat, search in enumerate(searches):
            if search.diverged:
                continue
            row = _row(name, shape, search, how)
            run.write("capacity", row, repeat)
            drawn = {"params": float(shape.parameters), "capacity": float(search.low)}
            run.write("lines", {"series": row["series"], **drawn}, repeat)


def _row(name: str, shape: Shape, search: Search, how: Method) -> dict[str, Any]:
    N = search.low
    n_log_n = float(theory.n_log_n(N)) / shape.parameters
    error = 1 - how.budget.threshold
    return {
        "method": name,
        "series": name if shape.width is None else f"m/d = {shape.width / shape.d:.3g}",
        "d": shape.d,
        "m": shape.width or 0,
        "params": shape.parameters,
        "params_held": shape.held,
        "outputs": shape.outputs or 0,
        "capacity": N,
        "trials": search.trials,
        "censored": search.censored,
        "n_log_n_over_params": n_log_n,
        "n_over_params": N / shape.parameters,
        "constant": N / shape.parameters if shape.outputs else n_log_n,
        "most": theory.most_associations(how.bits * shape.held, shape.outputs, error),
    }


def _closed_form(
    run: Run, shape: Shape, how: Method, N: int, who: Sequence[int]
) -> dict[int, Trial]:
    """Which replicates' superposition holds N associations."""
    found: dict[int, float] = {}
    for repeat in run.cells(who, "replicates", found):
        generator = _generator(run, "superposition", shape, repeat, N)
        found[repeat] = superposition_accuracy(
            shape.d, N, shape.outputs, how.draws, generator, run.device, run
        )
    for repeat, accuracy in found.items():
        _write_trial(run, "superposition", shape, N, repeat, 0.0, accuracy, 0)
    return {repeat: Trial(accuracy >= how.budget.threshold) for repeat, accuracy in found.items()}


def _trained(run: Run, shape: Shape, how: Method, N: int, who: Sequence[int]) -> dict[int, Trial]:
    """Which replicates learn N associations at one of the rates; all train as one ensemble."""
    generator = partial(_generator, run, "trained", shape)
    model = Memory(shape, N, who, how.rates, generator, run.device)
    outcome = train(run, model, how.budget)
    # One row per replicate, one column per rate.
    best, accuracies, stopped, diverged = (
        each.reshape(len(who), len(how.rates))
        for each in (outcome.best, outcome.accuracy, outcome.stopped, outcome.diverged)
    )
    for i, repeat in enumerate(who):
        for j, rate in enumerate(how.rates):
            accuracy, step = float(accuracies[i, j]), int(stopped[i, j])
            _write_trial(run, "trained", shape, N, repeat, rate, accuracy, step)
    return {
        repeat: Trial(
            bool(best[i].max() >= how.budget.threshold),
            int(stopped[i].max()) if diverged[i].all() else None,
        )
        for i, repeat in enumerate(who)
    }


def _generator(run: Run, name: str, shape: Shape, repeat: int, N: int) -> torch.Generator:
    stream = (name, shape.d, shape.width or 0, shape.outputs or 0)
    return run.torch_generator(repeat, *stream, N, device="cpu")


def _write_trial(
    run: Run, name: str, shape: Shape, N: int, repeat: int, rate: float, accuracy: float,
    stopped: int,
) -> None:  # fmt: skip
    run.write(
        "trials",
        {
            "method": name, "d": shape.d, "m": shape.width or 0, "N": N, "lr": rate,
            "accuracy": accuracy, "stopped": stopped,
        },
        repeat,
    )  # fmt: skip


def _span(params: Sequence[int]) -> np.ndarray:
    """Parameter counts at which the reference lines are drawn, (POINTS,)."""
    return np.geomspace(min(params) / 1.2, max(params) * 1.2, POINTS)


def _write_lines(run: Run, params: np.ndarray, lines: dict[str, np.ndarray]) -> None:
    for repeat in range(run.repeats):
        for series, capacity in lines.items():
            run.write("lines", {"series": series, "params": params, "capacity": capacity}, repeat)
