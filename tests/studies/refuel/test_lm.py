"""The trainer on language models: masks, loss, a run that learns, and plug-ins of the user."""

from __future__ import annotations

import re
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


def test_rewards_that_are_shuffled_teach_nothing(made, game):
    """The negative control on the trainer: a reward that does not depend on the answers."""
    rng = np.random.default_rng(3)
    settings = Settings(turns=2, pairs=32, steps=5, batch=8, tokens=4, evaluated=256)
    prompts = game.prompts()
    trainer = Refuel(*made, game.user, lambda messages: float(rng.normal()), prompts, settings)
    last = list(trainer.train(1))[-1]
    assert abs(last["win_rate"] - 50) < 15
