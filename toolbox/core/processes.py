"""Processes of our own beside this one, from a fork server that has imported what they need."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.util
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolbox.core.errors import ToolboxError

_SOCKET_BYTES = 103
"""Longest path of a socket on macOS; Linux takes 107."""
_BELOW_BYTES = len("/pymp-xxxxxxxx/listener-xxxxxxxx")
"""What multiprocessing puts behind the folder for temporary files."""
_SHORT_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def fork_server(preload: Sequence[str]) -> Any:
    """A multiprocessing context whose processes have these modules; it makes one in hundredths of
    a second.

    Errors: `ToolboxError` where no folder is short enough for a socket.
    """
    _find_room_for_sockets()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """While this context lasts, a process that is started does not import the main module.

    That may be somebody's script, which would then begin its runs once more in every process.
    """
    main = sys.modules["__main__"]
    spec, file = main.__spec__, main.__dict__.pop("__file__", None)
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _find_room_for_sockets() -> None:
    """Let multiprocessing make its folder for sockets where their paths are short enough.

    It makes it once in the life of a process, in $TMPDIR, which on clusters is often long.
    """
    usual = tempfile.gettempdir()
    tempfile.tempdir = short_folder(usual)
    try:
        multiprocessing.util.get_temp_dir()
    finally:
        tempfile.tempdir = usual


def short_folder(usual: str, others: Sequence[str] = _SHORT_FOLDERS) -> str:
    """`usual`, or the first of the others that can hold sockets when `usual` is too long.

    Errors: `ToolboxError` when none can.
    """
    for folder in (usual, *others):
        fits = len(os.fsencode(folder)) + _BELOW_BYTES <= _SOCKET_BYTES
        if fits and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ToolboxError(
        f"TMPDIR={usual} is too long for the sockets between processes (at most "
        f"{_SOCKET_BYTES - _BELOW_BYTES} characters), and {', '.join(others)} cannot be written; "
        "set TMPDIR to a shorter folder"
    )
