"""`gd strongly`: iterations to fixed accuracy against the condition number (Theorem 2)."""

from __future__ import annotations

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import restarts


def strongly(
    run: Run,
    *,
    kappas: tuple[float, ...],
    eps: float,
    methods: tuple[str, ...],
    lambda_grid: int,
) -> None:
    """One row per method and condition number; deterministic.

    Errors: `UsageError` for an unknown method.
    """
    for method in methods:
        if method not in restarts.METHODS:
            raise UsageError(f"--methods {method}: expected some of {', '.join(restarts.METHODS)}")
    cells = [(method, kappa) for method in methods for kappa in kappas]
    start = run.restore() or 0
    with run.progress(len(cells), "cells", start) as progress:
        for number in range(start, len(cells)):
            run.checkpoint(lambda: number)
            found = restarts.iterations_to(*cells[number], eps, lambda_grid)
            run.write(
                "iterations",
                {
                    "method": [found.method],
                    "kappa": found.kappa,
                    "period": found.period,
                    "T_eps": found.count,
                    "family_member": found.family_member,
                },
            )
            progress.update(1, f"{found.method} kappa {found.kappa:g}")
