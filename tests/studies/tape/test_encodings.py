"""Every encoding against its reference formula, written as loops over numbers."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as fn

from toolbox.studies.tape import encodings as en


def test_rope_turns_half_split_pairs_by_position_times_frequency():
    w = en.frequencies(8)
    assert w.tolist() == pytest.approx([1, 0.1, 0.01, 0.001])
    state = en.rotation(torch.tensor([0, 3]), w)
    u = torch.arange(1.0, 9.0, dtype=torch.float64).expand(2, 8)
    turned = en.rotate(u, state)
    for n, position in enumerate((0, 3)):
        for f in range(4):
            z = complex(u[n, f], u[n, f + 4]) * np.exp(1j * position * float(w[f]))
            assert turned[n, f] == pytest.approx(z.real)
            assert turned[n, f + 4] == pytest.approx(z.imag)


def test_yarn_keeps_fast_frequencies_and_divides_slow_ones():
    w, scale = en.yarn(64, 1024, 4.0)
    plain = en.frequencies(64)
    assert scale == pytest.approx(0.1 * math.log(4) + 1)
    for f in range(32):
        turns = 1024 * float(plain[f]) / (2 * math.pi)
        stays = min(1.0, max(0.0, (turns - 1) / 31))
        assert float(w[f]) == pytest.approx(float(plain[f]) * (stays + (1 - stays) / 4))
    assert w[0] == plain[0]
    assert w[-1] == plain[-1] / 4


def test_yarn_with_factor_one_is_rope():
    w, scale = en.yarn(32, 64, 1.0)
    assert torch.equal(w, en.frequencies(32))
    assert scale == 1.0


def test_xpos_decays_with_the_distance_alone():
    grown = en.xpos(torch.arange(40), 8)
    for f in range(4):
        zeta = (2 * f + 0.4 * 8) / (1.4 * 8)
        product = float(grown[30, f] / grown[10, f])
        assert product == pytest.approx(zeta ** (20 / 512))
        assert grown[30, f] == grown[30, f + 4]


def test_alibi_slopes():
    assert en.alibi_slopes(8).tolist() == [2.0**-h for h in range(1, 9)]
    assert en.alibi_slopes(4).tolist() == [2.0 ** (-2 * h) for h in range(1, 5)]
    twelve = [2.0**-h for h in range(1, 9)] + [2.0 ** (-h / 2) for h in (1, 3, 5, 7)]
    assert en.alibi_slopes(12).tolist() == pytest.approx(twelve)
    bias = en.Alibi(2)(en.distances(3, 3, torch.device("cpu")))
    assert bias[:, 2].tolist() == [[-2 / 16, -1 / 16, 0], [-2 / 256, -1 / 256, 0]]


def test_fire_is_its_formula():
    torch.manual_seed(0)
    fire = en.Fire(3)
    fire.m.data.fill_(0.01)  # a threshold of 5 positions, so that both branches are met
    bias = fire(en.distances(9, 9, torch.device("cpu")))
    c = 0.1
    for i in range(9):
        for j in range(i + 1):
            top = math.log(abs(c * (i - j)) + 1)
            bottom = math.log(abs(c * max(i, 5.12)) + 1) + 1e-6
            hidden = fn.relu(fire.hidden.weight[:, 0] * (top / bottom) + fire.hidden.bias)
            expected = fire.out.weight @ hidden + fire.out.bias
            assert torch.allclose(bias[:, i, j], expected, atol=1e-6)


def test_t5_buckets_are_those_of_the_reference():
    def reference(n):
        if n < 16:
            return n
        return min(31, 16 + int(math.log(n / 16) / math.log(128 / 16) * 16))

    distance = torch.arange(300)
    assert en.t5_bucket(distance).tolist() == [reference(n) for n in range(300)]
    assert en.t5_bucket(torch.tensor([-4])).tolist() == [0]


def test_cope_counts_gates_and_interpolates():
    torch.manual_seed(1)
    B, H, N, D = 2, 3, 7, 4
    cope = en.Cope(D, 3)
    cope.table.requires_grad_(False).normal_()
    q, k = torch.randn(2, B, H, N, D)
    logits = q @ k.transpose(2, 3) / math.sqrt(D)
    future = en.distances(N, N, q.device) < 0
    bias = cope(q, logits, future)
    for i in range(N):
        for j in range(i + 1):
            p = min(2.0, float(logits[0, 1, i, j : i + 1].sigmoid().sum()))
            low, high = math.floor(p), math.ceil(p)
            row = (1 - (p - low)) * cope.table[:, low] + (p - low) * cope.table[:, high]
            assert float(bias[0, 1, i, j]) == pytest.approx(float(q[0, 1, i] @ row), abs=1e-5)


def test_randpe_positions_are_sorted_distinct_and_repeatable():
    rng = np.random.default_rng(0)
    drawn = en.random_positions(20, 24, rng)
    assert (drawn.diff() > 0).all()
    assert drawn.max() < 4 * 24
    even = en.random_positions(20, 24, None)
    assert torch.equal(even, en.random_positions(20, 24, None))
    assert (even.diff() > 0).all()
    # A range as long as the sequence leaves nothing to draw: RoPE. The public addition code did so.
    assert torch.equal(en.random_positions(96, 24, rng), torch.arange(96.0, dtype=torch.float64))
