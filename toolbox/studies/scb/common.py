"""What the experiments share: tasks, step-size decay, when to record, one BLAS thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import data
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


def check_task(N: int, T: int, Q: int) -> None:
    """Refuse a task that cannot be.

    Errors: `UsageError`.
    """
    if Q > T:
        raise UsageError(
            f"--Q {Q}: an output cannot depend on more than --T {T} positions; lower Q"
        )


def draw_task(run: Run, repeat: int, N: int, T: int, Q: int, *stream: str | int) -> Task:
    """The task of one replicate.

    Errors: `UsageError` when no learnable transition matrix turns up.
    """
    try:
        return data.draw_task(run.rng(repeat, "task", *stream), N, T, Q)
    except ValueError as error:
        raise UsageError(f"--N {N}: {error}; take fewer tokens") from None


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
    inner = ((dV * dP) @ task.mu).sum(axis=1)
    cosine: Floats = inner / np.maximum(lengths, 1e-300)
    return cosine
