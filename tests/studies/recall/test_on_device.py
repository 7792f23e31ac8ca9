"""Steps that ask the host for nothing are the steps of a CPU to rounding."""

from __future__ import annotations

import pytest
import torch

from toolbox.studies.recall import transformer
from toolbox.studies.recall.memory import Memory, Shape
from toolbox.studies.recall.on_device import BLOCK
from toolbox.studies.recall.transformer import Size

from .test_transformer import generator, model


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


SIZES = [Size(8, 2, 4, 16)] * 2


def memory(device="cpu"):
    return Memory(Shape(6, 12), 20, [0, 1], (0.03, 0.1), lambda r, N: generator(r), device)


def transformers():
    return model(SIZES, [0.01, 0.03])


def captured(made):
    made.captured = True
    return made


def run(made, steps):
    for _ in range(steps):
        made.step()
    made.settle()
    return made.flat.detach().clone()


@pytest.mark.parametrize("make", [memory, transformers])
@pytest.mark.parametrize("steps", [1, BLOCK, 2 * BLOCK + 9])
def test_the_captured_step_is_the_plain_step_to_rounding(make, steps):
    plain, other = make(), captured(make())
    start = plain.flat.detach().clone()
    assert torch.allclose(run(plain, steps), run(other, steps), atol=2e-3)
    assert not torch.allclose(plain.flat, start, atol=2e-2) or steps == 1
    assert plain.steps == other.steps == steps
    assert abs(plain.accuracy() - other.accuracy()).max() < 0.1


def test_steps_that_should_have_looked_at_the_scores_are_done_again(monkeypatch):
    """With so low a bound every score is too far for the table, from the first step on."""
    monkeypatch.setattr(transformer, "FAR", 1e-6)
    assert torch.allclose(run(transformers(), 70), run(captured(transformers()), 70), atol=2e-3)
    other = captured(transformers())
    run(other, 70)
    assert other.replay.plain


def test_a_bound_that_is_passed_late_is_noticed_in_its_block(monkeypatch):
    made = transformers()
    spreads = []
    seen = transformer.by_table

    def watch(counts, score, value):
        spread = score.detach().amax(dim=1) - score.detach().amin(dim=1)
        spreads.append(float(spread.max()))
        return seen(counts, score, value)

    monkeypatch.setattr(transformer, "by_table", watch)
    run(made, 100)
    monkeypatch.setattr(transformer, "by_table", seen)
    far = max(spreads[:80])
    assert far < max(spreads[80:])  # so that it is passed in the second block
    monkeypatch.setattr(transformer, "FAR", far)
    other = captured(transformers())
    run(other, BLOCK)
    assert not other.replay.plain
    run(other, 100 - BLOCK)
    assert other.replay.plain
    assert torch.allclose(run(transformers(), 100), other.flat, atol=2e-3)


@pytest.mark.parametrize("steps", [0, 5, BLOCK, BLOCK + 30])
@pytest.mark.parametrize("make", [memory, transformers])
def test_saved_anywhere_it_goes_on_byte_for_byte(make, steps):
    first = captured(make())
    run(first, steps)
    state = {name: _copy(value) for name, value in first.state_dict().items()}
    second = captured(make())
    run(second, 3)
    second.load_state_dict(state)
    assert torch.equal(run(first, 70), run(second, 70))


def _copy(value):
    return value.clone() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("make", [memory, transformers])
def test_those_that_stay_go_on_as_they_would_beside_the_others(make):
    plain, other = make(), captured(make())
    for each in (plain, other):
        run(each, 30)
        each.keep(torch.tensor([1]))
    assert torch.allclose(run(plain, 50), run(other, 50), atol=2e-3)


@pytest.mark.cuda
def test_on_a_card_it_starts_from_the_weights_of_a_cpu_and_takes_its_steps():
    here, there = memory(), memory("cuda")
    assert there.captured
    assert torch.equal(here.flat, there.flat.cpu())
    assert torch.allclose(run(here, 100), run(there, 100).cpu(), atol=1e-2)
