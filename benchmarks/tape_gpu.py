"""A training step of RoPE and TAPE, fast and literal, and of `transformers`' Llama, on one GPU.

The paper's shape (12 layers, 768 wide, 12 heads, length 1024) in bfloat16:

    python benchmarks/tape_gpu.py            # three minutes at most
    python benchmarks/tape_gpu.py --cpu      # a tiny shape, to try the script
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as fn

from toolbox.studies.tape.model import Decoder, Shape


def llama(vocab: int, dim: int, layers: int, heads: int, ffn: int) -> torch.nn.Module | None:
    """The Llama of `transformers`, where it is installed."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        return None
    config = LlamaConfig(
        vocab_size=vocab, hidden_size=dim, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=ffn, max_position_embeddings=4096, use_cache=False,
    )  # fmt: skip
    found = LlamaForCausalLM(config)
    return Logits(found)


class Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model(tokens).logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    p = parser.parse_args()
    device = "cpu" if p.cpu else "cuda"
    vocab, dim, layers, heads, ffn, length = 32_000, 768, 12, 12, 3072, 1024
    if p.cpu:
        vocab, dim, layers, heads, ffn, length, p.batch, p.steps = 64, 64, 3, 4, 128, 128, 4, 5
    models: dict[str, torch.nn.Module] = {}
    for name, pe, fast in (
        ("rope", "rope", True),
        ("tape", "tape", True),
        ("literal", "tape", False),
    ):
        model = Decoder(Shape(vocab, dim, layers, heads, ffn, pe), torch.Generator().manual_seed(0))
        model.fast = fast
        models[name] = model
    other = llama(vocab, dim, layers, heads, ffn)
    if other is not None:
        models["transformers"] = other
    tokens = torch.randint(vocab, (p.batch, length), device=device)
    optimisers, times = {}, {name: [] for name in models}
    for name, model in models.items():
        model.to(device)
        optimisers[name] = torch.optim.AdamW(model.parameters(), 1e-4, fused=not p.cpu)
    for step in range(p.steps + 3):
        for name, model in models.items():  # interleaved, so that the clock of the card is shared
            if device == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            with torch.autocast(device, dtype=torch.bfloat16):
                logits = model(tokens)
            fn.cross_entropy(logits.float().flatten(0, 1), tokens.flatten()).backward()
            optimisers[name].step()
            optimisers[name].zero_grad()
            if device == "cuda":
                torch.cuda.synchronize()
            if step >= 3:
                times[name].append(time.perf_counter() - began)
    base = statistics.median(times["rope"])
    for name, each in times.items():
        own = statistics.median(each)
        print(f"{name:13s} {1e3 * own:8.1f} ms  {own / base:.3f}")


if __name__ == "__main__":
    main()
