"""Exact values of the guided dialogue, by propagation of the level and by backward induction.

A policy is a table (..., S, A). What matters of it are the chances of the right clarification and
of the right answer in each pair (turn, level), averaged over the topics: `chances`.
"""

from __future__ import annotations

import numpy as np

from .data import Floats, Game, Maps


def chances_by_state(game: Game, maps: Maps, policy: Floats) -> Floats:
    """Chances of the right clarification and of the right answer in each state, (2, ..., S)."""
    every = np.arange(game.states)
    return np.stack([policy[..., every, right] for right in (maps.clarify, maps.answer)])


def over_topics(game: Game, by_state: Floats) -> Floats:
    """Mean over the topics, (..., S) -> (..., pairs)."""
    mean: Floats = by_state.reshape(*by_state.shape[:-1], game.pairs, game.topics).mean(axis=-1)
    return mean


def chances(game: Game, maps: Maps, policy: Floats) -> tuple[Floats, Floats]:
    """Chance of the right clarification and of the right answer in each pair, (..., pairs)."""
    clarify, answer = over_topics(game, chances_by_state(game, maps, policy))
    return clarify, answer


def reward_law(game: Game, clarify: Floats, answer: Floats) -> Floats:
    """Law of (level after turn n, bonus earned in turn n), (..., H, H + 1, 2), for every n."""
    shape = clarify.shape[:-1]
    law = np.zeros((*shape, game.horizon, game.horizon + 1, 2))
    level = np.zeros((*shape, game.horizon + 1))
    level[..., 0] = 1.0
    for h in range(game.horizon):
        for g in range(h + 1):
            pair = game.pair(h, g)
            up, right = clarify[..., pair], answer[..., pair]
            law[..., h, g + 1, 0] += level[..., g] * up
            law[..., h, g, 1] += level[..., g] * right
            law[..., h, max(g - 1, 0), 0] += level[..., g] * (1.0 - up - right)
        level = law[..., h, :, :].sum(axis=-1)
    return law


def replayed_law(game: Game, ours: Floats, base: Floats) -> tuple[Floats, Floats]:
    """The same when the messages of a base dialogue are replayed, whatever the policy answers.

    ours : (2, ..., S), base : (2, S), as in `chances_by_state`. The message of turn h + 1 shows the
    level that the base reached; the policy's own level follows its own answers to the messages.
    Returns the law of (own level, bonus), (..., H, H + 1, 2), and the chance of each pair to be
    shown, (pairs,).
    """
    size = game.horizon + 1
    law = np.zeros((*ours.shape[1:-1], game.horizon, size, 2))
    joint = np.zeros((*ours.shape[1:-1], size, size))  # shown level, own level
    joint[..., 0, 0] = 1.0
    shown = np.zeros(game.pairs)
    for h in range(game.horizon):
        after = np.zeros_like(joint)
        for g in range(h + 1):
            pair = game.pair(h, g)
            shown[pair] = joint[..., g, :].sum(axis=-1).mean()
            for s in range(pair * game.topics, (pair + 1) * game.topics):
                joint_at = joint[..., g, :] / game.topics
                up, right = (each[..., None] for each in ours[..., s])
                low = joint_at * (1.0 - up - right)
                moved, kept = np.zeros_like(joint_at), joint_at * right
                moved[..., 1:] += (joint_at * up)[..., :-1]
                moved[..., :-1] += low[..., 1:]
                moved[..., 0] += low[..., 0]
                law[..., h, :, 0] += moved
                law[..., h, :, 1] += kept
                theirs = {g + 1: base[0, s], g: base[1, s]}
                lower = max(g - 1, 0)
                theirs[lower] = theirs.get(lower, 0.0) + 1.0 - base[0, s] - base[1, s]
                for level, chance in theirs.items():
                    after[..., level, :] += chance * (moved + kept)
        joint = after
    return law, shown


def rewards(game: Game) -> Floats:
    """Reward of each (level, bonus earned), (H + 1, 2)."""
    made: Floats = np.arange(game.horizon + 1)[:, None] + np.array([0.0, game.bonus])
    return made


def expected(game: Game, law: Floats) -> tuple[Floats, Floats]:
    """J_n and the mean level after turn n, (..., H) each."""
    value = (law * rewards(game)).sum(axis=(-2, -1))
    level = (law.sum(axis=-1) * np.arange(game.horizon + 1)).sum(axis=-1)
    return value, level


def win_rate(game: Game, law: Floats, other: Floats, tau: float = 0.0) -> Floats:
    """P(R_n > R'_n) + P(tie) / 2 of two independent dialogues, (..., H).

    tau : a noisy judge prefers the first with chance 1 / (1 + exp(-(R - R') / tau)); 0: no noise
    """
    reward = rewards(game).reshape(-1)
    apart = reward[:, None] - reward[None, :]
    with np.errstate(over="ignore"):
        judge = 1.0 / (1.0 + np.exp(-apart / tau)) if tau > 0 else 0.5 * (1.0 + np.sign(apart))
    ours = law.reshape(*law.shape[:-2], -1)
    theirs = other.reshape(*other.shape[:-2], -1)
    wins: Floats = ((ours @ judge) * theirs).sum(axis=-1)
    return wins


def turn_weights(game: Game, judge: str) -> Floats:
    """Chance that turn h is optimised and n judged is the same u_n for all h <= n: u_n, (H,).

    random: n uniform and h uniform on the first n, so u_n = 1 / (H n). end: n = H, u_H = 1 / H.
    """
    if judge == "end":
        last: Floats = np.eye(game.horizon)[-1] / game.horizon
        return last
    return 1.0 / (game.horizon * np.arange(1, game.horizon + 1))


def action_values(
    game: Game, maps: Maps, policy: Floats | None, judge: str = "end", support: Floats | None = None
) -> tuple[Floats, Floats]:
    """Q_h(s, y), (S, A), expected reward when y is said and `policy` goes on; and W.

    For a random stop the reward is that of the judged turn n, whose law given h is u_n over the sum
    of all u_n with n >= h. W has the shape (H + 1, H + 2):
    W[h, g] = sum over n >= h of u_n E[R_n | level g before turn h], not divided by that sum.
    policy None: the best policy that takes answers in `support` (S, A), a mask, goes on.
    """
    u = turn_weights(game, judge)
    W = np.zeros((game.horizon + 1, game.horizon + 2))
    Q = np.empty((game.states, game.answers))
    for h in reversed(range(game.horizon)):
        for g in range(h + 1):
            down = max(g - 1, 0)
            rows = slice(game.pair(h, g) * game.topics, (game.pair(h, g) + 1) * game.topics)
            each = np.full((game.topics, game.answers), u[h] * down + W[h + 1, down])
            every = np.arange(game.topics)
            each[every, maps.clarify[rows]] = u[h] * (g + 1) + W[h + 1, g + 1]
            each[every, maps.answer[rows]] = u[h] * (g + game.bonus) + W[h + 1, g]
            Q[rows] = each / u[h:].sum()
            if policy is not None:
                W[h, g] = (policy[rows] * each).sum(axis=1).mean()
            elif support is not None:
                W[h, g] = np.where(support[rows], each, -np.inf).max(axis=1).mean()
            else:
                W[h, g] = each.max(axis=1).mean()
    return Q, W


def value(game: Game, maps: Maps, policy: Floats | None, judge: str = "end",
          support: Floats | None = None) -> float:  # fmt: skip
    """Expected reward of a policy, or of the best one: J_H, or the mean of J_n with weights u_n."""
    W = action_values(game, maps, policy, judge, support)[1]
    return float(W[0, 0] / turn_weights(game, judge).sum())
