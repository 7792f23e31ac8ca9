"""`refuel dialogue`: the method table (the paper's Table 1) in the guided dialogue."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolbox.core.run import Run

from . import values
from .cli import Dialogue
from .common import check_chances, methods_of, setting_of
from .data import Floats
from .learn import Learned, Member, Setting, learned, members_of
from .sequence import Laws, learned_sequences


def dialogue(run: Run, p: Dialogue) -> None:
    """One row per replicate, method, strength, iteration and turn.

    Values are exact; those of a transformer, which sees the whole dialogue, are estimated.

    Errors: `ParameterError` for unknown methods, chances that sum to 1, and transformers of a width
    that is no multiple of 16.
    """
    check_chances(p)
    names = methods_of(p.methods)
    setting = setting_of(p, p.horizon, p.bonus)
    if p.policy == "transformer":
        for repeat, laws in learned_sequences(run, setting, names, p.layers, p.evaluated):
            run.write("curve", evaluated(setting, names, laws, p.tau), repeat)
        return
    if run.device != "cpu":
        run.say(f"--policy {p.policy} computes on the CPU; the transformer uses the GPU.")
    for job, left in learned(run, [(setting, names)]):
        run.write("curve", evaluated(setting, names, exact_laws(setting, left), p.tau), job.repeat)


def exact_laws(setting: Setting, left: Learned) -> Laws:
    """Exact laws of level and bonus of policies that see the state alone."""
    game = setting.game
    law, base = (
        values.reward_law(game, *values.over_topics(game, each))
        for each in (left.right, left.base_right)
    )
    return Laws(law, base, left.ended)


def evaluated(setting: Setting, names: tuple[str, ...], laws: Laws, tau: float) -> pd.DataFrame:
    """Rows of one replicate; `chosen` marks each method's strength with the best final reward.

    The base policy comes first, as a method of its own, with the strength 0.
    """
    game, members = setting.game, members_of(names, setting.strengths)
    reward, level = values.expected(game, laws.law)
    wins = values.win_rate(game, laws.law, laws.base, tau)
    best = best_strengths(members, reward[-1, :, -1])
    turns = np.arange(1, game.horizon + 1)
    base_reward, base_level = values.expected(game, laws.base)
    end = turns == game.horizon
    first = {"method": "base", "loss": "none", "scheme": "none", "strength": 0.0, "iteration": 0,
             "turn": turns, "reward": base_reward, "win_rate": 50.0, "level": base_level,
             "chosen": True, "last_iteration": False, "last_turn": end, "ended": False}  # fmt: skip
    parts = [pd.DataFrame(first)]
    for i, (method, strength) in enumerate(members):
        for t in range(len(reward)):
            parts.append(pd.DataFrame({
                "method": method.name, "loss": method.loss, "scheme": method.scheme,
                "strength": strength, "iteration": t, "turn": turns, "reward": reward[t, i],
                "win_rate": 100 * wins[t, i], "level": level[t, i], "chosen": i in best,
                "last_iteration": t == len(reward) - 1, "last_turn": end,
                "ended": 0 <= laws.ended[i] < t,
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def best_strengths(members: list[Member], final: Floats) -> set[int]:
    """For each method, the member whose last policy has the best exact reward at the last turn."""
    best: dict[str, int] = {}
    for i, (method, _) in enumerate(members):
        if method.name not in best or final[i] > final[best[method.name]]:
            best[method.name] = i
    return set(best.values())
