"""Environments as exact games: the tables against episodes, shares of variance against theory."""

import importlib.util
import json

import numpy as np
import pandas as pd
import pytest

from toolbox.app import run
from toolbox.studies.marl import data, environments, envs

needs_envs = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in environments.PACKAGES),
    reason="needs the extra envs",
)


def a_game(agents, rank, seed=0):
    """Returns (A, ..., A, M) with rewards of a given rank, and a product policy (M, A)."""
    rng = np.random.default_rng(seed)
    truth = data.Rewards(
        data.random_tables(rng, agents, rank, 1, 3)[None], data.subsets(agents, rank)
    )
    every = np.indices((3,) * agents).reshape(agents, -1).T
    values = truth.values(0, np.zeros(len(every), dtype=int), every)
    return values.reshape(*[3] * agents, agents), rng.dirichlet(np.ones(3), size=agents)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_reward_of_rank_k_is_explained_by_rank_k_and_not_below(rank):
    table, policy = a_game(4, rank)
    shares = environments.explained(table, policy)
    assert np.allclose(shares[:, rank - 1 :], 1)
    assert (np.diff(shares[:, :rank], axis=1) > 0.01).all()
    assert (shares[:, : rank - 1] < 0.99).all()


def test_the_share_of_rank_one_is_the_variance_between_own_actions():
    table, policy = a_game(3, 3)
    shares = environments.explained(table, policy)
    weight = np.einsum("a,b,c->abc", *policy)
    for i in range(3):
        reward = table[..., i]
        mean = (weight * reward).sum()
        others = tuple(j for j in range(3) if j != i)
        own = (weight * reward).sum(axis=others) / policy[i]
        between = (policy[i] * (own - mean) ** 2).sum()
        whole = (weight * (reward - mean) ** 2).sum()
        assert shares[i, 0] == pytest.approx(between / whole)


def test_expected_returns_are_sums_over_joint_actions_and_tables_put_the_own_action_first():
    table, _ = a_game(3, 3)
    game = np.stack([table, 2 * table])  # two contexts
    policies = np.random.default_rng(1).dirichlet(np.ones(3), size=(4, 3, 2))
    by_hand = np.zeros(3)
    for t, x, a, b, c in np.ndindex(4, 2, 3, 3, 3):
        chance = policies[t, 0, x, a] * policies[t, 1, x, b] * policies[t, 2, x, c] / 8
        by_hand += chance * game[x, a, b, c]
    assert np.allclose(envs.expected(game, policies), by_hand)
    truth = data.Rewards(envs.own_first(game)[None], data.subsets(3, 3))
    plays = np.array([[0, 1, 2], [2, 0, 1]])
    values = truth.values(0, np.array([0, 1]), plays)
    assert np.allclose(values, [game[0, 0, 1, 2], game[1, 2, 0, 1]])


@needs_envs
@pytest.mark.parametrize("name", environments.NAMES)
def test_a_start_and_actions_fix_the_returns_and_holding_is_stepping(name):
    env = environments.make(name, 3, 5)
    actions = np.array([1, 3, 2])
    first = environments.returns(env, 7, actions)
    assert np.array_equal(first, environments.returns(env, 7, actions))
    assert not np.array_equal(first, environments.returns(env, 8, actions))
    env.reset(seed=7)
    names, total = list(env.agents), np.zeros(3)
    for _ in range(5):
        _, rewards, _, ended, _ = env.step(dict(zip(names, [1, 3, 2], strict=True)))
        total += [rewards[each] for each in names]
    assert all(ended.values())
    assert np.allclose(first, total)
    if name == "spread":
        assert len(names) == 3
    else:
        assert [each.split("_")[0] for each in names] == ["adversary", "adversary", "agent"]


@needs_envs
def test_the_log_of_an_environment_is_read_by_logs(tmp_path, capsys):
    words = ["envs", "--preset", "smoke", "--agents", "3", "--samples", "60", "--quiet", "--json"]
    assert run(["marl", *words, "--out", str(tmp_path)]) == 0
    folder = json.loads(capsys.readouterr().out)["folder"]
    rows = pd.read_csv(f"{folder}/spread_log.csv")
    assert len(rows) == 180
    assert rows["agent"].nunique() == 3
    words = ["marl", "logs", f"{folder}/spread_log.csv", "--folds", "3", "--quiet"]
    assert run([*words, "--repeats", "1", "--out", str(tmp_path)]) == 0


@needs_envs
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--envs chess", "is no environment"),
        ("--critics IR9", "is no critic"),
        ("--conc 5", "no action is rare"),
        ("--agents 7 --hold 100", "which takes long"),
    ],
)
def test_what_does_not_fit_is_refused_first(words, said, tmp_path, capsys):
    assert run(["marl", "envs", *words.split(), "--out", str(tmp_path)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_missing_extra_is_one_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environments, "PACKAGES", ("mpe2", "not_installed_here"))
    assert run(["marl", "envs", "--preset", "smoke", "--out", str(tmp_path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "marl envs needs pettingzoo and mpe2; run: pip install 'toolbox[envs]'" in said
