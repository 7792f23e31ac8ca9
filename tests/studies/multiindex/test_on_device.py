"""Steps that ask the host for nothing are the steps of a CPU."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from toolbox.studies.multiindex import data
from toolbox.studies.multiindex.link import parse_link
from toolbox.studies.multiindex.model import Shared
from toolbox.studies.multiindex.on_device import Steps

LINK, D, P, M, BATCH = parse_link("h2+h4"), 8, 2, 5, 16


def made(device="cpu", captured=None, dtype=torch.float64):
    def draw(generator, rows):
        x = data.normal(generator, dtype, rows, D)
        return x, data.labels(LINK, x[:, :P], 0.0, generator)

    v = torch.from_numpy(data.starts(np.random.default_rng(0), M, D)).to(device, dtype)
    learner = Shared(LINK, v, P, np.array([1e-3, 3e-3]))
    stream = data.Stream(draw, torch.Generator().manual_seed(1), D, BATCH, device)
    stream.steps = stream.place = 7  # short blocks, so that a few steps see several
    return learner, stream, Steps(learner, stream, captured)


def advance(steps, count):
    for _ in range(count):
        steps.advance()
    return steps.learner.v.clone()


@pytest.mark.parametrize("count", [1, 7, 25])
def test_the_captured_step_is_the_plain_step(count):
    (learner, one, plain), (_, other, captured) = made(), made(captured=True)
    start = learner.v.clone()
    with contextlib.closing(one), contextlib.closing(other):
        assert torch.equal(advance(plain, count), advance(captured, count))
        keep = np.array([False, True])
        plain.learner.keep(keep)
        captured.learner.keep(keep)
        assert torch.equal(advance(plain, 9), advance(captured, 9))
    assert not torch.allclose(start[M:], plain.learner.v)


@pytest.mark.parametrize("count", [0, 3, 7, 12])
def test_saved_in_a_block_it_goes_on_byte_for_byte(count):
    learner, one, first = made(captured=True)
    second_learner, other, second = made(captured=True)
    with contextlib.closing(one), contextlib.closing(other):
        advance(first, count)
        state = {**learner.state_dict(), "v": learner.v.clone()}
        other.load_state_dict(one.state_dict())
        second_learner.load_state_dict(state)
        assert torch.equal(advance(first, 20), advance(second, 20))


@pytest.mark.cuda
def test_on_a_card_it_sees_the_samples_of_a_cpu():
    (_, one, plain), (_, other, captured) = made(), made("cuda")
    assert captured.captured
    with contextlib.closing(one), contextlib.closing(other):
        assert torch.allclose(advance(plain, 40), advance(captured, 40).cpu(), atol=1e-9)
