"""`flows ablate`: what the curvature penalty of the central flow does."""

from __future__ import annotations

from toolbox.core.run import Run

from . import common
from .cli import Ablate
from .common import Job
from .rule import Rule


def ablate(run: Run, p: Ablate) -> None:
    """Table `trajectory`, with the sharpness of the Hessian itself.

    The ablated flow keeps X where the adaptive step size alone holds the effective sharpness at 2,
    and leaves out what X adds to dw/dt.

    Errors: `ParameterError` for flags that do not fit together.
    """
    common.check(run, p)
    common.check_numerics(p)
    jobs = [
        Job(
            repeat, p, Rule(p.opt, p.eta, p.beta2, p.eps), common.setting_of(p),
            ("discrete", "midpoint", "central", "ablated"), p.steps, p.eig_every, p.kick, p.warm,
            raw=p.opt == "rmsprop",
        )
        for repeat in range(run.repeats)
    ]  # fmt: skip
    common.compare(run, jobs)
