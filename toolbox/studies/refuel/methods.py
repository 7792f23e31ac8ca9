"""The methods of the paper's taxonomy: who writes the beginning, which turn is learned, which loss.

| scheme | beginning written by | the two answers by | learned turn |
|---|---|---|---|
| LT-OFFLINE | base policy | base policy, fixed data | the judged turn |
| LT-MIXED | base policy | current policy | the judged turn |
| LT-ONLINE | current policy | current policy | the judged turn |
| MT-MIXED | base policy | current policy, which also goes on | any turn up to the judged one |
| MT-ONLINE | current policy | current policy, which also goes on | any turn up to the judged one |

REFUEL is MT-ONLINE with the regression loss of REBEL. RLOO and PPO learn all turns of whole
dialogues of the current policy. All use the same number of judged dialogues.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import Dialogues, Floats, Game, Ints, Maps, draw_luck, draw_turns, roll

DPO_STRENGTH = 1.0
"""DPO's beta is this over the strength, so that its minimiser moves as far as the regression's."""
CLIP_STRENGTH = 0.1
"""The clip range of RLOO and PPO is this times the strength."""


@dataclass(frozen=True)
class Method:
    """One row of the method table."""

    name: str
    loss: str
    scheme: str

    @property
    def last_turn(self) -> bool:
        """Whether the learned turn is the judged one."""
        return self.scheme.startswith("LT")

    @property
    def base_begins(self) -> bool:
        """Whether the base policy writes the beginning."""
        return self.scheme.endswith(("OFFLINE", "MIXED"))

    @property
    def group(self) -> str:
        """pairs, offline (pairs of fixed data) or whole (whole dialogues)."""
        if self.loss in ("RLOO", "PPO"):
            return "whole"
        return "offline" if self.scheme == "LT-OFFLINE" else "pairs"


SCHEMES = ("LT-OFFLINE", "LT-MIXED", "LT-ONLINE", "MT-MIXED", "MT-ONLINE")
METHODS = {
    method.name: method
    for method in (
        *(
            Method("REFUEL" if scheme == "MT-ONLINE" else f"REBEL-{scheme}", "REBEL", scheme)
            for scheme in SCHEMES
        ),
        *(Method(f"DPO-{scheme}", "DPO", scheme) for scheme in SCHEMES),
        Method("RLOO", "RLOO", "MT-ONLINE"),
        Method("PPO", "PPO", "MT-ONLINE"),
    )
}


@dataclass(frozen=True)
class Pairs:
    """N pairs of answers for each of M members, (M, N) each but `kept`.

    turn, judged : h and n, from 0. state, first, second : the state of turn h and the two answers.
    reward : rewards of the two dialogues, (2, M, N), with noise when asked for.
    """

    turn: Ints
    judged: Ints
    state: Ints
    first: Ints
    second: Ints
    reward: Floats


def collect_pairs(
    rng: np.random.Generator,
    game: Game,
    maps: Maps,
    methods: list[Method],
    sums: Floats,
    base: Floats,
    count: int,
    judge: str,
    noise: float,
    replay: bool = False,
    labels: str = "true",
) -> Pairs:
    """Section 2.3 of the paper's sampling: roll in, reset once, finish both dialogues.

    sums : (M, S, A) running sums of the members' policies; base : (S, A) those of the base policy.
    The luck is that of the replicate: members share topics, uniforms and turns.
    replay : the messages of all turns are those of dialogues of the base policy, and both answers
             of a pair, with what follows them, get the same messages
    labels : true, or a negative control. shuffled: rewards are permuted among the dialogues;
             swapped: base and current policy write each other's beginnings
    """
    n, any_turn = draw_turns(rng, game, count, judge)
    lucks = draw_luck(rng, game, count), draw_luck(rng, game, count)
    errors = rng.standard_normal((2, count))
    members = len(methods)
    last = np.array([method.last_turn for method in methods])[:, None]
    h = np.where(last, n, any_turn)
    begins = np.array([method.base_begins for method in methods])[:, None, None]
    begins = begins != (labels == "swapped")
    rows = np.arange(members)[:, None, None]
    before = np.arange(game.horizon) < h[..., None]
    rows = np.where(begins & before, members, rows)  # row M is the base policy
    every = np.concatenate([sums, base[None]])
    shown = None
    if replay:
        theirs = draw_luck(rng, game, count)
        lucks[0].topics[:], lucks[1].topics[:] = theirs.topics, theirs.topics
        shown = roll(game, maps, base[None], theirs, np.zeros((1, 1, 1), int)).level[0]
    one = roll(game, maps, every, lucks[0], rows, shown=shown)
    two = roll(game, maps, every, lucks[1], rows, one, h, shown)

    def at(values: Ints) -> Ints:
        return np.take_along_axis(values, h[..., None], axis=2)[..., 0]

    reward = np.stack([each.reward(game, n) for each in (one, two)])
    if labels == "shuffled":
        reward = shuffled(rng, reward)
    return Pairs(h, np.broadcast_to(n, h.shape), at(one.state), at(one.answer), at(two.answer),
                 reward + noise * errors[:, None])  # fmt: skip


def collect_whole(
    rng: np.random.Generator, game: Game, maps: Maps, sums: Floats, count: int, judge: str,
    noise: float, labels: str = "true",
) -> tuple[Ints, list[Dialogues], Floats]:  # fmt: skip
    """Two dialogues for each of N first topics: judged turn (N,), dialogues, rewards (2, M, N)."""
    n, _ = draw_turns(rng, game, count, judge)
    lucks = draw_luck(rng, game, count), draw_luck(rng, game, count)
    lucks[1].topics[:, 0] = lucks[0].topics[:, 0]
    errors = rng.standard_normal((2, count))
    rows = np.arange(len(sums))[:, None, None]
    both = [roll(game, maps, sums, luck, rows) for luck in lucks]
    reward = np.stack([each.reward(game, n) for each in both])
    if labels == "shuffled":
        reward = shuffled(rng, reward)
    return n, both, reward + noise * errors[:, None]


def shuffled(rng: np.random.Generator, reward: Floats) -> Floats:
    """Rewards (2, M, N) permuted among the 2 N dialogues, alike for every member."""
    order = rng.permutation(2 * reward.shape[2])
    flat = np.concatenate([reward[0], reward[1]], axis=1)[:, order]
    return np.stack(np.split(flat, 2, axis=1))


def advantages(method: str, n: Ints, states: Ints, reward: Floats, size: int) -> Floats:
    """Advantage of each answer, (2, N, H), of one member; 0 after the judged turn.

    RLOO: the reward less that of the other dialogue of the same first topic.
    PPO: the reward less a critic, the mean reward of the dialogues that passed the same state up to
    the judged turn; this is its least-squares fit. GAE with lambda = 1, and no discount.
    states : (2, N, H) ; reward : (2, N) ; size : number of states
    """
    said = np.arange(states.shape[2]) <= n[:, None]
    every = np.broadcast_to(reward[..., None], states.shape)
    if method == "RLOO":
        every = every - every[::-1]
    else:
        weight = np.broadcast_to(said, states.shape).astype(float).ravel()
        total = np.bincount(states.ravel(), weight * every.ravel(), size)
        visits = np.bincount(states.ravel(), weight, size)
        critic = total / np.maximum(visits, 1.0)
        every = every - critic[states]
    return np.where(said, every, 0.0)


def pair_loss(delta: Tensor, target: Tensor, dpo: Tensor) -> Tensor:
    """Mean loss of each member, (M,).

    delta : (M, B), log-ratio of the first answer less that of the second; the state's normaliser
            cancels, so logits serve
    target : (M, B), eta (R - R'), of which DPO takes the sign, and whose size it takes as s
    dpo : (M, 1), 1 / beta of the members that train with DPO, 0 for the regression
    """
    regression = (delta - target).square()
    scale = torch.where(dpo > 0, dpo, 1.0)
    preference = torch.nn.functional.softplus(-target.sign() * delta / scale)
    return torch.where(dpo > 0, preference, regression).mean(dim=1)


def refuel_loss(first: Tensor, second: Tensor, difference: Tensor, eta: float) -> Tensor:
    """REFUEL's regression on any pairs of answers, their mean (paper, Algorithm 1), a scalar.

        (log pi(a) / pi_0(a) - log pi(a') / pi_0(a') - eta (R - R'))^2

    first, second : (B,) log-ratios log pi / pi_0 of the two answers of each pair, with the
        gradient of the policy pi; pi_0 is the policy that wrote them, without one
    difference : (B,) R - R', rewards of the two finished dialogues
    eta : what a difference of rewards of 1 moves the log-ratios by

    Raises ValueError for three shapes that are not one (B,).
    """
    if not first.shape == second.shape == difference.shape or first.ndim != 1:
        shapes = ", ".join(str(tuple(each.shape)) for each in (first, second, difference))
        raise ValueError(f"first, second and difference must be of one shape (B,), got {shapes}")
    regression = torch.zeros(1, 1, dtype=first.dtype, device=first.device)
    return pair_loss((first - second)[None], eta * difference[None], regression)[0]


def clipped_loss(change: Tensor, advantage: Tensor, clip: Tensor) -> Tensor:
    """The clipped surrogate of PPO summed over turns, mean over dialogues, (M,).

    change : (M, B, H) log-ratios to the policy that wrote the dialogues; clip : (M, 1, 1).
    """
    ratio = change.exp()
    low, high = 1.0 - clip, 1.0 + clip
    held = torch.minimum(torch.maximum(ratio, low), high)
    return -torch.minimum(ratio * advantage, held * advantage).sum(dim=2).mean(dim=1)
