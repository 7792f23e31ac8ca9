"""From chat messages to tokens and to the mask of one response; sampling of responses."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from toolbox.core.errors import ToolboxError

Message = dict[str, str]


def prompt_ids(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Tokens of messages that end with the user's, with the header of the assistant's turn."""
    return _template(tokenizer, messages, True)


def encode(tokenizer: Any, messages: list[Message]) -> tuple[list[int], int]:
    """Tokens of messages that end with a response, and where the response begins.

    The response ends with its first end-of-sequence token, as the model wrote it; what a template
    puts after it is cut off.

    Errors: `ToolboxError` if the chat template rewrites what comes before the response.
    """
    before = prompt_ids(tokenizer, messages[:-1])
    ids = _template(tokenizer, messages, False)
    if ids[: len(before)] != before:
        raise ToolboxError(
            "The tokenizer's chat template changes earlier messages when a response is added, so "
            "that the response's tokens cannot be told; use a template that only appends."
        )
    end = tokenizer.eos_token_id
    if end in ids[len(before) :]:
        ids = ids[: len(before) + ids[len(before) :].index(end) + 1]
    return ids, len(before)


def _template(tokenizer: Any, messages: list[Message], begin: bool) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=begin)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def padded(rows: list[list[int]], pad: int, left: bool, device: Any) -> tuple[Tensor, Tensor]:
    """Token rows of different length, (B, L), and which of them are real, (B, L)."""
    length = max(map(len, rows))
    ids = torch.full((len(rows), length), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(length - len(row), length) if left else slice(0, len(row))
        ids[i, where], mask[i, where] = torch.tensor(row), 1
    return ids.to(device), mask.to(device)


def response_log_probability(
    model: Any, rows: list[tuple[list[int], int]], pad: int, temperature: float
) -> Tensor:
    """Sum of the log-probabilities of each response's tokens, (B,).

    rows : tokens cut after the response, and where it begins. Later turns are not among them.
    """
    device = next(model.parameters()).device
    ids, mask = padded([each for each, _ in rows], pad, False, device)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float() / temperature
    logs = torch.log_softmax(logits, dim=2).gather(2, ids[:, 1:, None])[..., 0]
    begin = torch.tensor([start for _, start in rows], device=ids.device)[:, None]
    position = torch.arange(1, ids.shape[1], device=ids.device)
    return (logs * ((position >= begin) & (mask[:, 1:] == 1))).sum(dim=1)


def cache_name(model: Any) -> str:
    """How this version of transformers calls the keys and values of earlier tokens."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(base.forward).parameters else "past_key_values"


@torch.no_grad()
def respond(
    model: Any,
    tokenizer: Any,
    dialogues: list[list[Message]],
    most: int,
    temperature: float,
    generator: torch.Generator,
) -> list[str]:
    """One sampled response to each dialogue, all in one batch.

    most : tokens of a response at most, the end-of-sequence token included
    """
    rows = [prompt_ids(tokenizer, messages) for messages in dialogues]
    ids, mask = padded(rows, tokenizer.pad_token_id, True, model.device)
    name = cache_name(model)
    cache, said = None, torch.empty(len(rows), 0, dtype=torch.long, device=ids.device)
    going = torch.ones(len(rows), dtype=torch.bool, device=ids.device)
    for _ in range(most):
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        out = model(
            input_ids=ids, attention_mask=mask, position_ids=places, use_cache=True,
            **{name: cache},
        )  # fmt: skip
        cache = getattr(out, name)
        chances = torch.softmax(out.logits[:, -1].float() / temperature, dim=1)
        ids = torch.multinomial(chances, 1, generator=generator)
        ids = torch.where(going[:, None], ids, tokenizer.pad_token_id)
        said = torch.cat([said, ids], dim=1)
        going &= ids[:, 0] != tokenizer.eos_token_id
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        if not going.any():
            break
    return [text.strip() for text in tokenizer.batch_decode(said, skip_special_tokens=True)]
