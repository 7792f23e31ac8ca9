"""`flows gd`, `scalar-rmsprop` and `rmsprop`: an optimiser and its flows, side by side."""

from __future__ import annotations

from toolbox.core.run import Run

from . import common
from .cli import Gd, Rmsprop, ScalarRmsprop
from .common import Job
from .rule import Rule

SIDES = ("discrete", "midpoint", "central", "stable")


def gd(run: Run, p: Gd) -> None:
    """Tables `trajectory` and `spectrum`.

    Errors: `ParameterError` for flags that do not fit together.
    """
    _compare(run, p, Rule("gd", p.eta))


def scalar_rmsprop(run: Run, p: ScalarRmsprop) -> None:
    """Tables `trajectory` and `spectrum`. Errors: as `gd`."""
    _compare(run, p, Rule("scalar-rmsprop", p.eta, p.beta2, p.eps), p.warm)


def rmsprop(run: Run, p: Rmsprop) -> None:
    """Tables `trajectory`, `spectrum` and `coordinates`. Errors: as `gd`."""
    rule = Rule("rmsprop", p.eta, p.beta2, p.eps)
    _compare(run, p, rule, p.warm, p.coordinates)


def _compare(
    run: Run, p: Gd | ScalarRmsprop | Rmsprop, rule: Rule, warm: int = 0, coordinates: int = 0
) -> None:
    common.check(run, p)
    common.check_numerics(p)
    jobs = [
        Job(repeat, p, rule, common.setting_of(p), SIDES, p.steps, p.eig_every, p.kick, warm,
            coordinates=coordinates)
        for repeat in range(run.repeats)
    ]  # fmt: skip
    common.compare(run, jobs)
