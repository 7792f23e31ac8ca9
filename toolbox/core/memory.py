"""Memory: what this process can still have, what an experiment asks for, and what a lack of it
looks like."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolbox.core.errors import ParameterError

# What numpy, scipy, torch and the system say when an array cannot be made. Some are plain
# RuntimeErrors and ValueErrors, so that only their words tell.
_WORDS = re.compile(
    r"allocate memory|unable to allocate|out of memory|bad_alloc|ALLOC_FAILED|array is too big"
    r"|maximum supported dimension|maximum allowed (dimension|size)|storage size calculation"
    r"|numel: integer multiplication overflow|dimension too large|negative dimensions"
    r"|too large work array|terminated abruptly|invalid buffer size|array too large"
    r"|signed integer is greater than maximum|cannot fit 'int' into an index-sized integer",
    re.IGNORECASE,
)


def exhausted(error: BaseException | None) -> str:
    """What an error says if it is, or comes from, memory that could not be had; else nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        said = " ".join(str(error).split())
        lacking = (
            isinstance(error, MemoryError)
            or type(error).__name__ in ("OutOfMemoryError", "BrokenProcessPool")
            or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
            or (isinstance(error, RuntimeError | ValueError | OverflowError | SystemError)
                and _WORDS.search(said) is not None)
        )  # fmt: skip
        if lacking:
            return said.partition(" CUDA kernel errors")[0][:200] or type(error).__name__
        error = error.__cause__ or error.__context__
    return ""


def need(size: float, what: str, field: str, value: Any, device: str = "cpu") -> None:
    """Refuse an experiment whose memory cannot be had, before its work.

    size : bytes that it holds at once, by a formula of its parameters
    what : what takes them, in the plural ("the weights and their moments")
    field, value : the parameter to lower, as in `ParameterError`

    Errors: `ParameterError` naming the parameter, the bytes needed and the bytes there are.
    """
    free = available(device)
    if free is not None and size > free:
        raise ParameterError(
            field,
            value,
            f"{what} need {in_words(size)} of memory, and this process can have {in_words(free)}",
            "lower it, or use a machine or job with more memory",
        )


def available(device: str = "cpu") -> int | None:
    """Bytes that this process can still have on a device; None where no system says so.

    The least of what is free on the machine, in the control groups of a job or container, and
    below the limits of the process.
    """
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    limits = [*_on_the_machine(), *_in_the_groups(), *_below_the_limits()]
    return max(0, min(limits)) if limits else None


def in_words(size: float) -> str:
    """A size as people write it: '512 MB', '1.5 GB'."""
    if not size < 1e18:
        return f"{size:.1e} bytes"
    for unit, factor in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size / 1e6:.3g} MB"


def _on_the_machine() -> Iterator[int]:
    facts = _numbers(Path("/proc/meminfo"))
    if "MemAvailable" in facts:
        yield facts["MemAvailable"] * 1024
        return
    with contextlib.suppress(AttributeError, ValueError, OSError):  # macOS tells the whole alone
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _in_the_groups(
    root: Path = Path("/sys/fs/cgroup"), of_process: Path = Path("/proc/self/cgroup")
) -> Iterator[int]:
    """Room in each control group around this process, both versions of them."""
    for line in _text(of_process).splitlines():
        _, controllers, name = line.split(":", 2)
        if not controllers:
            top, limit, usage, idle = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top = root / "memory"
            limit, usage, idle = (
                "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            )  # fmt: skip
        else:
            continue
        folder = top / name.strip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(top):
                break
            most, used = _text(group / limit).strip(), _text(group / usage).strip()
            if most.isdecimal() and used.isdecimal():
                # Files that were read fill the group too, and go when room is needed.
                yield int(most) - int(used) + _numbers(group / "memory.stat").get(idle, 0)


def _below_the_limits() -> Iterator[int]:
    with contextlib.suppress(ImportError):  # Windows
        import resource

        facts = _numbers(Path("/proc/self/status"))
        for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                yield most - facts.get(used, 0) * 1024


def _numbers(path: Path) -> dict[str, int]:
    """The lines "name: 123 kB" or "name 123" of a file."""
    numbers = {}
    for line in _text(path).splitlines():
        name, *rest = line.replace(":", " ").split()
        if rest and rest[0].isdecimal():
            numbers[name] = int(rest[0])
    return numbers


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
