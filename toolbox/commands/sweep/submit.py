"""`toolbox sweep submit`: the incomplete cells as a job array, through submitit."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolbox.commands.cli import OUT
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
    megabytes,
    minutes,
    plain_name,
)
from toolbox.core import machine
from toolbox.core.errors import ToolboxError, UsageError

if TYPE_CHECKING:
    from toolbox.core.sweep.cells import Sweep


def command(
    file: File,
    time: Time = "60",
    mem: Memory = "4G",
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    parallel: Parallel = None,
    partition: Partition = None,
    max_array: Annotated[
        int,
        typer.Option(help="Jobs in the array at most; more cells than that share jobs.", min=1),
    ] = MAX_ARRAY - 1,
    warn: Warn = 120,
    local: Annotated[
        bool, typer.Option("--local", help="Background processes here instead of Slurm.")
    ] = False,
    logs: Logs = None,
    out: Out = OUT,
) -> None:
    """Submit the cells that are neither complete, diverged nor at work, as one job array.

    The jobs run a copy of FILE, so that it may be edited meanwhile. With --local, --parallel
    processes (by default the cores) share the cells.

    Example: toolbox sweep submit FILE.yaml --time 2:00:00 --parallel 50
    """
    from toolbox.core.sweep.grid import load_sweep
    from toolbox.core.sweep.state import TO_DO, count, states

    sweep = load_sweep(file)
    limit, memory = minutes(time), megabytes(mem)
    if warn >= limit * 60:
        raise UsageError(f"--warn {warn}: the time limit is only {limit * 60} s; lower it")
    checked_gpus(gpus, sweep)
    found = states(sweep, out)
    todo = [one.cell.index for one in found if one.state in TO_DO]
    print(f"{len(found)} cells: {count(found)}", file=sys.stderr)
    if not todo:
        print("nothing to submit")
        return
    _submitit()
    if local:
        tasks = min(parallel or machine.default_threads(), max_array)
    elif shutil.which("sbatch") is None:
        raise UsageError(
            "no sbatch here: submit from a machine of a Slurm cluster, or use --local; "
            "for PBS, SGE and LSF `toolbox sweep script` prints a job script"
        )
    else:
        tasks = max_array
    groups = [todo[k::tasks] for k in range(min(tasks, len(todo)))]
    folder = _new_folder(sweep, logs or out / "logs")
    copy = folder / f"{sweep.name}.yaml"
    shutil.copyfile(sweep.file, copy)
    settings: dict[str, Any] = {"timeout_min": limit, "cpus_per_task": cpus}
    if not local:
        settings |= {
            "slurm_mem": f"{memory}M",
            "slurm_array_parallelism": parallel or len(groups),
            "slurm_signal_delay_s": warn,
            "slurm_job_name": plain_name(sweep.name),
            "slurm_stderr_to_stdout": True,
        }
        if partition:
            settings["slurm_partition"] = partition
        if gpus:
            settings["slurm_gres"] = f"gpu:{gpus}"
    line = [sys.executable, "-m", "toolbox", "sweep", "run", str(copy)]
    line += ["--jobs", "1", "--threads", str(cpus), "--out", str(out.resolve())]
    line += ["--device", "cuda"] if gpus else []
    jobs = _submit(line, groups, folder, settings, local)
    _tell(jobs, len(todo), file, folder, local)


def work(line: list[str], indices: list[int], visible: tuple[str | None] | None) -> None:
    """What a job does: it becomes `toolbox sweep run`, so that signals, exit code and provenance
    are those of the printed job script. It does not return.

    line : the command, but for what selects the cells
    visible : what CUDA_VISIBLE_DEVICES was where it was submitted, for the local executor hides it
    """
    if visible is not None:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible[0] is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible[0]
    sys.stdout.flush()
    os.execv(line[0], [*line, "--index", ",".join(map(str, indices))])


def _submit(
    line: list[str],
    groups: Sequence[list[int]],
    folder: Path,
    settings: dict[str, Any],
    local: bool,
) -> list[Any]:
    submitit = _submitit()
    visible = (os.environ.get("CUDA_VISIBLE_DEVICES"),) if local else None
    executor = submitit.AutoExecutor(folder=folder, cluster="local" if local else "slurm")
    executor.update_parameters(**settings)
    try:
        with _detached() if local else contextlib.nullcontext():
            jobs: list[Any] = executor.map_array(
                work, *zip(*((line, group, visible) for group in groups), strict=True)
            )
    except Exception as error:
        # submitit hands on what sbatch said, in errors of its own.
        raise ToolboxError(f"the jobs were not accepted: {' '.join(str(error).split())}") from None
    return jobs


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


def _tell(jobs: Sequence[Any], cells: int, file: Path, folder: Path, local: bool) -> None:
    if local:
        print(" ".join(job.job_id for job in jobs))
        follow, cancel = f"tail -f {folder}/*.out", f"kill {' '.join(job.job_id for job in jobs)}"
    else:
        array = str(jobs[0].job_id).partition("_")[0]
        print(array)
        follow, cancel = f"squeue -j {array}", f"scancel {array}"
    lines = (
        f"submitted {cells} cells in {len(jobs)} jobs",
        f"  follow  toolbox sweep status {file}    {follow}",
        f"  logs    {folder}",
        f"  stop    {cancel}",
    )
    print("\n".join(lines), file=sys.stderr)
