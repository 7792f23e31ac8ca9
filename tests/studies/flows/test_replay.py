"""Derivatives that are replayed: the same numbers bit for bit, and who is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from toolbox.core.compute import one_thread
from toolbox.studies.flows import data, landscape, networks, replay
from toolbox.studies.flows.landscape import Point
from toolbox.studies.flows.objective import flat, objective


@pytest.fixture(autouse=True)
def _small():
    """Many small operations: a second thread would only be in the way."""
    with one_thread():
        yield


@pytest.fixture
def at_once(monkeypatch):
    """Record at the first call, compare at the second."""
    monkeypatch.setattr(replay, "CALLS", 1)
    monkeypatch.setattr(replay, "MOST_OPERATIONS", 50_000)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def of_network(arch, criterion="mse"):
    """A loss with a recorder, and a point away from layers that start at 0."""
    dataset = "sorting" if arch in networks.OF_TOKENS else "digits"
    loaded = data.load(dataset, 6, 4, np.random.default_rng(0))
    module = networks.build(
        arch, loaded.shape, loaded.classes, 8, 1, "tanh", generator(), loaded.vocabulary
    )
    of = objective(module, lambda out: data.loss(criterion, out, loaded), loaded.inputs)
    w = flat(module)
    return of, w + 0.1 * torch.randn(w.shape, dtype=w.dtype, generator=generator(1))


def derivatives(of, w, m):
    """All that a point gives: loss, gradient, products, third derivatives."""
    V = torch.randn(len(w), m, dtype=w.dtype, generator=generator(2))
    point = Point(of, w)
    return (
        torch.tensor(point.loss), point.gradient, point.hessian_times(V), *point.third(V),
        point.curvature_gradient(V), landscape.gradient(of, w),
    )  # fmt: skip


def programs(of):
    return list(of.recorder._programs.values())


def torchscript_is_here():
    """Later versions of Python and PyTorch may lack it; then nothing is replayed."""
    try:
        unit = torch.jit.CompilationUnit("def run(x: Tensor) -> Tensor:\n    return x\n")
        return bool((unit.run(torch.ones(1)) == 1).all())
    except (AttributeError, RuntimeError):
        return False


@pytest.mark.skipif(not torchscript_is_here(), reason="no TorchScript")
@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("arch", networks.ARCHITECTURES)
def test_a_replay_gives_the_same_numbers_bit_for_bit(at_once, arch, m):
    of, w = of_network(arch, "ce" if arch == "transformer" else "mse")
    derivatives(of, w, m)
    derivatives(of, 0.9 * w, m)
    there = w + 0.05 * torch.randn(w.shape, dtype=w.dtype, generator=generator(3))
    replayed = derivatives(of, there, m)
    assert len(programs(of)) == 4
    assert all(p.usable and p._calls >= 3 for p in programs(of)), "nothing was replayed"
    plain = derivatives(lambda w: of(w), there, m)  # without a recorder
    assert all(torch.equal(a, b) for a, b in zip(replayed, plain, strict=True))
    assert not any(x.requires_grad or x.is_inference() for x in replayed)


class Odd(torch.nn.Module):
    """A layer that does what cannot be replayed."""

    def __init__(self, what):
        super().__init__()
        self.what, self.first = what, torch.nn.Linear(3, 3, dtype=torch.float64)
        self.register_buffer("seen", torch.zeros((), dtype=torch.float64))

    def forward(self, x):
        x = torch.tanh(self.first(x))
        if self.what == "looks":
            return x if float(x.detach().sum()) > 0 else 2 * x
        if self.what == "draws":
            return torch.nn.functional.dropout(x, 0.5)
        with torch.no_grad():
            self.seen += 1
        return x * self.seen


@pytest.mark.parametrize("what", ["looks", "draws", "counts"])
def test_a_network_that_cannot_be_replayed_is_computed_as_before(at_once, what):
    torch.manual_seed(0)
    module, x = Odd(what), torch.randn(5, 3, dtype=torch.float64, generator=generator())
    of = objective(module, lambda out: out.square().mean(), x)
    for sign in (1, -1, 1):
        point = Point(of, sign * flat(module))
        point.hessian_times(torch.ones(len(point.gradient), 1, dtype=torch.float64))
    assert programs(of)
    assert not any(p.usable for p in programs(of))


def test_numbers_that_change_with_something_else_are_noticed(at_once):
    """The second call is compared with its replay; what is not the same is never replayed."""
    scale = [1.0]
    of = objective(
        torch.nn.Linear(2, 1, dtype=torch.float64), lambda out: scale[0] * out.square().sum(),
        torch.ones(3, 2, dtype=torch.float64),
    )  # fmt: skip
    w = torch.ones(3, dtype=torch.float64)
    first = Point(of, w).loss
    scale[0] = 2.0
    assert Point(of, w).loss == 2 * first
    assert not any(p.usable for p in programs(of))


def test_shapes_have_programs_of_their_own(at_once):
    of, w = of_network("mlp")
    for m in (1, 2, 3) * 3:
        V = torch.randn(len(w), m, dtype=w.dtype, generator=generator(m))
        assert torch.equal(
            Point(of, w).hessian_times(V), Point(lambda w: of(w), w).hessian_times(V)
        )
    assert len(programs(of)) == 4  # the gradient, and a block size each


def test_long_programs_are_not_recorded(monkeypatch):
    monkeypatch.setattr(replay, "CALLS", 1)
    monkeypatch.setattr(replay, "MOST_OPERATIONS", 50)
    of, w = of_network("mlp")
    derivatives(of, w, 2)
    assert not any(p.usable for p in programs(of))
