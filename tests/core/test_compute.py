"""Threads, small numbers and streams are set in one place, and set back."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from toolbox.core import compute


def blas() -> list[int]:
    return [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]


@pytest.mark.parametrize("denormals", [True, False])
def test_one_thread_for_torch_and_blas_and_all_as_before_after_it(denormals):
    torch.set_num_threads(2)
    np.eye(2) @ np.eye(2)
    before = blas()
    tiny = torch.full((64,), 1e-39)
    with contextlib.suppress(KeyError), compute.one_thread(denormals):
        assert torch.get_num_threads() == 1
        assert set(blas()) == {1}
        assert bool((tiny * 0.5 == 0).all()) is not denormals
        raise KeyError
    assert torch.get_num_threads() == 2
    assert blas() == before
    assert bool((tiny * 0.5 > 0).all())


def test_a_system_without_glibc_computes_as_well(monkeypatch):
    monkeypatch.setattr(compute.ctypes, "CDLL", lambda name: object())
    compute.keep_freed_memory()


def test_a_stream_on_the_cpu_is_that_of_a_run_on_the_cpu(launch):
    def check(run):
        here = run.torch_generator(0, "x")
        asked = run.torch_generator(0, "x", device="cpu")
        assert asked.device.type == "cpu"
        assert torch.equal(torch.rand(3, generator=here), torch.rand(3, generator=asked))
        run.write("curve", {"step": 0, "loss": 0.0}, 0)

    launch(check)


def adam_like(device):
    """A step on tensors that stay: w <- w - rate g / count, its count a tensor."""
    w, count = torch.ones(4, device=device), torch.zeros((), device=device)

    def step():
        count.add_(1)
        w.sub_(0.1 * w.square() / count)

    return step, w, count


def test_a_captured_step_on_a_cpu_is_the_step():
    step, w, _ = adam_like("cpu")
    other, expected, _ = adam_like("cpu")
    captured = compute.Captured(step, "cpu")
    for _ in range(8):
        captured()
        other()
    assert torch.equal(w, expected)


class FakeCuda:
    """What `Captured` asks of torch.cuda, and in which order."""

    def __init__(self):
        self.did = []

    def __getattr__(self, name):
        @contextlib.contextmanager
        def inside(*_, **__):
            self.did.append(name)
            yield

        if name in ("device", "stream", "graph"):
            return inside
        if name == "CUDAGraph":
            return lambda: self
        if name == "replay":
            return lambda: self.did.append("replay")
        if name in ("Stream", "current_stream"):
            return lambda: self
        if name == "wait_stream":
            return lambda other: self.did.append("wait")
        raise AttributeError(name)


def test_the_first_calls_are_the_step_the_next_is_captured_and_all_others_are_replays(monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setattr(torch, "cuda", cuda)
    captured = compute.Captured(lambda: cuda.did.append("step"), "cuda")
    for _ in range(compute.WARM_STEPS + 2):
        captured()
    did = [each for each in cuda.did if each != "device"]
    warm = ["wait", "stream", "step", "wait"]
    assert did == [*warm * compute.WARM_STEPS, "graph", "step", "replay", "replay"]
    captured.forget()
    assert captured.graph is None


def test_precision_and_order_of_sums_are_set_back():
    before = torch.get_float32_matmul_precision()
    for wanted in (True, False):
        with contextlib.suppress(KeyError), compute.products("tf32"), compute.same_sums(wanted):
            assert torch.get_float32_matmul_precision() == "high"
            assert torch.are_deterministic_algorithms_enabled() is wanted
            raise KeyError
        assert torch.get_float32_matmul_precision() == before
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.cuda
def test_a_graph_is_the_step_on_a_card():
    step, w, count = adam_like("cuda")
    other, expected, _ = adam_like("cuda")
    captured = compute.Captured(step, "cuda")
    for _ in range(20):
        captured()
        other()
    assert captured.graph is not None
    assert int(count) == 20
    assert torch.equal(w, expected)
