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
    start, saved = run.restore() or (0, None)
    with run.progress(len(sizes), "sizes", start) as progress:
        for number in range(start, len(sizes)):
            N = sizes[number]
            ratio = float(theory.n_log_n(N)) / shape.parameters

            def generator(repeat: int, N: int) -> torch.Generator:
                return run.torch_generator(repeat, "curve", kind, d, m, outputs, N)

            def write(step: int, accuracy: np.ndarray, **more: object) -> None:
                run.write(
                    "curve",
                    {
                        **same, "N": N, "n_log_n_over_params": ratio, "step": step,
                        "accuracy": accuracy, "repeat": np.arange(run.repeats), **more,
                    },
                )  # fmt: skip

            def draw(series: str, accuracy: np.ndarray) -> None:
                repeats = np.arange(run.repeats)
                run.write(
                    "lines", {"series": series, "N": N, "accuracy": accuracy, "repeat": repeats}
                )

            if kind == "superposition":

                def stop() -> None:
                    run.checkpoint(lambda: (number, None))

                found = [
                    superposition_accuracy(
                        d, N, shape.outputs, draws, generator(repeat, N), run.device, stop
                    )
                    for repeat in range(run.repeats)
                ]
                # The laws are of the identity map, and the second of d >= 4.
                gaussian = np.nan if outputs else float(theory.superposition_prediction(N, d))
                finite = np.nan if outputs or d < 4 else theory.superposition_finite(N, d)
                write(
                    0, np.array(found), loss=np.nan, predicted=gaussian, predicted_finite=finite,
                    last=True,
                )  # fmt: skip
                draw("measured", np.array(found))
                for series, level in (("finite", finite), ("predicted", gaussian)):
                    if not np.isnan(level):
                        draw(series, np.full(run.repeats, level))
                progress.update(1, f"N {N}")
                continue
            model = Memory(shape, N, range(run.repeats), (lr,), generator, run.device)
            if saved is not None:
                model.load(saved)
                saved = None
            with threads_for(model.largest()):
                while model.steps < steps:
                    run.checkpoint(lambda: (number, model.state()))
                    model.step()
                    if model.steps % every == 0 or model.steps == steps:
                        loss = model.loss()
                        run.check_finite(
                            float(loss.sum()), f"the loss at N {N}, step {model.steps}"
                        )
                        last = model.steps == steps
                        write(
                            model.steps, model.accuracy(), loss=loss, predicted=np.nan,
                            predicted_finite=np.nan, last=last,
                        )  # fmt: skip
            draw("measured", model.accuracy())
            progress.update(1, f"N {N}")
