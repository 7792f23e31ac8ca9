"""Ways to adapt a RoPE model to a longer context: what is changed in it and what is trained.

Embedding and norms are trained by every method; the output head by `full` alone. All methods but
`none` divide positions by the factor of the new length (linear position interpolation).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from .model import Decoder, Shape
from .names import METHODS
from .state import count

THETA = 1_000_000.0
GROUPS = 4
RANK = 8


class Lora(nn.Module):
    """W x + (alpha / r) B A x with alpha = 2 r; A uniform below 1 / sqrt(C), B = 0 (Hu et al.)."""

    def __init__(self, linear: nn.Linear, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = linear
        weight = linear.weight
        drawn = torch.rand(rank, linear.in_features, generator=generator) * 2 - 1
        self.a = nn.Parameter((drawn * linear.in_features**-0.5).to(weight))
        self.b = nn.Parameter(weight.new_zeros(linear.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        out: Tensor = self.linear(x)
        return out + 2.0 * ((x @ self.a.T) @ self.b.T)


def matched_rank(shape: Shape) -> int:
    """The largest rank, at least 1, at which LoRA on q, k, v, o adds no more than TAPE does."""
    return max(1, count(shape.dim, shape.heads, shape.P) // (8 * shape.dim))


def adapted(
    base: Decoder, method: str, factor: float, rank: int, generator: torch.Generator
) -> Decoder:
    """A copy of the base model, changed as the method wants, with `requires_grad` set.

    generator : draws what the method adds
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}")
    shape = replace(base.shape, factor=1.0 if method == "none" else factor)
    if method.startswith("tape"):
        shape = replace(shape, pe="tape")
    if method == "theta":
        shape = replace(shape, base=THETA)
    model = Decoder(shape, generator).to(base.embed.weight)
    model.load_state_dict(base.state_dict(), strict=False)
    for name, weight in model.named_parameters():
        weight.requires_grad_(trains(method, name))
    if method in ("lora", "lora-matched", "longlora", "theta"):
        size = matched_rank(base.shape) if method == "lora-matched" else rank
        for layer in model.stack:
            for name in ("q", "k", "v", "o"):
                setattr(layer, name, Lora(getattr(layer, name), size, generator))
    if method == "longlora":
        model.groups = GROUPS
    return model


def trains(method: str, name: str) -> bool:
    """Whether a method trains a weight of the base model or of TAPE."""
    if method in ("none", "interp"):
        return False
    if method == "full":
        return True
    if ".update." in name:
        # The filter of the public code names a module that does not exist, so that W_a stays zero.
        return method != "tape-frozen" or not name.endswith("w_a")
    return "embed" in name or "norm" in name


def sizes(model: Decoder) -> tuple[int, int]:
    """Trained numbers, and all."""
    trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
    return trained, sum(w.numel() for w in model.parameters())
