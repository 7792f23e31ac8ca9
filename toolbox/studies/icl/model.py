"""A GPT for prompts of examples, as pure functions on stacked parameters.

Every parameter has a leading dimension E, one model of an ensemble each, so that one batched matrix
product serves E small models. Pre-layer-norm blocks with learned positions and tanh-GELU, linear
read-in and read-out (GPT-2 without its vocabulary; Section 3 of the paper and its code).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-5
"""Of every layer norm, as in GPT-2."""


@dataclass(frozen=True)
class Sizes:
    """What a network's shapes follow from."""

    inputs: int
    """Entries of a token."""
    tokens: int
    """Tokens of a prompt, T."""
    embd: int
    layers: int
    heads: int


def init(
    kind: str, sizes: Sizes, std: float, generator: torch.Generator, position_std: float = 0.0
) -> dict[str, Tensor]:
    """The parameters of one model, without the leading dimension, on the CPU.

    std : of the normal matrices and, unless `position_std` is given, of the positions; what a block
          adds to the stream has std / sqrt(2 layers), as in GPT-2. Read-in and read-out are uniform
          in +-1/sqrt(fan in), as torch has them.
    Errors: `ValueError` for an unknown kind.
    """
    if kind == "hyena":
        from . import hyena

        return hyena.init(sizes, std, generator)
    if kind != "gpt":
        from . import recurrent

        return recurrent.init(kind, sizes, std, generator)
    e, deep = sizes.embd, std / math.sqrt(2 * sizes.layers)

    def normal(spread: float, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * spread

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)

    p = {
        "in.w": uniform(sizes.inputs, sizes.inputs, e),
        "in.b": uniform(sizes.inputs, 1, e),
        "positions": normal(position_std or std, sizes.tokens, e),
    }
    for i in range(sizes.layers):
        p |= {
            f"{i}.norm1.w": torch.ones(1, e),
            f"{i}.norm1.b": torch.zeros(1, e),
            f"{i}.qkv.w": normal(std, e, 3 * e),
            f"{i}.qkv.b": torch.zeros(1, 3 * e),
            f"{i}.mix.w": normal(deep, e, e),
            f"{i}.mix.b": torch.zeros(1, e),
            f"{i}.norm2.w": torch.ones(1, e),
            f"{i}.norm2.b": torch.zeros(1, e),
            f"{i}.up.w": normal(std, e, 4 * e),
            f"{i}.up.b": torch.zeros(1, 4 * e),
            f"{i}.down.w": normal(deep, 4 * e, e),
            f"{i}.down.b": torch.zeros(1, e),
        }
    p |= {"norm.w": torch.ones(1, e), "norm.b": torch.zeros(1, e)}
    p |= {"out.w": uniform(e, e, 1), "out.b": uniform(e, 1, 1)}
    return p


def forward(
    kind: str,
    params: Mapping[str, Tensor],
    tokens: Tensor,
    sizes: Sizes,
    read: range,
    attention: str = "rows",
) -> Tensor:
    """Predictions at the positions `read`, from the tokens up to and including each of them.

    params : name -> (E, ...)
    tokens : (E, B, T, inputs)
    attention : in the last layer of a gpt. rows: at the positions `read` alone, under a mask.
                whole: at all of them and then picked, since fused kernels know the causal mask and
                no other. The numbers are the same to rounding
    Returns (E, B, len(read)).
    """
    if kind == "hyena":
        from . import hyena

        return hyena.forward(params, tokens, sizes, read)
    if kind != "gpt":
        from . import recurrent

        return recurrent.forward(kind, params, tokens, sizes, read)
    E, B, T, _ = tokens.shape
    e, H = sizes.embd, sizes.heads
    R, at = len(read), slice(read.start, read.stop, read.step)

    def linear(x: Tensor, name: str, part: slice = slice(None)) -> Tensor:
        return torch.baddbmm(params[f"{name}.b"][..., part], x, params[f"{name}.w"][..., part])

    def norm(x: Tensor, name: str) -> Tensor:
        return torch.addcmul(
            params[f"{name}.b"], F.layer_norm(x, (e,), eps=EPSILON), params[f"{name}.w"]
        )

    def heads(x: Tensor, length: int, parts: int) -> Sequence[Tensor]:
        """(E, B length, parts e) -> `parts` times (E B, H, length, e/H)."""
        return x.view(E * B, length, parts, H, e // H).permute(2, 0, 3, 1, 4).unbind(0)

    x = linear(tokens.reshape(E, B * T, -1), "in").view(E, B, T, e)
    x = (x + params["positions"][:, None]).view(E, B * T, e)
    for i in range(sizes.layers):
        normed = norm(x, f"{i}.norm1")
        if i < sizes.layers - 1:
            q, k, v = heads(linear(normed, f"{i}.qkv"), T, 3)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            length = T
        elif attention == "whole":
            x = x.view(E, B, T, e)[:, :, at].reshape(E, B * R, e)
            q, k, v = heads(linear(normed, f"{i}.qkv"), T, 3)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, :, at]
            length = R
        else:
            # Nothing reads the other positions of the last layer.
            x, asking = (y.view(E, B, T, e)[:, :, at].reshape(E, B * R, e) for y in (x, normed))
            (q,) = heads(linear(asking, f"{i}.qkv", slice(e)), R, 1)
            k, v = heads(linear(normed, f"{i}.qkv", slice(e, None)), T, 2)
            position = torch.arange(T, device=tokens.device)
            seen = position <= position[at, None]
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
            length = R
        x = x + linear(mixed.transpose(1, 2).reshape(E, B * length, e), f"{i}.mix")
        hidden = F.gelu(linear(norm(x, f"{i}.norm2"), f"{i}.up"), approximate="tanh")
        x = x + linear(hidden, f"{i}.down")
    return linear(norm(x, "norm"), "out").view(E, B, R)


@functools.cache
def network(
    kind: str, sizes: Sizes, read: range, attention: str, backend: str
) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """(parameters, tokens) -> predictions; compiled where a backend of `torch.compile` is named.

    One function for all ensembles of these sizes, so that it is compiled once for all of them.
    """

    def predictions(parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
        return forward(kind, parameters, tokens, sizes, read, attention)

    if not backend:
        return predictions
    return torch.compile(predictions, backend=backend, dynamic=False)


def errors(y: Tensor, out: Tensor, logistic: Tensor) -> Tensor:
    """The logistic loss of labels -1 and 1, or the squared error, of every prediction."""
    return torch.where(logistic, F.softplus(-y * out), (out - y).square())


def slopes(y: Tensor, out: Tensor, logistic: Tensor) -> Tensor:
    """Their derivatives by the prediction."""
    return torch.where(logistic, -y * torch.sigmoid(-y * out), 2 * (out - y))
