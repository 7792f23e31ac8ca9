"""`recall curve`: accuracy against N, the transition that a capacity search looks for."""

from __future__ import annotations

import numpy as np
import torch

from toolbox.core.run import Run

from . import theory
from .cli import Curve
from .ensemble import threads_for
from .memory import Memory, Shape, superposition_accuracy


def curve(run: Run, p: Curve) -> None:
    """One row per replicate, N and recorded step; all replicates of one N train together.

    The superposition has one row per N, at step 0, beside its Gaussian prediction.
    """
    shape = Shape(p.d, p.m if p.kind == "mlp" else None, p.outputs or None)
    same = {"kind": p.kind, "d": p.d, "m": shape.width or 0, "params": shape.parameters}
    for N in run.cells(p.sizes, "sizes"):
        ratio = float(theory.n_log_n(N)) / shape.parameters

        def generator(repeat: int, N: int) -> torch.Generator:
            return run.torch_generator(repeat, "curve", p.kind, p.d, p.m, p.outputs, N)

        def write(N: int, step: int, accuracy: np.ndarray, ratio: float, **more: object) -> None:
            run.write(
                "curve",
                {
                    **same, "N": N, "n_log_n_over_params": ratio, "step": step,
                    "accuracy": accuracy, "repeat": np.arange(run.repeats), **more,
                },
            )  # fmt: skip

        def draw(N: int, series: str, accuracy: np.ndarray) -> None:
            repeats = np.arange(run.repeats)
            run.write("lines", {"series": series, "N": N, "accuracy": accuracy, "repeat": repeats})

        if p.kind == "superposition":
            found = np.zeros(run.repeats)
            for repeat in run.cells(range(run.repeats), "replicates", found):
                found[repeat] = superposition_accuracy(
                    p.d, N, shape.outputs, p.draws, generator(repeat, N), run.device, run
                )
            # The laws are of the identity map, and the second of p.d >= 4.
            gaussian = np.nan if p.outputs else float(theory.superposition_prediction(N, p.d))
            finite = np.nan if p.outputs or p.d < 4 else theory.superposition_finite(N, p.d)
            write(
                N, 0, found, ratio, loss=np.nan, predicted=gaussian, predicted_finite=finite,
                last=True,
            )  # fmt: skip
            draw(N, "measured", found)
            for series, level in (("finite", finite), ("predicted", gaussian)):
                if not np.isnan(level):
                    draw(N, series, np.full(run.repeats, level))
            continue
        model = Memory(shape, N, range(run.repeats), (p.lr,), generator, run.device)
        with threads_for(model.largest()):
            for _ in run.steps(p.steps, model):
                model.step()
                if model.steps % p.every == 0 or model.steps == p.steps:
                    loss = model.loss()
                    run.check_finite(loss.sum(), f"the loss at N {N}, step {model.steps}")
                    write(
                        N, model.steps, model.accuracy(), ratio, loss=loss, predicted=np.nan,
                        predicted_finite=np.nan, last=model.steps == p.steps,
                    )  # fmt: skip
        draw(N, "measured", model.accuracy())
