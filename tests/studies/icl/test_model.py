"""The network against a plain torch module, and what a causal model must and must not depend on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toolbox.studies.icl import model
from toolbox.studies.icl.prompts import tokens_of

SIZES = model.Sizes(inputs=3, tokens=12, embd=16, layers=2, heads=4)
READ = range(0, 12, 2)


class Plain(nn.Module):
    """GPT-2's block in torch modules, predictions at every position."""

    def __init__(self, p: dict[str, torch.Tensor], sizes: model.Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.p = nn.ParameterDict({k.replace(".", "_"): v.clone() for k, v in p.items()})

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        p, s = self.p, self.sizes
        T, e, H = s.tokens, s.embd, s.heads

        def norm(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.layer_norm(x, (e,), p[f"{name}_w"][0], p[f"{name}_b"][0])

        def linear(x: torch.Tensor, name: str) -> torch.Tensor:
            return F.linear(x, p[f"{name}_w"].T, p[f"{name}_b"][0])

        x = linear(tokens, "in") + p["positions"]
        seen = torch.ones(T, T, dtype=torch.bool).tril()
        for i in range(s.layers):
            q, k, v = linear(norm(x, f"{i}_norm1"), f"{i}_qkv").split(e, dim=2)
            q, k, v = (y.unflatten(2, (H, e // H)).transpose(1, 2) for y in (q, k, v))
            score = (q @ k.transpose(2, 3) / math.sqrt(e // H)).masked_fill(~seen, -math.inf)
            x = x + linear((score.softmax(3) @ v).transpose(1, 2).flatten(2), f"{i}_mix")
            hidden = F.gelu(linear(norm(x, f"{i}_norm2"), f"{i}_up"), approximate="tanh")
            x = x + linear(hidden, f"{i}_down")
        return linear(norm(x, "norm"), "out")[..., 0]


def stacked(count: int, sizes: model.Sizes = SIZES) -> dict[str, torch.Tensor]:
    each = [model.init("gpt", sizes, 0.3, torch.Generator().manual_seed(i)) for i in range(count)]
    return {name: torch.stack([own[name] for own in each]).double() for name in each[0]}


def test_each_of_the_stacked_models_is_the_plain_module_at_the_read_positions():
    p = stacked(3)
    tokens = torch.randn(3, 5, 12, 3, dtype=torch.float64)
    out = model.forward("gpt", p, tokens, SIZES, READ)
    for e in range(3):
        plain = Plain({name: value[e] for name, value in p.items()}, SIZES)
        assert torch.allclose(out[e], plain(tokens[e])[:, ::2], atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_depth_of_the_shortened_layer_does_not_matter(layers):
    sizes = model.Sizes(3, 12, 16, layers, 4)
    p = stacked(1, sizes)
    tokens = torch.randn(1, 5, 12, 3, dtype=torch.float64)
    plain = Plain({name: value[0] for name, value in p.items()}, sizes)
    out = model.forward("gpt", p, tokens, sizes, READ)
    assert torch.allclose(out[0], plain(tokens[0])[:, ::2], atol=1e-12)


@pytest.mark.parametrize("token", ["interleave", "pair"])
def test_a_prediction_sees_the_examples_before_it_and_no_label_of_its_own(token):
    inputs, T = (3, 12) if token == "interleave" else (7, 6)
    sizes = model.Sizes(inputs, T, 16, 2, 4)
    read = range(0, T, T // 6)
    p = {name: value.float() for name, value in stacked(1, sizes).items()}
    x, y = torch.randn(1, 5, 6, 3), torch.randn(1, 5, 6)
    other = y.clone()
    other[..., 3] += 1
    before, after = (
        model.forward("gpt", p, tokens_of(x, labels, token), sizes, read) for labels in (y, other)
    )
    assert torch.equal(before[..., :4], after[..., :4])
    assert (before[..., 4:] != after[..., 4:]).all()


def test_without_positions_one_layer_does_not_see_the_order_of_the_examples():
    sizes = model.Sizes(3, 12, 16, 1, 4)
    p = stacked(1, sizes)
    x, y = torch.randn(1, 5, 6, 3, dtype=torch.float64), torch.randn(1, 5, 6, dtype=torch.float64)
    order = torch.tensor([3, 0, 4, 2, 1, 5])  # the query stays the last

    def last(positions: float) -> tuple[torch.Tensor, torch.Tensor]:
        own = {**p, "positions": p["positions"] * positions}
        pairs = ((x, y), (x[:, :, order], y[:, :, order]))
        return tuple(
            model.forward("gpt", own, tokens_of(a, b, "interleave"), sizes, READ)[..., -1]
            for a, b in pairs
        )

    assert torch.allclose(*last(0), atol=1e-12)
    assert not torch.allclose(*last(1), atol=1e-3)


def test_tokens_are_laid_out_as_the_paper_has_them():
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    y = torch.tensor([[5.0, 6.0]])
    assert tokens_of(x, y, "interleave").tolist() == [[[1, 2], [5, 0], [3, 4], [6, 0]]]
    assert tokens_of(x, y, "pair").tolist() == [[[1, 2, 0, 0, 0], [3, 4, 1, 2, 5]]]
