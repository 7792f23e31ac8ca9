"""`icl table`: every mix of the tasks, and each task's escape by the size of the mix (Table 1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import results
from .cli import Table
from .plan import Arm, Member, check, check_tasks, chosen
from .trainer import train

MOST = 10
"""Tasks at most: the mixes double with each."""


def mixes(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The non-empty subsets, small ones first: the index into this list is `--mix-index`."""
    return [mix for k in range(1, len(names) + 1) for mix in combinations(names, k)]


def table(run: Run, p: Table) -> None:
    """Tables curve and escape of all mixes, or of one."""
    names = chosen(p.tasks)
    check(run, p)
    check_tasks(names, p)
    if len(names) > MOST:
        raise ParameterError(
            "tasks", names, f"{len(names)} tasks have {2 ** len(names) - 1} mixes", f"give {MOST}"
        )
    every = mixes(names)
    if p.mix_index >= len(every):
        raise ParameterError(
            "mix_index",
            p.mix_index,
            f"{len(names)} tasks have {len(every)} mixes, 0 to {len(every) - 1}",
            "-1 is all of them",
        )
    wanted = every if p.mix_index < 0 else [every[p.mix_index]]
    arms = [Arm("+".join(mix), "mix", mix, p.lr, mix) for mix in wanted]
    members = [Member(arm, repeat) for arm in arms for repeat in range(run.repeats)]
    outcomes = train(run, p, members)
    results.write(run, members, outcomes, p)
