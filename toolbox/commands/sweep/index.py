"""Which cells this process is to run: by flag, else by what the scheduler set."""

from __future__ import annotations

import re

from toolbox.core import scheduler
from toolbox.core.errors import UsageError


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
        indices = sorted({int(part) for part in index.split(",")})
        if indices[-1] >= size:
            raise UsageError(f"--index {indices[-1]}: {_extent(size, 0)}")
        return indices
    job = scheduler.array_index()
    if job is None:
        return None
    if job.from_zero >= size:
        raise UsageError(f"{job.variable}={job.value}: {_extent(size, job.first)}")
    return [job.from_zero]


def _extent(size: int, first: int) -> str:
    """What to say of an index that is too large; `first` is the index of the first cell."""
    last = f", {first} to {size - 1 + first}" if size else ""
    return f"the sweep has {size} cells{last}; `toolbox sweep plan FILE --count` prints how many"


def _shard(shard: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard)
    if not match or int(match[2]) < 1 or int(match[1]) >= int(match[2]):
        raise UsageError(f"--shard {shard}: expected i/n with 0 <= i < n, such as 0/10")
    return int(match[1]), int(match[2])
