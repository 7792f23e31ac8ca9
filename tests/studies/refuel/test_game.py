"""The environment and its exact values, against a per-dialogue loop and against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from toolbox.studies.refuel import data, theory, values
from toolbox.studies.refuel.data import Game


def policy_of(seed: int, game: Game, scale: float = 1.0) -> np.ndarray:
    logits = scale * np.random.default_rng(seed).standard_normal((game.states, game.answers))
    table = np.exp(logits)
    return table / table.sum(axis=1, keepdims=True)


def one_dialogue(game, maps, policy, rng):
    """The rules once more, for one dialogue, without numbers of states."""
    level, rewards = 0, []
    for h in range(game.horizon):
        topic = rng.integers(game.topics)
        state = (h * (h + 1) // 2 + level) * game.topics + topic
        answer = rng.choice(game.answers, p=policy[state])
        bonus = 0.0
        if answer == maps.clarify[state]:
            level += 1
        elif answer == maps.answer[state]:
            bonus = game.bonus
        else:
            level = max(level - 1, 0)
        rewards.append(level + bonus)
    return rewards


def by_recursion(game, maps, policy, h, level):
    """(J_{h+1}, ..., J_H) from turn h on, by enumeration of all answers."""
    if h == game.horizon:
        return np.zeros(0)
    total = np.zeros(game.horizon - h)
    for topic in range(game.topics):
        state = (h * (h + 1) // 2 + level) * game.topics + topic
        for answer in range(game.answers):
            chance = policy[state, answer] / game.topics
            after, bonus = max(level - 1, 0), 0.0
            if answer == maps.clarify[state]:
                after = level + 1
            elif answer == maps.answer[state]:
                after, bonus = level, game.bonus
            later = by_recursion(game, maps, policy, h + 1, after)
            total += chance * np.concatenate([[after + bonus], later])
    return total


@pytest.mark.parametrize(("horizon", "bonus"), [(1, 1.5), (2, 0.3), (3, 1.7)])
def test_exact_values_are_those_of_an_enumeration(horizon, bonus):
    game = Game(horizon, topics=2, contents=2, bonus=bonus)
    maps = data.draw_maps(np.random.default_rng(3), game)
    policy = policy_of(4, game)
    law = values.reward_law(game, *values.chances(game, maps, policy))
    assert np.allclose(law.sum(axis=(-2, -1)), 1.0, atol=1e-14)
    expected = by_recursion(game, maps, policy, 0, 0)
    assert np.allclose(values.expected(game, law)[0], expected, atol=1e-13)
    assert values.value(game, maps, policy, "end") == pytest.approx(expected[-1], abs=1e-13)
    assert values.value(game, maps, policy, "random") == pytest.approx(
        np.average(expected, weights=1 / np.arange(1, horizon + 1)), abs=1e-13
    )


def test_the_base_policy_has_the_known_values():
    """A separate implementation gave 0.775 0.925 1.04 1.133 1.211 for H = 5, b = 1.5."""
    game = Game()
    maps = data.draw_maps(np.random.default_rng(0), game)
    base = data.base_policy(game, maps, 0.25, 0.35)
    assert np.allclose(base.sum(axis=1), 1.0)
    law = values.reward_law(game, *values.chances(game, maps, base))
    reward, level = values.expected(game, law)
    assert np.allclose(reward, [0.775, 0.925, 1.04, 1.133, 1.211], atol=6e-4)
    assert np.allclose(reward - level, 1.5 * 0.35)


def test_rollouts_have_the_exact_law():
    game = Game(4, topics=3, contents=3)
    rng = np.random.default_rng(5)
    maps, policy = data.draw_maps(rng, game), policy_of(6, game)
    count = 40_000
    luck = data.draw_luck(rng, game, count)
    made = data.roll(game, maps, data.cumulative(policy)[None], luck, np.zeros((1, 1, 1), int))
    law = values.reward_law(game, *values.chances(game, maps, policy))
    for n in range(game.horizon):
        reward = made.reward(game, np.full(count, n))[0]
        for value in np.unique(values.rewards(game)):
            exact = law[n][values.rewards(game) == value].sum()
            error = np.sqrt(exact * (1 - exact) / count) + 1e-9
            assert abs((reward == value).mean() - exact) < 4.5 * error


def test_the_loop_of_single_dialogues_agrees_too():
    game = Game(3, topics=2, contents=2)
    rng = np.random.default_rng(8)
    maps, policy = data.draw_maps(rng, game), policy_of(9, game)
    found = np.mean([one_dialogue(game, maps, policy, rng) for _ in range(4000)], axis=0)
    law = values.reward_law(game, *values.chances(game, maps, policy))
    assert np.allclose(found, values.expected(game, law)[0], atol=0.1)


def test_a_restart_keeps_the_beginning_and_nothing_else():
    game = Game(5)
    rng = np.random.default_rng(2)
    maps, policy = data.draw_maps(rng, game), policy_of(1, game)
    lucks = data.draw_luck(rng, game, 500), data.draw_luck(rng, game, 500)
    h = rng.integers(5, size=(1, 500))
    rows, sums = np.zeros((1, 1, 1), int), data.cumulative(policy)[None]
    one = data.roll(game, maps, sums, lucks[0], rows)
    two = data.roll(game, maps, sums, lucks[1], rows, one, h)
    turn = np.arange(5)
    before, until = turn < h[..., None], turn <= h[..., None]
    assert (one.answer == two.answer)[before].all()
    assert (one.state == two.state)[until].all()
    assert (one.answer != two.answer)[~before].mean() > 0.5
    # The same luck once more reproduces the first dialogue: its own end serves as the first one.
    again = data.roll(game, maps, sums, lucks[0], rows, one, h)
    assert (again.level == one.level).all()


def test_the_law_of_judged_and_learned_turns():
    """n uniform on 1..H and h uniform on 1..n: P(n, h) = 1 / (H n)."""
    game, count = Game(4), 80_000
    n, h = data.draw_turns(np.random.default_rng(0), game, count)
    for each in range(4):
        for turn in range(4):
            exact = 1 / (4 * (each + 1)) if turn <= each else 0.0
            share = ((n == each) & (h == turn)).mean()
            assert abs(share - exact) <= 4.5 * np.sqrt(exact / count)
    n, h = data.draw_turns(np.random.default_rng(0), game, count, "end")
    assert (n == 3).all()
    assert np.allclose(np.bincount(h) / count, 0.25, atol=0.01)


def test_win_rates():
    game = Game(3)
    maps = data.draw_maps(np.random.default_rng(0), game)
    base = data.base_policy(game, maps, 0.2, 0.3)
    law = values.reward_law(game, *values.chances(game, maps, base))
    assert np.allclose(values.win_rate(game, law, law), 0.5)
    assert np.allclose(values.win_rate(game, law, law, tau=0.7), 0.5)
    better = values.reward_law(
        game, *values.chances(game, maps, data.base_policy(game, maps, 0.3, 0.4))
    )
    wins = values.win_rate(game, better, law)
    assert (wins > 0.5).all()
    assert np.allclose(values.win_rate(game, better, law, tau=1e-9), wins)
    assert np.allclose(values.win_rate(game, better, law, tau=1e9), 0.5)


@pytest.mark.parametrize(("horizon", "after4"), [(2, 0.316), (3, 0.4654), (5, 0.7104), (8, 1.373)])
def test_the_gaps_of_exact_iterations(horizon, after4):
    """Known from a separate implementation: after 4 iterations as given, after 16 near 2e-4."""
    game = Game(horizon)
    maps = data.draw_maps(np.random.default_rng(1), game)
    assert values.value(game, maps, None) == pytest.approx(horizon + 0.5)
    logs = np.full((game.states, game.answers), -np.log(game.answers))
    gaps = {}
    for t in range(1, 65):
        logs = theory.exact_step(logs, values.action_values(game, maps, np.exp(logs))[0], 1.0)
        gaps[t] = horizon + 0.5 - values.value(game, maps, np.exp(logs))
    assert gaps[4] == pytest.approx(after4, abs=6e-4)
    assert gaps[16] == pytest.approx(2e-4, abs=5e-5)
    assert abs(gaps[64]) < 1e-12
    each = np.array([gaps[t] for t in sorted(gaps)])
    assert (np.diff(each) < 1e-12).all()


def test_one_regression_on_exact_data_is_the_closed_form():
    game = Game(4, topics=2, contents=3)
    rng = np.random.default_rng(7)
    maps = data.draw_maps(rng, game)
    logs = np.log(policy_of(11, game))
    q = values.action_values(game, maps, np.exp(logs), "random")[0]
    assert theory.step_error(logs, q, 2.0) < 1e-10
    assert theory.step_error(logs, q + rng.standard_normal((game.states, 1)), 2.0) < 1e-10


def test_the_advantage_of_a_policy_is_zero_on_average():
    game = Game(4)
    maps = data.draw_maps(np.random.default_rng(0), game)
    policy = policy_of(2, game)
    for judge in ("random", "end"):
        q, w = values.action_values(game, maps, policy, judge)
        u = values.turn_weights(game, judge)
        mean = (policy * q).sum(axis=1).reshape(-1, game.topics).mean(axis=1)
        for h, g, each in zip(game.turn_of, game.level_of, mean, strict=True):
            assert each == pytest.approx(w[h, g] / u[h:].sum(), abs=1e-12)


def test_the_two_conditions():
    rows = theory.conditions(np.random.default_rng(0), 30)
    general, offset = (rows[rows["kind"] == kind] for kind in ("general", "offset"))
    assert (general["policy_error"] <= general["q_error"]).all()
    assert offset["policy_error"].max() < 1e-20
    assert offset["q_error"].min() > 0.1


def of_three_chances(horizon, bonus, clarify, answer):
    """J_1..J_H by the level alone: topics and contents do not matter to a policy that is the same
    in each of them. clarify, answer : (H, H) chances of the two right answers by turn and level."""
    law, found = {0: 1.0}, []
    for h in range(horizon):
        after, reward = {}, 0.0
        for level, weight in law.items():
            up, right = clarify[h, level], answer[h, level]
            wrong = (max(level - 1, 0), 0.0, 1 - up - right)
            for end, earned, chance in ((level + 1, 0.0, up), (level, bonus, right), wrong):
                after[end] = after.get(end, 0.0) + weight * chance
                reward += weight * chance * (end + earned)
        law = after
        found.append(reward)
    return found


@pytest.mark.parametrize("case", range(6))
def test_exact_values_at_games_of_no_file(case):
    """Horizons, bonuses and base policies drawn here, against a recursion that knows no states."""
    rng = np.random.default_rng([2024, case])
    horizon, bonus = int(rng.integers(2, 12)), float(rng.uniform(0, 4))
    clarify, answer, _ = rng.dirichlet(np.ones(3))
    game = Game(horizon, int(rng.integers(1, 6)), int(rng.integers(2, 8)), bonus)
    maps = data.draw_maps(rng, game)
    base = data.base_policy(game, maps, clarify, answer)
    law = values.reward_law(game, *values.chances(game, maps, base))
    flat = [np.full((horizon, horizon), each) for each in (clarify, answer)]
    expected = of_three_chances(horizon, bonus, *flat)
    assert np.allclose(values.expected(game, law)[0], expected, atol=1e-12)
    assert values.value(game, maps, base, "end") == pytest.approx(expected[-1], abs=1e-12)


def iterated(horizon, bonus, eta, iterations, clarify, answer):
    """Exact policy iteration by hand, judged at a random turn: Q_h is the mean over n >= h of the
    reward at n, with weights 1 / n; then each of the three chances times exp(eta Q)."""
    up, right = (np.full((horizon, horizon), each) for each in (clarify, answer))
    for _ in range(iterations):
        mean, total = np.zeros((horizon, horizon, 3)), np.zeros(horizon)
        for n in range(horizon):
            later = np.zeros(horizon + 1)  # E[R_n | level before turn h + 1]
            for h in reversed(range(n + 1)):
                q = np.zeros((horizon, 3))
                for g in range(h + 1):
                    ends = (g + 1, g, max(g - 1, 0))
                    last = (g + 1.0, g + bonus, float(max(g - 1, 0)))
                    q[g] = last if h == n else [later[end] for end in ends]
                chances = np.stack([up[h], right[h], 1 - up[h] - right[h]], axis=1)
                later = np.append((chances * q).sum(axis=1), 0.0)
                mean[h] += q / (n + 1)
                total[h] += 1 / (n + 1)
        mean /= total[:, None, None]
        chances = np.stack([up, right, 1 - up - right], axis=2) * np.exp(eta * mean)
        chances /= chances.sum(axis=2, keepdims=True)
        up, right = chances[..., 0], chances[..., 1]
    return of_three_chances(horizon, bonus, up, right)


@pytest.mark.parametrize(
    "case", [(5, 1.5, 2.0, 8), (5, 1.5, 1.0, 5), (5, 0.8, 2.0, 8), (7, 2.2, 0.7, 6)]
)
def test_exact_iterations_from_the_base_policy_at_a_random_stop(case):
    """What sampled REFUEL, and MT-MIXED too, tend to as their pairs become many."""
    horizon, bonus, eta, iterations = case
    game = Game(horizon, bonus=bonus)
    maps = data.draw_maps(np.random.default_rng(1), game)
    logs = np.log(data.base_policy(game, maps, 0.25, 0.35))
    for _ in range(iterations):
        q, _ = values.action_values(game, maps, np.exp(logs), "random")
        logs = theory.exact_step(logs, q, eta)
    law = values.reward_law(game, *values.chances(game, maps, np.exp(logs)))
    found = values.expected(game, law)[0]
    assert np.allclose(found, iterated(*case, 0.25, 0.35), atol=1e-10)
    if case == (5, 1.5, 2.0, 8):  # by a program apart
        assert np.allclose(found, [1.004, 1.993, 2.992, 4.030, 5.397], atol=6e-4)
