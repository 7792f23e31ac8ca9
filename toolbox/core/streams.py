"""Standard streams that do not cost a result.

A progress line or a message that cannot be written (a full log disk, a closed stderr) is dropped.
Results that cannot be written are an error of one sentence; what was computed is kept.
"""

from __future__ import annotations

import io
import os
import sys

from toolbox.core.errors import ToolboxError


class LostResults(ToolboxError):
    """The results could not be written to stdout."""


class _Messages(io.FileIO):
    """A descriptor whose errors are nobody's concern."""

    def write(self, data: object) -> int:
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(left)
        try:
            while len(left) and (written := super().write(left)):
                left = left[written:]
        except OSError:
            pass
        return size


class _Results(io.FileIO):
    """A descriptor whose first error is a `LostResults`; what follows goes nowhere."""

    _lost = False

    def write(self, data: object) -> int | None:  # type: ignore[override]
        if self._lost:
            return len(memoryview(data).cast("B"))  # type: ignore[arg-type]
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            self._lost = True
            raise LostResults(
                f"cannot write the results to stdout: {error.strerror}; what was computed is kept"
            ) from None


def install() -> None:
    """Put them in the place of Python's; called by the front door of a process."""
    if os.name != "posix":
        return
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        # A closed one would be the number of the next file that is opened, a table say. Writing to
        # a stdout that was closed stays an error.
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)
    sys.stdout = _text(_Results(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, at_once=True)


def _text(raw: io.FileIO, before: object, at_once: bool = False) -> io.TextIOWrapper:
    buffer = raw if at_once else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=getattr(before, "encoding", None),
        errors=getattr(before, "errors", None),
        line_buffering=bool(getattr(before, "line_buffering", False)) and not at_once,
        write_through=at_once,
    )
