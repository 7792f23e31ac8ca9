"""From outcomes of members to rows of tables, and to the lines a run ends with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.run import Run

from .cli import Training
from .escape import NEVER
from .plan import Member, Outcome

TOKENS = {"interleave": "interleave", "pair": "pair (a stand-in)"}
"""How tables and figures call the tokens."""


def curve(member: Member, outcome: Outcome, token: str) -> pd.DataFrame:
    """The recorded losses of every task of a member, averages since the record before."""
    arm, rows, parts = member.arm, outcome.rows, []
    for slot, task in enumerate(arm.slots):
        step = rows[:, 0, slot].astype(int)
        escape = int(outcome.escape[slot])
        reached = (step >= escape) & (escape != NEVER)
        parts.append(
            pd.DataFrame(
                {
                    **names(member, task, token),
                    "watched": task in arm.watch,
                    "step": step,
                    "loss": rows[:, 1, slot] * outcome.optimum[slot],
                    "loss_norm": rows[:, 1, slot],
                    "last_loss_norm": rows[:, 2, slot],
                    "last_accuracy": rows[:, 3, slot],
                    "at_escape": reached & (np.cumsum(reached) == 1),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    # A sign is nothing that a continuous task predicts.
    boolean = dict(zip(arm.slots, outcome.boolean, strict=True))
    frame.loc[~frame["task"].map(boolean).astype(bool), "last_accuracy"] = math.nan
    return frame


def escapes(member: Member, outcome: Outcome, p: Training) -> pd.DataFrame:
    """One row per task: when it left its plateau, or that it did not.

    The loss that is compared with the threshold is a mean over `window` steps, so that no task can
    leave before. One that is there within two windows had no plateau to leave.
    """
    arm = member.arm
    step, complete = np.asarray(outcome.escape), np.asarray(outcome.complete)
    stayed = np.where(step == NEVER, outcome.steps, step + 1)
    return pd.DataFrame(
        [
            {
                **names(member, task, p.token),
                "watched": task in arm.watch,
                "plateau": bool(stayed[slot] >= 2 * p.window),
                "escape_step": pd.NA if step[slot] == NEVER else int(step[slot]),
                "censored": bool(step[slot] == NEVER),
                "diverged": outcome.diverged != NEVER,
                "complete_step": pd.NA if complete[slot] == NEVER else int(complete[slot]),
                "steps_run": outcome.steps,
                "sequences": int(outcome.seen[slot]),
            }
            for slot, task in enumerate(arm.slots)
        ]
    )


def names(member: Member, task: str, token: str) -> dict[str, Any]:
    """The columns that tell what was trained."""
    arm = member.arm
    return {
        "repeat": member.repeat, "token": TOKENS[token], "arm": arm.kind, "mix": arm.name,
        "k": len(arm.tasks), "task": task, "lr": arm.lr,
    }  # fmt: skip


def write(
    run: Run, members: Sequence[Member], outcomes: Sequence[Outcome], p: Training
) -> pd.DataFrame:
    """Write the tables `curve` and `escape`, and note what diverged. Returns the latter."""
    tables = []
    trainings = Counter(member.repeat for member in members)
    for member, outcome in zip(members, outcomes, strict=True):
        if len(outcome.rows):
            run.write("curve", curve(member, outcome, p.token))
        tables.append(escapes(member, outcome, p))
        run.write("escape", tables[-1])
        if (step := outcome.diverged) != NEVER:
            name = f"{member.arm.name} ({member.arm.kind}, lr {member.arm.lr:g})"
            message = f"the loss is not finite at step {step}; the rows before it are kept"
            run.diverged(member.repeat, message, step, name, trainings[member.repeat])
    return pd.concat(tables, ignore_index=True)


def median_text(rows: pd.DataFrame) -> str:
    """'1132 (3 of 3 seeds)': the median escape step over replicates, and how many escaped.

    Censored ones count as later than all; where they are the middle it is '> ' what they ran.
    """
    if rows.empty:
        return "-"
    known = rows["escape_step"].astype("Float64")
    late, ran = known.fillna(math.inf), known.fillna(rows["steps_run"].astype("Float64"))
    middle = float(late.median())
    shown = f"{middle:.0f}" if math.isfinite(middle) else f"> {float(ran.median()):.0f}"
    return f"{shown} ({known.count()} of {len(rows)} seeds)" if len(rows) > 1 else shown
