"""`hierarchical spectrum`: the eigenvalues of M, of which r stand out and hold the features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolbox.core.run import Run

from . import basis, common, data


def spectrum(
    run: Run,
    *,
    d: int,
    n1: tuple[int, ...],
    link: str,
    features: str,
    r: int,
) -> None:
    """Every eigenvalue of M, in falling order of size, and its eigenvector's overlap.

    Errors: `UsageError`.
    """
    common.check_rising("--n1", n1)
    data.check_features(features, d, r, "--d")
    g = common.checked_link(run, link, r, learned=True)
    saved: dict[str, Any] = run.restore() or {"cell": 0}
    with (
        common.crew() as workers,
        run.progress(run.repeats, "replicates", saved["cell"]) as bar,
    ):
        for repeat in range(saved["cell"], run.repeats):
            task = data.make_task(run.rng(repeat, "features", d), d, features, g)
            here = saved if "moment" in saved and repeat == saved["cell"] else None
            first = common.stream(run, repeat, "first", d)
            _, y = common.sample(task, common.stream(run, repeat, "labels", d), 8 * common.POINTS)
            for n, M in common.growing(run, workers, task, first, n1, {"cell": repeat}, here):
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
            bar.update(1)
