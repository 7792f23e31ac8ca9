"""`recall scaling`: facts stored against parameters (Figure 4, left; Figures 7 to 9)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data, theory
from .cli import Scaling
from .ensemble import Budget, train
from .search import Search
from .tasks import draw_facts, make_task
from .transformer import Size, Transformer


@dataclass(frozen=True)
class Point:
    """One model of the sweep: attention alpha d^2, MLP beta d^2."""

    alpha: float
    beta: float
    size: Size


def relations_of(scaling: str, S: int) -> int:
    """R = S (linear, distinct) or R = int(sqrt S) (square: S = R^2)."""
    return math.isqrt(S) if scaling == "square" else S


def sweep(dims: tuple[int, ...], alpha_beta: tuple[str, ...], heads: int) -> list[list[Point]]:
    """One list per alpha:beta pair, by increasing d; d_h = int(d alpha / H), m = int(d beta).

    Errors: `ParameterError` for a pair that is none, and for d_h = 0.
    """
    out = []
    for text in alpha_beta:
        first, _, second = text.partition(":")
        try:
            alpha, beta = float(first), float(second)
        except ValueError:
            alpha = beta = math.nan
        if not (0 < alpha <= 64 and 0 <= beta <= 64):
            raise ParameterError(
                "alpha_beta",
                text,
                "expected attention:MLP like 1:1 or 0.5:2, alpha in (0, 64] and beta in [0, 64]",
            )
        points = []
        for d in sorted(dims):
            head_dim = int(d * alpha / heads)
            if head_dim == 0:
                raise ParameterError(
                    "alpha_beta",
                    text,
                    f"heads of dimension int({d} x {alpha:g} / {heads}) = 0",
                    "take fewer {heads}, larger {dims} or a larger alpha",
                )
            points.append(Point(alpha, beta, Size(d, heads, head_dim, int(d * beta))))
        out.append(points)
    return out


def scaling(run: Run, p: Scaling) -> None:
    """The largest S by binary search for every pair and d; the learning rates of a trial train as
    one ensemble. A pair's search starts at its result for the d before, as in the paper.

    distinct: D = S, so that there are as many answers per relation as subjects.
    """
    if p.high <= p.low:
        raise ParameterError("high", p.high, f"must exceed {{low}} {p.low}")
    pairs = sweep(p.dims, p.alpha_beta, p.heads)
    budget = Budget(p.steps, p.every, p.threshold, p.early_stop)

    def task_of(S: int) -> data.Task:
        D = S if p.scaling == "distinct" else p.answers
        return make_task(S, relations_of(p.scaling, S), D, 0, p.length, "random")

    def learns(repeat: int, point: Point, S: int) -> bool | None:
        """Whether one of the learning rates learns all facts of S subjects; None if all diverge."""
        task, size = task_of(S), point.size
        stream = (f"{point.alpha:g}:{point.beta:g}", size.d, S)
        facts = draw_facts(run, task, size.d, "random", p.evaluate, repeat, *stream)
        generators = [run.torch_generator(repeat, "weights", *stream, device="cpu") for _ in p.lr]
        model = Transformer(
            facts, [size] * len(p.lr), generators, p.lr, p.batch,
            run.torch_generator(repeat, "prompts", *stream, device="cpu"),
        )  # fmt: skip
        outcome = train(run, model, budget)
        run.write(
            "trials",
            {
                "alpha": point.alpha, "beta": point.beta, "d": size.d, "S": S, "lr": p.lr,
                "accuracy": outcome.accuracy, "stopped": outcome.stopped,
            },
            repeat,
        )  # fmt: skip
        if outcome.diverged.all():
            step, name = int(outcome.stopped.max()), f"{point.alpha:g}:{point.beta:g}, d = {size.d}"
            message = f"{name} with S = {S}: the weights are not finite at any rate"
            run.diverged(repeat, message, step, name, sum(map(len, pairs)))
            return None
        return bool(outcome.best.max() >= p.threshold)

    for repeat in run.replicates():
        for pair in run.cells(pairs, "attention:MLP"):
            floor = {"S": p.low}
            for point in run.cells(pair, "dimensions", floor):
                search = Search.between(floor["S"], max(p.high, floor["S"] + 1))
                for S in run.search(search.ask, search):
                    learnt = learns(repeat, point, S)
                    if learnt is None:
                        search.diverged = True
                    else:
                        search.tell(S, learnt)
                floor["S"] = search.low
                if search.diverged:
                    continue
                row = _row(point, search, task_of(search.low), p.bits, p.threshold)
                run.write("scaling", row, repeat)
                drawn = {"series": row["series"], "params": float(row["params"])}
                run.write("lines", {**drawn, "facts": float(row["facts"])}, repeat)
    points = [point for pair in pairs for point in pair]
    for repeat in range(run.repeats):
        _write_lines(run, repeat, points, 1 - p.threshold, p.answers, p.scaling, p.bits)


def _row(
    point: Point, search: Search, task: data.Task, bits: float, threshold: float
) -> dict[str, Any]:
    size = point.size
    need = float(theory.fano_bits(task.facts, task.answers, 1 - threshold))
    return {
        "series": f"{point.alpha:g}:{point.beta:g}",
        "alpha": point.alpha,
        "beta": point.beta,
        "H": size.heads,
        "D": task.answers,
        "d": size.d,
        "d_h": size.head_dim,
        "m": size.width,
        "params": size.parameters,
        "params_products": size.attention + size.mlp,
        "S": search.low,
        "R": task.relations,
        "facts": task.facts,
        "facts_per_param": task.facts / size.parameters,
        "bits_per_param": need / size.parameters,
        "bound_share": need / (bits * size.parameters),
        "trials": search.trials,
        "censored": search.censored,
    }


def _write_lines(
    run: Run, repeat: int, points: list[Point], error: float, D: int, scaling: str, bits: float
) -> None:
    """The reference lines, in the table that the figure draws."""
    params = np.geomspace(
        min(p.size.parameters for p in points) / 1.2,
        max(p.size.parameters for p in points) * 1.2,
        40,
    )
    run.write(
        "lines", {"series": "paper", "params": params, "facts": theory.PAPER_FACTS * params}, repeat
    )
    if scaling == "distinct":  # D = S: N log2 S bits with N = S^2
        S = np.geomspace(4, 1e5, 400)
        need = np.array([float(theory.fano_bits(s * s, int(s), error)) for s in S])
        facts = np.exp(np.interp(np.log(bits * params), np.log(need), np.log(S * S)))
    else:
        with np.errstate(divide="ignore"):  # answers by chance are right often enough: no bound
            facts = bits * params / float(theory.fano_bits(1, D, error))
    run.write("lines", {"series": "bound", "params": params, "facts": facts}, repeat)
