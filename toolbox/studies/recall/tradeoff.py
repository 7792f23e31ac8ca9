"""`recall tradeoff`: who stores the facts, the value matrices or the MLP (Figure 4, right)."""

from __future__ import annotations

from toolbox.core.run import Run

from .cli import Tradeoff
from .ensemble import Budget, train
from .tasks import draw_facts, make_task
from .transformer import Size, Transformer


def tradeoff(run: Run, p: Tradeoff) -> None:
    """One row per replicate and cell: the best accuracy seen, NaN if it diverged; 1 ends a cell.

    Cells whose heads pad to the same shape train as one ensemble, on the same prompts. A cell has
    the same shape, weights, facts and prompts wherever it stands, so that a grid done cell by cell
    by an array is the grid in one run (up to the rounding of matrix products).
    """
    task = make_task(p.subjects, p.relations, p.answers, p.noise, p.length, "random")
    classes: dict[Size, list[Size]] = {}
    for H in p.heads:
        for m in p.widths:
            size = Size(p.dim, H, p.head_dim, m)
            classes.setdefault(size.padded, []).append(size)
    cells = len(p.heads) * len(p.widths)
    budget = Budget(p.steps, p.every, threshold=1.0, early=False)
    for repeat in run.replicates():
        for padded, sizes in run.cells(classes.items(), "groups of cells"):
            facts = draw_facts(run, task, p.dim, "random", p.evaluate, repeat)
            generators = [
                run.torch_generator(repeat, "weights", size.heads, size.width, device="cpu")
                for size in sizes
            ]
            stream = run.torch_generator(repeat, "prompts", device="cpu")
            rates = [p.lr] * len(sizes)
            model = Transformer(facts, sizes, generators, rates, p.batch, stream, padded)
            outcome = train(run, model, budget)
            for i in outcome.diverged.nonzero()[0]:
                run.diverged(
                    repeat, f"the weights at step {outcome.stopped[i]} are not finite",
                    int(outcome.stopped[i]), f"H = {sizes[i].heads}, m = {sizes[i].width}", cells,
                )  # fmt: skip
            run.write(
                "cells",
                {
                    "H": [size.heads for size in sizes],
                    "m": [size.width for size in sizes],
                    "attn_params": [size.attention for size in sizes],
                    "mlp_params": [size.mlp for size in sizes],
                    "attn_params_full": [4 * size.attention for size in sizes],
                    "mlp_params_full": [2 * size.mlp for size in sizes],
                    "accuracy": outcome.accuracy,
                    "stop_step": outcome.stopped,
                },
                repeat,
            )
