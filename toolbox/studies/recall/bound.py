"""`recall bound`: bits and parameters that N facts need, whatever the model."""

from __future__ import annotations

import numpy as np

from toolbox.core.run import Run

from . import theory


def bound(
    run: Run,
    *,
    facts: tuple[int, ...],
    answers: tuple[int, ...],
    error: tuple[float, ...],
    bits: tuple[float, ...],
) -> None:
    """One row per number of facts, choices, error and bits per parameter (lower bound, Fano)."""
    run.checkpoint(lambda: None)
    N, D, eps, b = (
        grid.ravel() for grid in np.meshgrid(facts, answers, error, bits, indexing="ij")
    )
    need = np.array(
        [float(theory.fano_bits(n, int(d), e)) for n, d, e in zip(N, D, eps, strict=True)]
    )
    run.write(
        "bound",
        {
            "N": N.astype(int), "D": D.astype(int), "error": eps, "bits_per_param": b,
            "bits": need, "params_min": need / b,
        },
    )  # fmt: skip
