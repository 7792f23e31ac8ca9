"""The transformer policy: its law, its roll-outs, its steps, and many replicates at once."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from toolbox.app import run
from toolbox.studies.refuel import data, play, sequence, values
from toolbox.studies.refuel.data import Game
from toolbox.studies.refuel.learn import Setting
from toolbox.studies.refuel.methods import METHODS
from toolbox.studies.refuel.transformer import CapturedStep, Transformers, Words


def made(game: Game, members: int = 1, width: int = 16, layers: int = 2, scale: float = 8.0):
    """Transformers with large random weights, so that chances are far from uniform."""
    policies = Transformers(game, width, layers)
    rngs = [np.random.default_rng(i) for i in range(members)]
    policies.start(scale * torch.stack([policies.draw(rng) for rng in rngs]))
    return policies


def setting(**given: object) -> Setting:
    chosen: dict[str, object] = {
        "game": Game(3, 2, 2), "clarify": 0.25, "answer": 0.35, "iterations": 2, "pairs": 24,
        "steps": 3, "batch": 8, "rate": 0.01, "strengths": (1.0, 2.0), "policy": "transformer",
        "width": 16, "judge": "random", "noise": 0.0,
    }  # fmt: skip
    return Setting(**(chosen | given))  # type: ignore[arg-type]


class OneWorker:
    """Streams and loops of a worker, without a run."""

    device = "cpu"

    def rng(self, repeat: int, *name: str | int) -> np.random.Generator:
        key = [sum(map(ord, part)) if isinstance(part, str) else part for part in name]
        return np.random.default_rng([7, repeat, *key])

    def steps(self, count: int, *states: object, label: str = "") -> range:
        return range(count)

    def cells(self, items: range, label: str, *states: object) -> range:
        return items


def grouped(name: str, repeats: tuple[int, ...] = (0, 1), **given: object):
    """A group of one method after its first collection."""
    plan = sequence.Plan(setting(**given), (name,), repeats, 1, 16)
    world = sequence.World(OneWorker(), plan)  # type: ignore[arg-type]
    world.base.start(8.0 * torch.stack([world.base.draw(rng) for rng in world.rngs("initial")]))
    make = sequence.SequenceWhole if METHODS[name].group == "whole" else sequence.SequencePairs
    group = make([(METHODS[name], strength) for strength in plan.setting.strengths], world)
    group.policies.start(world.base.flat.detach().repeat_interleave(group.each, 0))
    group.collect_sequences(0)
    return group


def test_the_chances_of_all_dialogues_sum_to_one():
    game = Game(2, 1, 2)
    policies, words = made(game), Words(game)
    rows = []
    for first, second in itertools.product(range(4), repeat=2):
        answers = np.array([[[first, second]]])
        level = np.zeros((1, 1, 3), np.int16)
        made_up = data.Dialogues(level, answers, answers, answers == 0)
        rows.append(play.tokens_of(game, made_up, np.zeros((1, 2), int))[0, 0])
    chances = policies.chosen(torch.stack(rows)[None]).exp()[0]
    assert words.size == 1 + 3 + 1 + 2 + 2
    assert chances.prod(dim=1).sum().item() == pytest.approx(1.0, abs=1e-5)
    assert chances[:4, 1].sum().item() == pytest.approx(1.0, abs=1e-5)
    assert chances.std() > 0.05, "far from uniform, or the test would see little"


def test_rollouts_have_the_law_of_an_enumeration_of_all_dialogues():
    """The roll-out reads keys and values that it keeps; the enumeration reads whole dialogues."""
    game = Game(2, 2, 2, bonus=1.5)
    maps = data.draw_maps(np.random.default_rng(3), game)
    policies, words, count = made(game), Words(game), 10_000
    chance = play.Chance.draw([np.random.default_rng(0)], game, count, "cpu")
    found = play.law_of(game, play.play(policies, play.Right.of([maps], 1, "cpu"), chance))[0]
    expected = np.zeros((2, 3, 2))
    for topics in itertools.product(range(2), repeat=2):
        for answers in itertools.product(range(4), repeat=2):
            level, tokens, ends = 0, [0], []
            for h in range(2):
                state = (h * (h + 1) // 2 + level) * 2 + topics[h]
                kind, content = divmod(answers[h], 2)
                tokens += [words.level + level, words.topic + topics[h], words.type + kind,
                           words.content + content]  # fmt: skip
                right = answers[h] == maps.answer[state]
                if answers[h] == maps.clarify[state]:
                    level += 1
                elif not right:
                    level = max(level - 1, 0)
                ends.append((level, int(right)))
            chances = policies.chosen(torch.tensor([[tokens]]))[0, 0].exp().tolist()
            if answers[1] == 0:  # the first turn once for each first answer and topic pair
                expected[(0, *ends[0])] += chances[0] / 4
            expected[(1, *ends[1])] += chances[0] * chances[1] / 4
    assert np.allclose(expected.sum(axis=(1, 2)), 1.0, atol=1e-5)
    error = np.sqrt(expected * (1 - expected) / count) + 1e-6
    assert (abs(found - expected) < 4.5 * error).all()


def test_what_follows_a_turn_changes_nothing_before_it():
    game = Game(3, 2, 2)
    policies = made(game, 2)
    draw = torch.Generator().manual_seed(0)
    chance = play.Chance.draw([np.random.default_rng(0)] * 2, game, 50, "cpu")
    maps = data.draw_maps(np.random.default_rng(1), game)
    tokens = play.play(policies, play.Right.of([maps] * 2, 1, "cpu"), chance).tokens
    other = tokens.clone()
    other[..., 5:] = torch.randint(0, Words(game).size, other[..., 5:].shape, generator=draw)
    parts = [policies.logits(each[..., :-1])[:, :, :5] for each in (tokens, other)]
    assert torch.equal(parts[0][:, :, :4], parts[1][:, :, :4])
    assert policies.chosen(tokens).shape == (2, 50, 3)


def test_a_restart_keeps_the_beginning_and_nothing_else():
    game = Game(4, 3, 3)
    policies = made(game, 2)
    maps = data.draw_maps(np.random.default_rng(1), game)
    right = play.Right.of([maps] * 2, 1, "cpu")
    lucks = [play.Chance.draw([np.random.default_rng(i)] * 2, game, 300, "cpu") for i in range(2)]
    h = torch.from_numpy(np.random.default_rng(9).integers(4, size=(2, 300)))
    one = play.play(policies, right, lucks[0])
    two = play.play(policies, right, lucks[1], one.tokens, h)
    turn = torch.arange(4)
    before, until = turn < h[..., None], turn <= h[..., None]
    assert (one.answer == two.answer)[before].all()
    assert (one.state == two.state)[until].all()
    assert (one.answer != two.answer)[~before].float().mean() > 0.3
    again = play.play(policies, right, lucks[0], one.tokens, h)
    assert torch.equal(again.tokens, one.tokens)


@pytest.mark.parametrize("name", ["REFUEL", "DPO-MT-MIXED", "REBEL-LT-OFFLINE", "RLOO", "PPO"])
def test_a_step_and_a_roll_out_read_no_number_of_a_tensor(name):
    """On the device "meta" tensors have no numbers: reading one, as a wait for a GPU would be, is
    an error."""
    group = grouped(name)
    game = group.setting.game
    meta = Transformers(game, 16, 1, "meta")
    meta.start(group.policies.flat.detach())
    E, count = len(group.members), 24
    right = play.Right(*(torch.zeros(E, game.states, dtype=torch.int64, device="meta"),) * 2)
    chance = play.Chance(
        torch.zeros(E, count, 3, dtype=torch.int64, device="meta"),
        torch.zeros(E, count, 3, 2, device="meta"),
    )
    begin = torch.zeros(E, count, 13, dtype=torch.int64, device="meta")
    until = torch.zeros(E, count, dtype=torch.int64, device="meta")
    play.play(meta, right, chance, begin, until)
    for field, value in vars(group).items():
        if isinstance(value, torch.Tensor):
            setattr(group, field, value.to("meta"))
    group.policies = meta
    sequence.step_of(group)(torch.zeros(2, 8, device="meta"), torch.zeros((), device="meta"))
    with pytest.raises(RuntimeError):
        float(meta.flat.sum())


@pytest.mark.parametrize("name", ["DPO-MT-MIXED", "PPO"])
def test_a_step_recorded_once_and_replayed_is_the_step(name):
    """A CUDA graph replays recorded operations on new inputs. The same by torch's tracer on a CPU:
    batch, step size and number of steps must be inputs or state, not numbers of the first step."""
    plain, replayed = grouped(name), grouped(name)
    draw = torch.Generator().manual_seed(0)
    inputs = [(torch.rand(2, 8, generator=draw), torch.tensor(0.02 / (1 + i))) for i in range(4)]
    kept = [each.detach().clone() for each in replayed.policies.changing]
    recorded = make_fx(sequence.step_of(replayed))(*inputs[0])
    with torch.no_grad():
        for each, before in zip(replayed.policies.changing, kept, strict=True):
            each.copy_(before)
    step = sequence.step_of(plain)
    assert isinstance(step, CapturedStep)
    for given in inputs:
        step(*given)
        with torch.no_grad():
            recorded(*given)
    for ours, theirs in zip(plain.policies.changing, replayed.policies.changing, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    assert (plain.policies.flat - kept[0]).abs().max() > 1e-3


def test_the_loss_at_the_policy_that_wrote_the_data_and_of_exchanged_answers():
    group = grouped("REFUEL")
    uniform = torch.rand(2, 8, generator=torch.Generator().manual_seed(0))
    spread = uniform.repeat_interleave(group.each, 0)
    loss = group.batch_loss(spread).item()
    targets = group.target.gather(1, group.entries(spread))
    assert loss == pytest.approx(targets.square().mean(dim=1).sum().item(), rel=1e-4)
    assert loss > 0.1
    group.policies.step(group.batch_loss(spread), torch.tensor(0.05))  # away from that policy
    moved = group.batch_loss(spread).item()
    group.said[:] = group.said.flip(0)
    group.target *= -1
    group.old *= -1
    assert group.batch_loss(spread).item() == pytest.approx(moved, rel=1e-5)
    later = group.said.clone()
    words = Words(group.setting.game)
    for e in range(later.shape[1]):
        for i in range(int(group.valid[e])):
            end = 5 + 4 * int(group.turn[e, i])
            for place in range(end, words.length):
                token = (words.content, words.level, words.topic, words.type + 1)[place % 4]
                later[:, e, group.row[e, i], place] = token
    assert not torch.equal(later, group.said)
    group.said = later
    assert group.batch_loss(spread).item() == pytest.approx(moved, rel=1e-5)


def test_replicates_together_are_those_alone():
    names = ("REFUEL", "REBEL-LT-OFFLINE", "DPO-LT-MIXED", "PPO")
    plans = [sequence.Plan(setting(), names, repeats, 1, 64) for repeats in ((0, 1), (0,), (1,))]
    sequence_steps, sequence.SUPERVISED_STEPS = sequence.SUPERVISED_STEPS, 4
    try:
        both, first, second = (sequence.learn_sequences(OneWorker(), plan) for plan in plans)  # type: ignore[arg-type]
    finally:
        sequence.SUPERVISED_STEPS = sequence_steps
    for together, alone in zip(both, [*first, *second], strict=True):
        assert np.array_equal(together.law, alone.law)
        assert np.array_equal(together.base, alone.base)
        assert (together.ended == alone.ended).all()
    assert not np.array_equal(both[0].law, both[1].law)


def test_mixed_beginnings_are_the_base_policy_s_and_online_ones_are_not():
    """With labels swapped, what is written for REFUEL is written for REBEL-MT-MIXED."""
    kinds = {}
    for name, labels in (("REFUEL", "true"), ("REBEL-MT-MIXED", "true"), ("REFUEL", "swapped"),
                         ("REBEL-MT-MIXED", "swapped")):  # fmt: skip
        group = grouped(name, labels=labels)
        with torch.no_grad():  # a policy that is not the base policy
            group.policies.flat.copy_(group.policies.flat.flip(0))
        group.collect_sequences(1)
        kinds[name, labels] = group.said.clone()
    assert torch.equal(kinds["REFUEL", "true"], kinds["REBEL-MT-MIXED", "swapped"])
    assert torch.equal(kinds["REFUEL", "swapped"], kinds["REBEL-MT-MIXED", "true"])
    assert not torch.equal(kinds["REFUEL", "true"], kinds["REFUEL", "swapped"])


def test_the_command(tmp_path, capsys):
    line = ["refuel", "dialogue", "--preset", "smoke", "--quiet", "--out", str(tmp_path),
            "--policy", "transformer", "--layers", "1", "--methods", "REFUEL", "--strengths", "2",
            "--evaluated", "256"]  # fmt: skip
    assert run(line) == 0
    curve = pd.read_csv(next(tmp_path.glob("refuel/dialogue/*/curve.csv")))
    assert curve["reward"].between(0, 3 + 1.5).all()
    start = curve[(curve["iteration"] == 0) & (curve["method"] == "REFUEL")]
    assert (start["win_rate"] == 50).all()
    game = Game(3)
    maps = data.draw_maps(np.random.default_rng(0), game)
    law = values.reward_law(
        game, *values.chances(game, maps, data.base_policy(game, maps, 0.25, 0.35))
    )
    # Fitted for 400 steps, the base policy has nearly the value of the dialogues it was fitted to.
    assert np.allclose(start["reward"], values.expected(game, law)[0], atol=0.25)
    assert run([*line, "--width", "20"]) == 2
    assert "is no multiple of 16" in capsys.readouterr().err
    assert run([*line, "--width", "256", "--layers", "8", "--steps", "10000"]) == 2
    assert "hours" in capsys.readouterr().err
