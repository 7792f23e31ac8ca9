"""Small settings and members that the tests of this folder share."""

from __future__ import annotations

from typing import Any

from toolbox.studies.icl.plan import Arm, Member, Setting


def setting(**changes: Any) -> Setting:
    values: dict[str, Any] = dict(
        d=3, n=6, batch=8, per_task_batch=False, token="interleave", model="gpt", embd=16, layers=2,
        heads=2, init_std=0.1, optimizer="adam", warmup=0, steps=60, threshold=0.8, window=10,
        every=10, until="escape", ncl="exact", precision="float32",
    )  # fmt: skip
    return Setting(**{**values, **changes})


def member(*tasks: str, lr: float = 3e-3, repeat: int = 0, kind: str = "together") -> Member:
    return Member(Arm("+".join(tasks), kind, tasks, lr, tasks), repeat)
