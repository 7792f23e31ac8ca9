"""`icl controls`: what has to stand beside a task for its plateau to shorten."""

from __future__ import annotations

from collections.abc import Sequence

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import results
from .plan import Arm, Member, Setting, check_tasks
from .trainer import train

KINDS = ("alone", "duplicates", "no-context", "coin", "retrieval", "real")


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


def controls(
    run: Run, *, target: str, helpers: Sequence[str], kinds: Sequence[str], lr: float,
    setting: Setting,
) -> None:  # fmt: skip
    """Tables curve and escape, the arm being the kind of helper."""
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"--kinds {kind}: there is no such control; use {', '.join(KINDS)}")
    setting.check(run)
    check_tasks([target], setting, "--target")
    check_tasks(helpers, setting, "--helpers")
    if target in helpers:
        raise UsageError(
            f"--helpers {target}: is the target; the kind of control `duplicates` is that"
        )
    plan = arms(target, helpers, kinds, lr)
    for arm in plan:
        check_tasks(arm.tasks, setting, "--helpers")
    members = [Member(arm, repeat) for arm in plan for repeat in range(run.repeats)]
    outcomes = train(run, setting, members)
    results.write(run, members, outcomes, setting.token)
    results.end_if_diverged(members, outcomes)
