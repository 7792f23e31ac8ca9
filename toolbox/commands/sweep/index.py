"""Which cells this process is to run: by flag, else by what the scheduler set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from toolbox.core.errors import UsageError

VARIABLES = {
    "TOOLBOX_INDEX": 0,
    "SLURM_ARRAY_TASK_ID": 0,
    "PBS_ARRAY_INDEX": 0,
    "PBS_ARRAYID": 0,
    "SGE_TASK_ID": 1,
    "LSB_JOBINDEX": 1,
}
"""The variable that holds a job's place in its array, and the place of the first job. The first
that is set counts. Grid Engine and LSF have no index 0."""


def from_environment(environment: Mapping[str, str] = os.environ) -> tuple[int, str] | None:
    """The index of this job and the variable it came from; None outside an array.

    Errors: `UsageError` naming a variable that holds no index.
    """
    for name, first in VARIABLES.items():
        text = environment.get(name, "").strip()
        # Grid Engine says "undefined" and LSF 0 where the job is no array.
        if text in ("", "undefined") or (name == "LSB_JOBINDEX" and text == "0"):
            continue
        if not text.isdecimal() or int(text) < first:
            raise UsageError(f"{name}={text}: expected an array index from {first} on")
        return int(text) - first, name
    return None


def chosen(size: int, index: str | None, shard: str | None) -> list[int] | None:
    """The indices of the cells to run; None is all of them.

    index : `--index 3` or `--index 3,7`
    shard : `--shard i/n`

    Errors: `UsageError` naming the flag or variable and the grid's size.
    """
    if index is not None and shard is not None:
        raise UsageError(f"--index {index} and --shard {shard}: give one of the two")
    if shard is not None:
        part, parts = _shard(shard)
        return list(range(part, size, parts))
    if index is not None:
        if not re.fullmatch(r"\d{1,9}(,\d{1,9})*", index):
            raise UsageError(f"--index {index}: expected a cell's index, or several with commas")
        found = [int(part) for part in index.split(",")]
        name = "--index"
    else:
        job = from_environment()
        if job is None:
            return None
        found, name = [job[0]], job[1]
    for one in found:
        if one >= size:
            raise UsageError(
                f"{name} {one}: the sweep has {size} cells, 0 to {size - 1}; "
                "`toolbox sweep plan FILE --count` prints how many"
            )
    return sorted(set(found))


def _shard(shard: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    if not found or int(found[2]) < 1 or int(found[1]) >= int(found[2]):
        raise UsageError(f"--shard {shard}: expected i/n with 0 <= i < n, such as 0/10")
    return int(found[1]), int(found[2])
