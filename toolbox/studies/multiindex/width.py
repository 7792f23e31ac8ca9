"""`multiindex width`: how many neurons find all P directions."""

from __future__ import annotations

import numpy as np

from toolbox.core.compute import one_thread
from toolbox.core.run import Run

from . import data, theory
from .cli import Width
from .learn import Problem, plan, stages, warn
from .link import parse_link


def width(run: Run, p: Width) -> None:
    """Per replicate: the share of directions that m neurons find, over disjoint groups of m.

    Neurons do not interact, so one training of groups x max(widths) neurons on one stream serves
    every width.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    phi = parse_link(p.link)
    data.check_sizes(p.P, p.d, max(p.widths), "widths")
    run.say(phi.describe())
    total = p.groups * max(p.widths)
    problem = Problem(phi, p.d, p.P, total, p.noise)
    steps = plan(problem, p)
    warn(run, p.eta)
    for repeat in run.replicates():
        with one_thread():
            learner = stages(run, repeat, problem, steps)
        found = (learner.overlaps()[0].double().cpu().numpy() ** 2) >= p.level
        for m in sorted(p.widths):
            blocks = total // m
            each = found[: blocks * m].reshape(blocks, m, p.P).any(axis=1).mean(axis=1)
            row = {"link": phi.name, "d": p.d, "P": p.P, "m": m, "groups": blocks}
            shares = {
                "measured": (each.mean(), (each == 1).mean()),
                "coupons": (theory.coupon(p.P, m), theory.coupon_all(p.P, m)),
            }
            for source, (share, every) in shares.items():
                both = {"directions_found": float(share), "all_found": float(every)}
                run.write("width", {**row, "source": source, **both}, repeat)
        arrived = np.mean(found.any(axis=1))
        run.say(f"replicate {repeat}: {arrived:.3f} of {total} neurons found a direction")
