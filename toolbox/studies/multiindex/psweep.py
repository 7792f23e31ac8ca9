"""`multiindex psweep`: samples against the number of directions, at a fixed dimension."""

from __future__ import annotations

from toolbox.core.run import Run

from . import data
from .cli import Psweep
from .learn import Problem
from .link import parse_links
from .scaling import cells


def psweep(run: Run, p: Psweep) -> None:
    """Per replicate, link and P: every step size of the grid, the best one, and the fits.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(p.links)
    for P in p.Ps:
        data.check_sizes(P, p.d, p.m)
    for link in parsed:
        run.say(link.describe())
    problems = [
        Problem(link, p.d, P, p.m, p.noise, reduced=p.stream == "reduced")
        for P in sorted(p.Ps)
        for link in parsed
    ]
    cells(run, p, problems, "P")
