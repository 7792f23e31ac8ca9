"""Threads and devices, chosen before any numerical library is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from toolbox.core import scheduler
from toolbox.core.errors import UsageError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def default_threads() -> int:
    """The cores that the scheduler gave this job (`SLURM_CPUS_PER_TASK`), never more than those
    that this process may use; outside of a job, the latter.
    """
    asked, allowed = scheduler.cores(), allowed_cores()
    return min(asked[1], allowed) if asked else allowed


def threads_note() -> str:
    """What to tell the user when the scheduler speaks of more cores than there are, or nothing."""
    asked, allowed = scheduler.cores(), allowed_cores()
    if asked is None or asked[1] <= allowed:
        return ""
    cores = "1 core" if allowed == 1 else f"{allowed} cores"
    return f"{asked[0]}={asked[1]}, but this process may use only {cores}; it uses {allowed}"


def allowed_cores() -> int:
    """The cores that this process may use.

    `nproc` would count the whole node, and a job array would start 64 threads on each core.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int | None) -> int:
    """Cap BLAS, OpenMP and torch; effective only before their first import. Returns the cap."""
    count = threads or default_threads()
    for name in THREAD_VARIABLES:
        os.environ[name] = str(count)
    return count


DRIVERS = ("nvidiactl", "kfd", "dxg", "nvmap", "nvhost-ctrl")
"""Files in /dev of the drivers of NVIDIA, AMD, Windows' Linux and NVIDIA's small boards."""


def no_driver() -> bool:
    """Whether this is a Linux without a GPU's driver: then torch is not imported to ask for one."""
    return sys.platform == "linux" and not any(Path("/dev", each).exists() for each in DRIVERS)


def torch_device(asked: str) -> str:
    """The torch device behind `--device`: `auto` is CUDA where there is one, else the CPU.

    Errors: `UsageError` when the device asked for is not there.
    """
    if asked == "cpu" or (asked == "auto" and no_driver()):
        return "cpu"
    import torch

    available = torch.cuda.is_available()
    if asked == "auto":
        return "cuda" if available else "cpu"
    index = int(asked.partition(":")[2] or 0)
    if not available or index >= torch.cuda.device_count():
        cards = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if available else []
        raise UsageError(
            f"--device {asked}: there is no such device here; use one of "
            + ", ".join(["auto", "cpu", *cards])
        )
    return asked
