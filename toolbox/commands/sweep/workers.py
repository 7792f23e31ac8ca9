"""Many cells at once on one machine, each in a process of its own.

A process per cell, not a pool: a cell that is killed, runs out of memory or crashes the
interpreter takes nobody with it, and its exit code is its own. A fork server that has imported
what the cells need makes such a process in hundredths of a second.

The workers of one run (`toolbox.core.crew`) are another thing, and share the fork server alone.
There a process takes one job after the other, ignores signals, and hands its state through a pipe
to the run, which alone writes tables and checkpoints and ends when a worker dies. A cell is a
whole run: it hears signals, writes its own files, has limits of its own, and when it dies the
others go on. One loop for both would ask at every turn which of the two it serves.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

from toolbox.core import machine, processes, signals
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.execute import Request, execute, record_refusal
from toolbox.core.progress import Progress
from toolbox.core.spec import load_command
from toolbox.core.status import Status
from toolbox.core.studies import registered

_POLL_SECONDS = 0.2


def run(
    requests: Sequence[Request],
    jobs: int,
    threads: int,
    labels: Mapping[str, str],
    done: int = 0,
    quiet: bool = False,
    stop_at_first_failure: bool = False,
) -> dict[str, int]:
    """Run every request, at most `jobs` at once; returns the exit code of each run id.

    A negative code is the signal that killed the cell. A stop asked of this process is handed on:
    the cells at work checkpoint, no other is begun. Call it inside `signals.defer()`.

    stop_at_first_failure : likewise hand on a stop when a cell has failed, diverged or was killed
    labels : run id -> what the user knows the cell by
    done : cells that are complete already, for the progress count
    """
    if not requests:
        return {}
    machine.set_threads(threads)  # the fork server imports the numerical libraries
    server = _fork_server(requests[0])
    waiting = deque(requests)
    at_work: dict[Any, tuple[BaseProcess, Request]] = {}
    codes: dict[str, int] = {}
    stopping = False
    with Progress(done + len(requests), "cells", done, quiet) as progress:
        while waiting or at_work:
            failed = stop_at_first_failure and any(map(is_failure, codes.values()))
            if (failed or signals.asked() is not None) and not stopping:
                stopping = True
                if failed and not quiet:
                    _tell_of_stop(len(at_work), len(waiting))
                waiting.clear()
                for process, _ in at_work.values():
                    _stop(process)
            while waiting and len(at_work) < jobs:
                request = waiting.popleft()
                process = server.Process(target=_work, args=(request,))
                process.start()
                at_work[process.sentinel] = process, request
            for sentinel in multiprocessing.connection.wait(list(at_work), _POLL_SECONDS):
                process, request = at_work.pop(sentinel)
                process.join()
                codes[request.paths.id] = code = process.exitcode or 0
                if code and not stopping and not quiet:
                    _complain(labels[request.paths.id], code)
                progress.update(1)
    return codes


def _fork_server(request: Request) -> Any:
    """A context whose server has imported, once, what the cells would import one by one."""
    study, command = request.study, request.command.replace("-", "_")
    wanted = ["__main__", "pandas", "toolbox.core.execute", "toolbox.core.studies"]
    # A command's experiment is the module of its name; where it is not, the cell imports it.
    wanted += [f"toolbox.studies.{study}.cli", f"toolbox.studies.{study}.{command}"]
    if "cuda" in load_command(study, request.command).devices:
        wanted.append("torch")
    return processes.fork_server(wanted)


def _work(request: Request) -> None:
    """The life of one cell's process."""
    signals.install()
    sys.exit(_outcome(request))


def _outcome(request: Request) -> int:
    defined = registered(request.study, request.command)
    try:
        with signals.defer():
            record, _ = execute(request, lambda run: defined.compute(run, request.params))
        return 0 if record.status is Status.COMPLETE else 1
    except UsageError as error:
        record_refusal(request, str(error))
        return error.exit_code
    except ToolboxError as error:
        return error.exit_code
    except Exception:
        traceback.print_exc()
        return 1


def is_failure(code: int) -> bool:
    """Whether a cell's exit code is that of a failed, diverged or killed one."""
    return code not in (0, signals.RESUMABLE, signals.CTRL_C)


def _tell_of_stop(at_work: int, waiting: int) -> None:
    cells = f"{at_work} cells at work are stopped, {waiting} are not begun"
    print(f"--stop-at-first-failure: {cells}", file=sys.stderr, flush=True)


def _stop(process: BaseProcess) -> None:
    # SIGTERM also for Ctrl-C: the terminal sent that to the cell as well, and a second one kills.
    if process.pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)


def _complain(label: str, code: int) -> None:
    if code < 0:
        said = f"killed by {signal.Signals(-code).name}"
        if code == -signal.SIGKILL:
            said += " (out of memory?)"
    elif code in (signals.RESUMABLE, signals.CTRL_C):
        said = "interrupted; the same line resumes it"
    else:
        said = "failed or diverged; `toolbox sweep status` says why"
    print(f"{label}: {said}", file=sys.stderr, flush=True)
