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
