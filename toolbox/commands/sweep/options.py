"""Options that the sweep commands have in common."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolbox.core.errors import UsageError
from toolbox.core.options import parse_limit
from toolbox.core.outputs import out_folder
from toolbox.core.times import seconds_of

if TYPE_CHECKING:
    from toolbox.core.sweep.cells import Sweep

File = Annotated[Path, typer.Argument(help="A sweep file.", metavar="FILE.yaml")]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "--runs",
        help="Where runs live.",
        envvar="TOOLBOX_OUT",
        metavar="DIR",
        parser=out_folder,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda or cuda:N.", envvar="TOOLBOX_DEVICE", metavar="NAME")
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="Cores per cell; by default what the job or this machine allows, shared by --jobs.",
        envvar="TOOLBOX_THREADS",
        min=1,
        max=4096,
    ),
]
Limit = Annotated[
    float | None,
    typer.Option(
        help="Time after which a cell saves a checkpoint and stops (exit code 75); the same line "
        "goes on from there. 90s, 30m, 1h30m or 1:30:00.",
        envvar="TOOLBOX_LIMIT",
        metavar="TIME",
        parser=parse_limit,
    ),
]
Scratch = Annotated[
    Path | None,
    typer.Option(
        help="Fast local disk on which tables grow until a cell is complete; by default $TMPDIR.",
        envvar="TOOLBOX_SCRATCH",
        metavar="DIR",
    ),
]
Cpus = Annotated[int, typer.Option(help="Cores per job.", min=1, max=4096, metavar="N")]
Memory = Annotated[
    str | None,
    typer.Option(
        "--mem",
        help="Memory per job: 500M, 4G. By default what the sweep file's `memory` says, else 4G.",
        metavar="SIZE",
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time",
        help="Time limit per job: 90m, 2h, minutes, H:MM:SS or D-H:MM:SS. By default what the "
        "sweep file's `time` says, else 60 minutes.",
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option("--parallel", help="Jobs of the array that may run at once.", min=1, metavar="K"),
]
Partition = Annotated[
    str | None, typer.Option("--partition", help="Partition or queue.", metavar="NAME")
]
Warn = Annotated[
    int,
    typer.Option(
        "--warn",
        help="Seconds before the time limit at which a job is told to checkpoint and stop.",
        min=0,
        max=86_400,
        metavar="S",
    ),
]
Logs = Annotated[
    Path | None,
    typer.Option("--logs", help="Folder of the logs; by default OUT/logs.", metavar="DIR"),
]
Gpus = Annotated[
    int,
    typer.Option(
        "--gpus",
        help="GPUs per job; the cells then compute with --device cuda.",
        min=0,
        max=64,
        metavar="N",
    ),
]
Shards = Annotated[
    int | None,
    typer.Option(
        "--shards",
        help="Jobs of the array when they are to be fewer than the cells: job i runs the cells j "
        "with j mod N = i.",
        min=1,
        metavar="N",
    ),
]

MAX_ARRAY = 1001
"""Slurm's default MaxArraySize; larger arrays are refused by most sites."""


def minutes(time: str) -> int:
    """A time limit in whole minutes, rounded up.

    Errors: `UsageError` naming the flag.
    """
    if time.strip()[-1:] in ("s", "m", "h", "d"):
        try:
            return math.ceil(seconds_of(time) / 60)
        except ValueError as error:
            raise UsageError(f"--time {time}: {error}") from None
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,4}):(\d{2})(?::(\d{2}))?|(\d{1,6})", time.strip())
    if match:
        days, hours, middle, seconds, alone = (int(part or 0) for part in match.groups())
        if match[2] and match[4] is None and not match[1]:
            hours, middle, seconds = 0, hours, middle  # MM:SS, as Slurm reads it
        total = alone * 60 + days * 86_400 + hours * 3600 + middle * 60 + seconds
        if total > 0:
            return -(-total // 60)
    raise UsageError(f"--time {time}: expected minutes, H:MM:SS or D-H:MM:SS, more than zero")


def megabytes(memory: str) -> int:
    """A memory size in megabytes.

    Errors: `UsageError` naming the flag.
    """
    match = re.fullmatch(r"(\d{1,7})\s*([MG])B?", memory.strip(), re.IGNORECASE)
    if not match or int(match[1]) == 0:
        raise UsageError(f"--mem {memory}: expected a size such as 500M or 4G")
    return int(match[1]) * (1024 if match[2].upper() == "G" else 1)


def checked_warning(warn: int, limit: int) -> None:
    """Errors: `UsageError` when a warning would come before the start; limit : minutes."""
    if warn >= limit * 60:
        raise UsageError(f"--warn {warn}: the time limit is only {limit * 60} s; lower it")


def checked_gpus(gpus: int, sweep: Sweep) -> None:
    """Errors: `UsageError` when GPUs are asked for a command that uses none."""
    if gpus and "cuda" not in sweep.spec.devices:
        raise UsageError(
            f"--gpus {gpus}: {sweep.study} {sweep.command} computes on "
            f"{' or '.join(sweep.spec.devices)} alone; leave it out"
        )


def plain_name(name: str) -> str:
    """A job name that every scheduler takes: letters, digits, `_`, at most 15, a letter first."""
    word = re.sub(r"\W+", "_", name, flags=re.ASCII)[:15].strip("_")
    return word if word[:1].isalpha() else f"s_{word}"[:15]
