"""`recall bound`: bits and parameters that N facts need, whatever the model."""

from __future__ import annotations

import numpy as np

from toolbox.core.run import Run

from . import theory
from .cli import Bound


def bound(run: Run, p: Bound) -> None:
    """One row per number of facts, choices, error and bits per parameter (lower bound, Fano)."""
    N, D, eps, b = (
        grid.ravel() for grid in np.meshgrid(p.facts, p.answers, p.error, p.bits, indexing="ij")
    )
    need = np.array(
        [float(theory.fano_bits(n, int(d), e)) for n, d, e in zip(N, D, eps, strict=True)]
    )
    for _ in run.cells(["bounds"], "tables"):
        run.write(
            "bound",
            {
                "N": N.astype(int), "D": D.astype(int), "error": eps, "bits_per_param": b,
                "bits": need, "params_min": need / b,
            },
        )  # fmt: skip
