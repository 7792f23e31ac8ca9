"""`multiindex psweep`: samples against the number of directions, at a fixed dimension."""

from __future__ import annotations

from toolbox.core.run import Run

from . import data
from .learn import Problem
from .link import parse_links
from .scaling import cells


def psweep(
    run: Run,
    *,
    links: tuple[str, ...],
    d: int,
    Ps: tuple[int, ...],
    m: int,
    noise: float,
    eta_grid: tuple[float, ...],
    batch: int,
    level: float,
    max_samples: int,
    patience: float,
    stream: str,
) -> None:
    """Per replicate, link and P: every step size of the grid, the best one, and the fits.

    Errors: `UsageError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(links)
    for P in Ps:
        data.check_sizes(P, d)
    for link in parsed:
        run.say(link.describe())
    problems = [
        Problem(link, d, P, m, noise, reduced=stream == "reduced")
        for P in sorted(Ps)
        for link in parsed
    ]
    cells(run, problems, eta_grid, batch, level, max_samples, patience, "P")
