"""`marl markov`: the decentralised regularised actor-critic with decoupled transitions."""

from __future__ import annotations

import numpy as np

from toolbox.core import memory
from toolbox.core.run import Run

from . import common, data, decoupled, model
from .cli import Markov
from .data import Floats
from .decoupled import Motion
from .trials import TESTED, draw_from, fitted, recorded


def markov(run: Run, p: Markov) -> None:
    """One row for each replicate, number of agents and critic; all replicates at once.

    Each agent's transitions are estimated by counts, its reward by regression; then, at every
    iteration, each agent averages its reward over the others' estimated occupancies, evaluates its
    own Markov decision process and takes a regularised step. Games, behaviours and tests are the
    same for all critics of a replicate. Errors: `ParameterError`.
    """
    common.check_critics(p.critics)
    common.check_concs(p.conc, p.actions)
    pairs = p.states * p.actions
    for m in p.agents:
        common.check_rank(p.true_rank, m, pairs, 1, run.repeats, "true_rank")
        for name in p.critics:
            if name in common.FITTED:
                common.check_rank(common.fit_rank(name, m), m, pairs, 1, run.repeats, "agents")
        size = 8.0 * 4 * p.iters * run.repeats * m * p.horizon * pairs
        memory.need(size, "the policies of all iterations", "iters", p.iters)
    for m in run.cells(p.agents, "agents"):
        motion, truth, nu, logged = setting(run, p, m)
        logs = [each.log(p.actions) for each in logged]
        counted = [decoupled.estimated(each, p.states, p.actions) for each in logged]
        guess = Motion(*(np.array(each) for each in zip(*counted, strict=True)))
        for name in run.cells(p.critics, "critics"):
            mixed = [run.rng(r, "permuted", m) for r in range(run.repeats)]
            critic = fitted(name, truth, logs, 1, pairs, p.ridge, mixed)
            known = motion if name == "true" else guess
            stay = np.repeat(nu[:, :, None], p.horizon, axis=2)
            policies = np.zeros((p.iters, *stay.shape))
            policies[0] = stay
            occupancies = np.zeros((p.iters, run.repeats, m, p.horizon, pairs))
            rewards = np.zeros_like(occupancies)
            for t in run.steps(p.iters, policies, occupancies, rewards, label="iterations"):
                occupancies[t] = motion.occupancies(policies[t])
                rewards[t] = decoupled.averaged(truth, occupancies[t])
                if t + 1 < p.iters:
                    others = known.occupancies(policies[t])
                    q = known.values(decoupled.averaged(critic, others), policies[t])
                    policies[t + 1] = model.update(policies[t], q, stay, p.eta, p.lam)
            write(run, p, name, truth, critic, motion, guess, policies, occupancies, rewards)


def setting(
    run: Run, p: Markov, m: int
) -> tuple[Motion, data.Rewards, Floats, list[decoupled.Episodes]]:
    """The game, the behaviour (R, M, S, A) and the episodes of each replicate."""
    pairs = p.states * p.actions
    motions, tables, policies = [], [], []
    for repeat in range(run.repeats):
        rng = run.rng(repeat, "game", m, p.true_rank)
        tables.append(data.random_tables(rng, m, p.true_rank, 1, pairs))
        motions.append(decoupled.random_motion(rng, m, p.states, p.actions))
        rng = run.rng(repeat, "behaviour", m)
        policies.append(data.behaviour(rng, m, p.states, p.actions, p.conc)[0])
    truth = data.Rewards(np.array(tables), data.subsets(m, p.true_rank))
    motion = Motion(*(np.array(each) for each in zip(*motions, strict=True)))
    logged = [
        decoupled.episodes(
            run.rng(r, "log", m), motion, truth, r, policies[r], p.episodes, p.horizon, p.noise
        )
        for r in range(run.repeats)
    ]
    return motion, truth, np.array(policies), logged


def write(
    run: Run,
    p: Markov,
    name: str,
    truth: data.Rewards,
    critic: data.Rewards,
    motion: Motion,
    guess: Motion,
    policies: Floats,
    occupancies: Floats,
    rewards: Floats,
) -> None:
    """The gaps by iteration and the measures of the last mixture, per step of the game."""
    gaps = decoupled.cce_gaps(motion, occupancies, rewards) / p.horizon
    stay = policies[0]
    chi = model.chi_square(policies.mean(axis=0), stay).mean(axis=(-2, -1))
    m = stay.shape[1]
    for repeat in range(run.repeats):
        where = {
            "agents": m, "episodes": p.episodes, "horizon": p.horizon, "true_rank": p.true_rank,
            "conc": p.conc, "lam": p.lam, "critic": name,
        }  # fmt: skip
        steps = recorded(p.iters)
        columns = {key: [value] * len(steps) for key, value in where.items()}
        worst = gaps[steps - 1, repeat].max(axis=-1)
        run.write("curve", {**columns, "iteration": steps, "cce_gap": worst}, repeat)
        rng = run.rng(repeat, "tests", m)
        step = rng.integers(p.horizon, size=TESTED)
        member = rng.integers(p.iters, size=TESTED)
        errors = []
        for members in (np.zeros_like(member), member):
            pairs = draw_from(rng, occupancies[:, repeat], members, step)
            at = repeat, np.zeros(TESTED, dtype=np.int64), pairs
            errors.append(float(((critic.values(*at) - truth.values(*at)) ** 2).mean()))
        missed = np.abs(guess.transitions[repeat] - motion.transitions[repeat]).sum(axis=-1)
        welfare = (occupancies[:, repeat] * rewards[:, repeat]).sum(axis=-1).mean()
        run.write("gaps", {
            **where, "cce_gap": gaps[-1, repeat].max(), "mean_gap": gaps[-1, repeat].mean(),
            "welfare": welfare, "chi2_to_nu": chi[repeat], "mse_nu": errors[0],
            "mse_pi": errors[1], "transition_error": 0.0 if name == "true" else missed.mean(),
        }, repeat)  # fmt: skip
