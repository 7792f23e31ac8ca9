"""What a job's scheduler says in the environment: which job this is, its place in an array, cores.

All names of scheduler variables stand here.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from toolbox.core.errors import UsageError


@dataclass(frozen=True)
class Scheduler:
    """The variables of one scheduler; of several names for one thing, the first that is set."""

    sign: str
    """The variable that is set in each of its jobs and nowhere else."""
    job: tuple[str, ...]
    array: tuple[str, ...]
    index: tuple[str, ...]
    """A job's place in its array."""
    first: int
    """The place of the first job: Grid Engine and LSF have no index 0."""
    cores: tuple[str, ...]
    """The cores of a job on its node."""
    restarts: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    """Memory of a job on its node, in MB."""
    no_array: tuple[str, ...] = ("", "undefined")
    """What stands in `index` when the job is no array."""


# Torque and PBS Pro differ in the names of arrays. `JOB_ID` alone is too common a word to mean Grid
# Engine, which says "undefined" where a job is no array; LSF then says 0.
SCHEDULERS = {
    "slurm": Scheduler(
        sign="SLURM_JOB_ID",
        job=("SLURM_JOB_ID",),
        array=("SLURM_ARRAY_JOB_ID",),
        index=("SLURM_ARRAY_TASK_ID",),
        first=0,
        cores=("SLURM_CPUS_PER_TASK",),
        restarts=("SLURM_RESTART_COUNT",),
        node=("SLURMD_NODENAME",),
        memory=("SLURM_MEM_PER_NODE",),
    ),
    "pbs": Scheduler(
        sign="PBS_JOBID",
        job=("PBS_JOBID",),
        array=("PBS_ARRAY_ID",),
        index=("PBS_ARRAY_INDEX", "PBS_ARRAYID"),
        first=0,
        cores=("NCPUS", "PBS_NUM_PPN"),
    ),
    "sge": Scheduler(
        sign="SGE_TASK_ID",
        job=("JOB_ID",),
        array=("JOB_ID",),
        index=("SGE_TASK_ID",),
        first=1,
        cores=("NSLOTS",),
        restarts=("RESTARTED",),
    ),
    "lsf": Scheduler(
        sign="LSB_JOBID",
        job=("LSB_JOBID",),
        array=("LSB_JOBID",),
        index=("LSB_JOBINDEX",),
        first=1,
        cores=("LSB_DJOB_NUMPROC",),
        no_array=("", "0"),
    ),
}
OWN_INDEX = "TOOLBOX_INDEX"
"""Overrides every scheduler's index; it counts from 0."""


@dataclass(frozen=True)
class Index:
    """A job's place in its array."""

    variable: str
    value: int
    """As the scheduler counts."""
    first: int

    @property
    def from_zero(self) -> int:
        """The same, counted from 0."""
        return self.value - self.first


def this_job(environment: Mapping[str, str] = os.environ) -> dict[str, str] | None:
    """Kind, job, array, index, restarts, node, and memory in MB where the scheduler tells it.

    Empty text where there is no such thing; None outside of a job.
    """
    for kind, names in SCHEDULERS.items():
        if names.sign not in environment:
            continue
        index = _first(environment, names.index)
        in_array = index not in names.no_array
        memory = _first(environment, names.memory)
        return {
            "kind": kind,
            "job": _first(environment, names.job),
            "array": _first(environment, names.array) if in_array else "",
            "index": index if in_array else "",
            "restarts": _first(environment, names.restarts) or "0",
            "node": _first(environment, names.node) or socket.gethostname(),
            **({"memory_mb": memory} if memory.isdecimal() else {}),
        }
    return None


def array_index(environment: Mapping[str, str] = os.environ) -> Index | None:
    """This job's place in its array, by the first variable that is set; None outside of an array.

    Errors: `UsageError` naming a variable that holds no index.
    """
    variables: list[tuple[str, int, tuple[str, ...]]] = [(OWN_INDEX, 0, ("",))]
    variables += [
        (name, scheduler.first, scheduler.no_array)
        for scheduler in SCHEDULERS.values()
        for name in scheduler.index
    ]
    for name, first, none in variables:
        text = environment.get(name, "").strip()
        if text in none:
            continue
        if not text.isdecimal() or int(text) < first:
            raise UsageError(f"{name}={text}: expected an array index from {first} on")
        return Index(name, int(text), first)
    return None


def cores(environment: Mapping[str, str] = os.environ) -> tuple[str, int] | None:
    """The variable in which the scheduler says how many cores this job has, and its value.

    None where there is no such variable or it holds no count.
    """
    for kind, names in SCHEDULERS.items():
        # Only Slurm's own name is unmistakable: NCPUS is set by many, job or not.
        if kind != "slurm" and names.sign not in environment:
            continue
        for name in names.cores:
            text = environment.get(name, "").strip()
            if text.isdecimal() and int(text) > 0:
                return name, int(text)
    return None


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environment[name] for name in names if name in environment), "")
