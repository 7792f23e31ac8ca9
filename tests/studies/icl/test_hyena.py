"""The Hyena operator against its definition summed directly, and what it may not see."""

from __future__ import annotations

import pytest
import torch

from toolbox.studies.icl import hyena, model
from toolbox.studies.icl.model import Sizes

SIZES = Sizes(inputs=3, tokens=10, embd=6, layers=2, heads=1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def parameters(members=2):
    drawn = [model.init("hyena", SIZES, 0.3, generator(seed)) for seed in range(members)]
    return {name: torch.stack([one[name].double() for one in drawn]) for name in drawn[0]}


def layer_of(params, i=0):
    return {name[2:]: value for name, value in params.items() if name.startswith(f"{i}.")}


@pytest.mark.parametrize("T", [1, 2, 7, 16])
def test_the_fft_is_the_sum_of_a_causal_convolution(T):
    z = torch.randn(2, 3, 4, T, dtype=torch.float64, generator=generator())
    h = torch.randn(2, 4, T, dtype=torch.float64, generator=generator(1))
    direct = torch.zeros_like(z)
    for t in range(T):
        for s in range(t + 1):
            direct[..., t] += h[:, None, :, t - s] * z[..., s]
    assert torch.allclose(hyena.convolve(z, h), direct, atol=1e-12)


def test_the_operator_is_its_definition_written_out():
    """z^{n+1}_t = x^n_t (sum over s <= t of h^n_{t-s} z^n_s + D^n z^n_t), Definition 3.1."""
    layer, T, e = layer_of(parameters()), 9, SIZES.embd
    u = torch.randn(2, 3, 3 * e, T, dtype=torch.float64, generator=generator())
    h = hyena.filters(layer, T)
    found = hyena.operator(u, h, layer)
    w, b, D = layer["short.w"], layer["short.b"], layer["present"]
    for m, p, c, t in ((0, 0, 0, 0), (0, 2, 3, 4), (1, 1, 5, 8)):

        def projected(part, s, m=m, p=p, c=c):
            at = part * e + c
            total = b[m, at, 0]
            for j in range(hyena.TAPS):
                if s - j >= 0:
                    total = total + w[m, at, hyena.TAPS - 1 - j] * u[m, p, at, s - j]
            return total

        z = [projected(2, s) for s in range(t + 1)]
        for n in range(2):
            z = [
                projected(n, r)
                * (sum(h[m, n, c, r - s] * z[s] for s in range(r + 1)) + D[m, n, c, 0] * z[r])
                for r in range(t + 1)
            ]
        assert abs(float(found[m, p, c, t] - z[t])) < 1e-12


def test_a_prediction_does_not_see_what_comes_after_it():
    params, read = parameters(), range(0, 10, 2)
    tokens = torch.randn(2, 3, 10, 3, dtype=torch.float64, generator=generator())
    before = model.forward("hyena", params, tokens, SIZES, read)
    later = tokens.clone()
    later[:, :, 5:] += 1.0
    after = model.forward("hyena", params, later, SIZES, read)
    assert torch.allclose(before[..., :3], after[..., :3], atol=1e-12)
    assert not torch.allclose(before[..., 3:], after[..., 3:], atol=1e-6)


def test_it_sees_far_back_and_members_do_not_mix():
    params, read = parameters(), range(0, 10, 2)
    tokens = torch.randn(2, 3, 10, 3, dtype=torch.float64, generator=generator())
    before = model.forward("hyena", params, tokens, SIZES, read)
    first = tokens.clone()
    first[0, :, 0] += 1.0
    after = model.forward("hyena", params, first, SIZES, read)
    assert (before[0, :, -1] - after[0, :, -1]).abs().min() > 1e-9
    assert torch.equal(before[1], after[1])


def test_filters_of_other_members_differ_and_decay():
    h = hyena.filters(layer_of(parameters()), 64)
    assert h.shape == (2, 2, SIZES.embd, 64)
    assert not torch.allclose(h[0], h[1])
    early, late = h[..., :8].abs().mean(dim=(0, 1, 3)), h[..., -8:].abs().mean(dim=(0, 1, 3))
    assert (late < early).all()
    assert (late / early)[-1] < (late / early)[0]
