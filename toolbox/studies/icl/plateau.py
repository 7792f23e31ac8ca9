"""`icl plateau`: each task alone, all together at equal total batch, and the duplicates control."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from toolbox.core.claims import interval
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import results
from .cli import Plateau
from .metrics import best_of, ratio
from .plan import Arm, Member, check, check_tasks, chosen, rates
from .trainer import train


def arms(
    names: tuple[str, ...], watch: tuple[str, ...], lrs: Sequence[float], duplicates: bool
) -> list[Arm]:
    """What is trained in every replicate; what tends to take long comes first."""
    found = []
    for lr in lrs:
        alone = [Arm(task, "alone", (task,), lr, (task,)) for task in watch]
        found.append(alone[0])
        if len(names) > 1:
            if duplicates:
                copies, name = (watch[0],) * len(names), f"{watch[0]} x{len(names)}"
                found.append(Arm(name, "duplicates", copies, lr, watch[:1]))
            found.append(Arm("+".join(names), "together", names, lr, watch))
        found += alone[1:]
    return found


def plateau(run: Run, p: Plateau) -> None:
    """Tables curve, escape, ratio and best."""
    names = chosen(p.tasks)
    watched = names if p.watch == ("all",) else p.watch
    check(run, p)
    check_tasks(names, p)
    for name in watched:
        if name not in names:
            raise ParameterError(
                "watch", name, f"is not among the tasks {', '.join(names)}", "name one of these"
            )
    lrs = rates(p.lr, p.lr_sweep)
    plan = arms(names, watched, lrs, p.duplicates)
    members = [Member(arm, repeat) for arm in plan for repeat in range(run.repeats)]
    run.say(f"tasks: {', '.join(names)} (--tasks takes a number or names)")
    if p.token == "pair":
        run.say("pair tokens are a stand-in, not the paper's: one token per example")
    outcomes = train(run, p, members)
    table = results.write(run, members, outcomes, p)
    ratios, best = [], []
    for repeat in range(run.repeats):
        mine = table[table["repeat"] == repeat]
        ratios.append(compare(mine, watched, lrs, p.lr))
        best.append(own_best(mine, watched))
        run.write("ratio", ratios[-1], repeat)
        run.write("best", best[-1], repeat)
    for line in summary(table, pd.concat(ratios), pd.concat(best)):
        run.say(line)


def compare(
    table: pd.DataFrame, watched: Sequence[str], lrs: Sequence[float], main: float
) -> pd.DataFrame:
    """One replicate: every task's escape alone over that in the mix, at one learning rate each.

    table : rows of the table `escape`
    """
    rows = []
    for lr in lrs:
        for task in watched:
            of_task = table[(table["lr"] == lr) & (table["task"] == task)]
            alone, mix, copies = (
                of_task[of_task["arm"] == kind] for kind in ("alone", "together", "duplicates")
            )
            gain, control = ratio(alone, mix), ratio(copies, alone)
            over = ratio(copies, mix)
            rows.append(
                {
                    "task": task, "lr": lr, "main": lr == main, "first": task == watched[0],
                    "ratio": gain.value, "bound": gain.bound,
                    "duplicates_over_alone": control.value, "duplicates_bound": control.bound,
                    "duplicates_over_together": over.value,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def own_best(table: pd.DataFrame, watched: Sequence[str]) -> pd.DataFrame:
    """One replicate: the same ratio with either side at the learning rate that is best for it."""
    rows = []
    for task in watched:
        of_task = table[table["task"] == task]
        found = {kind: best_of(of_task, kind) for kind in ("alone", "together")}
        gain = ratio(found["alone"], found["together"])
        rows.append(
            {
                "task": task, "first": task == watched[0], "rates": table["lr"].nunique(),
                **{
                    f"lr_{kind}": float(best["lr"].iloc[0]) if len(best) else math.nan
                    for kind, best in found.items()
                },
                "ratio": gain.value, "bound": gain.bound,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, ratios: pd.DataFrame, best: pd.DataFrame) -> list[str]:
    """Medians over the replicates and the ratio of each, for the screen."""
    width = max(len(task) for task in ratios["task"])
    lines = [
        "median step at which the plateau is left (seeds that left it), and the ratio alone / "
        "together: median [95 % CI] and each seed's"
    ]
    for (lr, task), rows in ratios.groupby(["lr", "task"], sort=False):
        of_task = table[(table["lr"] == lr) & (table["task"] == task)]
        parts = [
            f"{kind} {results.median_text(of_task[of_task['arm'] == kind])}"
            for kind in ("alone", "together", "duplicates")
            if (of_task["arm"] == kind).any()
        ]
        shown = f"; {ratio_text(rows)}" if len(parts) > 1 else ""
        lines.append(f"  {task!s:{width}s} lr {lr:g}: {', '.join(parts)}{shown}")
    for task, rows in best[best["rates"] > 1].groupby("task", sort=False):
        lines.append(f"  {task!s:{width}s} each side at its own best lr: {ratio_text(rows)}")
    return lines


def ratio_text(rows: pd.DataFrame) -> str:
    """'ratio 2.9 [2.2, 7.8]: 2.2, >= 7.8, ...': median, its 95 % interval, each replicate's."""
    sign = {"exact": "", "at least": ">= ", "at most": "<= "}
    shown = ", ".join(
        f"{sign[bound]}{value:.2g}" if bound in sign else "?"
        for value, bound in zip(rows["ratio"], rows["bound"], strict=True)
    )
    if len(rows) == 1 or rows["ratio"].isna().any():
        return f"ratio {shown}"
    middle, low, high = interval(list(rows["ratio"]), "median")
    reach = f" [{low:.2g}, {high:.2g}]" if math.isfinite(low) else ""
    return f"ratio {middle:.2g}{reach}: {shown}"
