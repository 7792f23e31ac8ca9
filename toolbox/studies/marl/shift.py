"""`marl shift`: shift coefficients, and errors of fits under the behaviour and a shifted policy."""

from __future__ import annotations

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, data, model, theory
from .cli import Shift

MOST_JOINT = 100_000
TESTED = 20_000
"""Joint actions on which an error is measured."""


def shift(run: Run, p: Shift) -> None:
    """One row for each replicate, number of agents and rank of the fit.

    Errors: `ParameterError`.
    """
    common.check_concs(p.conc, p.actions)
    for m in p.agents:
        if p.actions**m > MOST_JOINT:
            raise ParameterError(
                "agents",
                m,
                f"with {{actions}} {p.actions} there are {p.actions**m} joint actions, more than "
                f"{MOST_JOINT}, all of which the exact coefficient visits",
                "lower one of the two",
            )
        common.check_rank(p.true_rank, m, p.actions, p.contexts, 1, "true_rank")
        for name in p.ranks:
            k = common.fit_rank(name, m, "ranks")
            common.check_rank(k, m, p.actions, p.contexts, 1, "agents")
    for repeat in run.replicates():
        for m in run.cells(p.agents, "agents"):
            rng = run.rng(repeat, "game", m)
            tables = data.random_tables(rng, m, p.true_rank, p.contexts, p.actions)
            truth = data.Rewards(tables[None], data.subsets(m, p.true_rank))
            nu, rare = data.behaviour(rng, m, p.contexts, p.actions, p.conc)
            log = data.log(rng, truth, 0, nu, p.samples, p.noise)
            mu = np.full(nu.shape, 0.1 / (p.actions - 1))
            np.put_along_axis(mu, rare[..., None], 0.9, axis=-1)
            tests = []
            for policy in (nu, mu):
                context = rng.integers(p.contexts, size=TESTED)
                tests.append((context, data.draw(rng, policy, context)))
            for name in run.cells(p.ranks, "ranks"):
                k = common.fit_rank(name, m, "ranks")
                fitted = model.fit(log, k, p.contexts, p.actions, p.ridge)
                critic = data.Rewards(fitted[None], data.subsets(m, k))
                # Agent 0 alone, as in the formula.
                errors = [
                    float(((critic.values(0, *at) - truth.values(0, *at))[:, 0] ** 2).mean())
                    for at in tests
                ]
                numeric = theory.kappa_by_algebra(nu[:, 0], rare[:, 0], k)
                run.write("shift", {
                    "agents": m, "rank": name, "conc": p.conc,
                    "kappa_exact": theory.kappa(m, k, p.conc), "kappa_numeric": numeric,
                    "mse_nu": errors[0], "mse_mu": errors[1],
                    "ratio": errors[1] / errors[0] if errors[0] > 0 else np.nan,
                }, repeat)  # fmt: skip
