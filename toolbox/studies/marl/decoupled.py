"""Markov games with decoupled transitions: each agent moves by itself, rewards couple the agents.

P_h(s'|s, a) = prod_i P_i(s_i'|s_i, a_i), and rewards have interaction rank K in the pairs
z_j = (s_j, a_j). Under local policies pi_i,h(a_i|s_i) the agents are independent at every step, so
that the law of (z_1, ..., z_M) is the product of the agents' occupancies and everything here is
exact: values, averaged rewards and gaps are sums, not samples.

Shapes: R replicates, M agents, H steps, S states and A actions of an agent, Z = S A pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .data import Floats, Ints, Log, Rewards


@dataclass(frozen=True)
class Motion:
    """How each agent moves.  transitions : (R, M, S, A, S), start : (R, M, S)"""

    transitions: Floats
    start: Floats

    def occupancies(self, policy: Floats) -> Floats:
        """The probability of each pair (s, a) at each step.

        policy : (R, M, H, S, A)  ->  (R, M, H, Z)
        """
        out, here = np.empty(policy.shape), self.start
        for h in range(policy.shape[2]):
            out[:, :, h] = here[..., None] * policy[:, :, h]
            here = np.einsum("rmsa,rmsat->rmt", out[:, :, h], self.transitions)
        return out.reshape(*policy.shape[:3], -1)

    def values(self, rewards: Floats, policy: Floats) -> Floats:
        """Q_h(s, a) of each agent in its own Markov decision process, by backward induction.

        rewards : (R, M, H, Z) averaged over the others, policy : (R, M, H, S, A)
        ->  (R, M, H, S, A)
        """
        q = rewards.reshape(policy.shape).copy()
        for h in reversed(range(policy.shape[2] - 1)):
            later = (policy[:, :, h + 1] * q[:, :, h + 1]).sum(axis=-1)
            q[:, :, h] += np.einsum("rmsat,rmt->rmsa", self.transitions, later)
        return q

    def best(self, rewards: Floats) -> Floats:
        """The largest value that a policy of its own gives each agent.

        rewards : (R, M, H, Z)  ->  (R, M)
        """
        r, m, steps, _ = rewards.shape
        q = rewards.reshape(r, m, steps, *self.transitions.shape[2:4])
        later = np.zeros(self.start.shape)
        for h in reversed(range(steps)):
            ahead = np.einsum("rmsat,rmt->rmsa", self.transitions, later)
            later = (q[:, :, h] + ahead).max(axis=-1)
        return np.asarray((self.start * later).sum(axis=-1))


def averaged(rewards: Rewards, occupancies: Floats) -> Floats:
    """Each agent's reward for its own pair when the others follow their occupancies.

    rewards : tables with one context and Z actions; occupancies : (R, M, H, Z)  ->  (R, M, H, Z)
    """
    return np.broadcast_to(rewards.averaged(occupancies), occupancies.shape)


def random_motion(rng: np.random.Generator, agents: int, s: int, a: int) -> tuple[Floats, Floats]:
    """Uniform on the simplex: transitions (M, S, A, S) and starts (M, S)."""
    return rng.dirichlet(np.ones(s), size=(agents, s, a)), rng.dirichlet(np.ones(s), size=agents)


@dataclass(frozen=True)
class Episodes:
    """Offline data: N episodes.  states, actions : (N, H, M), rewards : (N, H, M)"""

    states: Ints
    actions: Ints
    rewards: Floats

    def log(self, count: int) -> Log:
        """All steps as one log of pairs z = s A + a, of which there are Z; `count` is A."""
        pairs = self.states * count + self.actions
        rows = pairs.reshape(-1, pairs.shape[2])
        context = np.zeros(len(rows), dtype=np.int64)
        return Log(context, rows, self.rewards.reshape(rows.shape))


def _drawn(rng: np.random.Generator, chances: Floats) -> Ints:
    """One index for each row of probabilities.  (..., k)  ->  (...)"""
    below = chances.cumsum(axis=-1)
    draws = rng.random(chances.shape[:-1])[..., None] > below[..., :-1]
    return np.asarray(draws.sum(axis=-1), dtype=np.int64)


def episodes(
    rng: np.random.Generator,
    motion: Motion,
    truth: Rewards,
    replicate: int,
    policy: Floats,
    n: int,
    steps: int,
    noise: float,
) -> Episodes:
    """N episodes of the behaviour with noisy rewards.  policy : (M, S, A), the same at all steps"""
    agents, _, count = policy.shape
    who = np.arange(agents)
    states, actions = (np.zeros((n, steps, agents), dtype=np.int64) for _ in range(2))
    states[:, 0] = _drawn(rng, np.repeat(motion.start[replicate][None], n, axis=0))
    for h in range(steps):
        actions[:, h] = _drawn(rng, policy[who, states[:, h]])
        if h + 1 < steps:
            chances = motion.transitions[replicate][who, states[:, h], actions[:, h]]
            states[:, h + 1] = _drawn(rng, chances)
    pairs = (states * count + actions).reshape(-1, agents)
    rewards = truth.values(replicate, np.zeros(len(pairs), dtype=np.int64), pairs)
    rewards = rewards + noise * rng.standard_normal(rewards.shape)
    return Episodes(states, actions, rewards.reshape(states.shape))


def estimated(logged: Episodes, s: int, a: int) -> tuple[Floats, Floats]:
    """Maximum likelihood: the shares of what was counted; uniform where nothing was.

    ->  transitions (M, S, A, S), starts (M, S)
    """
    n, _, agents = logged.states.shape
    flat, starts = np.zeros((agents, s * a * s)), np.zeros((agents, s))
    for i in range(agents):
        z = logged.states[:, :-1, i] * a + logged.actions[:, :-1, i]
        moved = z * s + logged.states[:, 1:, i]
        flat[i] = np.bincount(moved.ravel(), minlength=s * a * s)
        starts[i] = np.bincount(logged.states[:, 0, i], minlength=s) / n
    counts = flat.reshape(agents, s, a, s)
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), 1 / s), starts


def cce_gaps(motion: Motion, occupancies: Floats, rewards: Floats) -> Floats:
    """What agent i gains at most by one policy of its own against the mixture of the first t
    products, for every t; it sees its own state alone, not the member of the mixture.

    The others' part is linear in the occupancies, so the best response is the one to the average
    of the true averaged rewards.  occupancies, rewards : (T, R, M, H, Z)  ->  (T, R, M)
    """
    reached = (occupancies * rewards).sum(axis=(-2, -1)).cumsum(axis=0)
    total = rewards.cumsum(axis=0)
    gaps = np.empty(reached.shape)
    for t in range(len(total)):
        gaps[t] = (motion.best(total[t]) - reached[t]) / (t + 1)
    return gaps
