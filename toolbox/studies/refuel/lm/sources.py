"""Where model, user, reward and first messages come from: the synthetic task, or your files."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolbox.core.errors import ParameterError, UsageError

from .chat import Message, padded, respond


def require_packages() -> None:
    """Errors: `UsageError` with the line that installs what is missing."""
    if not all(importlib.util.find_spec(each) for each in ("transformers", "peft")):
        raise UsageError("refuel lm needs transformers and peft; run: pip install 'toolbox[lm]'")


def checkpoint(folder: str) -> tuple[Any, Any]:
    """Model and tokenizer of a local folder; nothing is downloaded.

    Errors: `ParameterError` if it is no folder, or its tokenizer has no chat template.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not Path(folder).is_dir():
        raise ParameterError("model", folder, "is no folder", "give the folder of a checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if not tokenizer.chat_template:
        raise ParameterError("model", folder, "its tokenizer has no chat template", "add one")
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True), tokenizer


def with_adapters(model: Any, rank: int) -> Any:
    """The model with LoRA adapters of this rank on all linear layers."""
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        # peft asks transformers by names that newer versions call deprecated.
        warnings.simplefilter("ignore")
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
        return get_peft_model(model, config)


def plugin(field: str, given: str) -> Callable[..., Any]:
    """The function named by "FILE.py:function".

    Errors: `ParameterError` if the file or the function is missing.
    """
    path, _, name = given.rpartition(":")
    if not path.endswith(".py") or not Path(path).is_file():
        raise ParameterError(field, given, "names no file", "write FILE.py:function")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise ParameterError(field, given, f"{path} has no function {name}", "write its name")
    return function  # type: ignore[no-any-return]


def reward_of(given: str) -> Callable[[list[Message]], float]:
    """A reward: a function of a file, or the first score of a local sequence classifier."""
    if not Path(given).is_dir():
        return plugin("reward", given)
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(given, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(given, local_files_only=True).eval()

    def reward(messages: list[Message]) -> float:
        import torch

        text = tokenizer.apply_chat_template(messages, tokenize=False)
        ids, mask = padded([tokenizer(text)["input_ids"]], 0, False, model.device)
        with torch.no_grad():
            return float(model(input_ids=ids, attention_mask=mask).logits[0, 0])

    return reward


def user_of(given: str, tokens: int, seed: int) -> Callable[[list[Message]], str]:
    """A user: a function of a file, or a local causal model that plays the user.

    The model is shown the dialogue with the roles exchanged, so that it writes the next message.
    """
    if not Path(given).is_dir():
        return plugin("user", given)
    import torch

    model, tokenizer = checkpoint(given)
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    other = {"user": "assistant", "assistant": "user"}
    begin = {"role": "user", "content": "You are the user. Write your messages to the assistant."}

    def user(messages: list[Message]) -> str:
        turned = [{"role": other[each["role"]], "content": each["content"]} for each in messages]
        return respond(model, tokenizer, [[begin, *turned]], tokens, 1.0, generator)[0]

    return user


def first_messages(path: str) -> list[str]:
    """First messages of the dialogues of a JSON-lines file: {"messages": [{"role": ...}, ...]}.

    Errors: `ParameterError` naming the line whose roles do not alternate from the user's.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ParameterError(
            "dialogues", path, "cannot be read", "give a JSON-lines file"
        ) from None
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            messages = json.loads(line)["messages"]
            roles = [each["role"] for each in messages]
            text = str(messages[0]["content"])
        except (ValueError, KeyError, TypeError, IndexError):
            raise ParameterError(
                "dialogues", path, f'line {number} is no {{"messages": [...]}}', "correct it"
            ) from None
        if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
            raise ParameterError(
                "dialogues",
                path,
                f"line {number}: the roles do not alternate from user",
                "correct it",
            )
        found.append(text)
    if not found:
        raise ParameterError("dialogues", path, "holds no dialogue", "give one or more")
    return found
