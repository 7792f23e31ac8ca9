"""`icl table`: every mix of the tasks, and each task's escape by the size of the mix (Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import results
from .plan import Arm, Member, Setting, check_tasks, chosen
from .trainer import train

MOST = 10
"""Tasks at most: the mixes double with each."""


def mixes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The non-empty subsets, small ones first: the index into this list is `--mix-index`."""
    return [mix for k in range(1, len(names) + 1) for mix in combinations(names, k)]


def table(run: Run, *, tasks: Sequence[str], mix_index: int, lr: float, setting: Setting) -> None:
    """Tables curve and escape of all mixes, or of one."""
    names = chosen(tasks)
    setting.check(run)
    check_tasks(names, setting)
    if len(names) > MOST:
        raise UsageError(
            f"--tasks: {len(names)} tasks have {2 ** len(names) - 1} mixes; give {MOST}"
        )
    every = mixes(names)
    if mix_index >= len(every):
        raise UsageError(
            f"--mix-index {mix_index}: {len(names)} tasks have {len(every)} mixes, 0 to "
            f"{len(every) - 1}; -1 is all of them"
        )
    wanted = every if mix_index < 0 else [every[mix_index]]
    arms = [Arm("+".join(mix), "mix", mix, lr, mix) for mix in wanted]
    members = [Member(arm, repeat) for arm in arms for repeat in range(run.repeats)]
    outcomes = train(run, setting, members)
    results.write(run, members, outcomes, setting.token)
    results.end_if_diverged(members, outcomes)
