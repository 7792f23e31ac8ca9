"""Threads and devices, chosen before any numerical library is imported."""

from __future__ import annotations

import os

from toolbox.core.errors import UsageError

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def default_threads() -> int:
    """`SLURM_CPUS_PER_TASK`, else the cores this process may use.

    `nproc` would count the whole node, and a job array would start 64 threads on each core.
    """
    asked = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int | None) -> int:
    """Cap BLAS, OpenMP and torch; effective only before their first import. Returns the cap."""
    count = threads or default_threads()
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(count)
    return count


def torch_device(asked: str) -> str:
    """The torch device behind `--device`: `auto` is CUDA where there is one, else the CPU.

    Errors: `UsageError` when the device asked for is not there.
    """
    if asked == "cpu":
        return "cpu"
    import torch

    available = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if available else "cpu"
    index = int(asked.partition(":")[2] or 0)
    if not available or index >= torch.cuda.device_count():
        here = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if available else []
        raise UsageError(
            f"--device {asked}: there is no such device here; use one of "
            + ", ".join(["auto", "cpu", *here])
        )
    return asked
