"""Coefficients, critics, updates and gaps against closed forms and independent solutions."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize

from toolbox.studies.marl import data, model, theory


def a_game(agents, rank, actions=3, x=2, seed=0):
    rng = np.random.default_rng(seed)
    tables = data.random_tables(rng, agents, rank, x, actions)
    truth = data.Rewards(tables[None], data.subsets(agents, rank))
    return rng, truth, data.behaviour(rng, agents, x, actions, 8.0)[0]


def by_enumeration(truth, policy, own):
    """Q_i(c, a_i) of one replicate, summed over all joint actions.  policy : (M, X, A)"""
    agents, x, actions = policy.shape
    every = np.array(list(product(range(actions), repeat=agents)))
    q = np.zeros((x, actions))
    for c in range(x):
        value = truth.values(0, np.full(len(every), c), every)[:, own]
        weight = np.prod([policy[j, c, every[:, j]] for j in range(agents) if j != own], axis=0)
        np.add.at(q[c], every[:, own], weight * value)
    return q


@pytest.mark.parametrize(
    ("agents", "rank", "expected"),
    [(3, 1, 6), (3, 2, 66), (3, 3, 216), (4, 3, 546), (5, 2, 126), (5, 4, 4026), (5, 5, 7776)],
)
def test_the_coefficient_by_formula_and_by_algebra(agents, rank, expected):
    policy = np.tile([1 / 6, 5 / 12, 5 / 12], (agents, 1))
    assert theory.kappa(agents, rank, 6) == pytest.approx(expected)
    numeric = theory.kappa_by_algebra(policy, np.zeros(agents, dtype=int), rank)
    assert numeric == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_contractions_equal_the_sum_over_joint_actions(rank):
    rng, truth, _ = a_game(4, rank)
    policy = rng.dirichlet(np.ones(3), size=(4, 2))
    q = truth.averaged(policy[None])[0]
    for i in range(4):
        assert np.allclose(q[i], by_enumeration(truth, policy, i))


def test_rewards_are_standardised():
    tables = data.random_tables(np.random.default_rng(0), 4, 2, 400, 3)
    truth = data.Rewards(tables[None], data.subsets(4, 2))
    rng = np.random.default_rng(1)
    plays = rng.integers(3, size=(20_000, 4))
    values = truth.values(0, rng.integers(400, size=20_000), plays)
    assert values.mean() == pytest.approx(0.5, abs=0.01)
    assert values.std() == pytest.approx(1 / 7, rel=0.05)


def test_a_cooperative_reward_is_common_and_a_competitive_one_sums_to_a_constant():
    rng = np.random.default_rng(3)
    pairs = data.pair_tables(rng, 5, 2, 3)
    plays, context = rng.integers(3, size=(50, 5)), rng.integers(2, size=50)
    common = data.Rewards(data.cooperative_tables(pairs)[None], data.subsets(5, 3))
    values = common.values(0, context, plays)
    assert np.allclose(values, values[:, :1])
    assert values.std() > 0.01
    zero_sum = data.Rewards(data.competitive_tables(pairs)[None], data.subsets(5, 2))
    total = zero_sum.values(0, context, plays).sum(axis=1)
    assert np.allclose(total, 5 * data.CENTRE / data.SPREAD)


def test_the_update_is_the_argmax():
    rng = np.random.default_rng(1)
    for _ in range(20):
        policy, nu = rng.dirichlet(np.ones(4), size=2)
        q, eta, lam = rng.random(4), 3.0, 0.01

        def loss(p, q=q, nu=nu, policy=policy, eta=eta, lam=lam):
            return -q @ p + lam * (p**2 / nu).sum() + ((p - policy) ** 2 / nu).sum() / eta

        found = optimize.minimize(
            loss, nu, bounds=[(0, 1)] * 4, method="SLSQP", options={"ftol": 1e-14},
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        )  # fmt: skip
        p = model.update(policy, q, nu, eta, lam)
        assert p.sum() == pytest.approx(1)
        assert loss(p) <= found.fun + 1e-9
        assert np.allclose(p, found.x, atol=1e-3)


def test_constant_values_return_the_behaviour_and_unseen_actions_stay_unplayed():
    nu = np.array([0.5, 0.3, 0.2, 0.0])
    assert np.allclose(model.update(nu, np.full(4, 7.0), nu, 10.0, 0.1), nu)
    p = model.update(nu, np.array([0, 1, 0, 100.0]), nu, 10.0, 0.0)
    assert p[3] == 0
    assert p[1] > 0.3


@pytest.mark.parametrize(("agents", "rank"), [(2, 2), (3, 3)])
def test_the_highest_rank_is_the_joint_table_of_cell_means(agents, rank):
    rng, truth, nu = a_game(agents, rank)
    log = data.log(rng, truth, 0, nu, 4000, 0.1)
    fitted = model.fit(log, rank, 2, 3, 1e-9)
    plays = np.full(agents, 1)
    cell = (log.context == 0) & (log.actions == plays).all(axis=1)
    critic = data.Rewards(fitted[None], data.subsets(agents, rank))
    value = critic.values(0, np.array([0]), plays[None])[0]
    assert np.allclose(value, log.rewards[cell].mean(axis=0))


def test_a_fit_of_the_right_rank_finds_the_rewards_without_noise():
    rng, truth, nu = a_game(5, 2)
    log = data.log(rng, truth, 0, nu, 20_000, 0.0)
    for rank in (2, 3):
        fitted = data.Rewards(model.fit(log, rank, 2, 3, 1e-6)[None], data.subsets(5, rank))
        plays, context = rng.integers(3, size=(100, 5)), rng.integers(2, size=100)
        error = fitted.values(0, context, plays) - truth.values(0, context, plays)
        assert np.abs(error).max() < 1e-3


def test_value_decomposition_tells_own_actions_apart_as_rank_one_does():
    rng, truth, nu = a_game(4, 2)
    log = data.log(rng, truth, 0, nu, 100_000, 0.1)
    vdn = data.Rewards(model.fit_vdn(log, 2, 3, 0.01)[None], data.subsets(4, 2))
    single = data.Rewards(model.fit(log, 1, 2, 3, 0.01)[None], data.subsets(4, 1))
    policy = rng.dirichlet(np.ones(3), size=(4, 2))[None]
    a, b = (each.averaged(policy) for each in (vdn, single))
    # Differences of an own action's values, which alone move the policy.
    assert np.abs((a - a[..., :1]) - (b - b[..., :1])).max() < 0.02


def test_the_gap_of_matching_pennies():
    pennies = np.array([[1.0, -1.0], [-1.0, 1.0]])
    tables = np.array([pennies, -pennies.T])[None, :, None, None]
    truth = data.Rewards(tables, data.subsets(2, 2))
    uniform = np.full((1, 2, 1, 2), 0.5)
    pure = np.zeros((1, 2, 1, 2))
    pure[..., 0] = 1
    for policy, gap in ((uniform, [0, 0]), (pure, [0, 2])):
        q = truth.averaged(policy)
        assert np.allclose(model.nash_gaps(policy, q)[0], gap)
        assert np.allclose(model.cce_gaps(policy[None], q[None])[0, 0], gap)


def test_the_gap_of_a_mixture_is_that_of_its_correlated_distribution():
    """The mixture as one distribution over joint actions, deviations by enumeration."""
    rng, truth, _ = a_game(3, 3, seed=5)
    policies = rng.dirichlet(np.ones(3), size=(4, 1, 3, 2))
    q = np.array([truth.averaged(each) for each in policies])
    every = np.array(list(product(range(3), repeat=3)))
    gaps = np.zeros(3)
    for c in range(2):
        chance = np.mean(
            [np.prod([pi[0, j, c, every[:, j]] for j in range(3)], axis=0) for pi in policies],
            axis=0,
        )
        value = truth.values(0, np.full(27, c), every)
        for i in range(3):
            deviations = []
            for a in range(3):
                changed = every.copy()
                changed[:, i] = a
                deviations.append(chance @ truth.values(0, np.full(27, c), changed)[:, i])
            gaps[i] += (max(deviations) - chance @ value[:, i]) / 2
    assert np.allclose(model.cce_gaps(policies, q)[-1, 0], gaps)


def learned(truth, critic, nu, iters):
    policies = [nu[None]]
    for _ in range(iters - 1):
        policies.append(
            model.update(policies[-1], critic.averaged(policies[-1]), nu[None], 10.0, 2e-4)
        )
    stack = np.array(policies)
    q = np.array([truth.averaged(each) for each in policies])
    return stack, model.cce_gaps(stack, q).max(axis=-1)[:, 0]


def test_with_the_true_rewards_the_gap_falls_with_the_iterations():
    _, truth, nu = a_game(4, 2)
    stack, gaps = learned(truth, truth, nu, 200)
    assert np.array_equal(stack[0, 0], nu)
    assert gaps[199] < gaps[49] < gaps[9] < gaps[0]
    assert gaps[199] < 0.05 * gaps[0]


def test_with_a_rank_one_truth_all_critics_agree_for_many_samples():
    rng, truth, nu = a_game(3, 1)
    log = data.log(rng, truth, 0, nu, 100_000, 0.1)
    last = []
    for rank in (1, 2, 3):
        fitted = data.Rewards(model.fit(log, rank, 2, 3, 0.01)[None], data.subsets(3, rank))
        last.append(learned(truth, fitted, nu, 50)[1][-1])
    assert max(last) - min(last) < 0.003


def test_draws_follow_the_policy():
    rng = np.random.default_rng(0)
    policy, rare = data.behaviour(rng, 3, 2, 3, 10.0)
    assert np.allclose(np.take_along_axis(policy, rare[..., None], -1), 0.1)
    plays = data.draw(rng, policy, np.zeros(50_000, dtype=int))
    for i in range(3):
        assert np.allclose(np.bincount(plays[:, i], minlength=3) / 50_000, policy[i, 0], atol=0.01)
    partial, rare = data.behaviour(rng, 3, 2, 3, 10.0, partial=True)
    assert np.take_along_axis(partial, rare[..., None], -1).max() == 0
