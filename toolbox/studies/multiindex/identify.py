"""`multiindex identify`: what the link cannot tell, the neurons do not know."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolbox.core.run import Run

from . import data, metrics, theory
from .cli import Identify
from .learn import Problem, one_thread, plan, stages, warn
from .link import parse_links

Floats = NDArray[np.float64]
NULL = "uniform direction"


def identify(run: Run, p: Identify) -> None:
    """Per replicate and link: the isotropy of every neuron at the end, and its mean on the way.

    Errors: `UsageError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(p.links)
    data.check_sizes(p.P, p.d)
    for link in parsed:
        run.say(link.describe())
    problems = [Problem(link, p.d, p.P, p.m, p.noise) for link in parsed]
    plans = [plan(problem, p) for problem in problems]
    jobs = [(repeat, k) for repeat in range(run.repeats) for k in range(len(parsed))]
    warn(run, p.eta)
    state: dict[str, Any] = run.restore() or {"job": 0, "inner": None}
    inner = state["inner"]
    with one_thread(), run.progress(len(jobs), "links", state["job"]) as bar:
        for number in range(state["job"], len(jobs)):
            repeat, k = jobs[number]
            problem, steps = problems[k], plans[k]

            def tick(make: Any) -> None:
                run.checkpoint(lambda: {"job": number, "inner": make()})

            def record(stage: int, n: int, u: Floats) -> None:
                before = steps.steps[0] * steps.batches[0] if stage else 0
                time = min(n, before or n) * steps.etas[0] + (n - before) * steps.etas[1] * stage
                found = metrics.alignment(u)
                shown = {key: found[key] for key in ("sub_mean", "iso_max", "iso_sum4")}
                row = {"link": problem.link.name, "samples": n, "time": time, **shown}
                run.write("curve", row, repeat)
                drawn = {"series": problem.link.name, "samples": n, "time": time}
                run.write("isotropy", {**drawn, "iso_sum4": found["iso_sum4"]}, repeat)

            if k == 0 and inner is None:
                ends = [each.flow_time for each in plans]
                null = {"series": NULL, "samples": [0, max(sum(each.samples) for each in plans)]}
                times = {"time": [0.0, max(ends)], "iso_sum4": theory.null_sum4(p.P)}
                run.write("isotropy", {**null, **times}, repeat)
            learner = stages(run, repeat, problem, steps, tick, inner, record)
            inner = None
            u2 = learner.overlaps()[0].double().cpu().numpy() ** 2
            s = u2.sum(axis=1)
            run.write(
                "identify",
                {
                    "link": problem.link.name, "d": p.d, "P": p.P, "neuron": np.arange(p.m),
                    "sub": s, "iso_max": u2.max(axis=1) / s, "iso_sum4": (u2**2).sum(axis=1) / s**2,
                    "null_max": theory.null_max(p.P), "null_sum4": theory.null_sum4(p.P),
                },
                repeat,
            )  # fmt: skip
            bar.update(1, problem.link.name)
