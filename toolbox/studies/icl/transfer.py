"""`icl transfer`: a model that is just leaving the plateau of one task, trained on another."""

from __future__ import annotations

import dataclasses

from toolbox.core.run import Run

from . import results
from .escape import NEVER
from .plan import Arm, Member, Setting, check_tasks
from .trainer import train


def transfer(run: Run, *, source: str, target: str, lr: float, setting: Setting) -> None:
    """Tables curve and escape: the source, the target from scratch and from a checkpoint of it.

    The checkpoint is taken when the source escapes (at the end of the block of steps in which it
    does); the optimiser starts afresh. Where the source does not escape there is none.
    """
    setting.check(run)
    check_tasks([source], setting, "--source")
    check_tasks([target], setting, "--target")
    repeats = range(run.repeats)
    of_source = Arm(source, "source", (source,), lr, (source,))
    of_target = Arm(target, "scratch", (target,), lr, (target,))
    first = [Member(of_source, repeat, keep=True) for repeat in repeats]
    early = dataclasses.replace(setting, until="escape")
    sources = train(run, early, first, f"{source} alone, groups of members")
    second = [Member(of_target, repeat) for repeat in repeats]
    # Another name is another stream of prompts: what the checkpoint has seen comes not again even
    # where source and target are one task.
    after = dataclasses.replace(of_target, name=f"{source} -> {target}", kind="checkpoint")
    for repeat, outcome in enumerate(sources):
        if outcome["escape"][0] == NEVER:
            run.say(f"repeat {repeat}: {source} did not leave its plateau, there is no checkpoint")
        else:
            second.append(Member(after, repeat, start=outcome["parameters"]))
    outcomes = train(run, setting, second, f"{target}, groups of members")
    members, outcomes = [*first, *second], [*sources, *outcomes]
    results.write(run, members, outcomes, setting.token)
    results.end_if_diverged(members, outcomes)
