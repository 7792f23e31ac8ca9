"""Neural critics: the counted error against rows, tables against the network, what it learns."""

import numpy as np
import pandas as pd
import pytest
import torch

from toolbox.app import run
from toolbox.studies.marl import common, data, networks

X, A = 2, 3


def a_log(agents=4, rank=2, n=400, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    truth = data.Rewards(
        data.random_tables(rng, agents, rank, X, A)[None], data.subsets(agents, rank)
    )
    nu, _ = data.behaviour(rng, agents, X, A, 6.0)
    return truth, data.log(rng, truth, 0, nu, n, noise)


def hot(k, size):
    return np.eye(size)[k]


def by_hand(name, net, log, row, i):
    """The critic's value for agent i at one joint action, summed over sets as the formula says."""
    agents = log.actions.shape[1]
    c, a = log.context[row], log.actions[row]
    if name == "VDN":
        parts = [
            np.concatenate([hot(c, X), hot(a[j], A), hot(i, agents), hot(j, agents)])
            for j in range(agents)
        ]
    elif common.fit_rank(name, agents) == agents:
        parts = [np.concatenate([hot(c, X), *(hot(k, A) for k in a), hot(i, agents)])]
    else:
        parts = []
        for s in data.subsets(agents, common.fit_rank(name, agents))[i]:
            others = [part for j in s for part in (hot(a[j], A), hot(j, agents))]
            parts.append(np.concatenate([hot(c, X), hot(a[i], A), hot(i, agents), *others]))
    with torch.no_grad():
        values = net(torch.tensor(np.array(parts), dtype=torch.float32)).numpy()
    return values.sum() / np.sqrt(len(parts))


@pytest.mark.parametrize("name", ["VDN", "IR1", "IR2", "IR3", "joint"])
def test_tables_and_counted_errors_are_those_of_the_network(name):
    _, log = a_log()
    plan = networks.design(name, log, X, A)
    net = networks.Network(plan.inputs.shape[1], torch.Generator().manual_seed(1))
    mean, deviation = log.rewards.mean(axis=0), np.asarray(2.0)
    found = networks.tables(name, plan, net, mean, deviation, X, A)
    critic = data.Rewards(found[None], data.subsets(4, 2 if name == "VDN" else found.ndim - 3))
    rows = np.arange(50)
    values = critic.values(0, log.context[rows], log.actions[rows])
    direct = np.array([[by_hand(name, net, log, row, i) for i in range(4)] for row in rows])
    assert np.allclose(values, mean + 2.0 * direct, atol=1e-4)
    targets = log.rewards - mean
    f = networks._values(net, torch.from_numpy(plan.inputs), plan.cell.shape[2] ** -0.5)
    counted = plan.quadratic(rows, targets).mean(f.view(plan.groups, plan.width))
    assert float(counted) == pytest.approx(((direct - targets[rows]) ** 2).mean(), rel=1e-4)


def test_networks_of_the_right_rank_learn_the_rewards_and_of_a_lower_one_do_not(tmp_path):
    words = "game --agents 4 --samples 4000 --noise 0.05 --critic-kind mlp --iters 2 --quiet"
    words += " --critics IR1,IR2,joint,true --repeats 1"
    assert run(["marl", *words.split(), "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("marl/game/*/gaps.csv")
    error = pd.read_csv(path).set_index("critic")["mse_nu"]
    # The rewards' variance is 1/49, the noise's 1/400.
    assert error["IR2"] < 0.0005 < 0.004 < error["IR1"]
    assert error["IR2"] < error["joint"] < error["IR1"]


def test_many_cells_are_visited_in_parts(monkeypatch, tmp_path):
    monkeypatch.setattr(networks, "MOST_INPUTS", 50)
    words = "game --agents 4 --samples 200 --critic-kind mlp --mlp-steps 20 --iters 2 --quiet"
    words += " --critics joint --repeats 1"
    assert run(["marl", *words.split(), "--out", str(tmp_path)]) == 0
    rows = pd.read_csv(next(tmp_path.glob("marl/game/*/gaps.csv")))
    assert np.isfinite(rows["cce_gap"]).all()
