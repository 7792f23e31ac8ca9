"""The guided dialogue: a small multi-turn game whose exact values are known.

The user shows a level g and a topic k; the assistant answers with a type (clarify, answer) and a
content c of C, which makes A = 2 C answers, numbered type C + c. For each (g, k) one clarification
and one answer are right. The right clarification raises the level by one, the right answer keeps it
and earns the bonus b, anything else lowers it by one (not below 0). The reward of a dialogue that
stops after turn n is the level then plus the bonus earned in turn n. With b > 1 an assistant that
looks at the last turn alone answers at once and stays at level 0.

A state is what the policy sees: (turn h, level g, topic k). Before turn h (from 1) the level is at
most h - 1, so S = K H (H + 1) / 2 states can occur; they are numbered pair K + k, the pairs
(h, g) in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Game:
    """Horizon H, topics K, contents C and bonus b."""

    horizon: int = 5
    topics: int = 4
    contents: int = 6
    bonus: float = 1.5

    @property
    def answers(self) -> int:
        """Number A of answers."""
        return 2 * self.contents

    @property
    def pairs(self) -> int:
        """Number of pairs (turn, level)."""
        return self.horizon * (self.horizon + 1) // 2

    @property
    def states(self) -> int:
        """Number S of states."""
        return self.pairs * self.topics

    def pair(self, turn: int | Ints, level: int | Ints) -> int | Ints:
        """Number of the pair of a turn, from 0, and a level."""
        return turn * (turn + 1) // 2 + level

    @cached_property
    def turn_of(self) -> Ints:
        """Turn of each pair, from 0, (pairs,)."""
        return np.repeat(np.arange(self.horizon), np.arange(1, self.horizon + 1))

    @cached_property
    def level_of(self) -> Ints:
        """Level of each pair, (pairs,)."""
        return np.concatenate([np.arange(h + 1) for h in range(self.horizon)])

    def inputs(self) -> Floats:
        """What a network sees of each state: one-hot turn, level and topic, (S, 2 H + 1 + K)."""
        turn, level = np.repeat(self.turn_of, self.topics), np.repeat(self.level_of, self.topics)
        topic = np.tile(np.arange(self.topics), self.pairs)
        parts = [(turn, self.horizon), (level, self.horizon + 1), (topic, self.topics)]
        return np.concatenate([np.eye(size)[which] for which, size in parts], axis=1)


@dataclass(frozen=True)
class Maps:
    """The right answers of one environment: numbers of answers by state, (S,) each."""

    clarify: Ints
    answer: Ints


def draw_maps(rng: np.random.Generator, game: Game) -> Maps:
    """Right contents for each level and topic, independent and uniform; the same at every turn."""
    shape = (game.horizon, game.topics)
    clarify, answer = (
        rng.integers(game.contents, size=shape),
        rng.integers(game.contents, size=shape),
    )
    levels = game.level_of
    return Maps(clarify[levels].reshape(-1), game.contents + answer[levels].reshape(-1))


def base_policy(game: Game, maps: Maps, clarify: float, answer: float) -> Floats:
    """The policy of the supervised data, (S, A): fixed chances of the two right answers."""
    rest = (1.0 - clarify - answer) / (game.answers - 2)
    table = np.full((game.states, game.answers), rest)
    every = np.arange(game.states)
    table[every, maps.clarify] = clarify
    table[every, maps.answer] = answer
    return table


@dataclass(frozen=True)
class Luck:
    """All that chance decides in N dialogues but the answers themselves.

    topics : (N, H); uniform : (N, H) in [0, 1), one for each answer. Members of a replicate, that
    is, methods and their settings, share them, so that their differences are less noisy.
    """

    topics: Ints
    uniform: Floats


def draw_luck(rng: np.random.Generator, game: Game, count: int) -> Luck:
    """Luck of `count` dialogues."""
    shape = (count, game.horizon)
    return Luck(rng.integers(game.topics, size=shape), rng.random(shape, dtype=np.float32))


def cumulative(policy: Floats) -> Floats:
    """Running sums of the answers' chances, whose last is exactly 1, in single precision."""
    sums = np.cumsum(policy, axis=-1, dtype=np.float64)
    sums[..., -1] = 1.0
    return sums.astype(np.float32)


@dataclass
class Dialogues:
    """N dialogues for each of M members.

    level : (M, N, H + 1) before each turn and at the end; bonus, state, answer : (M, N, H).
    """

    level: Ints
    state: Ints
    answer: Ints
    right: NDArray[np.bool_]

    def reward(self, game: Game, judged: Ints) -> Floats:
        """R_n = level after turn n + bonus of turn n, (M, N); judged : n - 1, (M or 1, N)."""
        at = np.broadcast_to(judged, self.level.shape[:2])[..., None]
        level = np.take_along_axis(self.level, at + 1, axis=2)[..., 0]
        right = np.take_along_axis(self.right, at, axis=2)[..., 0]
        return level + game.bonus * right


def roll(
    game: Game,
    maps: Maps,
    sums: Floats,
    luck: Luck,
    rows: Ints,
    begin: Dialogues | None = None,
    reset: Ints | None = None,
    shown: Ints | None = None,
) -> Dialogues:
    """Play N dialogues for each of M members.

    sums : (P, S, A) running sums of P policies
    rows : (M, N or 1, H or 1), which policy answers in each turn
    begin, reset : dialogues (M, N) whose turns before `reset` (M, N), and whose message of that
                   turn, are kept; new luck decides from the answer of that turn on
    shown : (N, H) levels that the messages show whatever is answered; else the dialogue's own
    """
    members, count = rows.shape[0], luck.topics.shape[0]
    rows = np.broadcast_to(rows, (members, count, game.horizon))
    flat = sums.reshape(-1, game.answers)
    made = Dialogues(
        np.zeros((members, count, game.horizon + 1), np.int16),
        np.empty((members, count, game.horizon), np.int32),
        np.empty((members, count, game.horizon), np.int16),
        np.empty((members, count, game.horizon), bool),
    )
    for h in range(game.horizon):
        level = made.level[..., h].astype(np.int64)
        seen = level if shown is None else shown[:, h]
        state = game.pair(h, seen) * game.topics + luck.topics[:, h]
        if begin is not None and reset is not None:
            state = np.where(h <= reset, begin.state[..., h], state)
        chances = flat[rows[..., h] * game.states + state]
        answer = (chances <= luck.uniform[:, h, None]).sum(axis=-1)
        if begin is not None and reset is not None:
            answer = np.where(h < reset, begin.answer[..., h], answer)
        up, right = answer == maps.clarify[state], answer == maps.answer[state]
        made.state[..., h], made.answer[..., h], made.right[..., h] = state, answer, right
        made.level[..., h + 1] = np.where(up, level + 1, np.where(right, level, level - 1)).clip(0)
    return made


def draw_turns(
    rng: np.random.Generator, game: Game, count: int, judge: str = "random"
) -> tuple[Ints, Ints]:
    """Judged turn n and optimised turn h, from 0, (N,) each.

    judge random: n uniform on the H turns, h uniform on the first n. end: n = H always.
    """
    uniform = rng.random((2, count))
    n = (
        np.full(count, game.horizon)
        if judge == "end"
        else 1 + (uniform[0] * game.horizon).astype(int)
    )
    return n - 1, (uniform[1] * n).astype(int)
