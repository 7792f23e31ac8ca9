"""`toolbox sweep run`: one cell, a shard, or the whole grid, on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep.index import chosen
from toolbox.commands.sweep.options import Device, File, Limit, Out, Scratch, Threads
from toolbox.core import machine, signals
from toolbox.core.errors import UsageError

if TYPE_CHECKING:
    from toolbox.core.execute import Request
    from toolbox.core.sweep.cells import Sweep
    from toolbox.core.sweep.state import CellState


def command(
    file: File,
    index: Annotated[
        str | None,
        typer.Option(
            help="A cell, or several with commas; by default the scheduler's array index "
            "(TOOLBOX_INDEX overrides it), outside an array all cells.",
            metavar="I",
            show_envvar=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(help="The cells j with j mod N = I.", metavar="I/N", show_envvar=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Worker processes when there are several cells; by default the cores allowed.",
            min=1,
            max=4096,
            metavar="N",
        ),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    limit: Limit = None,
    stop_at_first_failure: Annotated[
        bool,
        typer.Option(
            "--stop-at-first-failure",
            help="When a cell fails, diverges or is killed, begin no other; those at work save a "
            "checkpoint and stop.",
        ),
    ] = False,
    out: Out = OUT,
    scratch: Scratch = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress and no messages; errors only.")
    ] = False,
) -> None:
    """Run cells that are not complete; what is complete is answered at once.

    One cell exits like the plain command (75: interrupted, the same line resumes it). Several exit
    0 when all are complete, 1 when some failed or diverged, else 75. --limit is of each cell.

    Example: toolbox sweep run FILE.yaml --jobs 4
    """
    from toolbox.core.cli import checked_device
    from toolbox.core.sweep.grid import load_sweep
    from toolbox.core.sweep.state import CORRUPT, states

    sweep = load_sweep(file)
    indices = chosen(len(sweep.cells), index, shard)
    if indices is not None and not indices:
        print(f"shard {shard} of {len(sweep.cells)} cells is empty: nothing to do")
        return
    cell_states = states(sweep, out)
    wanted = [cell_states[i] for i in indices] if indices is not None else cell_states
    asked = [
        replace(
            sweep.request(one.cell, out, checked_device(device), threads, scratch, limit),
            again=one.state == CORRUPT,
            quiet=quiet,
        )
        for one in wanted
    ]
    for one in wanted:
        if one.state == CORRUPT:
            _say(f"cell {one.cell.index} is made again: {one.message}", quiet)
    if len(wanted) == 1 and shard is None:
        _one(sweep, asked[0])
    else:
        _several(sweep, wanted, asked, jobs, threads, out, quiet, stop_at_first_failure)


def _one(sweep: Sweep, request: Request) -> None:
    """In this process, so that the scheduler's signals reach it and its exit code is the cell's."""
    from toolbox.core.answer import perform
    from toolbox.core.execute import record_refusal

    with signals.defer():
        try:
            perform(request, sweep.defined)
        except UsageError as error:
            record_refusal(request, str(error))
            raise


def _several(
    sweep: Sweep,
    wanted: list[CellState],
    asked: list[Request],
    jobs: int | None,
    threads: int | None,
    out: Path,
    quiet: bool,
    stop_at_first_failure: bool,
) -> None:
    from toolbox.commands.sweep import workers
    from toolbox.core.sweep.state import DIVERGED, FAILED, RUNNING, TO_DO, count, states

    todo = [r for r, one in zip(asked, wanted, strict=True) if one.state in TO_DO]
    cores = machine.default_threads()
    if (jobs is None or threads is None) and (note := machine.threads_note()):
        _say(note, quiet)
    if jobs is None:
        jobs = max(1, cores // (threads or 1))
    jobs = max(1, min(jobs, len(todo)))
    threads = threads or max(1, cores // jobs)
    labels = {one.cell.id: f"cell {one.cell.index} ({sweep.label(one.cell)})" for one in wanted}
    ready, elsewhere = len(wanted) - len(todo), sum(one.state == RUNNING for one in wanted)
    _say(
        f"{sweep.study} {sweep.command}: {len(wanted)} cells, {count(wanted)}; "
        f"{len(todo)} to run in {jobs} worker{'s' * (jobs > 1)} of {threads} "
        f"thread{'s' * (threads > 1)}" + (f", {elsewhere} at work elsewhere" * bool(elsewhere)),
        quiet,
    )
    with signals.defer():
        quietly = [replace(request, threads=threads, quiet=True) for request in todo]
        codes = workers.run(quietly, jobs, threads, labels, ready, quiet, stop_at_first_failure)
        stopped = signals.asked()
        stop_code = signals.exit_code()
    numbers = {one.cell.index for one in wanted}
    after = [one for one in states(sweep, out) if one.cell.index in numbers]
    print(count(after))
    if stopped is not None:
        raise typer.Exit(stop_code)
    ended_by_failure = stop_at_first_failure and any(map(workers.is_failure, codes.values()))
    if ended_by_failure or any(one.state in (FAILED, DIVERGED) for one in after):
        raise typer.Exit(1)
    if any(one.state != "complete" for one in after):
        raise typer.Exit(signals.RESUMABLE)


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line, file=sys.stderr, flush=True)
