"""Gaps against nashpy, and the limit of a single-agent critic against a closed form."""

import numpy as np
import pytest

from toolbox.studies.marl import data, model


def bimatrix(rng, actions=3):
    """A game of two agents as our tables, and as the two payoff matrices."""
    tables = data.random_tables(rng, 2, 2, 1, actions)
    return data.Rewards(tables[None], data.subsets(2, 2)), tables[0, 0, 0], tables[1, 0, 0].T


def test_equilibria_of_nashpy_have_no_gap_and_other_policies_the_one_it_says():
    nashpy = pytest.importorskip("nashpy")
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(15):
        truth, rows, columns = bimatrix(rng)
        game = nashpy.Game(rows, columns)
        for x, y in game.support_enumeration():
            policy = np.array([[[x], [y]]])
            assert model.nash_gaps(policy, truth.averaged(policy)).max() < 1e-9
            seen += 1
        x, y = rng.dirichlet(np.ones(3), size=2)
        policy = np.array([[[x], [y]]])
        value = game[x, y]
        pure = np.eye(3)
        deviations = (
            max(game[e, y][0] for e in pure) - value[0],
            max(game[x, e][1] for e in pure) - value[1],
        )
        assert np.allclose(model.nash_gaps(policy, truth.averaged(policy))[0], deviations)
        assert (np.array(deviations) < 1e-9).tolist() == list(game.is_best_response(x, y))
    assert seen >= 15


def test_learning_with_the_truth_in_a_zero_sum_game_comes_to_its_value():
    """The average policies of a no-regret mixture are near an equilibrium of a zero-sum game."""
    nashpy = pytest.importorskip("nashpy")
    rng = np.random.default_rng(1)
    matrix = rng.random((3, 3))
    tables = np.array([matrix, -matrix.T])[None, :, None, None]
    truth = data.Rewards(tables, data.subsets(2, 2))
    nu = np.full((1, 2, 1, 3), 1 / 3)
    policies = [nu]
    for _ in range(4000):
        q = truth.averaged(policies[-1])
        policies.append(model.update(policies[-1], q, nu, 0.2, 0.0))
    x, y = np.mean(policies, axis=0)[0, :, 0]
    game = nashpy.Game(matrix)
    (left, right), *_ = game.support_enumeration()
    assert game[x, y][0] == pytest.approx(game[left, right][0], abs=0.01)
    gap = model.cce_gaps(np.array(policies), np.array([truth.averaged(p) for p in policies]))
    assert gap[-1].max() < 0.01


def test_a_single_agent_critic_ends_where_its_closed_form_says():
    """With exact data IR1 sees each own action averaged over the behaviour, whatever the others
    learn: all end at the pure profile of its maxima, and the gap is what deviating from it gains.
    """
    rng = np.random.default_rng(2)
    replicates, agents, x = 40, 3, 2
    tables = np.array([data.random_tables(rng, agents, 2, x, 3) for _ in range(replicates)])
    nu = np.array([data.behaviour(rng, agents, x, 3, 10.0)[0] for _ in range(replicates)])
    truth = data.Rewards(tables, data.subsets(agents, 2))
    q = truth.averaged(nu)
    policy, true_q = nu, []
    policies = []
    for _ in range(3000):
        policies.append(policy)
        true_q.append(truth.averaged(policy))
        policy = model.update(policy, q, nu, 10.0, 0.0)
    found = model.cce_gaps(np.array(policies), np.array(true_q))[-1]
    expected = np.zeros((replicates, agents))
    others = data.subsets(agents, 2)[:, :, 0]
    for r in range(replicates):
        for c in range(x):
            means = np.array([
                sum(tables[r, i, s, c] @ nu[r, j, c] for s, j in enumerate(others[i]))
                for i in range(agents)
            ])  # fmt: skip
            chosen = means.argmax(axis=1)
            for i in range(agents):
                own = sum(tables[r, i, s, c][:, chosen[j]] for s, j in enumerate(others[i]))
                expected[r, i] += (own.max() - own[chosen[i]]) / x
    # Ties are slow: the mixture still holds its first iterations.
    assert np.abs(found - expected).mean() < 0.01
    assert found.max(axis=1).mean() == pytest.approx(expected.max(axis=1).mean(), abs=0.01)
