"""Small settings and members that the tests of this folder share."""

from __future__ import annotations

from typing import Any

from toolbox.studies.icl.cli import Training
from toolbox.studies.icl.plan import Arm, Member


def setting(**changes: Any) -> Training:
    values: dict[str, Any] = dict(
        d=3, n=6, batch=8, embd=16, layers=2, heads=2, init_std=0.1, steps=60, window=10, every=10
    )  # fmt: skip
    return Training(**{**values, **changes})


def member(*tasks: str, lr: float = 3e-3, repeat: int = 0, kind: str = "together") -> Member:
    return Member(Arm("+".join(tasks), kind, tasks, lr, tasks), repeat)
