"""`hierarchical error`: test error against samples, layerwise network and baselines (C2, C4)."""

from __future__ import annotations

from typing import Any

from toolbox.core.run import Run

from . import common, compete, data
from .compete import Contest


def error(
    run: Run,
    *,
    dims: tuple[int, ...],
    samples: tuple[int, ...],
    methods: tuple[str, ...],
    link: str,
    features: str,
    r: int,
    how: Contest,
) -> None:
    """Per replicate and dimension one growing sample for stage 1; all methods at each size.

    Errors: `UsageError`.
    """
    common.check_rising("--samples", samples)
    compete.check_methods("--methods", methods)
    compete.check_features(features, dims, r, "--dims")
    networks = any(compete.network_steps(method) for method in methods)
    g = common.checked_link(run, link, r, learned=networks)
    cells = [(repeat, d) for repeat in range(run.repeats) for d in dims]
    saved: dict[str, Any] = run.restore() or {"cell": 0}
    done = saved["cell"] * len(samples) + saved.get("size", 0)
    with common.crew() as workers, run.progress(len(cells) * len(samples), "sizes", done) as bar:
        for index in range(saved["cell"], len(cells)):
            repeat, d = cells[index]
            task = data.make_task(run.rng(repeat, "features", d), d, features, g)
            here = saved if "moment" in saved and index == saved["cell"] else None
            source = common.stream(run, repeat, "first", d)
            grown = common.growing(run, workers, task, source, samples, {"cell": index}, here)
            for n1, M in grown:
                # Kernel ridge is capped: at its cap it has one row, not one per n1.
                fresh = tuple(
                    method
                    for method in methods
                    if method != "krr" or n1 == _first_with(n1, samples, how)
                )
                rows = compete.compete(run, workers, repeat, task, n1, M, fresh, how)
                run.write("error", compete.columns(rows), repeat)
                bar.update(1)


def _first_with(n1: int, samples: tuple[int, ...], how: Contest) -> int:
    """The smallest n1 at which kernel ridge has as many samples as at this one."""
    mine = compete.samples_of("krr", n1, how)
    return next(n for n in samples if compete.samples_of("krr", n, how) == mine)
