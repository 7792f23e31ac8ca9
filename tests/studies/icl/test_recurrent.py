"""LSTM and GRU against torch's, Mamba against its recurrent form, and what all models must do."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from toolbox.studies.icl import recurrent
from toolbox.studies.icl import selective_scan as scan
from toolbox.studies.icl.ensemble import Ensemble

from .settings import member, setting

SIZES = SimpleNamespace(inputs=3, tokens=10, embd=8, layers=2, heads=2)
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def stacked(kind, members=2, dtype=torch.float64, sizes=SIZES):
    """Parameters (E, ...), the states' own drawn away from their symmetric start."""
    generator = torch.Generator().manual_seed(0)
    models = [recurrent.init(kind, sizes, 0.05, generator) for _ in range(members)]
    params = {name: torch.stack([m[name] for m in models]).to(dtype) for name in models[0]}
    for name, value in params.items():
        if name.endswith(("A", "D", "norm.w")):
            value += 0.3 * torch.rand(value.shape, generator=generator, dtype=dtype)
    return params


def prompts(members=2, batch=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(members, batch, 10, 3, generator=generator, dtype=dtype)


def scan_inputs(T=7):
    generator = torch.Generator().manual_seed(2)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    delta, u = normal(2, T, 3, 4).exp() / 4, normal(2, T, 3, 4)
    A, B, C = -normal(2, 5, 4).exp(), normal(2, T, 3, 5), normal(2, T, 3, 5)
    return [x.requires_grad_() for x in (delta, u, A, B, C)]


def token_by_token(delta, u, A, B, C):
    """The two equations as they stand."""
    h, ys = torch.zeros(2, 3, 5, 4, dtype=torch.float64), []
    for t in range(delta.shape[1]):
        decay = torch.exp(torch.einsum("epc,enc->epnc", delta[:, t], A))
        h = decay * h + torch.einsum("epc,epn,epc->epnc", delta[:, t], B[:, t], u[:, t])
        ys.append(torch.einsum("epn,epnc->epc", C[:, t], h))
    return torch.stack(ys, dim=1)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_a_stack_of_layers_is_that_of_torch_with_the_same_weights(kind):
    params, tokens = stacked(kind), prompts()
    ours = recurrent.forward(kind, params, tokens, SIZES, range(10))
    for e in range(2):
        theirs = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](8, 8, 2, dtype=torch.float64)
        for i in range(2):
            for here, there in (("in", "ih"), ("state", "hh")):
                weight, bias = (params[f"{i}.{here}.{part}"][e] for part in "wb")
                getattr(theirs, f"weight_{there}_l{i}").data = weight.T.contiguous()
                getattr(theirs, f"bias_{there}_l{i}").data = bias[0].clone()
        p = {name: value[e] for name, value in params.items()}
        hidden, _ = theirs((tokens[e] @ p["in.w"] + p["in.b"]).transpose(0, 1))
        expected = (hidden @ p["out.w"] + p["out.b"])[..., 0].T
        torch.testing.assert_close(ours[e], expected, **EXACT)


@pytest.mark.parametrize("chunk", [0, 1, 2, 3, 7, 9])
def test_both_scans_and_their_gradients_are_those_of_the_recurrence(chunk):
    inputs = scan_inputs()
    expected = token_by_token(*inputs)
    found = scan.in_turn(*inputs) if chunk == 0 else scan.in_chunks(*inputs, chunk)
    torch.testing.assert_close(found, expected, **EXACT)
    pull = torch.randn(expected.shape, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(found, inputs, pull),
        torch.autograd.grad(expected, inputs, pull),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_without_decay_the_scan_is_a_running_sum():
    delta, u, A, B, C = scan_inputs()
    B, C = torch.ones_like(B), torch.ones_like(C) / 5
    found = scan.in_turn(delta, u, torch.zeros_like(A), B, C)
    torch.testing.assert_close(found, (delta * u).cumsum(dim=1), **EXACT)


def test_with_instant_decay_the_scan_forgets_everything_but_the_present():
    delta, u, A, B, C = scan_inputs()
    found = scan.in_turn(delta, u, torch.full_like(A, -1e6), B, C)
    torch.testing.assert_close(found, delta * u * (B * C).sum(dim=3, keepdim=True), **EXACT)


def mamba_step(x, p, window, h):
    """One token of one block in its recurrent form, (batch, e), from the last inputs and states."""
    inner = p["D"].shape[1]
    u, gate = (x @ p["in.w"]).split(inner, dim=1)
    window = torch.cat([window[1:], u[None]])
    u = F.silu((window * p["conv.w"][:, None]).sum(dim=0) + p["conv.b"])
    small, B, C = (u @ p["select.w"]).split([p["delta.w"].shape[0], 16, 16], dim=1)
    delta = torch.log1p(torch.exp(small @ p["delta.w"] + p["delta.b"]))
    decay = torch.exp(-delta[:, None] * torch.exp(p["A"]))
    h = decay * h + (delta * u)[:, None] * B[:, :, None]
    y = (h * C[:, :, None]).sum(dim=1) + p["D"] * u
    return (y * F.silu(gate)) @ p["out.w"], window, h


def test_mamba_is_its_own_recurrent_form_token_by_token():
    params, tokens = stacked("mamba"), prompts()
    ours = recurrent.forward("mamba", params, tokens, SIZES, range(10))

    def normed(x, weight):
        return x / (x.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() * weight

    for e in range(2):
        p = {name: value[e] for name, value in params.items()}
        layers = [
            {name[2:]: value for name, value in p.items() if name.startswith(f"{i}.")}
            for i in range(2)
        ]
        zeros = torch.zeros(20, 4, 16, dtype=torch.float64)
        states = [(zeros[:4], zeros[:16].transpose(0, 1)) for _ in layers]
        for t in range(10):
            x = tokens[e, :, t] @ p["in.w"] + p["in.b"]
            for i, layer in enumerate(layers):
                out, *states[i] = mamba_step(normed(x, layer["norm.w"]), layer, *states[i])
                x = x + out
            expected = normed(x, p["norm.w"]) @ p["out.w"] + p["out.b"]
            torch.testing.assert_close(ours[e, :, t], expected[:, 0], **EXACT)


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_changing_a_token_leaves_all_outputs_before_it_alone(kind):
    params, tokens = stacked(kind), prompts()
    before = recurrent.forward(kind, params, tokens, SIZES, range(10))
    for t in (0, 4, 9):
        changed = tokens.clone()
        changed[:, :, t] += 1
        after = recurrent.forward(kind, params, changed, SIZES, range(10))
        torch.testing.assert_close(after[..., :t], before[..., :t], rtol=0, atol=1e-12)
        assert ((after - before)[..., t:].abs() > 1e-9).all()


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_reading_at_some_positions_is_reading_at_all_and_choosing(kind):
    params, tokens = stacked(kind), prompts()
    every = recurrent.forward(kind, params, tokens, SIZES, range(10))
    some = recurrent.forward(kind, params, tokens, SIZES, range(0, 8, 2))
    assert some.shape == (2, 4, 4)
    torch.testing.assert_close(some, every[..., :8:2], **EXACT)


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_a_member_of_an_ensemble_is_the_model_alone_in_value_and_gradient(kind):
    params, tokens = stacked(kind, members=3), prompts(members=3)

    def computed(params, tokens):
        params = {name: value.detach().clone().requires_grad_() for name, value in params.items()}
        out = recurrent.forward(kind, params, tokens, SIZES, range(0, 10, 2))
        loss = out.square().mean(dim=(1, 2)).sum()
        return out, dict(zip(params, torch.autograd.grad(loss, params.values()), strict=True))

    together, gradients = computed(params, tokens)
    for i in range(3):
        alone, own = computed({k: v[i : i + 1] for k, v in params.items()}, tokens[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, **EXACT)
        for name, gradient in own.items():
            torch.testing.assert_close(gradients[name][i : i + 1], gradient, **EXACT)


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(kind):
    sizes = SimpleNamespace(inputs=3, tokens=64, embd=32, layers=2, heads=4)
    params = stacked(kind, dtype=torch.float32, sizes=sizes)
    params = {name: value.requires_grad_() for name, value in params.items()}
    tokens = 3 * torch.randn(2, 8, 64, 3, generator=torch.Generator().manual_seed(5))
    out = recurrent.forward(kind, params, tokens, sizes, range(64))
    for gradient in torch.autograd.grad(out.square().mean(), params.values()):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_mamba_starts_with_step_sizes_in_their_range_and_decays_of_one_to_sixteen():
    params = recurrent.init("mamba", SIZES, 0.05, torch.Generator().manual_seed(0))
    steps = F.softplus(params["0.delta.b"])
    assert (steps > 0.99e-3).all()
    assert (steps < 1.01e-1).all()
    assert (-torch.exp(params["1.A"])[:, 3]).tolist() == pytest.approx([-k for k in range(1, 17)])


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_initial_matrices_are_uniform_up_to_one_over_the_root_of_their_inputs(kind):
    sizes = SimpleNamespace(inputs=3, tokens=10, embd=64, layers=2, heads=2)
    params = recurrent.init(kind, sizes, 0.05, torch.Generator().manual_seed(0))
    name = "0.in.w" if kind == "mamba" else "1.state.w"
    bound = 1 / math.sqrt(64)
    assert 0.99 * bound < params[name].abs().max() <= bound
    assert float(params[name].std()) == pytest.approx(bound / math.sqrt(3), rel=0.03)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="hyena is none of lstm, gru, mamba"):
        recurrent.init("hyena", SIZES, 0.05, torch.Generator())


@pytest.mark.parametrize("kind", recurrent.KINDS)
def test_training_goes_on_from_a_saved_state_byte_for_byte(kind):
    s = setting(model=kind, steps=40, until="steps")
    members = [member("parity2"), member("linear", "conjunction"), member("coin")]
    whole, first, second = (Ensemble(s, members, 3) for _ in range(3))
    first.block()
    second.load_state_dict(first.state_dict())
    for each in (whole, second):
        while each.alive:
            each.block()
    for one, other in zip(whole.outcomes(), second.outcomes(), strict=True):
        assert one.rows.tobytes() == other.rows.tobytes()
