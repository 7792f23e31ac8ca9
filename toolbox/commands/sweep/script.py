"""`toolbox sweep script`: a job script to read, keep and hand to the scheduler."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

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
    Shards,
    Time,
    Warn,
    checked_gpus,
    checked_warning,
    megabytes,
    minutes,
    plain_name,
)
from toolbox.core.errors import UsageError


@dataclass(frozen=True)
class Job:
    """What a job script is made of."""

    name: str
    size: int
    """Jobs in the array."""
    shards: bool
    parallel: int | None
    minutes: int
    megabytes: int
    cpus: int
    gpus: int
    partition: str | None
    warn: int
    """Seconds before the limit at which SIGUSR1 comes; 0 for no warning."""
    directives: tuple[str, ...]
    logs: Path
    line: str
    """The command, but for what selects the cells."""

    @property
    def clock(self) -> str:
        """The time limit as HH:MM:SS."""
        return f"{self.minutes // 60:02d}:{self.minutes % 60:02d}:00"

    def throttle(self, sign: str = "%") -> str:
        """`%8`, or nothing."""
        return f"{sign}{self.parallel}" if self.parallel else ""

    def call(self, index: str) -> str:
        """The command of one job; `index` is the shell's word for its place from 0."""
        return f"{self.line} --shard {index}/{self.size}" if self.shards else self.line

    def timed(self, index: str) -> str:
        """The same under `timeout`, for schedulers that give no early warning of their own."""
        if not self.warn:
            return f"exec {self.call(index)}"
        seconds = self.minutes * 60 - self.warn
        return f"exec timeout --preserve-status --signal=USR1 {seconds} {self.call(index)}"


def command(
    file: File,
    scheduler: Annotated[
        Literal["slurm", "pbs", "sge", "lsf"], typer.Option(help="For which scheduler.")
    ] = "slurm",
    time: Time = None,
    mem: Memory = None,
    cpus: Cpus = 1,
    gpus: Gpus = 0,
    parallel: Parallel = None,
    partition: Partition = None,
    shards: Shards = None,
    warn: Warn = 120,
    directive: Annotated[
        list[str] | None,
        typer.Option(
            "--directive",
            help="One more line for the scheduler (repeat it): --directive '--gres=gpu:1'.",
            metavar="TEXT",
        ),
    ] = None,
    logs: Logs = None,
    out: Out = OUT,
) -> None:
    """Print a job script for the whole grid; cells that are complete are answered at once.

    Where the sweep file has a formula for memory or time, the script asks for what is enough for
    every cell; `toolbox sweep submit` makes arrays by memory.

    Example: toolbox sweep script FILE.yaml --scheduler slurm --parallel 20 > job.sh
    """
    from toolbox.core.sweep import needs
    from toolbox.core.sweep.grid import load_sweep

    sweep = load_sweep(file)
    cells = len(sweep.cells)
    size = min(shards or cells, cells)
    jobs = [range(k, cells, size) for k in range(size)]
    limit = needs.minutes(sweep, jobs, minutes(time) if time else None, warn)
    checked_warning(warn, limit)
    memory = megabytes(mem) if mem else None
    if size > MAX_ARRAY - 1:
        _warn(
            f"{size} jobs are more than most sites allow in one array (MaxArraySize is "
            f"{MAX_ARRAY} by default); --shards 1000 puts several cells in a job"
        )
    checked_gpus(gpus, sweep)
    logs = (logs or out / "logs").resolve()
    if any(not char.isprintable() for char in str(logs)):
        raise UsageError(f"--logs {str(logs)!r}: no line of a job script can hold this name")
    logs.mkdir(parents=True, exist_ok=True)  # a job whose log has no folder fails without a word
    words = [sys.executable, "-m", "toolbox", "sweep", "run", str(sweep.file)]
    words += ["--out", str(out.resolve()), "--jobs", "1", "--threads", str(cpus)]
    words += ["--device", "cuda"] if gpus else []
    job = Job(
        name=plain_name(sweep.name),
        size=size,
        shards=size < cells,
        parallel=parallel,
        minutes=limit,
        megabytes=max(needs.megabytes(sweep, cell, memory) for cell in sweep.cells),
        cpus=cpus,
        gpus=gpus,
        partition=partition,
        warn=warn,
        directives=tuple(directive or ()),
        logs=logs,
        line=" ".join(shlex.quote(word) for word in words),
    )
    print("\n".join(["#!/bin/bash", *_LAYOUTS[scheduler](job)]))


def _warn(line: str) -> None:
    print(f"toolbox: {line}", file=sys.stderr)


def _slurm(job: Job) -> list[str]:
    lines = [
        f"#SBATCH --job-name={job.name}",
        f"#SBATCH --array=0-{job.size - 1}{job.throttle()}",
        f"#SBATCH --time={job.clock}",
        f"#SBATCH --mem={job.megabytes}M",
        "#SBATCH --nodes=1 --ntasks=1",
        f"#SBATCH --cpus-per-task={job.cpus}",
        f"#SBATCH --output={_log(job, '%A_%a', percent='%%')}",
        "#SBATCH --open-mode=append",
    ]
    if job.gpus:
        lines.append(f"#SBATCH --gres=gpu:{job.gpus}")
    if job.partition:
        lines.append(f"#SBATCH --partition={shlex.quote(job.partition)}")
    if job.warn:
        lines.append(f"#SBATCH --signal=B:USR1@{job.warn}")
    lines += [f"#SBATCH {text}" for text in job.directives]
    return [
        *lines,
        *_ABOUT,
        "# exec makes Python the batch process: the warning signal reaches no other.",
        f"exec {job.call('$SLURM_ARRAY_TASK_ID')}",
    ]


def _pbs(job: Job) -> list[str]:
    select = f"select=1:ncpus={job.cpus}:mem={job.megabytes}mb"
    nodes = f"nodes=1:ppn={job.cpus}"
    if job.gpus:
        select, nodes = f"{select}:ngpus={job.gpus}", f"{nodes}:gpus={job.gpus}"
    lines = [
        f"#PBS -N {job.name}",
        f"#PBS -l {select}",
        f"#PBS -l walltime={job.clock}",
        "#PBS -j oe",
        f"#PBS -o {_quoted(f'{job.logs}/')}",
        "#PBS -r y",
    ]
    index = "${PBS_ARRAY_INDEX:-$PBS_ARRAYID}"
    if job.size > 1:
        lines.append(f"#PBS -J 0-{job.size - 1}{job.throttle()}")
        lines.append(f"# Torque: qsub -t 0-{job.size - 1}{job.throttle()} -l {nodes}")
    else:
        index = "0"  # PBS refuses an array of one
    if job.partition:
        lines.append(f"#PBS -q {shlex.quote(job.partition)}")
    lines += [f"#PBS {text}" for text in job.directives]
    return [
        *lines,
        *_ABOUT,
        'cd "$PBS_O_WORKDIR" || exit 1',
        f"export TOOLBOX_INDEX={index}",
        *_TIMEOUT,
        job.timed("$TOOLBOX_INDEX"),
    ]


def _sge(job: Job) -> list[str]:
    soft = max(job.minutes * 60 - job.warn, 1)
    limits = f"h_rt={job.clock}" + (f",s_rt={_clock(soft)}" if job.warn else "")
    lines = [
        f"#$ -N {job.name}",
        f"#$ -t 1-{job.size}",
        f"#$ -l {limits}",
        f"#$ -l h_vmem={-(-job.megabytes // job.cpus)}M",
        "#$ -cwd",
        "#$ -V",
        "#$ -j y",
        "#$ -S /bin/bash",
        f"#$ -o {_log(job, '$JOB_ID.$TASK_ID')}",
        "#$ -r y",
    ]
    if job.parallel:
        lines.append(f"#$ -tc {job.parallel}")
    if job.cpus > 1:
        lines.append(f"#$ -pe smp {job.cpus}")
    if job.gpus:
        lines.append(f"#$ -l gpu={job.gpus}")  # the usual name; some sites have another
    if job.partition:
        lines.append(f"#$ -q {shlex.quote(job.partition)}")
    lines += [f"#$ {text}" for text in job.directives]
    return [
        *lines,
        *_ABOUT,
        "# h_vmem is per core; s_rt sends SIGUSR1 before h_rt kills.",
        f"exec {job.call('$((SGE_TASK_ID - 1))')}",
    ]


def _lsf(job: Job) -> list[str]:
    lines = [
        f'#BSUB -J "{job.name}[1-{job.size}]{job.throttle()}"',
        f"#BSUB -W {job.minutes // 60}:{job.minutes % 60:02d}",
        f"#BSUB -M {job.megabytes}MB",
        f'#BSUB -R "rusage[mem={job.megabytes}MB] span[hosts=1]"',
        f"#BSUB -n {job.cpus}",
        f"#BSUB -o {_log(job, '%J_%I')}",
        "#BSUB -r",
    ]
    if job.warn:
        lines += [f"#BSUB -wt {-(-job.warn // 60)}", "#BSUB -wa USR1"]
    if job.gpus:
        lines.append(f'#BSUB -gpu "num={job.gpus}"')
    if job.partition:
        lines.append(f"#BSUB -q {shlex.quote(job.partition)}")
    lines += [f"#BSUB {text}" for text in job.directives]
    return [
        *lines,
        *_ABOUT,
        f"exec {job.call('$((LSB_JOBINDEX - 1))')}",
    ]


_LAYOUTS: dict[str, Callable[[Job], list[str]]] = {
    "slurm": _slurm,
    "pbs": _pbs,
    "sge": _sge,
    "lsf": _lsf,
}
_ABOUT = (
    "",
    "# Exit codes: 0 complete, 1 failed or diverged, 2 bad usage, 75 stopped with a checkpoint:",
    "# submit this script again and it goes on. What is complete is answered at once.",
)
_TIMEOUT = ("# PBS gives no early warning: `timeout` sends SIGUSR1, and hands on SIGTERM.",)


def _log(job: Job, numbers: str, percent: str = "%") -> str:
    """The log's name, quoted where it needs to be.

    numbers : what the scheduler replaces by the job's numbers
    percent : what it takes for a percent sign in the folder's name
    """
    return _quoted(f"{str(job.logs).replace('%', percent)}/{job.name}-{numbers}.log")


def _quoted(path: str) -> str:
    """For a directive. All four schedulers read quotes, but no line of a script expands `$` first:
    their own variables need none.
    """
    bare = path.replace("$", "")
    if shlex.quote(bare) == bare:
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
