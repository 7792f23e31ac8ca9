"""The commands that learn in contextual games: one trial is one game, log and weight lambda."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolbox.core.compute import one_thread
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, data, model
from .cli import Coop, Game, Rank, Regularise, SampleSizes
from .flags import Learning

TESTED = 4000
"""Joint actions on which a critic's error is measured."""


@dataclass(frozen=True)
class Trial:
    """payoff : random (independent tables), cooperative or competitive"""

    agents: int
    samples: int
    conc: float
    lam: float
    true_rank: int = 2
    payoff: str = "random"
    support: str = "full"


def game(run: Run, p: Game) -> None:
    """Errors: `ParameterError`."""
    learned(run, p, [Trial(m, p.samples, p.conc, p.lam, p.true_rank) for m in p.agents])


def samples(run: Run, p: SampleSizes) -> None:
    """Errors: `ParameterError`."""
    learned(run, p, [Trial(p.agents, n, p.conc, p.lam, p.true_rank) for n in p.samples])


def regularise(run: Run, p: Regularise) -> None:
    """Errors: `ParameterError`."""
    for word in p.supports:
        if word not in ("full", "partial"):
            raise ParameterError("supports", word, "is no support", "choose from full, partial")
    first = Trial(p.agents, p.samples, p.concs[0], 0.0, p.true_rank)
    places = [replace(first, conc=c) for c in p.concs] if "full" in p.supports else []
    if "partial" in p.supports:
        places.append(replace(first, support="partial"))
    learned(run, p, [replace(place, lam=lam) for place in places for lam in p.lams], "concs")


def rank(run: Run, p: Rank) -> None:
    """Errors: `ParameterError`."""
    trials = [Trial(p.agents, p.samples, p.conc, p.lam, k) for k in p.true_ranks]
    learned(run, p, trials, rank_field="true_ranks")


def coop(run: Run, p: Coop) -> None:
    """Errors: `ParameterError`."""
    common_reward = Trial(p.agents, p.samples, p.conc, p.lam, 3, "cooperative")
    zero_sum = replace(common_reward, true_rank=2, payoff="competitive")
    learned(run, p, [common_reward, zero_sum], rank_field="agents")


def recorded(iters: int) -> np.ndarray:
    """Iterations whose gap is written: about 20, evenly on a log scale, the last one included."""
    return np.unique(np.geomspace(1, iters, 20).round().astype(int))


def learned(
    run: Run,
    p: Learning,
    trials: Sequence[Trial],
    conc_field: str = "conc",
    rank_field: str = "true_rank",
) -> None:
    """Fit every critic of every trial and learn from it; all replicates at once.

    Games, behaviours and tests are the same for all critics, samples, and lambdas of a replicate.
    """
    common.check_critics(p.critics)
    for trial in trials:
        common.check_concs(trial.conc, p.actions, conc_field)
        sizes = trial.agents, p.actions, p.contexts, run.repeats
        common.check_rank(trial.true_rank, *sizes, rank_field)
        for name in p.critics:
            if name in common.FITTED:
                common.check_rank(common.fit_rank(name, trial.agents), *sizes, "agents")
                if p.critic_kind == "mlp":
                    common.check_networks(name, trial.agents, p.actions, p.contexts)
    for trial in run.cells(trials, "trials"):
        truth, nu, logs = setting(run, p, trial)
        for name in run.cells(p.critics, "critics"):
            critic = critic_of(run, p, name, truth, logs)
            policies = np.zeros((p.iters, *nu.shape))
            policies[0] = nu
            true_q = np.zeros_like(policies)
            for t in run.steps(p.iters, policies, true_q, label="iterations"):
                true_q[t] = truth.averaged(policies[t])
                if t + 1 < p.iters:
                    q = critic.averaged(policies[t])
                    policies[t + 1] = model.update(policies[t], q, nu, p.eta, trial.lam)
            write(run, trial, name, truth, critic, nu, policies, true_q)


def setting(
    run: Run, p: Learning, trial: Trial
) -> tuple[data.Rewards, data.Floats, list[data.Log]]:
    """The game, the behaviour (R, M, X, A) and a log for each replicate."""
    m, x, a = trial.agents, p.contexts, p.actions
    tables, policies = [], []
    for repeat in range(run.repeats):
        rng = run.rng(repeat, "game", m, trial.true_rank, trial.payoff)
        if trial.payoff == "random":
            tables.append(data.random_tables(rng, m, trial.true_rank, x, a))
        else:
            pairs = data.pair_tables(rng, m, x, a)
            make = {
                "cooperative": data.cooperative_tables,
                "competitive": data.competitive_tables,
            }[trial.payoff]
            tables.append(make(pairs))
        rng = run.rng(repeat, "behaviour", m)
        partial = trial.support == "partial"
        policies.append(data.behaviour(rng, m, x, a, trial.conc, partial)[0])
    truth = data.Rewards(np.array(tables), data.subsets(m, trial.true_rank))
    nu = np.array(policies)
    logs = [
        data.log(run.rng(r, "log", m), truth, r, nu[r], trial.samples, p.noise)
        for r in range(run.repeats)
    ]
    return truth, nu, logs


def critic_of(
    run: Run, p: Learning, name: str, truth: data.Rewards, logs: Sequence[data.Log]
) -> data.Rewards:
    """The critic of every replicate: tables, or networks where `--critic-kind` asks for them."""
    mixed = [run.rng(r, "permuted", truth.tables.shape[1]) for r in range(run.repeats)]
    if p.critic_kind == "linear" or name in ("behaviour", "true"):
        return fitted(name, truth, logs, p.contexts, p.actions, p.ridge, mixed)
    from . import networks

    if name == "permuted":
        logs = [data.permuted(log, rng) for log, rng in zip(logs, mixed, strict=True)]
    with one_thread():
        return networks.critic(
            run, name, list(logs), p.contexts, p.actions, p.mlp_steps, p.mlp_rate
        )


def fitted(
    name: str,
    truth: data.Rewards,
    logs: Sequence[data.Log],
    contexts: int,
    actions: int,
    ridge: float,
    mixed: Sequence[np.random.Generator],
) -> data.Rewards:
    """The critic of every replicate. A constant one keeps the behaviour.

    mixed : for the critic `permuted`, which is fitted to rewards permuted over the joint actions
    """
    agents = truth.tables.shape[1]
    if name == "true":
        return truth
    if name == "behaviour":
        shape = (len(logs), agents, 1, contexts, actions)
        return data.Rewards(np.full(shape, data.CENTRE / data.SPREAD), data.subsets(agents, 1))
    if name == "VDN":
        fits = [model.fit_vdn(log, contexts, actions, ridge) for log in logs]
        return data.Rewards(np.array(fits), data.subsets(agents, 2))
    if name == "permuted":
        logs = [data.permuted(log, rng) for log, rng in zip(logs, mixed, strict=True)]
    k = common.fit_rank(name, agents)
    fits = [model.fit(log, k, contexts, actions, ridge) for log in logs]
    return data.Rewards(np.array(fits), data.subsets(agents, k))


def write(
    run: Run,
    trial: Trial,
    name: str,
    truth: data.Rewards,
    critic: data.Rewards,
    nu: data.Floats,
    policies: data.Floats,
    true_q: data.Floats,
) -> None:
    """The gaps by iteration and the measures of the last mixture."""
    gaps = model.cce_gaps(policies, true_q)  # (T, R, M)
    mean_policy = policies.mean(axis=0)
    nash = model.nash_gaps(mean_policy, truth.averaged(mean_policy)).max(axis=-1)
    chi = model.chi_square(mean_policy, nu).mean(axis=-1)
    for repeat in range(run.repeats):
        rng = run.rng(repeat, "tests", trial.agents)
        where = {
            "agents": trial.agents, "samples": trial.samples, "true_rank": trial.true_rank,
            "payoff": trial.payoff, "conc": trial.conc, "support": trial.support,
            "lam": trial.lam, "critic": name,
        }  # fmt: skip
        steps = recorded(len(policies))
        columns = {key: [value] * len(steps) for key, value in where.items()}
        worst = gaps[steps - 1, repeat].max(axis=-1)
        run.write("curve", {**columns, "iteration": steps, "cce_gap": worst}, repeat)
        context = rng.integers(nu.shape[2], size=TESTED)
        member = rng.integers(len(policies), size=TESTED)
        logged = data.draw(rng, nu[repeat], context)
        actions = draw_from(rng, policies[:, repeat], member, context)
        errors = [
            float(
                ((critic.values(repeat, context, a) - truth.values(repeat, context, a)) ** 2).mean()
            )
            for a in (logged, actions)
        ]
        # Alone, so that the order of the sum does not depend on the number of replicates.
        welfare = (policies[:, repeat] * true_q[:, repeat]).sum(axis=-1).mean()
        run.write("gaps", {
            **where, "cce_gap": gaps[-1, repeat].max(), "mean_gap": gaps[-1, repeat].mean(),
            "nash_gap": nash[repeat], "welfare": welfare, "chi2_to_nu": chi[repeat],
            "mse_nu": errors[0], "mse_pi": errors[1],
        }, repeat)  # fmt: skip


def draw_from(
    rng: np.random.Generator, policies: data.Floats, member: data.Ints, context: data.Ints
) -> data.Ints:
    """Joint actions of the mixture.

    policies : (T, M, X, A), member and context : (n,)  ->  (n, M)
    """
    below = policies[member, :, context].cumsum(axis=-1)  # (n, M, A)
    chosen = (rng.random(below.shape[:2])[..., None] > below[..., :-1]).sum(axis=-1)
    return np.asarray(chosen)
