"""`hierarchical spectrum`: the eigenvalues of M, of which r stand out and hold the features."""

from __future__ import annotations

import math

import numpy as np

from toolbox.core.run import Run

from . import basis, common, data
from .cli import Spectrum


def spectrum(run: Run, p: Spectrum) -> None:
    """Every eigenvalue of M, in falling order of size, and its eigenvector's overlap.

    Errors: `ParameterError`.
    """
    d = p.d
    common.check_rising("n1", p.n1)
    data.check_features(p.features, d, p.r, "d")
    g = common.checked_link(run, p.link, p.r, learned=True)
    with common.crew(run) as workers:
        for repeat in run.replicates():
            task = data.make_task(run.rng(repeat, "features", d), d, p.features, g)
            first = common.stream(run, repeat, "first", d)
            _, y = common.sample(task, common.stream(run, repeat, "labels", d), 8 * common.POINTS)
            for n, M in common.growing(run, workers, task, first, p.n1):
                values, vectors = np.linalg.eigh(M)
                order = np.argsort(-np.abs(values))
                mass = np.sum((task.theta @ vectors) ** 2, axis=0)
                # Noise of M alone: independent entries of variance Var(y) / n, a semicircle.
                edge = 2 * math.sqrt(basis.size(d) * float(np.var(y)) / n)
                rows = {
                    "n1": n,
                    "index": np.arange(1, len(values) + 1),
                    "eigenvalue": values[order],
                    "theta_mass": mass[order],
                    "noise_edge": edge,
                }
                run.write("spectrum", rows, repeat)
