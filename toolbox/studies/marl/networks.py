"""Neural critics of interaction rank K: a network with shared weights, summed over sets of others.

The critic of rank K below M is

    rhat_i(c, a) = sum_S f(c, a_i, a_S; i, S) / sqrt(P)

over the P sets S of K - 1 others, where f is a network with two hidden layers whose input holds
one-hots of context, actions and agents. The joint critic is one network on the context, all actions
and the agent; value decomposition sums f(c, a_j; i, j) over all agents j. Contexts and actions are
finite, so that a trained network is written out as tables and used like the ridge regressions.

The squared error is a quadratic form in the network's values on the cells. Its coefficients are
counted once, and a step of full-batch training then costs the same for any number of samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray

from toolbox.core.run import Run

from . import common
from .data import Floats, Ints, Log, Rewards, subsets
from .model import cells, one_hot

Inputs = NDArray[np.float32]

HIDDEN = 64
HELD_OUT = 0.2
"""Share of the log whose error chooses the training step that is kept."""
EVERY = 10
"""Steps between two looks at the held-out error."""
MOST_INPUTS = 20_000
"""A step of the joint critic visits so many cells at most, drawn afresh."""
DECAY = 0.01
CHUNK = 1 << 16


class Network(torch.nn.Module):
    """Two hidden layers of 64 units with ReLU, (n, d) -> (n,)."""

    def __init__(self, width: int, generator: torch.Generator) -> None:
        super().__init__()
        sizes = [width, HIDDEN, HIDDEN, 1]
        self.weights = torch.nn.ParameterList(
            torch.randn(a, b, generator=generator) * (2 / a) ** 0.5 for a, b in pairwise(sizes)
        )
        self.biases = torch.nn.ParameterList(torch.zeros(b) for b in sizes[1:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The value of each input."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.addmm(bias, x if k == 0 else torch.relu(x), weight)
        return x[:, 0]


@dataclass(frozen=True)
class Quadratic:
    """The sum of squared errors of a part of a log, as a form in the values f : (G, W)
    sum_g f_g' gram_g f_g - 2 b_g' f_g + constant, over `count` rewards.

    gram : (G, W, W), b : (G, W)
    """

    gram: torch.Tensor
    b: torch.Tensor
    constant: float
    count: int

    def mean(self, f: torch.Tensor) -> torch.Tensor:
        """Mean squared error."""
        gf = torch.bmm(self.gram, f[..., None])[..., 0]
        return ((f * gf).sum() - 2 * (f * self.b).sum() + self.constant) / self.count


@dataclass(frozen=True)
class Design:
    """Cells of a critic: `inputs` (G W, d) of the network, and which cells each reward sums.

    own : (M, N) group of each agent's reward;  cell : (M, N, blocks) its cells within the group
    """

    inputs: Inputs
    groups: int
    own: Ints
    cell: Ints

    @property
    def width(self) -> int:
        """Cells W of a group."""
        return len(self.inputs) // self.groups

    def quadratic(self, rows: Ints, targets: Floats) -> Quadratic:
        """rows : (n,) of the log, targets : (N, M)"""
        gram = np.zeros((self.groups, self.width, self.width), dtype=np.float32)
        b = np.zeros((self.groups, self.width), dtype=np.float32)
        for i in range(len(self.own)):
            own, y = self.own[i, rows], targets[rows, i]
            if self.width == 1:
                gram[:, 0, 0] += np.bincount(own, minlength=self.groups)
                b[:, 0] += np.bincount(own, y, self.groups)
                continue
            for g in np.unique(own):
                hot = one_hot(self.cell[i, rows[own == g]], self.width // self.cell.shape[2])
                gram[g] += (hot.T @ hot).toarray()
                b[g] += hot.T @ y[own == g]
        part = targets[rows]
        return Quadratic(
            torch.from_numpy(gram), torch.from_numpy(b), float((part**2).sum()), part.size
        )


def _hot(index: Ints, size: int) -> Inputs:
    """(...,) -> (..., size)"""
    return np.eye(size, dtype=np.float32)[index]


def low_rank(log: Log, rank: int, contexts: int, count: int) -> Design:
    """Groups (agent, context, own action); cells (S, a_S)."""
    agents = log.actions.shape[1]
    others = subsets(agents, rank)
    terms, tail = others.shape[1], count ** (rank - 1)
    every = np.array(list(product(range(count), repeat=rank - 1)), dtype=np.int64)
    i, x, a, s, k = np.indices((agents, contexts, count, terms, tail)).reshape(5, -1)
    parts = [_hot(x, contexts), _hot(a, count), _hot(i, agents)]
    for j in range(rank - 1):
        parts += [_hot(every[k, j], count), _hot(others[i, s, j], agents)]
    own = (np.arange(agents)[:, None] * contexts + log.context) * count + log.actions.T
    cell = np.array([cells(log.actions, i, others[i], count) % tail for i in range(agents)])
    return Design(np.concatenate(parts, axis=1), agents * contexts * count, own, cell)


def decomposed(log: Log, contexts: int, count: int) -> Design:
    """Groups (agent, context); cells (j, a_j) of all agents j."""
    agents = log.actions.shape[1]
    i, x, j, a = np.indices((agents, contexts, agents, count)).reshape(4, -1)
    inputs = np.concatenate(
        [_hot(x, contexts), _hot(a, count), _hot(i, agents), _hot(j, agents)], axis=1
    )
    own = np.arange(agents)[:, None] * contexts + log.context
    return Design(inputs, agents * contexts, own, np.repeat(log.actions[None], agents, axis=0))


def joint_inputs(rows: Ints, contexts: int, count: int) -> Inputs:
    """The joint network's inputs for all agents.  rows : (n, 1 + M) of context and actions  ->
    (M n, d)"""
    agents = rows.shape[1] - 1
    shared = [_hot(rows[:, 0], contexts), *(_hot(rows[:, 1 + j], count) for j in range(agents))]
    one = np.concatenate(shared, axis=1)
    who = np.repeat(np.eye(agents, dtype=np.float32), len(rows), axis=0)
    return np.concatenate([np.tile(one, (agents, 1)), who], axis=1)


def joint(log: Log, contexts: int, count: int) -> Design:
    """A group for each agent and joint action that occurs, with one cell."""
    both = np.column_stack([log.context, log.actions])
    seen, index = np.unique(both, axis=0, return_inverse=True)
    agents = log.actions.shape[1]
    own = np.arange(agents)[:, None] * len(seen) + index.reshape(-1)
    return Design(
        joint_inputs(seen, contexts, count), agents * len(seen), own, np.zeros((agents, 1, 1), int)
    )


def design(name: str, log: Log, contexts: int, count: int) -> Design:
    """The cells of a critic by its name."""
    agents = log.actions.shape[1]
    if name == "VDN":
        return decomposed(log, contexts, count)
    rank = common.fit_rank(name, agents)
    if rank == agents:
        return joint(log, contexts, count)
    return low_rank(log, rank, contexts, count)


def train(
    run: Run, plan: Design, log: Log, steps: int, rate: float, rng: np.random.Generator
) -> tuple[Network, Floats, Floats]:
    """The network with the smallest held-out error, and mean and deviation of its targets.

    Rewards are standardised: the network is fitted to (r_i - mean_i) / deviation.
    """
    mean, deviation = log.rewards.mean(axis=0), max(float(log.rewards.std()), 1e-12)
    targets = (log.rewards - mean) / deviation
    order = rng.permutation(len(targets))
    aside = int(HELD_OUT * len(order)) or 1
    used = order[aside:] if len(order) > aside else order
    fit, held = plan.quadratic(used, targets), plan.quadratic(order[:aside], targets)
    inputs = torch.from_numpy(np.ascontiguousarray(plan.inputs, dtype=np.float32))
    net = Network(inputs.shape[1], torch.Generator().manual_seed(int(rng.integers(2**62))))
    adam = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=DECAY)
    kept = Network(inputs.shape[1], torch.Generator())
    best = {"error": float("inf")}
    draws = torch.Generator().manual_seed(int(rng.integers(2**62)))
    scale = (plan.cell.shape[2]) ** -0.5
    many = len(inputs) > MOST_INPUTS and plan.width == 1
    shape = plan.groups, plan.width
    for step in run.steps(steps, net, adam, kept, best, draws, label="training steps"):
        if (not many and step % EVERY == 0) or step == 0:
            with torch.no_grad():
                error = float(held.mean(_values(net, inputs, scale).view(shape)))
            if error < best["error"]:
                best["error"] = error
                kept.load_state_dict(net.state_dict())
        adam.zero_grad()
        if many:
            some = torch.randint(len(inputs), (MOST_INPUTS,), generator=draws)
            f = net(inputs[some]) * scale
            hits, sums = fit.gram[some, 0, 0], fit.b[some, 0]
            loss = (hits * f * f - 2 * sums * f).sum() * (len(inputs) / MOST_INPUTS / fit.count)
        else:
            loss = fit.mean((net(inputs) * scale).view(shape))
        loss.backward()
        adam.step()
    if many:  # too many cells for a look at each of them now and then
        kept.load_state_dict(net.state_dict())
    return kept, mean, np.asarray(deviation)


def _values(net: Network, inputs: torch.Tensor, scale: float) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([net(part) for part in torch.split(inputs, CHUNK)]) * scale


def tables(
    name: str, plan: Design, net: Network, mean: Floats, deviation: Floats, contexts: int,
    count: int,
) -> Floats:  # fmt: skip
    """The network written out, (M, P, X, A, ..., A)."""
    agents = len(mean)
    scale = (plan.cell.shape[2]) ** -0.5 * float(deviation)
    if name == "VDN":
        f = _values(net, torch.from_numpy(plan.inputs), scale).numpy().astype(np.float64)
        f = f.reshape(agents, contexts, agents, count)  # [i, x, j, a]
        out = np.zeros((agents, agents - 1, contexts, count, count))
        for i in range(agents):
            of_agent = (f[i, :, i] + mean[i]) / (agents - 1)
            for s, j in enumerate(k for k in range(agents) if k != i):
                out[i, s] = of_agent[:, :, None] + f[i, :, j][:, None, :]
        return out
    rank = common.fit_rank(name, agents)
    if rank < agents:
        f = _values(net, torch.from_numpy(plan.inputs), scale).numpy().astype(np.float64)
        terms = subsets(agents, rank).shape[1]
        f = f.reshape(agents, contexts, count, terms, -1).transpose(0, 3, 1, 2, 4)
        f = f + mean[:, None, None, None, None] / terms
        return np.asarray(f.reshape(agents, terms, contexts, *[count] * rank))
    out = np.zeros((agents, 1, contexts, *[count] * agents))
    every = np.array(list(product(range(count), repeat=agents)))
    step = max(1, CHUNK // agents)
    for x in range(contexts):
        parts = []
        for start in range(0, len(every), step):
            part = every[start : start + step]
            rows = np.column_stack([np.full(len(part), x), part])
            inputs = torch.from_numpy(joint_inputs(rows, contexts, count))
            parts.append(_values(net, inputs, scale).numpy().reshape(agents, -1))
        whole = np.concatenate(parts, axis=1) + mean[:, None]
        for i in range(agents):
            # A joint table has the own action first, then the others in order.
            out[i, 0, x] = np.moveaxis(whole[i].reshape([count] * agents), i, 0)
    return out


def critic(
    run: Run, name: str, logs: list[Log], contexts: int, count: int, steps: int, rate: float
) -> Rewards:
    """The trained critic of every replicate, one after the other."""
    agents = logs[0].actions.shape[1]
    rank = 2 if name == "VDN" else common.fit_rank(name, agents)
    terms = subsets(agents, rank).shape[1]
    out = np.zeros((len(logs), agents, terms, contexts, *[count] * rank))
    for r in run.cells(range(len(logs)), "networks", out):
        plan = design(name, logs[r], contexts, count)
        rng = run.rng(r, "network", name, agents, len(logs[r].context))
        net, mean, deviation = train(run, plan, logs[r], steps, rate, rng)
        out[r] = tables(name, plan, net, mean, deviation, contexts, count)
    return Rewards(out, subsets(agents, rank))
