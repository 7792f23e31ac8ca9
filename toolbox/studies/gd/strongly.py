"""`gd strongly`: iterations to fixed accuracy against the condition number (Theorem 2)."""

from __future__ import annotations

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import restarts
from .cli import Strongly


def strongly(run: Run, p: Strongly) -> None:
    """One row per method and condition number; deterministic.

    Errors: `UsageError` for an unknown method.
    """
    for method in p.methods:
        if method not in restarts.METHODS:
            raise UsageError(f"--methods {method}: expected some of {', '.join(restarts.METHODS)}")
    cells = [(method, kappa) for method in p.methods for kappa in p.kappas]
    start = run.restore() or 0
    with run.progress(len(cells), "cells", start) as progress:
        for number in range(start, len(cells)):
            run.checkpoint(lambda: number)
            found = restarts.iterations_to(*cells[number], p.eps, p.lambda_grid)
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
