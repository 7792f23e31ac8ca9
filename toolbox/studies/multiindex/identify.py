"""`multiindex identify`: what the link cannot tell, the neurons do not know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolbox.core.compute import one_thread
from toolbox.core.run import Run

from . import data, metrics, theory
from .cli import Identify
from .learn import Plan, Problem, plan, stages, warn
from .link import parse_links

Floats = NDArray[np.float64]
NULL = "uniform direction"


def identify(run: Run, p: Identify) -> None:
    """Per replicate and link: the isotropy of every neuron at the end, and its mean on the way.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(p.links)
    data.check_sizes(p.P, p.d, p.m)
    for link in parsed:
        run.say(link.describe())
    problems = [Problem(link, p.d, p.P, p.m, p.noise) for link in parsed]
    plans = [plan(problem, p) for problem in problems]
    warn(run, p.eta)
    for repeat in run.replicates():
        null = {"series": NULL, "samples": [0, max(sum(each.samples) for each in plans)]}
        ends = max(each.flow_time for each in plans)
        run.write(
            "isotropy", {**null, "time": [0.0, ends], "iso_sum4": theory.null_sum4(p.P)}, repeat
        )
        for k in run.cells(range(len(parsed)), "links"):
            problem, plan_ = problems[k], plans[k]

            def record(
                stage: int, n: int, u: Floats, problem: Problem = problem, plan_: Plan = plan_
            ) -> None:
                before = plan_.steps[0] * plan_.batches[0] if stage else 0
                time = min(n, before or n) * plan_.etas[0] + (n - before) * plan_.etas[1] * stage
                found = metrics.alignment(u)
                shown = {key: found[key] for key in ("sub_mean", "iso_max", "iso_sum4")}
                row = {"link": problem.link.name, "samples": n, "time": time, **shown}
                run.write("curve", row, repeat)
                drawn = {"series": problem.link.name, "samples": n, "time": time}
                run.write("isotropy", {**drawn, "iso_sum4": found["iso_sum4"]}, repeat)

            with one_thread():
                learner = stages(run, repeat, problem, plan_, record)
            u2 = learner.overlaps()[0].double().cpu().numpy() ** 2
            s = u2.sum(axis=1)
            run.write(
                "identify",
                {
                    "link": problem.link.name, "d": p.d, "P": p.P, "neuron": np.arange(p.m),
                    "sub": s, "iso_max": u2.max(axis=1) / s,
                    "iso_sum4": (u2**2).sum(axis=1) / s**2,
                    "null_max": theory.null_max(p.P), "null_sum4": theory.null_sum4(p.P),
                },
                repeat,
            )  # fmt: skip
