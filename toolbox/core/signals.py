"""Stopping: a handler only sets a flag; the run stops itself at the next step boundary.

Handlers that write or print re-enter each other and leave half-written files.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from toolbox.core.errors import UsageError

RESUMABLE = 75  # EX_TEMPFAIL: the same line, submitted again, goes on
CTRL_C = 130

_asked: signal.Signals | None = None
_in_run = False


def install() -> None:
    """Take over SIGTERM, SIGUSR1 and SIGINT; called first thing by the front door.

    Before a run has begun there is nothing to save, so a stop ends the process at once.
    """
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _asked
    second_ctrl_c = number == signal.SIGINT and _asked == signal.SIGINT
    _asked = signal.Signals(number)
    if not _in_run or second_ctrl_c:
        raise SystemExit(exit_code())


class defer:
    """While this context lasts, a stop only sets the flag that `asked` reads."""

    def __enter__(self) -> None:
        global _in_run
        _in_run = True

    def __exit__(self, *exc: object) -> None:
        global _in_run, _asked
        _in_run = False
        _asked = None


@contextlib.contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """While this context lasts, and longer than so many seconds, a stop is asked for as by a
    signal (SIGALRM, by the system's timer). None: no limit.

    Errors: `UsageError` on a system without such a timer.
    """
    global _asked
    if seconds is None:
        yield
        return
    if not hasattr(signal, "setitimer"):
        raise UsageError("--limit: this system has no timer for it; leave it out")
    before = signal.signal(signal.SIGALRM, _handle)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if cause(_asked) == _LIMIT:  # the run has ended before it looked
            _asked = None


_LIMIT = "its time limit (--limit)"


def cause(stop: signal.Signals | None) -> str:
    """What asked for a stop, for messages."""
    name = stop.name if stop is not None else ""
    return _LIMIT if name == "SIGALRM" else name


def asked() -> signal.Signals | None:
    """The signal that asked for a stop, if one came."""
    return _asked


def exit_code() -> int:
    """130 for Ctrl-C, else 75: interrupted and resumable."""
    return CTRL_C if _asked == signal.SIGINT else RESUMABLE
