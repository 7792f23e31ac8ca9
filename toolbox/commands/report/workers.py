"""The same work for many commands, on all cores that this process may use."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from toolbox.core import machine, places, processes

T = TypeVar("T")
FEW = 4
"""Up to so many jobs are done here: a process that imports the libraries takes seconds."""
MOST = 4
"""Processes at once; each holds some 200 MB."""


def each(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]]) -> list[T]:
    """`function(*job)` for every job, in their order.

    function : of a module, for it is called in other processes
    """
    cores = min(machine.default_threads(), MOST, len(jobs))
    if cores == 1 or len(jobs) <= FEW:
        return [function(*job) for job in jobs]
    machine.set_threads(1)
    server = processes.fork_server([function.__module__])
    executor = ProcessPoolExecutor(cores, server, _begin, (places.inside(),))
    try:
        with processes.without_main():
            return list(executor.map(function, *zip(*jobs, strict=True)))
    finally:
        executor.shutdown(cancel_futures=True)


def _begin(folders: Sequence[Path]) -> None:
    """Look for studies where the first process does; a Ctrl-C is its alone."""
    places.look_in(folders)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
