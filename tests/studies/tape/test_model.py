"""The decoder: TAPE against complex numbers, its symmetries, and attention in all its forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from toolbox.core.errors import ParameterError
from toolbox.studies.tape import counting, model
from toolbox.studies.tape import encodings as en
from toolbox.studies.tape.check import decode
from toolbox.studies.tape.faults import DiscardingLayer, FaultyLayer, influence
from toolbox.studies.tape.model import Decoder, Shape, attend, padded, shifted
from toolbox.studies.tape.names import ENCODINGS, is_tape
from toolbox.studies.tape.state import KINDS, Update, count

SHAPE = Shape(vocab=11, dim=24, layers=3, heads=3, ffn=20, pe="tape", trained=16)


def made(pe="tape", spread=0.4, seed=3, shape=SHAPE):
    """A decoder all of whose weights matter, in float64."""
    torch.manual_seed(seed)
    found = Decoder(replace(shape, pe=pe), torch.Generator().manual_seed(seed)).double()
    for layer in found.layers:
        for module in (layer.q, layer.k):
            module.weight.data *= 20
        for module in (layer.update, layer.bias):
            for weight in module.parameters() if module else ():
                weight.data.normal_(0, spread)
    return found


def tokens(n=14, batch=2):
    return torch.randint(11, (batch, n), generator=torch.Generator().manual_seed(n))


def test_the_update_is_multiplication_of_complex_vectors_by_real_matrices():
    """z of one token and frequency is a vector over the heads; all maps act on it from the left."""
    torch.manual_seed(0)
    B, H, N, F, P, C = 2, 3, 4, 5, 7, 6
    update = Update(C, H, P).double()
    for weight in update.parameters():
        weight.data.normal_()
    Z, attended = torch.randn(2, B, H, N, 2 * F, dtype=torch.float64)
    m = torch.randn(B, N, C, dtype=torch.float64)
    found = update(Z, attended, m)
    w_a, w_u, w_d, w_x = (
        w.detach().numpy() for w in (update.w_a, update.w_u, update.w_d, update.w_x)
    )
    for b in range(B):
        for n in range(N):
            x = w_x @ m[b, n].numpy()
            psi = x / (1 + np.exp(-x))
            for f in range(F):
                z = Z[b, :, n, f].numpy() + 1j * Z[b, :, n, f + F].numpy()
                z = z + w_a @ (attended[b, :, n, f].numpy() + 1j * attended[b, :, n, f + F].numpy())
                z = z + w_d @ (psi * (w_u @ z))
                got = found[b, :, n, f] + 1j * found[b, :, n, f + F]
                assert np.allclose(got.detach().numpy(), z)


@pytest.mark.parametrize("kind", KINDS)
def test_fast_and_literal_forms_agree_and_parameters_are_counted(kind):
    found, other = made(kind), made(kind)
    other.fast = False
    assert torch.allclose(found(tokens()), other(tokens()), atol=1e-10)
    own = sum(w.numel() for layer in found.layers for w in layer.update.parameters())
    assert own == SHAPE.layers * count(SHAPE.dim, SHAPE.heads, SHAPE.P, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_start_is_rope_and_shifts_change_nothing_but_in_the_ablations(kind):
    rope = Decoder(replace(SHAPE, pe="rope"), torch.Generator().manual_seed(1)).double()
    tape = Decoder(replace(SHAPE, pe=kind), torch.Generator().manual_seed(1)).double()
    # The base weights of one seed are the same, whatever the encoding.
    assert torch.allclose(rope(tokens()), tape(tokens()), atol=1e-12)
    moved = made(kind)
    at = torch.arange(14)
    change = (moved(tokens(), at + 1000) - moved(tokens(), at)).abs().max()
    if kind in ("tape-woeq", "tape-split"):
        assert change > 1e-4
    else:
        assert change < 1e-9


@pytest.mark.parametrize("pe", ENCODINGS)
def test_every_encoding_is_causal_and_its_parameters_are_those_of_the_formula(pe):
    found = made(pe)
    other = tokens()
    other[:, 9:] = (other[:, 9:] + 1) % 11
    # CoPE and the others: what comes later changes nothing before it.
    assert torch.allclose(found(tokens())[:, :9], found(other)[:, :9], atol=1e-12)
    shape = replace(SHAPE, pe=pe)
    assert sum(w.numel() for w in found.parameters()) == counting.parameters(shape)


@pytest.mark.parametrize("pe", [pe for pe in ENCODINGS if pe not in ("nope",)])
def test_every_encoding_but_nope_sees_the_order_of_the_tokens(pe):
    found = made(pe)
    swapped = tokens()
    swapped[:, [2, 5]] = swapped[:, [5, 2]]
    assert (found(swapped)[:, -1] - found(tokens())[:, -1]).abs().max() > 1e-6


@pytest.mark.parametrize(
    "pe", ["nope", "rope", "alibi", "fire", "t5", "cope", "tape", "tape-split"]
)
def test_decoding_with_a_cache_is_the_full_pass(pe):
    found = made(pe)
    assert torch.allclose(decode(found, tokens()), found(tokens()), atol=1e-10)
    cache = []
    first, second = found(tokens()[:, :6], cache=cache), found(tokens()[:, 6:], cache=cache)
    assert torch.allclose(torch.cat([first, second], 1), found(tokens()), atol=1e-10)


def test_rope_is_the_attention_of_its_formula():
    """One layer's scores against q_i R(i - j) k_j with complex numbers."""
    torch.manual_seed(0)
    q, k = torch.randn(2, 5, 8, dtype=torch.float64)
    state = en.rotation(torch.arange(5), en.frequencies(8))
    scores = en.rotate(q, state) @ en.rotate(k, state).T
    w = en.frequencies(8).numpy()
    for i in range(5):
        for j in range(5):
            zq, zk = (u[..., :4].numpy() + 1j * u[..., 4:].numpy() for u in (q[i], k[j]))
            assert scores[i, j] == pytest.approx(
                float((zq * np.exp(1j * (i - j) * w) * zk.conj()).real.sum())
            )


def test_one_padded_call_is_the_attention_written_out():
    torch.manual_seed(0)
    q, k = torch.randn(2, 2, 3, 70, 8, dtype=torch.float64)
    v = torch.randn(2, 3, 70, 16, dtype=torch.float64)
    logits = q @ k.transpose(2, 3) / math.sqrt(8)
    logits = logits.masked_fill(torch.ones(70, 70).triu(1).bool(), -math.inf)
    expected = logits.softmax(-1) @ v
    assert torch.allclose(padded(q, k, v), expected, atol=1e-12)
    assert torch.allclose(attend(q, k, v), expected, atol=1e-12)
    assert torch.allclose(
        attend(q[:, :, :9], k[:, :, :9], v[:, :, :9]), expected[:, :, :9], atol=1e-12
    )


def test_shifted_attention_stays_in_its_groups():
    """Half of the heads in groups of G, the others in groups moved by G / 2 (cyclically)."""
    torch.manual_seed(0)
    N, groups = 16, 4
    q, k = torch.randn(2, 1, 2, N, 4, dtype=torch.float64)
    eye = torch.eye(N, dtype=torch.float64).expand(1, 2, N, N)
    P = shifted(q, k, eye, groups)[0]
    assert torch.allclose(P.sum(-1), torch.ones(2, N, dtype=torch.float64))
    for i in range(N):
        first = 4 * (i // 4)
        assert set(P[0, i].nonzero().flatten().tolist()) == set(range(first, i + 1))
        at = (i - 2) % N
        window = [(4 * (at // 4) + 2 + j) % N for j in range(at % 4 + 1)]
        assert set(P[1, i].nonzero().flatten().tolist()) == set(window)
    with pytest.raises(ParameterError, match="groups"):
        shifted(q[:, :, :12], k[:, :, :12], eye[:, :, :12], 4)


@pytest.mark.parametrize(("pe", "fast"), [("rope", True), ("tape", True), ("tape", False)])
def test_flops_are_those_that_torch_counts(pe, fast, monkeypatch):
    shape = replace(SHAPE, pe=pe, dim=32, heads=4)
    found = Decoder(shape, torch.Generator().manual_seed(0))
    found.fast = fast
    N = 12
    monkeypatch.setattr(model, "attend", written_out)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        found(torch.zeros(1, N, dtype=torch.long))
    expected = counting.base_flops(shape, N)
    if is_tape(pe):
        expected += counting.extra_flops(shape, N, fast, shape.layers - 1)
    counted = counter.get_total_flops()
    if pe == "tape" and not fast:
        # The program stores cos and sin once, and recomputes the scores for each; the formula
        # counts the public code, which stores each twice.
        assert counted < expected
    else:
        assert counted == expected


def written_out(q, k, v, bias=None, groups=0):
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    return logits.softmax(-1) @ v


def test_only_w_a_and_w_u_have_a_gradient_at_the_start():
    found = Decoder(SHAPE, torch.Generator().manual_seed(0))
    found(tokens()).logsumexp(-1).sum().backward()
    first, last = found.layers[0].update, found.layers[-1].update
    assert first.w_a.grad.abs().max() > 0
    assert first.w_u.grad.abs().max() > 0
    assert first.w_d.grad.abs().max() == 0
    assert first.w_x.grad.abs().max() == 0
    assert all(weight.grad is None for weight in last.parameters())


def test_the_released_addition_layer_does_not_see_its_positions():
    shape = replace(SHAPE, dim=32, heads=4)
    noise = torch.randn(1, 4, 14, 8)
    found = made(shape=shape)
    for layer in found.layers:
        layer.__class__ = FaultyLayer  # no fault switched on: the layer itself
    assert torch.allclose(found(tokens()), made(shape=shape)(tokens()), atol=1e-10)
    assert influence(found, tokens(), noise) > 1e-2
    for layer in found.layers:
        layer.__class__ = DiscardingLayer
    assert influence(found, tokens(), noise) == 0.0


def test_sizes_that_make_no_model_are_refused():
    with pytest.raises(ParameterError, match="multiple of 2"):
        replace(SHAPE, dim=9)
    with pytest.raises(ParameterError, match="no encoding"):
        replace(SHAPE, pe="rotary")


def test_the_papers_counts():
    """Derived by hand: 162,417,408 and 162,875,328 parameters; 17,072,128 more at Llama-2-7B."""
    from toolbox.studies.tape.overhead import LLAMA, PAPER

    assert counting.parameters(PAPER) == 162_417_408
    tape = replace(PAPER, pe="tape")
    assert counting.parameters(tape) == 162_875_328
    assert counting.extra_parameters(replace(LLAMA, pe="tape")) == 17_072_128
    assert counting.base_flops(PAPER, 1024) == pytest.approx(320.91e9, rel=1e-4)
    literal = counting.base_flops(tape, 1024) + counting.extra_flops(tape, 1024, fast=False)
    fast = counting.base_flops(tape, 1024) + counting.extra_flops(tape, 1024)
    assert literal == pytest.approx(364.70e9, rel=1e-4)
    assert fast == pytest.approx(341.77e9, rel=1e-4)
