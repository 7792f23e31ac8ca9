"""Files and folders that appear whole or not at all, even through a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toolbox.core.errors import ToolboxError

_STALE_SECONDS = 24 * 3600


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that says whose it is: .tmp-NAME-HOST-PID-RANDOM."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".tmp-{path.name}-{owner}")


def is_stale(temporary: Path) -> bool:
    """Whether the process that made a temporary file or folder is gone.

    On this host the process is asked for; of another host only the age can tell (a day).
    """
    try:
        _, _, rest = temporary.name.split("-", 2)
        host, pid, _ = rest.rsplit("-", 2)
        if host == socket.gethostname():
            os.kill(int(pid), 0)
            return False
        return time.time() - temporary.stat().st_mtime > _STALE_SECONDS
    except PermissionError:
        return False
    except (ValueError, ProcessLookupError, FileNotFoundError):
        return True


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
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
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


def refused(path: Path, error: OSError, flag: str = "--out") -> ToolboxError:
    """The one sentence for a disk that is full, read-only or not ours."""
    return ToolboxError(
        f"cannot write {path}: {error.strerror or error}; "
        f"free some space or choose another place with {flag} (nothing already there was changed)"
    )
