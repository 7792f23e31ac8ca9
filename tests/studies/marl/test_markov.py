"""Markov games with decoupled transitions against enumeration, simulation and their limit cases."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from toolbox.app import run
from toolbox.studies.marl import data, decoupled, model


def a_game(agents=2, s=2, a=2, rank=2, seed=0):
    rng = np.random.default_rng(seed)
    tables = data.random_tables(rng, agents, rank, 1, s * a)
    truth = data.Rewards(tables[None], data.subsets(agents, rank))
    transitions, start = decoupled.random_motion(rng, agents, s, a)
    return rng, truth, decoupled.Motion(transitions[None], start[None])


def value_by_trajectories(truth, motion, policies, own):
    """Expected return of one agent, summed over all joint trajectories.

    policies : (M, H, S, A) of each agent
    """
    agents, steps, s, a = policies.shape
    every = list(product(product(range(s), repeat=agents), product(range(a), repeat=agents)))
    total = 0.0

    def go(h, states_chance, reward_so_far):
        nonlocal total
        if h == steps:
            return
        later = {}
        for states, actions in every:
            chance = states_chance.get(states, 0.0)
            for j in range(agents):
                chance *= policies[j, h, states[j], actions[j]]
            if chance == 0:
                continue
            pairs = np.array([[states[j] * a + actions[j] for j in range(agents)]])
            total += chance * truth.values(0, np.zeros(1, dtype=int), pairs)[0, own]
            for then in product(range(s), repeat=agents):
                moved = chance
                for j in range(agents):
                    moved *= motion.transitions[0, j, states[j], actions[j], then[j]]
                later[then] = later.get(then, 0.0) + moved
        go(h + 1, later, reward_so_far)

    first = {
        states: float(np.prod([motion.start[0, j, states[j]] for j in range(agents)]))
        for states in product(range(s), repeat=agents)
    }
    go(0, first, 0.0)
    return total


def test_the_gap_is_that_of_all_deviations_in_the_joint_process():
    """All deterministic local policies, in a process over joint states that decouples nothing."""
    rng, truth, motion = a_game()
    policies = rng.dirichlet(np.ones(2), size=(3, 1, 2, 2, 2))  # (T, R, M, H, S, A)
    occupancies = np.array([motion.occupancies(each) for each in policies])
    rewards = np.array([decoupled.averaged(truth, each) for each in occupancies])
    found = decoupled.cce_gaps(motion, occupancies, rewards)[-1, 0]
    for i in range(2):
        kept = np.mean([value_by_trajectories(truth, motion, each[0], i) for each in policies])
        deviations = []
        for chosen in product(range(2), repeat=4):
            own = np.zeros((2, 2, 2))
            np.put_along_axis(own, np.array(chosen).reshape(2, 2, 1), 1.0, axis=-1)
            values = []
            for each in policies:
                changed = each[0].copy()
                changed[i] = own
                values.append(value_by_trajectories(truth, motion, changed, i))
            deviations.append(np.mean(values))
        assert found[i] == pytest.approx(max(deviations) - kept, abs=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_averaged_rewards_are_sums_over_the_others_pairs(rank):
    rng, truth, motion = a_game(agents=3, rank=rank)
    policy = rng.dirichlet(np.ones(2), size=(1, 3, 4, 2))
    occupancies = motion.occupancies(policy)
    found = decoupled.averaged(truth, occupancies)[0]
    every = np.array(list(product(range(4), repeat=3)))
    values = truth.values(0, np.zeros(len(every), dtype=int), every)
    for i in range(3):
        others = [j for j in range(3) if j != i]
        for h in range(4):
            weight = np.prod([occupancies[0, j, h, every[:, j]] for j in others], axis=0)
            by_hand = np.bincount(every[:, i], weight * values[:, i], 4)
            assert np.allclose(found[i, h], by_hand)


def test_values_are_consistent_with_occupancies():
    """sum_s start(s) V_0(s) = sum_h <d_h, r_h>, and no policy is better than the best one."""
    rng, _, motion = a_game(agents=3, s=3)
    policy = rng.dirichlet(np.ones(2), size=(1, 3, 5, 3))
    rewards = rng.random((1, 3, 5, 6))
    q = motion.values(rewards, policy)
    from_start = (motion.start * (policy[:, :, 0] * q[:, :, 0]).sum(axis=-1)).sum(axis=-1)
    occupancies = motion.occupancies(policy)
    assert np.allclose(occupancies.sum(axis=-1), 1)
    assert np.allclose(from_start, (occupancies * rewards).sum(axis=(-2, -1)))
    assert (motion.best(rewards) >= from_start).all()
    greedy = np.eye(2)[motion.values(rewards, policy).argmax(axis=-1)]
    for _ in range(10):  # policy iteration ends at the best value
        greedy = np.eye(2)[motion.values(rewards, greedy).argmax(axis=-1)]
    reached = (motion.occupancies(greedy) * rewards).sum(axis=(-2, -1))
    assert np.allclose(reached, motion.best(rewards))


def test_with_one_state_and_step_it_is_the_game_without_contexts():
    rng = np.random.default_rng(4)
    truth = data.Rewards(data.random_tables(rng, 3, 2, 1, 3)[None], data.subsets(3, 2))
    motion = decoupled.Motion(np.ones((1, 3, 1, 3, 1)), np.ones((1, 3, 1)))
    policies = rng.dirichlet(np.ones(3), size=(5, 1, 3, 1))  # (T, R, M, X, A)
    plain = model.cce_gaps(policies, np.array([truth.averaged(each) for each in policies]))
    occupancies = np.array([motion.occupancies(each[:, :, None]) for each in policies])
    rewards = np.array([decoupled.averaged(truth, each) for each in occupancies])
    assert np.allclose(decoupled.cce_gaps(motion, occupancies, rewards), plain)


def test_episodes_follow_the_occupancies_and_counts_find_the_transitions():
    rng, truth, motion = a_game(agents=3, s=3)
    nu = rng.dirichlet(np.ones(2), size=(3, 3))
    logged = decoupled.episodes(rng, motion, truth, 0, nu, 40_000, 4, 0.1)
    stay = np.repeat(nu[None, :, None], 4, axis=2)
    expected = motion.occupancies(stay)[0]
    pairs = logged.states * 2 + logged.actions
    for i in range(3):
        for h in range(4):
            shares = np.bincount(pairs[:, h, i], minlength=6) / 40_000
            assert np.allclose(shares, expected[i, h], atol=0.012)
    transitions, start = decoupled.estimated(logged, 3, 2)
    assert np.allclose(transitions, motion.transitions[0], atol=0.05)
    assert np.allclose(start, motion.start[0], atol=0.012)
    kept = logged.log(2)
    exact = truth.values(0, kept.context, kept.actions)
    assert (kept.rewards - exact).std() == pytest.approx(0.1, rel=0.02)


def test_what_was_never_counted_is_uniform():
    nothing = np.zeros((5, 1, 2), dtype=int)
    transitions, start = decoupled.estimated(
        decoupled.Episodes(nothing, nothing, nothing.astype(float)), 4, 2
    )
    assert (transitions == 0.25).all()
    assert start[:, 0].tolist() == [1, 1]


def test_with_the_truth_the_gap_falls_with_the_iterations():
    rng, truth, motion = a_game(agents=3)
    nu = rng.dirichlet(np.ones(2) * 3, size=(1, 3, 2))
    stay = np.repeat(nu[:, :, None], 4, axis=2)
    policies = [stay]
    for _ in range(199):
        others = motion.occupancies(policies[-1])
        q = motion.values(decoupled.averaged(truth, others), policies[-1])
        policies.append(model.update(policies[-1], q, stay, 5.0, 5e-4))
    occupancies = np.array([motion.occupancies(each) for each in policies])
    rewards = np.array([decoupled.averaged(truth, each) for each in occupancies])
    gaps = decoupled.cce_gaps(motion, occupancies, rewards).max(axis=-1)[:, 0]
    assert gaps[199] < gaps[49] < gaps[0]
    assert gaps[199] < 0.1 * gaps[0]


def test_one_iteration_is_the_behaviour_and_replicates_do_not_meet(tmp_path):
    tables = []
    for repeats, iters in (("1", "5"), ("3", "5"), ("1", "1")):
        out = tmp_path / repeats / iters
        words = f"markov --agents 2,3 --episodes 50 --iters {iters} --repeats {repeats} --quiet"
        assert run(["marl", *words.split(), "--out", str(out)]) == 0
        rows = pd.read_csv(next(out.glob("marl/markov/*/gaps.csv")))
        tables.append(rows[rows["repeat"] == 0].reset_index(drop=True))
    pd.testing.assert_frame_equal(*tables[:2], check_exact=True)
    for _, same in tables[2].groupby("agents"):
        assert same["cce_gap"].nunique() == 1
        assert same["chi2_to_nu"].abs().max() < 1e-9
