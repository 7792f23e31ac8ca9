"""`marl envs`: the critics in environments of PettingZoo, whose rewards have no known rank."""

from __future__ import annotations

import csv
from itertools import product

import numpy as np

from toolbox.core import memory
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common, data, environments, model
from .cli import Envs
from .data import Floats
from .environments import ACTIONS, Play
from .trials import fitted

MOST_STEPS = 5_000_000
SIDES = ("random", "behaviour", "IR1", "IR2", "joint", "true")
"""Policies that play against each other in `tag`."""


def envs(run: Run, p: Envs) -> None:
    """Play every joint action, log the behaviour, fit the critics and learn from each.

    Rewards are scaled by the mean and deviation of each agent's logged returns, so that step sizes
    mean the same in all environments; returns are written in the environment's own units.
    Errors: `ParameterError`; `UsageError` where the extra `envs` is missing.
    """
    check(run, p)
    environments.require()
    seeds = [run.rng(r, "positions").integers(2**31, size=p.contexts) for r in range(run.repeats)]
    jobs = [
        Play(name, p.agents, p.hold, r, x, int(seeds[r][x]))
        for name in p.envs
        for r in range(run.repeats)
        for x in range(p.contexts)
    ]
    shape = (run.repeats, p.contexts, *[ACTIONS] * p.agents, p.agents)
    games: dict[str, Floats] = run.kept({name: np.zeros(shape) for name in p.envs})
    few = len(jobs) * p.hold * ACTIONS**p.agents < 20_000  # starting processes costs seconds
    with run.crew(1 if few else None) as crew:
        for job, table in crew.map(environments.every_return, jobs, "starting positions"):
            games[job.name][job.repeat, job.context] = table.reshape(shape[2:])
    for name in run.cells(p.envs, "envs"):
        learn(run, p, name, games[name])


def check(run: Run, p: Envs) -> None:
    """Known names, and games that time and memory allow."""
    for name in p.envs:
        if name not in environments.NAMES:
            raise ParameterError(
                "envs", name, "is no environment", "choose from " + ", ".join(environments.NAMES)
            )
    common.check_critics(tuple(name for name in p.critics if name != "random"))
    if p.conc <= ACTIONS:
        raise ParameterError(
            "conc", p.conc, f"is not above {ACTIONS}, so that no action is rare", "raise it"
        )
    count = ACTIONS**p.agents
    steps = len(p.envs) * run.repeats * p.contexts * count * p.hold
    if steps > MOST_STEPS and not run.allow_costly:
        raise ParameterError(
            "agents",
            p.agents,
            f"plays {count} joint actions, {steps} steps of the environments in all, more than "
            f"{MOST_STEPS}, which takes long",
            "lower it, {hold}, {contexts} or {repeats}, or give --allow-costly",
        )
    size = 8.0 * run.repeats * p.contexts * count * p.agents * (len(p.envs) + 4)
    memory.need(size, "the tables of all joint actions", "agents", p.agents)


def scaled(game: Floats, logged: Floats) -> Floats:
    """Each agent's returns with mean and deviation of the log at those of the stand-in games.

    game : (X, A, ..., A, M), logged : (N, M)
    """
    deviation = logged.std(axis=0)
    centred = (game - logged.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return np.asarray((centred + data.CENTRE) / data.SPREAD)


def own_first(game: Floats) -> Floats:
    """Joint tables of all agents, the own action first.

    (X, A, ..., A, M)  ->  (M, 1, X, A, ..., A)
    """
    agents = game.shape[-1]
    return np.array([np.moveaxis(game[..., i], 1 + i, 1)[None] for i in range(agents)])


def learn(run: Run, p: Envs, name: str, games: Floats) -> None:
    """All critics in one environment.  games : (R, X, A, ..., A, M)"""
    m, x = p.agents, p.contexts
    policies, logs, tables = [], [], []
    for r in range(run.repeats):
        nu, _ = data.behaviour(run.rng(r, "behaviour"), m, x, ACTIONS, p.conc)
        rng = run.rng(r, "log", name)
        context = rng.integers(x, size=p.samples)
        plays = data.draw(rng, nu, context)
        logged = games[r][(context, *plays.T)]
        game = scaled(games[r], logged)
        policies.append(nu)
        logs.append(data.Log(context, plays, game[(context, *plays.T)]))
        tables.append(own_first(game))
        if r == 0:
            save_log(run, name, context, plays, logged)
        shares = np.mean([environments.explained(games[r][c], nu[:, c]) for c in range(x)], axis=0)
        agents, ranks = np.indices(shares.shape).reshape(2, -1)
        run.write("ranks", {
            "env": name, "agent": agents, "rank": ranks + 1, "explained": shares.ravel(),
        }, r)  # fmt: skip
    nu = np.array(policies)
    truth = data.Rewards(np.array(tables), data.subsets(m, m))
    averages: dict[str, Floats] = run.kept({})
    for critic_name in run.cells(p.critics, "critics", averages):
        start = np.full(nu.shape, 1 / ACTIONS) if critic_name == "random" else nu
        mixed = [run.rng(r, "permuted", name) for r in range(run.repeats)]
        flat = "behaviour" if critic_name == "random" else critic_name
        critic = fitted(flat, truth, logs, x, ACTIONS, p.ridge, mixed)
        played = np.zeros((p.iters, *nu.shape))
        played[0] = start
        true_q = np.zeros_like(played)
        for t in run.steps(p.iters, played, true_q, label="iterations"):
            true_q[t] = truth.averaged(played[t])
            if t + 1 < p.iters:
                q = critic.averaged(played[t])
                played[t + 1] = (
                    start if critic_name == "random"
                    else model.update(played[t], q, nu, p.eta, p.lam)
                )  # fmt: skip
        averages[critic_name] = played.mean(axis=0)
        gaps = model.cce_gaps(played, true_q)[-1]
        chi = model.chi_square(averages[critic_name], nu).mean(axis=-1)
        for r in range(run.repeats):
            reached = expected(games[r], played[:, r])
            run.write("gaps", {
                "env": name, "critic": critic_name, "cce_gap": gaps[r].max(),
                "mean_gap": gaps[r].mean(), "return": reached.mean(),
                "first_team": reached[:-1].mean() if name == "tag" else reached.mean(),
                "chi2_to_nu": chi[r],
            }, r)  # fmt: skip
    if name == "tag":
        across(run, games, averages)


def expected(game: Floats, policies: Floats) -> Floats:
    """Each agent's mean return under the mixture of product policies, over contexts.

    game : (X, A, ..., A, M), policies : (T, M, X, A)  ->  (M,)
    """
    agents, contexts = policies.shape[1:3]
    total = np.zeros(agents)
    for x in range(contexts):
        # The joint distribution of the mixture: one contraction instead of one for each member.
        chance = policies[:, 0, x]
        for j in range(1, agents):
            chance = (chance[:, :, None] * policies[:, j, x, None, :]).reshape(len(policies), -1)
        total += chance.mean(axis=0) @ game[x].reshape(-1, agents)
    return np.asarray(total / contexts)


def across(run: Run, games: Floats, averages: dict[str, Floats]) -> None:
    """The predators' return when either side plays the average policy of any critic."""
    there = [name for name in SIDES if name in averages]
    for r in range(run.repeats):
        for predators, prey in product(there, there):
            policy = averages[predators][r].copy()
            policy[-1] = averages[prey][r][-1]
            reached = expected(games[r], policy[None])
            run.write("crossplay", {
                "predators": predators, "prey": prey, "return": reached[:-1].mean(),
            }, r)  # fmt: skip


def save_log(run: Run, name: str, context: data.Ints, plays: data.Ints, logged: Floats) -> None:
    """The first replicate's log as a file that `marl logs` reads."""
    with run.file(f"{name}_log.csv") as path, path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("episode", "step", "agent", "context", "action", "reward"))
        for n, (c, actions, rewards) in enumerate(zip(context, plays, logged, strict=True)):
            for i, (action, reward) in enumerate(zip(actions, rewards, strict=True)):
                rows.writerow((n, 0, f"agent{i}", c, action, repr(float(reward))))
