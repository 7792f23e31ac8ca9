"""`icl controls`: what has to stand beside a task for its plateau to shorten."""

from __future__ import annotations

from collections.abc import Sequence

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import results
from .cli import Controls
from .names import KINDS
from .plan import Arm, Member, check, check_tasks
from .trainer import train


def arms(target: str, helpers: Sequence[str], kinds: Sequence[str], lr: float) -> list[Arm]:
    """The target alone, and with equally many helpers of each kind: the same share in each."""
    beside = {
        "alone": (),
        "duplicates": (target,) * len(helpers),
        "no-context": tuple(f"{name}/no-context" for name in helpers),
        "coin": ("coin",) * len(helpers),
        "retrieval": ("boolean-retrieval",) * len(helpers),
        "real": tuple(helpers),
    }
    found = []
    for kind in kinds:
        mix = (target, *beside[kind])
        found.append(Arm("+".join(mix), kind, mix, lr, (target,)))
    return found


def controls(run: Run, p: Controls) -> None:
    """Tables curve and escape, the arm being the kind of helper."""
    for kind in p.kinds:
        if kind not in KINDS:
            raise ParameterError("kinds", kind, "there is no such kind", f"use {', '.join(KINDS)}")
    check(run, p)
    check_tasks([p.target], p, "target")
    check_tasks(p.helpers, p, "helpers")
    if p.target in p.helpers:
        raise ParameterError(
            "helpers", p.target, "is the target", "the kind `duplicates` stands for that"
        )
    plan = arms(p.target, p.helpers, p.kinds, p.lr)
    for arm in plan:
        check_tasks(arm.tasks, p, "helpers")
    members = [Member(arm, repeat) for arm in plan for repeat in range(run.repeats)]
    outcomes = train(run, p, members)
    results.write(run, members, outcomes, p)
