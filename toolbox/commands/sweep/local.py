"""`toolbox sweep submit --local`: the cells in background processes, through submitit."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.errors import ToolboxError

if TYPE_CHECKING:
    from toolbox.core.sweep.cells import Cell, Sweep

_WATCH_SECONDS = 30.0
_POLL_SECONDS = 0.2
_TIME_LIMIT_MINUTES = 60 * 24 * 365  # submitit wants one; a process of one's own has none


def submit(
    submitit: Any,
    line: list[str],
    groups: Sequence[tuple[int, ...]],
    folder: Path,
    sweep: Sweep,
    cells: Sequence[Sequence[Cell]],
    out: Path,
    file: Path,
    minutes: int | None,
) -> None:
    """Start a process for each group of cells, see it begin, and say how to follow and stop it.

    cells : those of each group;  minutes : after which a process is told to stop

    Errors: `ToolboxError` when one ends before it has begun a cell.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    executor = submitit.AutoExecutor(folder=folder, cluster="local")
    executor.update_parameters(timeout_min=minutes or _TIME_LIMIT_MINUTES)
    began = time.time()
    try:
        with _detached():
            jobs = executor.map_array(
                work, *zip(*((line, group, visible) for group in groups), strict=True)
            )
    except Exception as error:
        raise ToolboxError(f"no process was started: {' '.join(str(error).split())}") from None
    _watch(jobs, out / sweep.study / sweep.command, cells, began, folder)
    ids = " ".join(job.job_id for job in jobs)
    print(ids)
    lines = (
        f"submitted {sum(map(len, groups))} cells in {len(jobs)} jobs",
        f"  follow  toolbox sweep status {file}    tail -f {folder}/*.out",
        f"  logs    {folder}",
        f"  stop    kill {ids}",
    )
    print("\n".join(lines), file=sys.stderr)


def work(line: list[str], indices: Sequence[int], visible: str | None) -> None:
    """What a process does; see `toolbox.commands.sweep.submit.work`.

    visible : what CUDA_VISIBLE_DEVICES was where it was submitted, for submitit hides the devices
    """
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    if visible is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    sys.stdout.flush()
    os.execv(line[0], [*line, "--index", ",".join(map(str, indices))])


def _watch(
    jobs: Sequence[Any], runs: Path, cells: Sequence[Sequence[Cell]], began: float, logs: Path
) -> None:
    """Wait until each process has begun a cell; a slow one is believed after a while."""
    end = time.monotonic() + _WATCH_SECONDS
    waiting = list(range(len(jobs)))
    lost: list[int] = []
    while waiting and time.monotonic() < end:
        for k in list(waiting):
            ended = jobs[k].done()  # asked before the files, which it may be about to write
            if any(_begun(runs, cell, began) for cell in cells[k]):
                waiting.remove(k)
            elif ended:
                waiting.remove(k)
                lost.append(k)
        if waiting:
            time.sleep(_POLL_SECONDS)
    if lost:
        of = "the job" if len(jobs) == 1 else f"{len(lost)} of {len(jobs)} jobs"
        raise ToolboxError(f"{of} ended before a cell began: {_said(jobs[lost[0]])}; see {logs}")


def _begun(folder: Path, cell: Cell, since: float) -> bool:
    """Whether anything of a run has been written since then."""
    for path in [*folder.glob(f"{cell.id}*"), *folder.glob(f".tmp-{cell.id}-*")]:
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= since - 1:
                return True
    return False


def _said(job: Any) -> str:
    """The last line that a job wrote."""
    for text in (job.stderr(), job.stdout()):
        lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("submitit ")]
        if told:
            return told[-1].removeprefix("toolbox: ")
    return "it left no word"


@contextlib.contextmanager
def _detached() -> Iterator[None]:
    """The local executor's children inherit stdout; a pipe from us would stay open for hours."""
    kept = [os.dup(stream) for stream in (1, 2)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        yield
    finally:
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)
