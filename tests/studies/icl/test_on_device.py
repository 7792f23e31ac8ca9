"""Steps that ask the host for nothing are the steps of a CPU to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolbox.studies.icl import ensemble, model
from toolbox.studies.icl.ensemble import Ensemble
from toolbox.studies.icl.plan import read_at, sizes_of
from toolbox.studies.icl.prompts import stream

from .settings import member, setting
from .test_ensemble import MEMBERS, finish, same


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("members", [MEMBERS, MEMBERS[:1]], ids=["four rates", "one rate"])
def test_the_captured_step_is_the_plain_step_to_rounding(optimizer, by_hand, members, monkeypatch):
    if not by_hand:
        monkeypatch.setattr(ensemble, "BY_HAND_TOKENS", 0)
    s = setting(steps=30, until="steps", optimizer=optimizer, warmup=7, every=1)
    plain = finish(Ensemble(s, members, 0, dtype=torch.float64))
    captured = finish(Ensemble(s, members, 0, dtype=torch.float64, captured=True))
    for one, other in zip(plain, captured, strict=True):
        # Adam's step of the warm-up is a float32 tensor.
        assert np.abs(one.rows - other.rows).max() < 1e-6
        assert one.seen.tolist() == other.seen.tolist()


def test_it_leaves_the_plateau_at_the_same_steps_and_members_that_are_decided_change_nothing():
    s = setting(steps=80, every=1, threshold=0.999, window=5)
    members = [member("linear", lr=1e-2), *MEMBERS[:2], member("coin")]
    plain = finish(Ensemble(s, members, 3))
    captured = finish(Ensemble(s, members, 3, captured=True))
    assert len({one.steps for one in plain}) > 1  # so some were decided before others
    for one, other in zip(plain, captured, strict=True):
        assert one.steps == other.steps
        assert one.escape.tolist() == other.escape.tolist()
        assert one.seen.tolist() == other.seen.tolist()
        assert np.abs(one.rows - other.rows).max() < 1e-3


@pytest.mark.parametrize("steps", [0, 1, ensemble.BLOCK, ensemble.BLOCK + 7, 47])
def test_saved_in_a_block_that_is_captured_it_goes_on_byte_for_byte(steps):
    s = setting(threshold=0.999, window=5)
    members = [member("linear", lr=1e-2), *MEMBERS[:2], member("coin")]
    whole = finish(Ensemble(s, members, 3, captured=True))
    first = Ensemble(s, members, 3, captured=True)
    for _ in range(steps):
        first.advance()
    state = first.state_dict()
    first.block()
    second = Ensemble(s, members, 3, captured=True)
    second.advance()  # it had drawn ahead
    second.load_state_dict(state)
    for one, other in zip(whole, finish(second), strict=True):
        same(one, other)


def test_a_compiled_network_trains_as_it_does_plain(monkeypatch):
    monkeypatch.setattr(ensemble, "BY_HAND_TOKENS", 0)
    monkeypatch.setattr(ensemble, "BACKEND", "aot_eager")
    s = setting(steps=20, until="steps", every=1)
    rows = [
        finish(Ensemble(s, MEMBERS, 0, captured=True, compiled=compiled))[1].rows
        for compiled in (False, True)
    ]
    assert np.abs(rows[0] - rows[1]).max() < 1e-4


def test_attention_at_all_positions_is_attention_at_those_that_are_read():
    s = setting()
    drawn = model.init("gpt", sizes_of(s), s.init_std, stream(0, 0, "init"))
    params = {name: value[None].double() for name, value in drawn.items()}
    tokens = torch.randn(1, 5, 2 * s.n, s.d, dtype=torch.float64)
    rows, whole = (
        model.forward("gpt", params, tokens, sizes_of(s), read_at(s), attention)
        for attention in ("rows", "whole")
    )
    assert torch.allclose(rows, whole, atol=1e-12)


@pytest.mark.cuda
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_on_a_card_the_graph_is_the_step_and_resumes_byte_for_byte(precision):
    s = setting(steps=60, until="steps", every=1, precision=precision)
    plain = finish(Ensemble(s, MEMBERS, 0, "cuda", captured=False))
    captured = finish(Ensemble(s, MEMBERS, 0, "cuda"))
    first = Ensemble(s, MEMBERS, 0, "cuda")
    for _ in range(27):
        first.advance()
    second = Ensemble(s, MEMBERS, 0, "cuda")
    second.load_state_dict(first.state_dict())
    for one, other, resumed in zip(plain, captured, finish(second), strict=True):
        assert np.abs(one.rows - other.rows).max() < 1e-2
        for name in ("rows", "escape", "seen"):
            assert np.array_equal(getattr(other, name), getattr(resumed, name)), name
