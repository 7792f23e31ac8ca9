"""`refuel horizon`: the cost of beginnings by another policy, against the turns."""

from __future__ import annotations

import pandas as pd

from toolbox.core.run import Run

from . import values
from .cli import Horizon
from .common import check_chances, setting_of
from .dialogue import best_strengths
from .learn import Setting, learned, members_of

SWEPT = ("REBEL-LT-ONLINE", "REBEL-MT-MIXED", "REFUEL")
PANEL = ("REBEL-LT-OFFLINE", "REBEL-LT-MIXED", "REBEL-LT-ONLINE", "REBEL-MT-MIXED", "REFUEL")


def horizon(run: Run, p: Horizon) -> None:
    """One row per replicate, panel, horizon, method and strength.

    Errors: `ParameterError` for chances that sum to 1.
    """
    check_chances(p)
    settings: list[tuple[Setting, tuple[str, ...]]]
    settings = [(setting_of(p, h, p.bonus), SWEPT) for h in p.horizons]
    settings.append((setting_of(p, p.panel_horizon, p.panel_bonus), PANEL))
    for job, left in learned(run, settings):
        game, members = job.setting.game, members_of(job.names, job.setting.strengths)
        law = values.reward_law(game, *values.over_topics(game, left.right[:, -1]))
        reward = values.expected(game, law)[0][:, -1]
        base = values.reward_law(game, *values.over_topics(game, left.base_right))
        wins = values.win_rate(game, law, base)[:, -1]
        best = best_strengths(members, reward)
        refuel = max(reward[i] for i in best if members[i][0].name == "REFUEL")
        run.write("final", pd.DataFrame({
            "panel": "sweep" if job.names == SWEPT else "shift",
            "bonus": game.bonus, "horizon": game.horizon,
            "method": [method.name for method, _ in members],
            "strength": [strength for _, strength in members],
            "reward": reward, "win_rate": 100 * wins, "gap": refuel - reward,
            "chosen": [i in best for i in range(len(members))],
        }), job.repeat)  # fmt: skip
