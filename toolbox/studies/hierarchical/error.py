"""`hierarchical error`: test error against samples, layerwise network and baselines (C2, C4)."""

from __future__ import annotations

from toolbox.core.run import Run

from . import common, compete, data
from .baselines import Training
from .cli import Error
from .compete import Contest


def error(run: Run, p: Error) -> None:
    """Per replicate and dimension one growing sample for stage 1; all methods at each size.

    Errors: `ParameterError`.
    """
    common.check_rising("samples", p.samples)
    compete.check_methods(p.methods)
    compete.check_features(p, p.dims)
    common.check_gram(p.m1, "neurons", "m1", p.m1)
    if "krr" in p.methods:
        points = min(2 * max(p.samples), p.krr_max)
        common.check_gram(points, "samples of kernel ridge", "krr_max", p.krr_max)
    networks = any(compete.network_steps(method) for method in p.methods)
    g = common.checked_link(run, p.link, p.r, learned=networks)
    training = Training(p.mlp_width, p.mlp_rates, p.mlp_steps, p.mlp_batch)
    how = Contest(p, training, p.n2_max, p.krr_max)
    with common.crew(run) as workers:
        for repeat in run.replicates():
            for d in run.cells(p.dims, "dimensions"):
                task = data.make_task(run.rng(repeat, "features", d), d, p.features, g)
                source = common.stream(run, repeat, "first", d)
                for n1, M in common.growing(run, workers, task, source, p.samples):
                    # Kernel ridge is capped: at its cap it has one row, not one per n1.
                    fresh = tuple(
                        method
                        for method in p.methods
                        if method != "krr" or n1 == _first_with(n1, p.samples, how)
                    )
                    rows = compete.compete(run, workers, repeat, task, n1, M, fresh, how)
                    run.write("error", compete.columns(rows), repeat)


def _first_with(n1: int, samples: tuple[int, ...], how: Contest) -> int:
    """The smallest n1 at which kernel ridge has as many samples as at this one."""
    mine = compete.samples_of("krr", n1, how)
    return next(n for n in samples if compete.samples_of("krr", n, how) == mine)
