"""A synthetic task for a tiny model: the guided dialogue in words, its model and its tokenizer.

The user says "level 1 topic 0"; the assistant answers "clarify 2" or "answer 0". The rules are
those of `refuel.data`, with the right answers drawn from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data import Game, Maps, base_policy, cumulative, draw_luck, draw_maps, roll
from .chat import Message, encode, padded

TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '> ' + m['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant> ' }}{% endif %}"
)


@dataclass
class WordGame:
    """The game, its right answers, and the stream of topics that the user draws from."""

    game: Game
    maps: Maps
    topics: np.random.Generator

    @classmethod
    def draw(cls, game: Game, rng: np.random.Generator, topics: np.random.Generator) -> WordGame:
        """A game with right answers of its own."""
        return cls(game, draw_maps(rng, game), topics)

    def prompts(self) -> list[str]:
        """All first messages."""
        return [f"level 0 topic {k}" for k in range(self.game.topics)]

    def after(self, messages: list[Message]) -> tuple[int, bool]:
        """Level after a dialogue that ends with a response, and whether that earned the bonus."""
        level, right = 0, False
        for h in range(len(messages) // 2):
            topic = int(messages[2 * h]["content"].split()[-1])
            state = self.game.pair(h, level) * self.game.topics + topic
            answer = self.number(messages[2 * h + 1]["content"])
            right = answer == self.maps.answer[state]
            if answer == self.maps.clarify[state]:
                level += 1
            elif not right:
                level = max(level - 1, 0)
        return level, right

    def number(self, text: str) -> int:
        """Number of an answer; -1 for anything else, which counts as wrong."""
        words = text.split()
        if len(words) != 2 or words[0] not in ("clarify", "answer") or not words[1].isdecimal():
            return -1
        return int(words[1]) + self.game.contents * (words[0] == "answer")

    def user(self, messages: list[Message]) -> str:
        """The next message: the level reached, and a new topic."""
        return f"level {self.after(messages)[0]} topic {self.topics.integers(self.game.topics)}"

    def reward(self, messages: list[Message]) -> float:
        """Level plus the bonus of the last turn."""
        level, right = self.after(messages)
        return level + self.game.bonus * right

    def dialogues(self, count: int, clarify: float, answer: float) -> list[list[Message]]:
        """Supervised dialogues."""
        game = self.game
        table = cumulative(base_policy(game, self.maps, clarify, answer))[None]
        luck = draw_luck(self.topics, game, count)
        made = roll(game, self.maps, table, luck, np.zeros((1, 1, 1), int))
        written = []
        for i in range(count):
            messages: list[Message] = []
            for h in range(game.horizon):
                said, content = divmod(int(made.answer[0, i, h]), game.contents)
                shown = f"level {made.level[0, i, h]} topic {luck.topics[i, h]}"
                messages.append({"role": "user", "content": shown})
                word = ("clarify", "answer")[said]
                messages.append({"role": "assistant", "content": f"{word} {content}"})
            written.append(messages)
        return written


def tokenizer_of(game: Game) -> Any:
    """A tokenizer of whole words, made here: no file, no download."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<end>", "<user>", "<assistant>", "level", "topic", "clarify", "answer"]
    words += [str(n) for n in range(max(game.horizon + 1, game.topics, game.contents))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    make: Any = PreTrainedTokenizerFast
    tokenizer = make(tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def model_of(tokenizer: Any, width: int, layers: int, seed: int) -> Any:
    """A small Llama with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=layers, num_attention_heads=4, max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def supervised_rows(
    tokenizer: Any, dialogues: list[list[Message]]
) -> list[tuple[list[int], list[int]]]:
    """Tokens of each dialogue, and which of them are the assistant's."""
    rows = []
    for messages in dialogues:
        ids, _ = encode(tokenizer, messages)
        mark = [0] * len(ids)
        for end in range(2, len(messages) + 1, 2):
            part, start = encode(tokenizer, messages[:end])
            mark[start : len(part)] = [1] * (len(part) - start)
        rows.append((ids, mark))
    return rows


def supervised_loss(
    model: Any, tokenizer: Any, rows: list[tuple[list[int], list[int]]]
) -> torch.Tensor:
    """Cross entropy of the assistant's tokens, their mean."""
    ids, mask = padded([ids for ids, _ in rows], tokenizer.pad_token_id, False, model.device)
    chosen = padded([mark for _, mark in rows], 0, False, model.device)[0][:, 1:]
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    logs = torch.log_softmax(logits.float(), dim=2).gather(2, ids[:, 1:, None])[..., 0]
    return -(logs * chosen).sum() / chosen.sum()
