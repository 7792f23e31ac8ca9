"""`gd strongly`: iterations to fixed accuracy against the condition number (Theorem 2)."""

from __future__ import annotations

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import restarts
from .cli import Strongly


def strongly(run: Run, p: Strongly) -> None:
    """One row per method and condition number; deterministic.

    Errors: `ParameterError` for an unknown method.
    """
    for method in p.methods:
        if method not in restarts.METHODS:
            raise ParameterError(
                "methods", method, f"expected some of {', '.join(restarts.METHODS)}"
            )
    cells = [(method, kappa) for method in p.methods for kappa in p.kappas]
    for method, kappa in run.cells(cells, "cells"):
        needed = restarts.iterations_to(
            method, kappa, p.eps, p.lambda_grid, steps=lambda state: run.steps(None, state)
        )
        run.write(
            "iterations",
            {
                "method": [needed.method],
                "kappa": needed.kappa,
                "period": needed.period,
                "T_eps": needed.count,
                "family_member": needed.family_member,
            },
        )
