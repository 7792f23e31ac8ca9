"""The trainer on language models: masks, loss, a run that learns, and plug-ins of the user."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

pytest.importorskip("transformers")
pytest.importorskip("peft")

from toolbox.app import run
from toolbox.core.errors import ParameterError, ToolboxError
from toolbox.studies.refuel.data import Game
from toolbox.studies.refuel.lm import Refuel, Settings, chat, sources, words
from toolbox.studies.refuel.lm.trainer import Pair

CHATML = (
    "{% for m in messages %}{{ '<user> ' + m['role'] + ' ' + m['content'] + ' <end> level ' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<user> assistant ' }}{% endif %}"
)
"""Like ChatML: one header for both roles, and a token after the end of each message."""
TALK = [
    {"role": "user", "content": "level 0 topic 1"},
    {"role": "assistant", "content": "clarify 2"},
    {"role": "user", "content": "level 1 topic 0"},
    {"role": "assistant", "content": "answer 1"},
]


@pytest.fixture
def game():
    rng = np.random.default_rng
    return words.WordGame.draw(Game(2, 2, 3), rng(0), rng(1))


@pytest.fixture
def made(game):
    tokenizer = words.tokenizer_of(game.game)
    return words.model_of(tokenizer, 32, 1, 0).eval(), tokenizer


def trainer_of(made, game, **settings):
    model, tokenizer = made
    chosen = {"turns": 2, "pairs": 16, "steps": 5, "batch": 8, "tokens": 4, "evaluated": 8}
    return Refuel(
        model, tokenizer, game.user, game.reward, game.prompts(), Settings(**chosen | settings)
    )


@pytest.mark.parametrize("template", [words.TEMPLATE, CHATML], ids=["plain", "chatml"])
def test_the_mask_covers_exactly_the_response_and_its_end(made, template):
    tokenizer = made[1]
    tokenizer.chat_template = template
    for end, said in ((2, "clarify 2"), (4, "answer 1")):
        ids, start = chat.encode(tokenizer, TALK[:end])
        assert tokenizer.decode(ids[start:]) == f"{said} <end>"
        assert ids[:start] == chat.prompt_ids(tokenizer, TALK[: end - 1])


def test_a_template_that_rewrites_earlier_messages_is_refused(made):
    tokenizer = made[1]
    tokenizer.chat_template = "{{ messages | length }} level {{ messages[-1]['content'] }} <end>"
    with pytest.raises(ToolboxError, match="changes earlier messages"):
        chat.encode(tokenizer, TALK)


def test_the_log_probability_is_that_of_the_tokens_one_by_one(made):
    model, tokenizer = made
    ids, start = chat.encode(tokenizer, TALK)
    other = chat.encode(tokenizer, TALK[:2])
    found = chat.response_log_probability(model, [(ids, start), other], tokenizer.pad_token_id, 0.8)
    by_hand = 0.0
    for place in range(start, len(ids)):
        logits = model(input_ids=torch.tensor([ids[:place]])).logits[0, -1] / 0.8
        by_hand += torch.log_softmax(logits, dim=0)[ids[place]].item()
    assert found[0].item() == pytest.approx(by_hand, abs=1e-4)


def test_what_follows_the_response_changes_nothing(made):
    model, tokenizer = made
    longer = [*TALK[:3], {"role": "assistant", "content": "clarify 0"}]
    rows = [chat.encode(tokenizer, each[:2]) for each in (TALK, longer)]
    assert rows[0] == rows[1]
    assert model.training is False


def test_sampling_has_the_models_law(made):
    """The first token of many responses against the softmax of the logits, with left padding."""
    model, tokenizer = made
    short, long = [TALK[0]], TALK[:3]
    draw = torch.Generator().manual_seed(0)
    said = chat.respond(model, tokenizer, [short, long] * 1500, 1, 1.0, draw)
    for offset, messages in ((0, short), (1, long)):
        ids = chat.prompt_ids(tokenizer, messages)
        law = torch.softmax(model(input_ids=torch.tensor([ids])).logits[0, -1], dim=0)
        for token in ("clarify", "answer", "0"):
            chance = law[tokenizer.convert_tokens_to_ids(token)].item()
            share = np.mean([text == token for text in said[offset::2]])
            assert abs(share - chance) < 4.5 * np.sqrt(chance / 1500)


def test_the_loss_at_the_policy_that_wrote_the_pairs(made, game):
    trainer = trainer_of(made, game, eta=2.0)
    pairs = trainer.collect(0, 0, 16)
    assert pairs
    expected = np.mean([(2.0 * pair.apart) ** 2 for pair in pairs])
    assert trainer.loss(pairs).item() == pytest.approx(expected, abs=1e-5)
    turned = [Pair(p.second, p.first, p.start, -p.apart, -p.old) for p in pairs]
    assert trainer.loss(turned).item() == pytest.approx(expected, abs=1e-5)


def test_fifty_steps_fit_eight_pairs(made, game):
    trainer = trainer_of(made, game, steps=50, batch=8, rate=2e-2, eta=1.0)
    chosen = trainer.collect(0, 0, 16)[:8]
    for i, pair in enumerate(chosen):  # a model without training earns nothing by itself
        pair.apart = 1.5 * (-1) ** i
    first = trainer.loss(chosen).item()
    optimizer, rng = trainer.optimizer(), np.random.default_rng(0)
    for step in range(50):
        trainer.step(optimizer, chosen, step, rng)
    assert trainer.loss(chosen).item() < 0.01 * first


def test_adapters_alone_move_and_the_start_stays(made, game):
    model, tokenizer = made
    adapted = sources.with_adapters(model, 4)
    trainer = trainer_of((adapted, tokenizer), game, rate=1e-2)
    # An untrained model may earn nothing in the game in so few dialogues; this reward always moves.
    trainer.reward = lambda messages: float(len(messages[-1]["content"]))
    frozen = {n: p.clone() for n, p in adapted.named_parameters() if not p.requires_grad}
    history = list(trainer.train(1))
    assert [row["iteration"] for row in history] == [0, 1]
    assert all(torch.equal(p, frozen[n]) for n, p in adapted.named_parameters() if n in frozen)
    pairs = trainer.collect(5, 0, 16)
    assert trainer.divergence(pairs) != 0.0
    with adapted.disable_adapter():
        assert trainer.divergence(pairs) == pytest.approx(0.0, abs=1e-6)


def test_a_run_on_a_tiny_model_wins_more_and_more(tmp_path):
    assert run(["refuel", "lm", "--preset", "contract", "--repeats", "1", "--quiet",
                "--out", str(tmp_path)]) == 0  # fmt: skip
    rows = pd.read_csv(next(tmp_path.glob("refuel/lm/*/progress.csv")))
    assert rows["win_rate"].iloc[0] == 50
    assert rows["win_rate"].iloc[-1] > 55


def test_the_lines_of_the_docs_run_as_they_stand(made, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[3] / "docs" / "refuel-trainer.md"
    (lines,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    model, tokenizer = made
    model.save_pretrained(tmp_path / "my-model")
    tokenizer.save_pretrained(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    exec(compile(lines, str(page), "exec"), {})
    assert (tmp_path / "my-model-refuel" / "config.json").is_file()
    assert float(capsys.readouterr().out.split()[-1]) > 55


def test_your_own_model_user_and_reward_on_the_command_line(made, tmp_path):
    model, tokenizer = made
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "mine.py").write_text(
        "def user(messages):\n    return 'level 0 topic 1'\n"
        "def reward(messages):\n    return float('clarify' in messages[-1]['content'])\n"
    )
    (tmp_path / "first.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "level 0"}]}\n'
    )
    line = ["refuel", "lm", "--preset", "smoke", "--quiet", "--out", str(tmp_path / "out")]
    line += ["--model", str(tmp_path / "model"), "--dialogues", str(tmp_path / "first.jsonl")]
    line += ["--user", f"{tmp_path}/mine.py:user", "--reward", f"{tmp_path}/mine.py:reward"]
    assert run([*line, "--lora-r", "2"]) == 0
    rows = pd.read_csv(next(tmp_path.glob("out/refuel/lm/*/progress.csv")))
    assert rows["reward"].between(0, 1).all()


def test_what_cannot_work_is_refused(tmp_path, capsys, made, game):
    bad = tmp_path / "bad.jsonl"
    for text, said in (
        ('{"messages": [{"role": "assistant", "content": "a"}]}', "line 1: the roles do not"),
        ("{}", "line 1 is no"),
        ("", "holds no dialogue"),
    ):
        bad.write_text(text)
        with pytest.raises(ParameterError, match=re.escape(said)):
            sources.first_messages(str(bad))
    with pytest.raises(ParameterError, match="names no file"):
        sources.plugin("reward", "nowhere.py:reward")
    with pytest.raises(ParameterError, match="is not positive"):
        trainer_of(made, game, eta=0.0)
    with pytest.raises(ParameterError, match="no first message"):
        Refuel(*made, game.user, game.reward, [])
    for flags, said in (
        (["--model", "nowhere"], "--user"),
        (["--reward", "x.py:f"], "--reward"),
        (["--width", "20"], "multiple of 8"),
    ):
        assert run(["refuel", "lm", "--out", str(tmp_path), *flags]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.strip().splitlines()) == 1


def test_when_all_answers_are_equal_the_model_stays_as_it_is(made, game, monkeypatch):
    model, tokenizer = made
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = trainer_of((model, tokenizer), game)
    monkeypatch.setattr(
        "toolbox.studies.refuel.lm.trainer.respond",
        lambda model, tokenizer, dialogues, *_: ["answer 1"] * len(dialogues),
    )
    history = list(trainer.train(2))
    assert [row["pairs"] for row in history] == [0, 0, 0]
    assert all(np.isnan(row["loss"]) for row in history)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_rewards_that_are_shuffled_teach_nothing(made, game):
    """The negative control on the trainer: a reward that does not depend on the answers."""
    rng = np.random.default_rng(3)
    settings = Settings(turns=2, pairs=32, steps=5, batch=8, tokens=4, evaluated=256)
    prompts = game.prompts()
    trainer = Refuel(*made, game.user, lambda messages: float(rng.normal()), prompts, settings)
    last = list(trainer.train(1))[-1]
    assert abs(last["win_rate"] - 50) < 15


SCRIPT = """
import sys
import numpy as np
import torch
torch.set_num_threads(1)
from accelerate import Accelerator
from toolbox.studies.refuel.data import Game
from toolbox.studies.refuel.lm import Refuel, Settings, words

accelerator = Accelerator(cpu=True) if sys.argv[2] == "accelerate" else None
rng = np.random.default_rng
game = words.WordGame.draw(Game(2, 2, 3), rng(0), rng(1))
tokenizer = words.tokenizer_of(game.game)
model = words.model_of(tokenizer, 16, 1, 0)


def user(messages):  # of the messages alone, so that it does not matter which process asks
    return f"level {game.after(messages)[0]} topic {len(str(messages)) % 2}"


# 11 pairs in 3 parts for 2 processes, and batches of 5: no share is equal to another.
settings = Settings(turns=2, pairs=11, steps=4, batch=5, rate=0.01, tokens=4, chunk=4, evaluated=9)
trainer = Refuel(model, tokenizer, user, game.reward, game.prompts(), settings, 3, accelerator)
history = list(trainer.train(2))
if trainer.rank == 0:
    torch.save((history, model.state_dict(), trainer.processes), sys.argv[1])
if accelerator is not None:
    accelerator.end_training()
"""


def results_here(folder: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> tuple:
    """What the script came to in this process."""
    monkeypatch.setattr(sys, "argv", ["train.py", str(folder / how), how])
    exec(compile(SCRIPT, "train.py", "exec"), {})
    return torch.load(folder / how, weights_only=False)


def results_of_two(folder: Path) -> tuple:
    """What the script came to in two processes that talk to each other by gloo."""
    script, out = folder / "train.py", folder / "two"
    script.write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = []
    for rank in ("0", "1"):  # with what `accelerate launch` sets
        env = {
            **os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "WORLD_SIZE": "2",
            "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
        line = [sys.executable, str(script), str(out), "accelerate"]
        started.append(subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True))
    for each in started:
        _, error = each.communicate(timeout=200)
        assert each.returncode == 0, error
    return torch.load(out, weights_only=False)


def test_one_and_two_processes_of_accelerate_learn_what_one_without_it_learns(
    tmp_path, monkeypatch
):
    state = pytest.importorskip("accelerate.state")
    plain, weights, _ = results_here(tmp_path, "alone", monkeypatch)
    assert [row["iteration"] for row in plain] == [0, 1, 2]
    one = results_here(tmp_path, "accelerate", monkeypatch)
    state.AcceleratorState._reset_state(reset_partial_state=True)
    for processes, result in ((1, one), (2, results_of_two(tmp_path))):
        found, theirs, number = result
        assert number == processes
        assert [row["pairs"] for row in found] == [row["pairs"] for row in plain]
        for ours, other in zip(found, plain, strict=True):
            assert ours == pytest.approx(other, rel=1e-4, nan_ok=True)
        for name, value in weights.items():
            assert torch.allclose(theirs[name], value, atol=1e-4 if processes > 1 else 1e-6), name


def test_killed_half_way_it_goes_on_and_comes_to_the_same(tmp_path, stop_at, capsys):
    """Stopped at each of several boundaries in turn: in the supervised steps, while collecting,
    in the steps of an iteration and at an evaluation. The tables are those of an unstopped run."""
    line = ["refuel", "lm", "--preset", "smoke", "--quiet", "--out"]
    assert run([*line, str(tmp_path / "whole")]) == 0
    stops = 0
    for boundary in (5, 17, 4, 3, 3):
        stop_at(boundary)
        code = run([*line, str(tmp_path / "parts")])
        assert code == 75, capsys.readouterr().err
        stops += 1
        assert not list(tmp_path.glob("parts/refuel/lm/*/progress.csv"))
    stop_at(None)
    assert run([*line, str(tmp_path / "parts")]) == 0
    (whole,), (parts,) = (sorted(tmp_path.glob(f"{n}/refuel/lm/*")) for n in ("whole", "parts"))
    for name in ("progress.csv", "turns.csv"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    assert len(json.loads((parts / "run.json").read_text())["resumed"]) == stops
