"""Files and folders that appear whole or not at all, even through a power cut."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import secrets
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toolbox.core.errors import ToolboxError

_STALE_SECONDS = 24 * 3600
_KEPT_BYTES = 120
_SHOWN = 200


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that says whose it is: .tmp-NAME-HERE-PID.START-RANDOM."""
    kept = path.name.encode()[:_KEPT_BYTES].decode(errors="ignore")  # names end at 255 bytes
    pid = os.getpid()
    return path.with_name(f".tmp-{kept}-{_machine()}-{pid}.{_start_of(pid)}-{secrets.token_hex(4)}")


def run_of(temporary: Path) -> str:
    """The id of the run whose temporary folder this is."""
    return temporary.name.removeprefix(".tmp-").partition("-")[0]


def is_stale(temporary: Path) -> bool:
    """Whether the process that made a temporary file or folder is gone.

    On this host, since it was started, the process is asked for. Of others only the age can tell:
    nothing was written there for a day.
    """
    parts = temporary.name.rsplit("-", 3)
    if len(parts) < 4:
        return True  # no process names its files so
    pid, _, start = parts[2].partition(".")
    try:
        if parts[1] == _machine() and pid.isdecimal() and os.name == "posix":
            return not _is_alive(int(pid), start)
        return time.time() - _last_written(temporary) > _STALE_SECONDS
    except FileNotFoundError:
        return True


def is_of_this_host(temporary: Path) -> bool:
    """Whether the process that made a temporary file or folder can be asked for here."""
    return temporary.name.rsplit("-", 3)[1:2] == [_machine()]


def _is_alive(pid: int, start: str) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # another user's
    return start == _start_of(pid)


def _start_of(pid: int) -> str:
    """When a process began, in ticks since the host was started: numbers of processes recur."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"


@functools.cache
def _machine() -> str:
    """This host since it was last started, as other processes on it see it; eight hex digits.

    Names of hosts are not unique across clusters, and containers on one host have process numbers
    of their own.
    """
    facts = [socket.gethostname()]
    for name in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        with contextlib.suppress(OSError):
            facts.append(Path(name).read_text(encoding="utf-8", errors="replace").strip())
    with contextlib.suppress(OSError):
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    if len(facts) == 1:
        facts.append(str(uuid.getnode()))
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]


def _last_written(temporary: Path) -> float:
    """When something was last written into a temporary folder, or saved for its run."""
    times = [temporary.stat().st_mtime]
    beside = temporary.with_name(f"{run_of(temporary)}.checkpoint")
    for path in (beside, *(temporary.iterdir() if temporary.is_dir() else ())):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return max(times)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it, if it is there.

    Errors: `OSError`.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: Path, flag: str = "--out") -> Iterator[IO[bytes]]:
    """Write a sibling temporary file, then put it under `path` in one step.

    flag : the option that chose the path

    Errors: `ToolboxError` naming the path when the disk refuses; the old file is then untouched.
    """
    temporary = temporary_sibling(path)
    try:
        with temporary.open("xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if not concerns(error, path.parent):
            raise
        raise refused(path, error, flag) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.ESTALE}


def concerns(error: OSError, *folders: Path) -> bool:
    """Whether an error is about writing below one of these folders.

    It names a file there, or it names none and is of the kind that a disk answers. Sockets, pipes,
    processes and files that are only read fail with an OSError too.
    """
    named = [Path(os.fsdecode(n)) for n in (error.filename, error.filename2)
             if isinstance(n, str | bytes | os.PathLike)]  # fmt: skip
    if not named:
        return error.errno in _DISK
    return any(name.absolute().is_relative_to(folder.absolute())
               for name in named for folder in folders)  # fmt: skip


_SAID = {
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.ENOTDIR: "a part of it is a file and no folder; choose another place",
    errno.EEXIST: "something of that name is there; choose another place",
    errno.EISDIR: "it is a folder; choose another name",
}


def refused(path: Path, error: OSError, flag: str = "--out") -> ToolboxError:
    """The one sentence for a disk that is full, read-only or not ours, and for impossible names."""
    shown = str(path) if len(str(path)) <= _SHOWN else f"{str(path)[:_SHOWN]}..."
    if error.errno in _SAID:
        return ToolboxError(f"cannot write {shown}: {_SAID[error.errno]}")
    return ToolboxError(
        f"cannot write {shown}: {error.strerror or error}; "
        f"free some space or choose another place with {flag} (nothing already there was changed)"
    )
