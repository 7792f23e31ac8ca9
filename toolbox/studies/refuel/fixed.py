"""`refuel fixed`: questions of all turns given beforehand (the paper's setting 2)."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from toolbox.core.run import Run

from . import values
from .cli import Fixed
from .common import check_chances, setting_of
from .dialogue import best_strengths
from .learn import Setting, learned, members_of

NAMES = ("REBEL-LT-ONLINE", "REBEL-MT-MIXED", "REFUEL")


def fixed(run: Run, p: Fixed) -> None:
    """One row per replicate, weight of the divergence, method, strength and iteration.

    Errors: `ParameterError` for chances that sum to 1.
    """
    check_chances(p)
    setting = setting_of(p, p.horizon, p.bonus)
    settings: list[tuple[Setting, tuple[str, ...]]]
    settings = [(replace(setting, replay=True, kl=kl), NAMES) for kl in p.kl_coefs]
    for job, left in learned(run, settings):
        game, members = job.setting.game, members_of(job.names, job.setting.strengths)
        base_law, shown = values.replayed_law(game, left.base_right, left.base_right)
        law, _ = values.replayed_law(game, left.right, left.base_right)
        reward = values.expected(game, law)[0][..., -1]
        wins = values.win_rate(game, law, base_law)[..., -1]
        kl = (values.over_topics(game, left.kl) * shown).sum(axis=-1)
        best = best_strengths(members, reward[-1] - job.setting.kl * kl[-1])
        for t in range(len(reward)):
            run.write("curve", pd.DataFrame({
                "kl_coef": job.setting.kl, "method": [method.name for method, _ in members],
                "strength": [strength for _, strength in members], "iteration": t,
                "reward": reward[t], "kl": kl[t], "win_rate": 100 * wins[t],
                "chosen": [i in best for i in range(len(members))],
                "last_iteration": t == len(reward) - 1,
            }), job.repeat)  # fmt: skip
