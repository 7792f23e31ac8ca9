"""What the commands of the study share: from flags to a setting, and the refusals."""

from __future__ import annotations

from typing import Any

from toolbox.core.errors import ParameterError

from .data import Game
from .flags import METHOD_NAMES, Training
from .learn import Setting

RATES = {"mlp": 0.003, "table": 0.05, "transformer": 0.003}


def check_chances(p: Any) -> None:
    """The two right answers must leave some chance to the others."""
    if p.p_clarify + p.p_answer >= 1:
        raise ParameterError(
            "p_answer",
            p.p_answer,
            f"together with {{p_clarify}} {p.p_clarify:g} it is 1 or more, which leaves no chance "
            "for wrong answers",
            "lower one of the two",
        )


def methods_of(given: tuple[str, ...], field: str = "methods") -> tuple[str, ...]:
    """Names in the order of the table."""
    if given == ("all",):
        return METHOD_NAMES
    for name in given:
        if name not in METHOD_NAMES:
            raise ParameterError(
                field, name, "is no method", "choose from all, " + ", ".join(METHOD_NAMES)
            )
    if not given:
        raise ParameterError(field, given, "names no method", "give one, or all")
    return tuple(name for name in METHOD_NAMES if name in given)


def setting_of(p: Training, horizon: int, bonus: float) -> Setting:
    """What `learn` is told."""
    return Setting(
        Game(horizon, p.topics, p.contents, bonus), p.p_clarify, p.p_answer, p.iters, p.pairs,
        p.steps, p.batch, p.lr or RATES[p.policy], p.strengths, p.policy, p.width, p.judge, p.noise,
        p.labels,
    )  # fmt: skip
