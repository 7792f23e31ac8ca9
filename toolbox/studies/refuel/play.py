"""Roll-outs of the transformers: the rules of `data.roll`, on any device and on whole dialogues."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .data import Dialogues, Floats, Game, Maps
from .transformer import Transformers, Words

CHUNK = 256
"""Dialogues of each member that are played at once."""


@dataclass(frozen=True)
class Chance:
    """All that chance decides in N dialogues of R replicates but the answers themselves.

    topics : (R, N, H) ; uniform : (R, N, H, 2), one for each type and one for each content
    """

    topics: Tensor
    uniform: Tensor

    @classmethod
    def draw(cls, rngs: list[np.random.Generator], game: Game, count: int, device: str) -> Chance:
        """Chance of N dialogues for each of the replicates, whose generators these are."""
        shape = (count, game.horizon)
        topics = np.stack([rng.integers(game.topics, size=shape) for rng in rngs])
        uniform = np.stack([rng.random((*shape, 2), dtype=np.float32) for rng in rngs])
        return cls(torch.from_numpy(topics).to(device), torch.from_numpy(uniform).to(device))

    def to_members(self, members: int) -> Chance:
        """The same for M members of each replicate, (R M, ...)."""
        return Chance(*(each.repeat_interleave(members, 0) for each in (self.topics, self.uniform)))


@dataclass(frozen=True)
class Right:
    """Numbers of the right answers by state, (E, S) each, on the device."""

    clarify: Tensor
    answer: Tensor

    @classmethod
    def of(cls, maps: list[Maps], members: int, device: str) -> Right:
        """Those of M members for each replicate."""
        both = []
        for name in ("clarify", "answer"):
            table = np.stack([getattr(each, name) for each in maps]).repeat(members, axis=0)
            both.append(torch.from_numpy(table.astype(np.int64)).to(device))
        return cls(*both)


@dataclass(frozen=True)
class Played:
    """N dialogues of each of E members.

    tokens : (E, N, 1 + 4 H). level, right, state, answer : (E, N, H); the level after each turn,
    and whether the turn earned the bonus.
    """

    tokens: Tensor
    level: Tensor
    right: Tensor
    state: Tensor
    answer: Tensor

    def reward(self, game: Game, judged: Tensor) -> Tensor:
        """R_n, (E, N); judged : n - 1, (E, N)."""
        at = judged[..., None]
        bonus = game.bonus * self.right.gather(2, at)
        return (self.level.gather(2, at) + bonus)[..., 0]


def play(policies: Transformers, right: Right, chance: Chance, begin: Tensor | None = None,
         until: Tensor | None = None) -> Played:  # fmt: skip
    """Play N dialogues for each of E members, some at a time.

    chance : of the E members
    begin, until : tokens of dialogues (E, N, 1 + 4 H) whose turns before `until` (E, N), and whose
        message of that turn, are kept; the policies answer from that turn on
    """
    parts = []
    for at in range(0, chance.topics.shape[1], CHUNK):
        some = slice(at, at + CHUNK)
        mine = Chance(chance.topics[:, some], chance.uniform[:, some])
        kept = None if begin is None else begin[:, some]
        parts.append(_play(policies, right, mine, kept, None if until is None else until[:, some]))
    names = ("tokens", "level", "right", "state", "answer")
    return Played(*(torch.cat([getattr(each, name) for each in parts], dim=1) for name in names))


@torch.no_grad()
def _play(
    policies: Transformers, right: Right, chance: Chance, begin: Tensor | None, until: Tensor | None
) -> Played:
    words, game = policies.words, policies.words.game
    members, count, _ = chance.topics.shape
    tokens = torch.zeros((members, count, words.length), dtype=torch.int64, device=policies.device)
    cache = policies.cache(count)
    level = torch.zeros_like(tokens[..., 0])
    noted: list[list[Tensor]] = [[], [], [], []]
    for h in range(game.horizon):
        at, topic = 4 * h, chance.topics[..., h]
        if begin is not None and until is not None:
            topic = torch.where(h <= until, begin[..., at + 2] - words.topic, topic)
        tokens[..., at + 1], tokens[..., at + 2] = words.level + level, words.topic + topic
        scores = policies.logits(tokens[..., at : at + 3], at, cache)[:, :, -1, :2]
        kind = (torch.softmax(scores, -1)[..., 0] <= chance.uniform[..., h, 0]).long()
        if begin is not None and until is not None:
            kind = torch.where(h < until, begin[..., at + 3] - words.type, kind)
        tokens[..., at + 3] = words.type + kind
        scores = policies.logits(tokens[..., at + 3 : at + 4], at + 3, cache)[:, :, 0, 2:]
        sums = torch.softmax(scores, -1).cumsum(-1)[..., :-1]  # the last sum is 1
        content = (sums <= chance.uniform[..., h, 1, None]).sum(-1)
        if begin is not None and until is not None:
            content = torch.where(h < until, begin[..., at + 4] - words.content, content)
        tokens[..., at + 4] = words.content + content
        state = (h * (h + 1) // 2 + level) * game.topics + topic
        answer = kind * game.contents + content
        up, good = answer == right.clarify.gather(1, state), answer == right.answer.gather(1, state)
        level = torch.where(up, level + 1, torch.where(good, level, level - 1)).clamp(min=0)
        for column, each in zip(noted, (level, good, state, answer), strict=True):
            column.append(each)
    return Played(tokens, *(torch.stack(column, dim=2) for column in noted))


def tokens_of(game: Game, made: Dialogues, topics: np.ndarray) -> Tensor:
    """Tokens of dialogues of `data.roll`, (M, N, 1 + 4 H); topics : (N, H)."""
    words = Words(game)
    members, count, horizon = made.answer.shape
    tokens = np.zeros((members, count, words.length), np.int64)
    kind, content = np.divmod(made.answer, game.contents)
    parts = (words.level + made.level[..., :horizon], words.topic + topics, words.type + kind,
             words.content + content)  # fmt: skip
    for place, each in enumerate(parts, 1):
        tokens[..., place::4] = each
    return torch.from_numpy(tokens)


def law_of(game: Game, played: Played) -> Floats:
    """Shares of (level after turn n, bonus earned in turn n), (E, H, H + 1, 2)."""
    members, count, horizon = played.level.shape
    cell = 2 * played.level + played.right
    counts = torch.zeros((members, horizon, 2 * horizon + 2), device=cell.device)
    ones = torch.ones_like(cell, dtype=torch.float32).transpose(1, 2)
    counts.scatter_add_(2, cell.transpose(1, 2), ones)
    shares: Floats = (counts / count).double().cpu().numpy()
    return shares.reshape(members, horizon, game.horizon + 1, 2)
