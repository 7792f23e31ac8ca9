"""`tape hf-check`, `hf-convert`, `hf-finetune`: Llama checkpoints of `transformers`, all local."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor

from toolbox.core import compute, memory
from toolbox.core.errors import ParameterError, UsageError
from toolbox.core.run import Run

from . import corpus
from .flags import Checkpoint, HfCheck, HfConvert, HfFinetune
from .training import CLIP, Schedule

RANDOM = "random"
VOCAB = 256
"""Of the random checkpoint: bytes."""
SHIFT, PADDING = 7, 5
FACT = 1e-5
"""Largest difference that rounding explains, relative to the largest logit."""
BESIDE = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
          "generation_config.json")  # fmt: skip


def library() -> tuple[Any, Any]:
    """`transformers`, told to stay off the network and quiet, and the TAPE classes.

    Errors: `UsageError` where it is not installed.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        import transformers
    except ImportError:
        raise UsageError("this needs transformers: pip install 'toolbox[hf]'") from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    from . import hf_modeling

    return transformers, hf_modeling


def original(run: Run, p: Checkpoint, repeat: int) -> Any:
    """The Llama checkpoint, in float32, in evaluation mode.

    Errors: `ParameterError` when the source is no local directory of a Llama.
    """
    transformers, _ = library()
    if p.source == RANDOM:
        if 4 % p.kv_heads:
            raise ParameterError(
                "kv_heads", p.kv_heads, "does not divide 4 heads", "give 1, 2 or 4"
            )
        config = transformers.LlamaConfig(
            vocab_size=VOCAB, hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=p.kv_heads, intermediate_size=128,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        generator = run.torch_generator(repeat, "weights", device="cpu")
        with torch.no_grad():
            for name, weight in sorted(model.named_parameters()):
                if weight.dim() > 1:
                    # Queries and keys are large enough for positions to matter.
                    spread = 0.2 if "q_proj" in name or "k_proj" in name else 0.05
                    weight.normal_(0, spread, generator=generator)
        return model.eval()
    folder = Path(p.source)
    if not (folder / "config.json").is_file():
        raise ParameterError(
            "source", p.source, "is no directory with a config.json",
            "give a local checkpoint; names of a hub are not looked up",
        )  # fmt: skip
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    memory.need(5.0 * size, "the checkpoint and its copies", "source", p.source)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "llama":
            raise ValueError(f"it holds a {config.model_type}, not a llama")
        model = transformers.LlamaForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ParameterError("source", p.source, reason, "give a Llama checkpoint") from None
    return model.eval()


def converted(run: Run, p: Checkpoint, base: Any, repeat: int) -> Any:
    """The TAPE model that computes what `base` does; new weights as in `Update.reset`."""
    _, modeling = library()
    settings = base.config.to_dict()
    for name in ("model_type", "architectures", "transformers_version"):
        settings.pop(name, None)
    config = modeling.TapeLlamaConfig(tape_position_size=p.position_size, **settings)
    config.auto_map = {
        "AutoConfig": "modeling_tape.TapeLlamaConfig",
        "AutoModelForCausalLM": "modeling_tape.TapeLlamaForCausalLM",
    }
    model = modeling.TapeLlamaForCausalLM(config)
    model.load_state_dict(base.state_dict(), strict=False)
    generator = run.torch_generator(repeat, "tape", device="cpu")
    with torch.no_grad():
        for update in model.tape:
            for weight in (update.w_d, update.w_x):
                weight.normal_(0, config.initializer_range, generator=generator)
    return model.eval()


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


def check(run: Run, p: HfCheck) -> None:
    """One row per fact."""
    with compute.one_thread(), torch.no_grad():
        for repeat in run.replicates():
            base = original(run, p, repeat)
            generator = run.torch_generator(repeat, "tokens", device="cpu")
            tokens = torch.randint(base.config.vocab_size, (2, p.length), generator=generator)
            model = converted(run, p, base, repeat)
            logits = base(tokens).logits
            rows = {"start": _relative(model(tokens).logits, logits)}
            for weight in model.tape.parameters():
                weight.normal_(0, p.spread, generator=generator)
            rows |= facts(model, tokens)
            rows["moved"] = _relative(model(tokens).logits, logits)
            for name, value in rows.items():
                passed = value > 1e-3 if name == "moved" else value <= FACT
                run.write("checks", {"check": name, "value": value, "passed": passed}, repeat)


def facts(model: Any, tokens: Tensor) -> dict[str, float]:
    """Differences that must vanish for any weights."""
    full = model(tokens).logits
    at = torch.arange(tokens.shape[1])[None]
    differences = {"shift": _relative(model(tokens, position_ids=at + SHIFT).logits, full)}
    mask = torch.ones_like(tokens)
    mask[0, :PADDING] = 0
    places = (mask.cumsum(1) - 1).clamp(min=0)
    padded = model(tokens, attention_mask=mask, position_ids=places).logits
    alone = model(tokens[:1, PADDING:]).logits
    differences["padding"] = _relative(padded[:1, PADDING:], alone)
    cache, steps = None, []
    for n in range(tokens.shape[1]):
        out = model(tokens[:, n : n + 1], cache=cache, use_cache=True)
        cache = out.cache
        steps.append(out.logits)
    differences["cache"] = _relative(torch.cat(steps, dim=1), full)
    prompt = {"input_ids": tokens[:, :8], "attention_mask": torch.ones_like(tokens[:, :8])}
    how = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    with_cache = model.generate(**prompt, **how, use_cache=True)
    without = model.generate(**prompt, **how, use_cache=False)
    same = with_cache.shape == without.shape and bool((with_cache == without).all())
    differences["generate"] = 0.0 if same else 1.0
    with saved(model) as folder:
        again = type(model).from_pretrained(folder, local_files_only=True).eval()
        differences["reload"] = _relative(again(tokens).logits, full)
    return differences


@contextlib.contextmanager
def saved(model: Any) -> Iterator[Path]:
    """A temporary directory with the model, and the file that lets `transformers` load it alone."""
    _, modeling = library()
    with tempfile.TemporaryDirectory() as name:
        model.save_pretrained(name)
        folder = Path(name)
        shutil.copy(str(modeling.__file__), folder / "modeling_tape.py")
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config["auto_map"] = model.config.auto_map
        path.write_text(json.dumps(config, indent=2) + "\n")
        yield folder


def convert(run: Run, p: HfConvert) -> None:
    """The checkpoint of the first replicate, and what it has."""
    for repeat in run.replicates():
        with compute.one_thread(), torch.no_grad():
            base = original(run, p, repeat)
            model = converted(run, p, base, repeat)
            generator = run.torch_generator(repeat, "tokens", device="cpu")
            tokens = torch.randint(base.config.vocab_size, (2, p.length), generator=generator)
            logits = base(tokens).logits
            row = {
                "difference": _relative(model(tokens).logits, logits),
                "largest_logit": float(logits.abs().max()),
            }
            for part, module in (("Llama", base), ("added by TAPE", model.tape)):
                size = sum(weight.numel() for weight in module.parameters())
                run.write("converted", {"part": part, "parameters": size, **row}, repeat)
            if repeat:
                continue
            with saved(model) as folder:
                for path in sorted(folder.iterdir()):
                    publish(run, path)
            for name in BESIDE:
                if p.source != RANDOM and (Path(p.source) / name).is_file():
                    publish(run, Path(p.source) / name)


def publish(run: Run, path: Path) -> None:
    """Put a file into the run's folder, unless it is there already."""
    if path.name not in run.manifest.get("files", {}):
        with run.file(path.name) as target:
            shutil.copy(path, target)


def ids_of(p: HfFinetune, vocab: int) -> np.ndarray:
    """The text as ids: by the checkpoint's own tokenizer, or bytes where it has none."""
    transformers, _ = library()
    text = corpus.read(p.text)
    if p.source != RANDOM and any((Path(p.source) / name).is_file() for name in BESIDE[:2]):
        tokenizer = transformers.AutoTokenizer.from_pretrained(p.source, local_files_only=True)
        ids = np.asarray(tokenizer(text)["input_ids"])
    else:
        ids = np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int64)
    if ids.size and ids.max() >= vocab:
        raise ParameterError(
            "source", p.source, f"has {vocab} tokens and no tokenizer; the text has other bytes",
            "put its tokenizer.json beside the checkpoint",
        )  # fmt: skip
    if ids.size * 0.08 < 2 * p.length:
        raise ParameterError("text", p.text, "is too short for windows", "lower the length")
    return np.asarray(ids)


def finetune(run: Run, p: HfFinetune) -> None:
    """Perplexity before and after, with TAPE's matrices and without, on the same batches."""
    pairs = 40.0 * p.batch * p.length * (p.length * 4 + 64 * 30)
    memory.need(pairs, "the activations of a step", "batch", p.batch)
    with compute.one_thread():
        _finetune(run, p)


def _finetune(run: Run, p: HfFinetune) -> None:
    for repeat in run.replicates():
        base = original(run, p, repeat)
        if p.factor != 1:
            base.config.rope_parameters = {
                **(base.config.rope_parameters or {}), "rope_type": "linear", "factor": p.factor,
            }  # fmt: skip
            weights = base.state_dict()
            base = type(base)(base.config)
            base.load_state_dict(weights)
        ids = ids_of(p, base.config.vocab_size)
        cut = int(0.92 * ids.size)
        rows = corpus.ending(ids[cut:], p.tests, p.length, p.length)
        for method in run.cells(("embnorm", "tape"), "methods"):
            model = converted(run, p, base, repeat).to(run.device)
            before = copy.deepcopy(model.state_dict())
            for name, weight in model.named_parameters():
                of_tape = name.startswith("tape.") and method == "tape"
                weight.requires_grad_(of_tape or "embed" in name or "norm" in name)
            trained = [weight for weight in model.parameters() if weight.requires_grad]
            optimiser = torch.optim.AdamW(trained, p.lr, weight_decay=0.0)
            schedule = Schedule(p.steps, min(20, 1 + p.steps // 4), 0.5, 0.05)
            rng = run.rng(repeat, "batches")
            first = perplexity(model, rows, run.device)
            for step in run.steps(p.steps, model, optimiser, rng):
                tokens = torch.from_numpy(corpus.windows(rng, ids[:cut], p.batch, p.length))
                loss = mean_loss(model, tokens.to(run.device))
                run.check_finite(loss, f"the loss of {method} at step {step + 1}")
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                torch.nn.utils.clip_grad_norm_(trained, CLIP)
                for group in optimiser.param_groups:
                    group["lr"] = p.lr * schedule(step)
                optimiser.step()
            frozen = [
                float((weight - before[name]).abs().max())
                for name, weight in model.named_parameters() if not weight.requires_grad
            ]  # fmt: skip
            last = perplexity(model, rows, run.device)
            for moment, value in (("before", first), ("after", last)):
                row = {"method": method, "moment": moment, "ppl": value}
                row |= {"trained": sum(weight.numel() for weight in trained)}
                run.write("perplexity", {**row, "frozen_change": max(frozen)}, repeat)
            if method == "tape" and repeat == 0:
                with saved(model.cpu()) as folder:
                    for path in sorted(folder.iterdir()):
                        publish(run, path)


def mean_loss(model: Any, tokens: Tensor) -> Tensor:
    """Mean cross-entropy of the next token."""
    logits = model(tokens[:, :-1]).logits
    return fn.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def perplexity(model: Any, rows: np.ndarray, device: str) -> float:
    """Perplexity over windows."""
    parts = [torch.from_numpy(rows[i : i + 8]).to(device) for i in range(0, len(rows), 8)]
    total = sum(float(mean_loss(model, part)) * len(part) for part in parts)
    return math.exp(total / len(rows))
