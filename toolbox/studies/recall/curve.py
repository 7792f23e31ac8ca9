"""`recall curve`: accuracy against N, the transition that a capacity search looks for."""

from __future__ import annotations

import numpy as np

from toolbox.core.run import Run

from . import theory
from .cli import Curve
from .ensemble import threads_for
from .memory import Memory, Shape, superposition_accuracy


def curve(run: Run, p: Curve) -> None:
    """One row per replicate, N and recorded step; all replicates of one N train together.

    The superposition has one row per replicate and N, at step 0, beside its two laws.
    """
    shape = Shape(p.d, p.m if p.kind == "mlp" else None, p.outputs or None)
    measure = _in_closed_form if p.kind == "superposition" else _trained
    for N in run.cells(p.sizes, "sizes"):
        measure(run, p, shape, N)


def _in_closed_form(run: Run, p: Curve, shape: Shape, N: int) -> None:
    found = np.zeros(run.repeats)
    for repeat in run.cells(range(run.repeats), "replicates", found):
        generator = run.torch_generator(repeat, *_stream(p), N, device="cpu")
        found[repeat] = superposition_accuracy(
            p.d, N, shape.outputs, p.draws, generator, run.device, run
        )
    # The laws are of the identity map, and the second of d >= 4.
    gaussian = np.nan if p.outputs else float(theory.superposition_prediction(N, p.d))
    finite = np.nan if p.outputs or p.d < 4 else theory.superposition_finite(N, p.d)
    everyone = np.arange(run.repeats)
    _write(
        run, p, shape, N, everyone, step=0, accuracy=found, loss=np.nan, predicted=gaussian,
        predicted_finite=finite, last=True,
    )  # fmt: skip
    for series, accuracy in (("measured", found), ("finite", finite), ("predicted", gaussian)):
        if not np.isnan(accuracy).any():
            _draw(run, series, N, everyone, accuracy)


def _trained(run: Run, p: Curve, shape: Shape, N: int) -> None:
    """A replicate whose loss is not finite ends there, at this N."""
    model = Memory(
        shape, N, range(run.repeats), (p.lr,),
        lambda repeat, N: run.torch_generator(repeat, *_stream(p), N, device="cpu"), run.device,
    )  # fmt: skip
    going = np.ones(run.repeats, dtype=bool)
    with threads_for(model.largest()):
        for _ in run.steps(p.steps, model, going):
            model.step()
            if model.steps % p.every and model.steps != p.steps:
                continue
            loss, accuracy = model.loss(), model.accuracy()
            for repeat in np.flatnonzero(going & ~np.isfinite(loss)).tolist():
                message = f"the loss at N = {N}, step {model.steps} is {loss[repeat]}"
                run.diverged(repeat, message, cell=f"N = {N}", cells=len(p.sizes))
            going &= np.isfinite(loss)
            if not going.any():
                break
            _write(
                run, p, shape, N, np.flatnonzero(going), step=model.steps,
                accuracy=accuracy[going], loss=loss[going], predicted=np.nan,
                predicted_finite=np.nan, last=model.steps == p.steps,
            )  # fmt: skip
    _draw(run, "measured", N, np.flatnonzero(going), model.accuracy()[going])


def _stream(p: Curve) -> tuple[str | int, ...]:
    return ("curve", p.kind, p.d, p.m, p.outputs)


def _write(
    run: Run, p: Curve, shape: Shape, N: int, repeats: np.ndarray, **columns: object
) -> None:
    ratio = float(theory.n_log_n(N)) / shape.parameters
    run.write(
        "curve",
        {
            "kind": p.kind, "d": p.d, "m": shape.width or 0, "params": shape.parameters, "N": N,
            "n_log_n_over_params": ratio, **columns, "repeat": repeats,
        },
    )  # fmt: skip


def _draw(run: Run, series: str, N: int, repeats: np.ndarray, accuracy: np.ndarray | float) -> None:
    run.write("lines", {"series": series, "N": N, "accuracy": accuracy, "repeat": repeats})
