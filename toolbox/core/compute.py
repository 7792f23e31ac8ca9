"""How torch and BLAS compute: threads, precision, and what makes results repeatable."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def threads(count: int, denormals: bool = True) -> Iterator[None]:
    """So many threads for torch and BLAS while this lasts; those imported by then.

    denormals : False counts numbers below 1e-38 as zero. Late in a training they may abound, and
                slow a step on a CPU by a quarter
    """
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")
    with threadpool_limits(count, user_api="blas"):
        if torch is None:
            yield
            return
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        torch.set_flush_denormal(not denormals)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.set_flush_denormal(False)


def one_thread(denormals: bool = True) -> contextlib.AbstractContextManager[None]:
    """One thread: sums then do not depend on how many cores there are, and small products that
    two threads would wait on each other for are faster."""
    return threads(1, denormals)


def set_policy(device: str) -> None:
    """What torch does alike in every study: full float32 products, and the same algorithm each
    time. A study that wants another precision says so where it does."""
    if not device.startswith("cuda"):
        return
    # Read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


@contextlib.contextmanager
def policy_kept() -> Iterator[None]:
    """Put back, at the end, what `set_policy` changes in a torch that the caller has imported."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    cudnn = torch.backends.cudnn
    precision = torch.get_float32_matmul_precision()
    flags = {name: getattr(cudnn, name) for name in ("allow_tf32", "benchmark", "deterministic")}
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        for name, value in flags.items():
            setattr(cudnn, name, value)


def keep_freed_memory() -> None:
    """From here on, let the C library keep what is freed for the next step.

    Else it may hand the end of the heap back to the system and fault it in again, many times in
    every step, as the addresses happen to lie; that was seen to take a quarter of the time.
    """
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError, TypeError):  # no glibc
        libc: Any = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, 1 << 30)
