"""`icl transfer`: a model that is just leaving the plateau of one task, trained on another."""

from __future__ import annotations

import dataclasses

from toolbox.core.run import Run

from . import results
from .cli import Transfer
from .escape import NEVER
from .plan import Arm, Member, check, check_tasks
from .trainer import train


def transfer(run: Run, p: Transfer) -> None:
    """Tables curve and escape: the source, the target from scratch and from a checkpoint of it.

    The checkpoint is taken when the source escapes (at the end of the block of steps in which it
    does); the optimiser starts afresh. Where the source does not escape there is none.
    """
    check(run, p)
    check_tasks([p.source], p, "source")
    check_tasks([p.target], p, "target")
    repeats = range(run.repeats)
    of_source = Arm(p.source, "source", (p.source,), p.lr, (p.source,))
    of_target = Arm(p.target, "scratch", (p.target,), p.lr, (p.target,))
    first = [Member(of_source, repeat, keep=True) for repeat in repeats]
    early = dataclasses.replace(p, until="escape")
    sources = train(run, early, first, f"{p.source} alone, groups of members")
    second = [Member(of_target, repeat) for repeat in repeats]
    # Another name is another stream of prompts: what the checkpoint has seen comes not again even
    # where source and target are one task.
    after = dataclasses.replace(of_target, name=f"{p.source} -> {p.target}", kind="checkpoint")
    for repeat, outcome in enumerate(sources):
        if outcome.escape[0] == NEVER:
            run.say(
                f"repeat {repeat}: {p.source} did not leave its plateau, there is no checkpoint"
            )
        else:
            second.append(Member(after, repeat, start=outcome.parameters))
    outcomes = train(run, p, second, f"{p.target}, groups of members")
    results.write(run, [*first, *second], [*sources, *outcomes], p)
