"""`recall curve`: accuracy against N, the transition that a capacity search looks for."""

from __future__ import annotations

import numpy as np
import torch

from toolbox.core.run import Run

from . import theory
from .ensemble import threads_for
from .memory import Memory, Shape, superposition_accuracy


def curve(
    run: Run,
    *,
    kind: str,
    d: int,
    m: int,
    outputs: int,
    sizes: tuple[int, ...],
    lr: float,
    steps: int,
    every: int,
    draws: int,
) -> None:
    """One row per replicate, N and recorded step; all replicates of one N train together.

    The superposition has one row per N, at step 0, beside its Gaussian prediction.
    """
    shape = Shape(d, m if kind == "mlp" else None, outputs or None)
    same = {"kind": kind, "d": d, "m": shape.width or 0, "params": shape.parameters}
    for N in run.cells(sizes, "sizes"):
        ratio = float(theory.n_log_n(N)) / shape.parameters

        def generator(repeat: int, N: int) -> torch.Generator:
            return run.torch_generator(repeat, "curve", kind, d, m, outputs, N)

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

        if kind == "superposition":
            found = np.zeros(run.repeats)
            for repeat in run.cells(range(run.repeats), "replicates", found):
                found[repeat] = superposition_accuracy(
                    d, N, shape.outputs, draws, generator(repeat, N), run.device, run
                )
            # The laws are of the identity map, and the second of d >= 4.
            gaussian = np.nan if outputs else float(theory.superposition_prediction(N, d))
            finite = np.nan if outputs or d < 4 else theory.superposition_finite(N, d)
            write(
                N, 0, found, ratio, loss=np.nan, predicted=gaussian, predicted_finite=finite,
                last=True,
            )  # fmt: skip
            draw(N, "measured", found)
            for series, level in (("finite", finite), ("predicted", gaussian)):
                if not np.isnan(level):
                    draw(N, series, np.full(run.repeats, level))
            continue
        model = Memory(shape, N, range(run.repeats), (lr,), generator, run.device)
        with threads_for(model.largest()):
            for _ in run.steps(steps, model):
                model.step()
                if model.steps % every == 0 or model.steps == steps:
                    loss = model.loss()
                    run.check_finite(loss.sum(), f"the loss at N {N}, step {model.steps}")
                    write(
                        N, model.steps, model.accuracy(), ratio, loss=loss, predicted=np.nan,
                        predicted_finite=np.nan, last=model.steps == steps,
                    )  # fmt: skip
        draw(N, "measured", model.accuracy())
