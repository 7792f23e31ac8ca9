"""What the experiments share: tasks, step-size decay, when to record, one BLAS thread."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import cli, data
from .data import Floats, Task


@contextmanager
def quiet_numerics() -> Iterator[None]:
    """One BLAS thread, and no warning where a configuration diverges (it is recorded instead).

    The products are too small to share: a second thread costs more than it brings, and one thread
    makes every number independent of --threads.
    """
    with (
        threadpool_limits(1, user_api="blas"),
        np.errstate(over="ignore", invalid="ignore", divide="ignore"),
    ):
        yield


def check_task(p: cli.Task, *lengths: int) -> None:
    """Refuse a task that cannot be.

    Errors: `ParameterError`.
    """
    for T in lengths:
        if p.Q > T:
            raise ParameterError(
                "Q",
                p.Q,
                f"an output cannot depend on more positions than the context has, {T}",
                "lower {Q}",
            )


def check_lengths(p: cli.Task, Ts: Sequence[int]) -> list[int]:
    """Context lengths from the shortest on.

    Errors: `ParameterError` for Q > T or a single length.
    """
    check_task(p, *Ts)
    if len(Ts) < 2:
        raise ParameterError(
            "Ts", Ts[0], "one length shows no growth", "give two context lengths or more"
        )
    return sorted(Ts)


def draw_task(run: Run, repeat: int, p: cli.Task, T: int, *stream: str | int) -> Task:
    """The task of one replicate.

    Errors: `ParameterError` when no learnable transition matrix turns up.
    """
    try:
        return data.draw_task(run.rng(repeat, "task", *stream), p.N, T, p.Q)
    except ValueError as error:
        raise ParameterError("N", p.N, str(error), "take fewer tokens") from None


def decay_factor(decay: str, step: int, steps: int) -> float:
    """Scale of both step sizes at step 0, ..., steps - 1: 1, or linear from 1 towards 0."""
    return 1.0 if decay == "none" else 1.0 - step / steps


def recorded_steps(steps: int, points: int) -> set[int]:
    """About `points` step counts spread geometrically over 1..steps, the last one included."""
    return {*np.unique(np.geomspace(1, steps, points).round().astype(int)).tolist(), steps}


def correlations(task: Task, values: Floats) -> Floats:
    """corr_V of value matrices (m, N, N): cosine of V - U with P - U in the mu metric, (m,)."""
    dV, dP = values - task.U, task.P - task.U
    lengths = np.sqrt(((dV**2) @ task.mu).sum(axis=1) * task.K_P)
    product = ((dV * dP) @ task.mu).sum(axis=1)
    cosine: Floats = product / np.maximum(lengths, 1e-300)
    return cosine
