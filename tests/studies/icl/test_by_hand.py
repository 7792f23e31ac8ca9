"""Gradients by hand are those that torch finds."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from toolbox.studies.icl import by_hand, ensemble, model

from .settings import member, setting


def both(sizes, read, models=2, prompts=3):
    """Predictions and gradients by hand and by torch, for a random gradient of the predictions."""
    each = [
        model.init("gpt", sizes, 0.3, torch.Generator().manual_seed(i), position_std=0.3)
        for i in range(models)
    ]
    params = {name: torch.stack([own[name] for own in each]).double() for name in each[0]}
    for name, value in params.items():  # no parameter at a value of its own, such as 0 or 1
        value += 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name)))
    tokens = torch.randn(models, prompts, sizes.tokens, sizes.inputs, dtype=torch.float64)
    d = torch.randn(models, prompts, len(read), dtype=torch.float64)

    grads = {name: torch.full_like(value, torch.nan) for name, value in params.items()}
    mine, back = by_hand.forward(params, grads, tokens, sizes, read)
    back(d)

    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    out = model.forward("gpt", leaves, tokens, sizes, read)
    out.backward(d)
    return (mine, grads), (out.detach(), {name: leaf.grad for name, leaf in leaves.items()})


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("models", [1, 4])
@pytest.mark.parametrize("read", [range(0, 12, 2), range(12), range(3, 12, 4)])
def test_predictions_and_every_gradient_are_those_of_torch(layers, models, read):
    sizes = model.Sizes(inputs=3, tokens=12, embd=16, layers=layers, heads=4)
    (mine, grads), (out, expected) = both(sizes, read, models)
    assert torch.allclose(mine, out, rtol=0, atol=1e-12)
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        assert torch.allclose(grad, expected[name], rtol=1e-10, atol=1e-11), name


@pytest.mark.parametrize("heads", [1, 2, 16])
def test_any_number_of_heads_will_do(heads):
    sizes = model.Sizes(inputs=5, tokens=7, embd=16, layers=2, heads=heads)
    (_, grads), (_, expected) = both(sizes, range(7))
    for name, grad in grads.items():
        assert torch.allclose(grad, expected[name], rtol=1e-10, atol=1e-11), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gelu_and_its_slope_are_right_to_rounding_far_out_too(dtype):
    points = torch.cat([torch.linspace(-30, 30, 60_001), torch.tensor([-1e4, 0.0, 1e4])])
    leaf = points.double().requires_grad_()
    value = F.gelu(leaf, approximate="tanh")
    value.sum().backward()
    y, slope = by_hand.gelu(points.to(dtype).clone())
    bound = 5e-6 if dtype == torch.float32 else 1e-13
    assert ((y.double() - value).abs() <= bound * (1 + value.abs())).all()
    assert (slope.double() - leaf.grad).abs().max() <= bound


def test_prompts_too_long_for_it_are_trained_by_torch_to_the_same_numbers(monkeypatch):
    members = [member("parity2"), member("parity2", "linear")]
    s = setting(steps=20, until="steps", every=1)
    rows = []
    for longest in (10**6, 0):
        monkeypatch.setattr(ensemble, "BY_HAND_TOKENS", longest)
        own = ensemble.Ensemble(s, members, 0, dtype=torch.float64)
        own.block()
        rows.append([outcome.rows for outcome in own.outcomes()])
    for by_hand_rows, by_torch in zip(*rows, strict=True):
        assert abs(by_hand_rows - by_torch).max() < 1e-9
        assert by_hand_rows.tobytes() != by_torch.tobytes()  # two ways, not one twice


@pytest.mark.parametrize("logistic", [True, False])
def test_slopes_are_the_derivatives_of_the_errors(logistic):
    y = torch.tensor([-1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    out = torch.tensor([0.3, -2.0, 1.5, 40.0], dtype=torch.float64, requires_grad=True)
    kind = torch.full((4,), logistic)
    model.errors(y, out, kind).sum().backward()
    assert torch.allclose(model.slopes(y, out.detach(), kind), out.grad, atol=1e-15)
