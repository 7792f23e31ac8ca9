"""`toolbox sweep submit`: the incomplete cells as job arrays, through submitit."""

from __future__ import annotations

import datetime
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep import local as here
from toolbox.commands.sweep.options import (
    MAX_ARRAY,
    Cpus,
    File,
    Gpus,
    Logs,
    Memory,
    Out,
    Parallel,
    Partition,
    Time,
    Warn,
    checked_gpus,
    checked_warning,
    megabytes,
    minutes,
    plain_name,
)
from toolbox.core import machine
from toolbox.core.errors import ToolboxError, UsageError

if TYPE_CHECKING:
    from toolbox.core.sweep.cells import Cell, Sweep
    from toolbox.core.sweep.needs import Batch


def command(
    file: File,
    time: Time = None,
    mem: Memory = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    parallel: Parallel = None,
    partition: Partition = None,
    max_array: Annotated[
        int,
        typer.Option(help="Jobs in an array at most; more cells than that share jobs.", min=1),
    ] = MAX_ARRAY - 1,
    warn: Warn = 120,
    memory_factor: Annotated[
        float,
        typer.Option(
            help="A cell that was killed for memory gets this many times what it had.",
            min=1,
            max=64,
            metavar="X",
        ),
    ] = 2,
    local: Annotated[
        bool, typer.Option("--local", help="Background processes here instead of Slurm.")
    ] = False,
    logs: Logs = None,
    out: Out = OUT,
) -> None:
    """Submit the cells that are neither complete, diverged nor at work, as job arrays.

    There is one array, or several where cells need different memory. The jobs run a copy of FILE,
    so that it may be edited meanwhile. With --local, --parallel processes (by default the cores)
    share the cells.

    Example: toolbox sweep submit FILE.yaml --time 2:00:00 --parallel 50
    """
    from toolbox.core.sweep.grid import load_sweep
    from toolbox.core.sweep.needs import DEFAULT_MINUTES, batches
    from toolbox.core.sweep.state import TO_DO, count, states

    sweep = load_sweep(file)
    limit, memory = minutes(time) if time else None, megabytes(mem) if mem else None
    checked_gpus(gpus, sweep)
    if limit or not sweep.time:
        checked_warning(warn, limit or DEFAULT_MINUTES)
    cell_states = states(sweep, out)
    todo = [one.cell.index for one in cell_states if one.state in TO_DO]
    print(f"{len(cell_states)} cells: {count(cell_states)}", file=sys.stderr)
    if not todo:
        print("nothing to submit")
        return
    _submitit()
    if not local and shutil.which("sbatch") is None:
        raise UsageError(
            "no sbatch here: submit from a machine of a Slurm cluster, or use --local; "
            "for PBS, SGE and LSF `toolbox sweep script` prints a job script"
        )
    folder = _new_folder(sweep, logs or out / "logs")
    copy = folder / f"{sweep.name}.yaml"
    shutil.copyfile(sweep.file, copy)
    line = [sys.executable, "-m", "toolbox", "sweep", "run", str(copy)]
    line += ["--jobs", "1", "--threads", str(cpus), "--out", str(out.resolve())]
    line += ["--device", "cuda"] if gpus else []
    if local:
        tasks = min(parallel or machine.default_threads(), max_array, len(todo))
        groups = [tuple(todo[k::tasks]) for k in range(tasks)]
        cells = [[sweep.cells[index] for index in group] for group in groups]
        here.submit(_submitit(), line, groups, folder, sweep, cells, out, file, limit)
        return
    more = _more_memory(sweep, out, [sweep.cells[i] for i in todo], memory_factor, memory)
    arrays = batches(sweep, todo, memory, limit, warn, max_array, more)
    settings = {
        "cpus_per_task": cpus,
        "slurm_signal_delay_s": warn,
        "slurm_job_name": plain_name(sweep.name),
        "slurm_stderr_to_stdout": True,
        **({"slurm_partition": partition} if partition else {}),
        **({"slurm_gres": f"gpu:{gpus}"} if gpus else {}),
    }
    ids: list[str] = []
    for batch in arrays:
        try:
            ids.append(_array(line, batch, folder, settings, parallel))
        except ToolboxError as error:
            began = f"; already submitted: {', '.join(ids)}" if ids else ""
            raise ToolboxError(f"{error}{began}") from None
        print(ids[-1])
    jobs = sum(len(batch.jobs) for batch in arrays)
    lines = [
        f"submitted {len(todo)} cells in {jobs} jobs",
        *(_costs(each, batch) for each, batch in zip(ids, arrays, strict=True) if len(ids) > 1),
        f"  follow  toolbox sweep status {file}    squeue -j {','.join(ids)}",
        f"  logs    {folder}",
        f"  stop    scancel {' '.join(ids)}",
    ]
    print("\n".join(lines), file=sys.stderr)


def work(line: list[str], indices: Sequence[int]) -> None:
    """What a job does: it becomes `toolbox sweep run`, so that signals, exit code and provenance
    are those of the printed job script. It does not return.

    line : the command, but for what selects the cells
    """
    sys.stdout.flush()
    os.execv(line[0], [*line, "--index", ",".join(map(str, indices))])


def _more_memory(
    sweep: Sweep, out: Path, cells: Sequence[Cell], factor: float, asked: int | None
) -> dict[str, int]:
    """Run id -> megabytes, for the cells that were killed for memory; says which."""
    from toolbox.core.sweep import needs

    killed = needs.out_of_memory(sweep, out, cells)
    more = {}
    for cell in cells:
        if (attempt := killed.get(cell.id)) is not None:
            had = attempt.megabytes or needs.megabytes(sweep, cell, asked)
            more[cell.id] = math.ceil(factor * had)
            print(
                f"cell {cell.index} ({sweep.label(cell)}) was killed for memory in job "
                f"{attempt.job} with {had} MB; it gets {more[cell.id]} MB",
                file=sys.stderr,
            )
    return more


def _costs(array: str, batch: Batch) -> str:
    cells = sum(map(len, batch.jobs))
    return f"  {array}: {cells} cells, {batch.megabytes} MB, {batch.minutes} min per job"


def _array(
    line: list[str], batch: Batch, folder: Path, settings: dict[str, Any], parallel: int | None
) -> str:
    """Submit one array; returns its id.

    Errors: `ToolboxError` with what sbatch said.
    """
    executor = _submitit().AutoExecutor(folder=folder, cluster="slurm")
    executor.update_parameters(
        **settings,
        timeout_min=batch.minutes,
        slurm_mem=f"{batch.megabytes}M",
        slurm_array_parallelism=parallel or len(batch.jobs),
    )
    try:
        jobs = executor.map_array(work, *zip(*((line, job) for job in batch.jobs), strict=True))
    except Exception as error:
        # submitit hands on what sbatch said, in errors of its own.
        raise ToolboxError(f"the jobs were not accepted: {' '.join(str(error).split())}") from None
    return str(jobs[0].job_id).partition("_")[0]


def _submitit() -> Any:
    # Read when submitit is imported: SIGUSR1 is what a cell understands before its time limit.
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = "USR1"
    try:
        import submitit
    except ImportError:
        raise UsageError(
            "sweep submit needs submitit: pip install 'toolbox[slurm]'; without it `toolbox sweep "
            "script` prints a job script"
        ) from None
    return submitit


def _new_folder(sweep: Sweep, logs: Path) -> Path:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    for attempt in range(100):
        folder = (logs / f"{sweep.name}-{stamp}{f'-{attempt}' if attempt else ''}").resolve()
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ToolboxError(f"--logs {logs}: {error.strerror}; name another folder") from None
        return folder
    raise ToolboxError(f"--logs {logs}: too many submissions in one second")
