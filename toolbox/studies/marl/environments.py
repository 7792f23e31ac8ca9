"""Environments of PettingZoo as games of one decision, played by their own step functions.

A context is a starting position (a seed of `reset`). Each agent picks one of the environment's five
actions and keeps it for some steps; its reward is the sum over these steps. The environments are
deterministic after the reset, so that playing every joint action once gives the exact game.

    spread   mpe2 simple_spread: M agents are to cover M landmarks and not to collide
    tag      mpe2 simple_tag: M - 1 predators chase one prey, past two obstacles
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from toolbox.core.crew import Worker
from toolbox.core.errors import UsageError

from .data import Floats, Ints

PACKAGES = ("pettingzoo", "mpe2")
NAMES = ("spread", "tag")
ACTIONS = 5
"""Stay, left, right, down, up."""


def require() -> None:
    """Errors: `UsageError` where the extra is not installed."""
    if not all(importlib.util.find_spec(package) for package in PACKAGES):
        raise UsageError("marl envs needs pettingzoo and mpe2; run: pip install 'toolbox[envs]'")


def make(name: str, agents: int, hold: int) -> Any:
    """The parallel environment of PettingZoo, which ends after `hold` steps."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would greet on stdout
    if name == "spread":
        from mpe2 import simple_spread_v3

        return simple_spread_v3.parallel_env(N=agents, max_cycles=hold)
    from mpe2 import simple_tag_v3

    return simple_tag_v3.parallel_env(num_good=1, num_adversaries=agents - 1, max_cycles=hold)


def returns(env: Any, seed: int, actions: Ints) -> Floats:
    """Each agent's sum of rewards from a starting position when it keeps its action, (M,)."""
    env.reset(seed=seed)
    names = list(env.agents)
    chosen = dict(zip(names, map(int, actions), strict=True))
    total = np.zeros(len(names))
    while env.agents:
        _, rewards, *_ = env.step(chosen)
        total += [rewards[name] for name in names]
    return total


@dataclass(frozen=True)
class Play:
    """A starting position to play all joint actions from."""

    name: str
    agents: int
    hold: int
    repeat: int
    context: int
    seed: int


def every_return(worker: Worker, job: Play) -> Floats:
    """The returns of all joint actions, (A^M, M), the last agent's action running fastest."""
    env = make(job.name, job.agents, job.hold)
    count = ACTIONS**job.agents
    table = np.zeros((count, job.agents))
    for k in worker.steps(count, table, label="joint actions"):
        chosen = np.unravel_index(k, (ACTIONS,) * job.agents)
        table[k] = returns(env, job.seed, np.array(chosen))
    env.close()
    return table


def explained(table: Floats, policy: Floats) -> Floats:
    """Share of each agent's reward variance, given its own action, by interaction rank.

    The reward is split into orthogonal parts (Hoeffding) under the product policy, one for each set
    of others; rank K keeps the parts of at most K - 1 others, and rank M is 1. The variance is that
    over all actions, the own one too.

    table : (A, ..., A, M) returns, policy : (M, A)  ->  (M agents, M ranks); NaN where an agent's
    reward never varies
    """
    agents = policy.shape[0]
    out = np.full((agents, agents), np.nan)
    weight = policy[0]
    for j in range(1, agents):
        weight = np.multiply.outer(weight, policy[j])
    for i in range(agents):
        reward = table[..., i]
        mean = (weight * reward).sum()
        whole = (weight * (reward - mean) ** 2).sum()
        if whole <= 1e-12:
            continue
        others = [j for j in range(agents) if j != i]
        shares = np.zeros(agents)
        for order in range(agents):
            for chosen in combinations(others, order):
                part = reward - mean
                for j in others:
                    average = np.tensordot(part, policy[j], axes=([j], [0]))
                    average = np.expand_dims(average, j)
                    part = part - average if j in chosen else average + 0 * part
                shares[order] += (weight * part**2).sum()
        out[i] = shares.cumsum() / whole
    return out
