"""Contextual games of a given interaction rank, behaviour policies and logs.

Shapes: R replicates, M agents, X contexts, A actions, P = binom(M - 1, K - 1) sets of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CENTRE, SPREAD = 3.5, 7.0
"""Rewards are (sum + CENTRE) / SPREAD, where the sum has variance 1; nearly all lie in [0, 1]."""


def subsets(agents: int, rank: int) -> Ints:
    """Which K - 1 others stand in each term of each agent's reward, (M, P, K - 1)."""
    rows = [
        list(combinations([j for j in range(agents) if j != i], rank - 1)) for i in range(agents)
    ]
    return np.array(rows, dtype=np.int64).reshape(agents, len(rows[0]), rank - 1)


@dataclass(frozen=True)
class Rewards:
    """Rewards or a critic of interaction rank K: agent i gets the sum over S of
    tables[:, i, S][context, a_i, a_S]. Rank M is the joint table.

    tables : (R, M, P, X, A, ..., A) with K axes of actions;  others : (M, P, K - 1)
    """

    tables: Floats
    others: Ints

    @property
    def rank(self) -> int:
        """Interaction rank K."""
        return self.tables.ndim - 4

    @cached_property
    def pairwise(self) -> Floats:
        """Rank 2 as one matrix for each context, from (j, a_j) to (i, a_i): (R, X, M A, M A)."""
        r, m, _, x, actions, _ = self.tables.shape
        matrix = np.zeros((r, x, m, actions, m, actions))
        for i in range(m):
            for s, (j,) in enumerate(self.others[i]):
                matrix[:, :, i, :, j] = self.tables[:, i, s]
        return matrix.reshape(r, x, m * actions, m * actions)

    def averaged(self, policy: Floats) -> Floats:
        """Q_i(c, a_i): the reward of an own action when the others play `policy`.

        policy : (R, M, X, A), a product policy  ->  (R, M, X, A). Costs P A^K for an agent and
        context: no joint table is made for low ranks.
        """
        if self.rank == 2:
            r, m, x, actions = policy.shape
            plays = policy.transpose(0, 2, 1, 3).reshape(r, x, m * actions, 1)
            out = (self.pairwise @ plays).reshape(r, x, m, actions)
            return np.ascontiguousarray(out.transpose(0, 2, 1, 3))
        q, actions = self.tables, policy.shape[-1]
        for k in reversed(range(self.rank - 1)):
            plays = policy[:, self.others[:, :, k]]
            flat = q.reshape(*q.shape[:4], -1, actions)
            q = np.einsum("rmpxna,rmpxa->rmpxn", flat, plays)
        return np.asarray(q.reshape(*q.shape[:4], actions).sum(axis=2))

    def values(self, replicate: int, context: Ints, plays: Ints) -> Floats:
        """Rewards of all agents at joint actions.  context : (n,), plays : (n, M)  ->  (n, M)"""
        out = np.zeros(plays.shape)
        for i in range(plays.shape[1]):
            for s, others in enumerate(self.others[i]):
                index: Any = (context, plays[:, i], *plays[:, others].T)
                out[:, i] += self.tables[replicate, i, s][index]
        return out


def scaled(sums: Floats, terms: int) -> Floats:
    """Tables whose sum over `terms` tables is (sum + CENTRE) / SPREAD."""
    return (sums + CENTRE / terms) / SPREAD


def random_tables(rng: np.random.Generator, agents: int, rank: int, x: int, actions: int) -> Floats:
    """Independent N(0, 1 / P) entries for each agent and set of others, (M, P, X, A, ..., A)."""
    terms = subsets(agents, rank).shape[1]
    shape = (agents, terms, x) + (actions,) * rank
    return scaled(rng.standard_normal(shape) / np.sqrt(terms), terms)


def pair_tables(rng: np.random.Generator, agents: int, x: int, actions: int) -> Floats:
    """One N(0, 1) table for each ordered pair j < k, (M, M, X, A, A); zero elsewhere."""
    pairs = np.zeros((agents, agents, x, actions, actions))
    for j, k in combinations(range(agents), 2):
        pairs[j, k] = rng.standard_normal((x, actions, actions))
    return pairs


def competitive_tables(pairs: Floats) -> Floats:
    """Each pair plays a zero-sum game: rank 2, (M, M - 1, X, A, A)."""
    agents = len(pairs)
    terms = agents - 1
    rows = [
        [pairs[i, j] if i < j else -pairs[j, i].transpose(0, 2, 1) for j in range(agents) if j != i]
        for i in range(agents)
    ]
    return scaled(np.array(rows) / np.sqrt(terms), terms)


def cooperative_tables(pairs: Floats) -> Floats:
    """All agents get the sum over all pairs: rank 3 by the definition, because the terms of two
    others do not contain the own action; (M, binom(M - 1, 2), X, A, A, A) for M >= 3.
    """
    agents = len(pairs)
    others = subsets(agents, 3)

    def between(j: int, k: int) -> Floats:
        return np.asarray(pairs[j, k] if j < k else pairs[k, j].transpose(0, 2, 1))

    # A pair with agent i stands in M - 2 of its sets, a pair of others in one.
    rows = [
        [
            between(j, k)[:, None, :, :]
            + (between(i, j)[:, :, :, None] + between(i, k)[:, :, None, :]) / (agents - 2)
            for j, k in others[i]
        ]
        for i in range(agents)
    ]
    return scaled(np.array(rows) / np.sqrt(agents * (agents - 1) / 2), others.shape[1])


def behaviour(
    rng: np.random.Generator, agents: int, x: int, actions: int, conc: float, partial: bool = False
) -> tuple[Floats, Ints]:
    """A product policy with one rare action for each agent and context.

    The rare action has probability 1 / conc, or none where the support is partial; the others share
    the rest.  ->  policy (M, X, A), rare actions (M, X)
    """
    rare = rng.integers(actions, size=(agents, x))
    mass = 0.0 if partial else 1 / conc
    policy = np.full((agents, x, actions), (1 - mass) / (actions - 1))
    np.put_along_axis(policy, rare[..., None], mass, axis=-1)
    return policy, rare


def draw(rng: np.random.Generator, policy: Floats, context: Ints) -> Ints:
    """Joint actions of a product policy.  policy : (M, X, A), context : (n,)  ->  (n, M)"""
    below = policy.cumsum(axis=-1)[:, context]  # (M, n, A)
    chosen = (rng.random(below.shape[:2])[..., None] > below[..., :-1]).sum(axis=-1)
    return np.asarray(chosen.T)


@dataclass(frozen=True)
class Log:
    """Offline data.  context : (N,), actions : (N, M), rewards : (N, M)"""

    context: Ints
    actions: Ints
    rewards: Floats


def log(
    rng: np.random.Generator, truth: Rewards, replicate: int, policy: Floats, n: int, noise: float
) -> Log:
    """N joint actions of the behaviour with noisy rewards."""
    context = rng.integers(policy.shape[1], size=n)
    plays = draw(rng, policy, context)
    rewards = truth.values(replicate, context, plays)
    return Log(context, plays, rewards + noise * rng.standard_normal(rewards.shape))


def permuted(log: Log, rng: np.random.Generator) -> Log:
    """The rewards exchanged between the joint actions of a context: they then say nothing about
    actions."""
    rewards = log.rewards.copy()
    for x in np.unique(log.context):
        rows = np.flatnonzero(log.context == x)
        rewards[rows] = log.rewards[rng.permutation(rows)]
    return Log(log.context, log.actions, rewards)
