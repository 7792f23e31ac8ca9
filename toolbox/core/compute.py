"""How torch and BLAS compute: threads, precision, captured steps, what makes runs repeatable."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """Float32 matrix products in this precision while this lasts, on a card that knows it.

    precision : "tf32" rounds their factors to 10 bits and sums in float32; any other name leaves
                them whole (bfloat16 is torch's autocast and concerns no float32 product)
    """
    import torch

    before = torch.get_float32_matmul_precision()
    if precision == "tf32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def same_sums(wanted: bool) -> Iterator[None]:
    """Sums of a GPU in the same order each time while this lasts, where its kernels can.

    The gradient of fused attention is summed as blocks of keys finish. Up to two blocks have one
    order only; of longer sequences the bytes would differ from run to run.
    """
    import torch

    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = memory.fill_uninitialized_memory
    if wanted:
        torch.use_deterministic_algorithms(True, warn_only=True)
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        memory.fill_uninitialized_memory = filled


WARM_STEPS = 3
"""Steps that run as they are before one is captured; in them libraries choose their kernels and
allocate what they keep, which a capture forbids."""


class Captured:
    """A step that a GPU does without waiting for the host: captured as one graph, then replayed.

    On a CPU every call is the step itself. On CUDA the first `WARM_STEPS` calls are the step too,
    on a side stream, as capturing asks for. The next call captures its launches, and from then on a
    call is one launch that the host does not wait for. The kernels are the same in all of them.

    The step may read and write tensors that stay where they are for as long as this lives. It may
    not ask a tensor for a number (`item`, `bool`, `nonzero`), copy from or to the host, or draw
    random numbers. A number that changes from step to step is therefore kept in a tensor.
    """

    def __init__(self, step: Callable[[], None], device: str) -> None:
        """device : the torch device of the step's tensors."""
        self.step, self.device = step, device
        self.on_cuda = device.startswith("cuda")
        self.calls = 0
        self.graph: Any = None

    def __call__(self) -> None:
        """The next step. On CUDA it may still be under way when this returns."""
        self.calls += 1
        if not self.on_cuda:
            self.step()
            return
        import torch

        cuda: Any = torch.cuda
        with cuda.device(self.device):
            if self.graph is None and self.calls <= WARM_STEPS:
                side, main = cuda.Stream(), cuda.current_stream()
                side.wait_stream(main)
                with cuda.stream(side):
                    self.step()
                main.wait_stream(side)
                return
            if self.graph is None:
                graph = cuda.CUDAGraph()
                # Of this thread alone: another one may draw the next block and copy it over.
                with cuda.graph(graph, capture_error_mode="thread_local"):
                    self.step()
                self.graph = graph
            self.graph.replay()

    def forget(self) -> None:
        """Let the graph and its memory go; nothing is to be called after it."""
        self.graph, self.step = None, lambda: None


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
