"""What each method collects and what its loss does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from toolbox.app import run
from toolbox.studies.refuel import cli, common, data, learn, methods
from toolbox.studies.refuel.data import Game
from toolbox.studies.refuel.flags import METHOD_NAMES
from toolbox.studies.refuel.methods import METHODS


def table(game: Game, seed: int) -> np.ndarray:
    made = np.random.default_rng(seed).dirichlet(np.ones(game.answers), size=game.states)
    return np.asarray(made)


def collected(names: list[str], count: int = 3000, **extra) -> tuple[Game, methods.Pairs]:
    game = Game(4)
    rng = np.random.default_rng(0)
    maps = data.draw_maps(rng, game)
    base = data.cumulative(table(game, 1))
    sums = np.stack([data.cumulative(table(game, 2))] * len(names))
    given = {"judge": "random", "noise": 0.0, **extra}
    found = methods.collect_pairs(
        rng, game, maps, [METHODS[name] for name in names], sums, base, count, **given
    )
    return game, found


def test_the_flags_name_all_methods():
    assert tuple(METHODS) == METHOD_NAMES


def test_last_turn_methods_learn_the_judged_turn():
    _, found = collected(["REBEL-LT-ONLINE", "REFUEL"])
    assert (found.turn[0] == found.judged[0]).all()
    assert (found.turn[1] <= found.judged[1]).all()
    assert (found.turn[1] < found.judged[1]).mean() > 0.3


def test_the_beginning_is_written_by_whom_the_scheme_says():
    """Levels before the learned turn have the law of the base or of the current policy."""
    game, found = collected(["REBEL-LT-OFFLINE", "REBEL-MT-MIXED", "REFUEL"], 20_000)
    from toolbox.studies.refuel import values

    maps = data.draw_maps(np.random.default_rng(0), game)
    for member, seed in ((1, 1), (2, 2)):
        law = values.reward_law(game, *values.chances(game, maps, table(game, seed)))
        before = law[1].sum(axis=-1)  # of the level after turn 2, so before turn 3
        at = found.turn[member] == 2
        pair = found.state[member][at] // game.topics
        level = pair - game.pair(2, 0)
        share = np.bincount(level, minlength=3)[:3] / at.sum()
        assert np.allclose(share, before[:3], atol=5 * np.sqrt(0.25 / at.sum()))


def test_fixed_and_mixed_answers_come_from_different_policies():
    game, found = collected(["REBEL-LT-OFFLINE", "REBEL-LT-MIXED"], 20_000)
    assert (found.state[0] == found.state[1]).mean() > 0.2
    first = found.turn[0] == 0
    assert (found.state[0] == found.state[1])[first].all()  # the same luck, the same first message
    assert game.answers == 12


def test_noise_changes_rewards_alone():
    _, clean = collected(["REFUEL"])
    _, noisy = collected(["REFUEL"], noise=0.5)
    assert (clean.first == noisy.first).all()
    assert (noisy.reward - clean.reward).std() == pytest.approx(0.5, rel=0.05)


def test_the_loss_at_the_policy_that_wrote_the_data():
    """Section 2.8 (ii): with no change of log-ratios it is the mean of (eta dR)^2."""
    apart = torch.tensor([[1.5, -2.0, 0.5]])
    loss = methods.pair_loss(torch.zeros(1, 3), 2.0 * apart, torch.zeros(1, 1))
    assert loss.item() == pytest.approx(float((2.0 * apart).square().mean()))


def test_exchanging_the_two_answers_changes_nothing():
    delta, target = torch.randn(2, 50), torch.randn(2, 50)
    kinds = torch.tensor([[0.0], [0.5]])
    same = methods.pair_loss(delta, target, kinds)
    assert torch.allclose(methods.pair_loss(-delta, -target, kinds), same)


def test_dpo_with_beta_is_softplus_of_the_scaled_ratio():
    delta, apart, beta = torch.randn(1, 40), torch.randn(1, 40), 0.25
    loss = methods.pair_loss(delta, apart, torch.tensor([[1 / beta]]))
    chosen = delta * apart.sign()
    expected = -torch.nn.functional.logsigmoid(beta * chosen).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_advantages():
    n = np.array([1, 0])
    states = np.array([[[0, 1, 3], [0, 2, 3]], [[0, 2, 4], [0, 1, 5]]])
    reward = np.array([[3.0, 1.0], [1.0, 2.0]])
    rloo = methods.advantages("RLOO", n, states, reward, 6)
    assert rloo.tolist() == [[[2, 2, 0], [-1, 0, 0]], [[-2, -2, 0], [1, 0, 0]]]
    ppo = methods.advantages("PPO", n, states, reward, 6)
    assert ppo[0, 0, 0] == pytest.approx(3 - 7 / 4)
    assert (ppo[:, 1, 1:] == 0).all()
    # Turn 2 of the first pair: state 1 was passed by a reward of 3 alone, state 2 by 1 alone.
    assert ppo[0, 0, 1] == 0
    assert ppo[1, 0, 1] == 0


def test_the_clipped_loss_has_the_policy_gradient_at_its_start():
    change = torch.zeros(1, 4, 3, requires_grad=True)
    gain = torch.randn(1, 4, 3)
    loss = methods.clipped_loss(change, gain, torch.full((1, 1, 1), 0.2)).sum()
    assert torch.allclose(torch.autograd.grad(loss, change)[0], -gain / 4)


SMALL = ["--preset", "smoke", "--quiet"]


def curve_of(tmp_path, *extra):
    assert run(["refuel", "dialogue", *SMALL, "--out", str(tmp_path), *extra]) == 0
    return pd.read_csv(next(tmp_path.glob("refuel/dialogue/*/curve.csv")))


def test_a_deterministic_policy_ends_its_methods_and_keeps_the_last_policy(tmp_path):
    """Two answers that are always equal leave no pair: the method stops, and the run goes on."""
    curve = curve_of(
        tmp_path, "--contents", "2", "--topics", "1", "--horizon", "1", "--pairs", "32", "--lr",
        "1", "--strengths", "100", "--methods", "DPO-LT-ONLINE", "--iters", "8", "--steps", "100",
    )  # fmt: skip
    ended = curve[curve["ended"]]
    assert len(ended) > 0
    first = ended["iteration"].min()
    kept = curve[(curve["method"] != "base") & (curve["iteration"] >= first - 1)]
    assert kept["reward"].nunique() == 1


def test_a_method_alone_has_the_numbers_it_has_among_others(tmp_path):
    alone = curve_of(tmp_path / "1", "--methods", "REFUEL")
    among = curve_of(tmp_path / "2", "--methods", "REFUEL,REBEL-LT-OFFLINE")
    ours = among[among["method"] == "REFUEL"].reset_index(drop=True)
    theirs = alone[alone["method"] == "REFUEL"].reset_index(drop=True)
    assert np.allclose(ours["reward"], theirs["reward"], atol=1e-6)


def test_all_methods_of_a_seed_share_their_start(tmp_path):
    curve = curve_of(tmp_path)
    start = curve[curve["iteration"] == 0].groupby("turn")["reward"]
    assert (start.max() - start.min()).max() < 1e-6


def test_refusals(tmp_path, capsys):
    for flags, said in (
        (["--methods", "GRPO"], "is no method"),
        (["--p-clarify", "0.7", "--p-answer", "0.4"], "no chance for wrong answers"),
        (["--strengths", "1,1"], "expected distinct values"),
        (["--pairs", "1"], "--pairs"),
        (["--contents", "1"], "--contents"),
        (["--noise", "-1"], "--noise"),
        (["--horizon", "0"], "--horizon"),
    ):
        assert run(["refuel", "dialogue", *SMALL, "--out", str(tmp_path), *flags]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1
    assert run(["refuel", "theory", "--out", str(tmp_path), "--horizon", "2"]) == 2
    assert "forbids nothing" in capsys.readouterr().err
    assert common.methods_of(("PPO", "REFUEL")) == ("REFUEL", "PPO")


def test_swapped_labels_exchange_who_writes_the_beginnings():
    """A method that begins with the base policy gets what the same method online gets, and back."""
    _, true = collected(["REBEL-MT-MIXED", "REFUEL", "REBEL-LT-MIXED", "REBEL-LT-ONLINE"])
    _, swapped = collected(
        ["REBEL-MT-MIXED", "REFUEL", "REBEL-LT-MIXED", "REBEL-LT-ONLINE"], labels="swapped"
    )
    for here, there in ((0, 1), (1, 0), (2, 3), (3, 2)):
        for name in ("state", "first", "second"):
            assert (getattr(swapped, name)[here] == getattr(true, name)[there]).all()
        assert (swapped.reward[:, here] == true.reward[:, there]).all()
    assert (true.state[0] != true.state[1]).any()


def test_shuffled_rewards_are_the_same_rewards_without_a_tie_to_the_answers():
    _, true = collected(["REFUEL"], 20_000)
    _, shuffled = collected(["REFUEL"], 20_000, labels="shuffled")
    assert (true.first == shuffled.first).all()
    assert np.allclose(np.sort(true.reward.ravel()), np.sort(shuffled.reward.ravel()))
    apart = [each.reward[0] - each.reward[1] for each in (true, shuffled)]
    assert abs(np.corrcoef(*(each.ravel() for each in apart))[0, 1]) < 4.5 / np.sqrt(20_000)


def test_every_method_is_tuned_on_the_same_grid_with_as_many_judged_dialogues(tmp_path):
    """Each of the twelve methods is at each strength, and one of these is chosen for each."""
    curve = curve_of(tmp_path, "--strengths", "0.5,1,3")
    tuned = curve[curve["method"] != "base"]
    grids = tuned.groupby("method")["strength"].unique()
    assert set(grids.index) == set(METHODS)
    assert all(sorted(each) == [0.5, 1.0, 3.0] for each in grids)
    assert (tuned.groupby("method").size() == len(tuned) / len(METHODS)).all()
    chosen = tuned[tuned["chosen"] & tuned["last_iteration"] & tuned["last_turn"]]
    assert (chosen.groupby("method").size() == 1).all()
    last = tuned[tuned["last_iteration"] & tuned["last_turn"]]
    best = last.groupby("method")["reward"].max()
    assert np.allclose(chosen.set_index("method")["reward"].loc[best.index], best)


def test_every_method_learns_from_as_many_judged_dialogues():
    """2 N in an iteration: two of each pair, or N first messages with two dialogues each."""
    setting = common.setting_of(cli.Dialogue(pairs=64, iters=3), 4, 1.5)
    for name, method in METHODS.items():
        group = learn.WholeGroup if method.group == "whole" else learn.PairGroup
        pool = group([(method, 1.0)], setting).pool()[0]
        judged = pool.shape[1] * (1 if method.group == "whole" else 2)
        iterations = 3 if method.group == "offline" else 1  # its fixed data serve all iterations
        assert judged == 2 * 64 * iterations, name


@pytest.mark.parametrize("labels", ["shuffled", "swapped"])
def test_negative_controls(tmp_path, labels):
    """Six seeds of the game that the claims are tested on.

    shuffled: no method beats the base. Its gain is the mean over its strengths: the best of some
    strengths, chosen by the exact reward, would be positive by the choice alone.
    swapped: what is called REFUEL no longer beats what is called REBEL-MT-MIXED.
    """
    extra = ["--methods", "REFUEL,REBEL-MT-MIXED,DPO-LT-ONLINE,RLOO,PPO"]
    line = ["refuel", "dialogue", "--preset", "contract", "--repeats", "6", "--quiet", *extra]
    assert run([*line, "--labels", labels, "--out", str(tmp_path)]) == 0
    curve = pd.read_csv(next(tmp_path.glob("refuel/dialogue/*/curve.csv")))
    base = curve[(curve["method"] == "base") & curve["last_turn"]].set_index("repeat")["reward"]
    last = curve[curve["last_iteration"] & curve["last_turn"]]
    reward = last.pivot_table(index="repeat", columns="method", values="reward", aggfunc="mean")
    if labels == "swapped":
        assert (reward["REFUEL"] - reward["REBEL-MT-MIXED"]).mean() < 0
        return
    gain = reward.sub(base, axis=0)
    upper = gain.mean() + 2.57 * gain.std() / np.sqrt(6)  # Student t, 5 degrees of freedom, 95 %
    assert (gain.mean() < 0.15).all(), gain.mean()
    assert (upper < 0.3).all(), upper
