"""Stopping: a handler only sets a flag; the run stops itself at the next step boundary.

Handlers that write or print re-enter each other and leave half-written files. A second signal ends
the process at once; the last checkpoint stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from toolbox.core.errors import Interrupted, UsageError

RESUMABLE = 75  # EX_TEMPFAIL: the same line, submitted again, goes on
CTRL_C = 130

# Windows has no SIGUSR1.
NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
)
TWICE_SECONDS = 0.5
"""A scheduler may send one stop twice; only what comes later is a second one."""
PATIENCE_SECONDS = 1.0
"""How long a second signal waits for Python, which a long call of a library keeps from acting."""

_asked: signal.Signals | None = None
_asked_at = 0.0
_in_run = False
_temporary: set[Path] = set()


def install() -> None:
    """Take over SIGTERM, SIGUSR1 and SIGINT; called first thing by the front door.

    Before a run has begun there is nothing to save, so a stop ends the process at once.
    """
    for number in NUMBERS:
        signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    global _asked, _asked_at
    second = _is_second(number)
    if _asked is None:
        _asked_at = time.monotonic()
    _asked = signal.Signals(number)
    if not _in_run or second:
        raise SystemExit(exit_code())


def _is_second(number: int) -> bool:
    if _asked is None:
        return False
    both_ctrl_c = number == signal.SIGINT and _asked == signal.SIGINT
    return both_ctrl_c or time.monotonic() - _asked_at >= TWICE_SECONDS


class defer:
    """While this context lasts, a stop only sets the flag that `asked` reads."""

    def __init__(self) -> None:
        self._watch: _Watch | None = None

    def __enter__(self) -> None:
        global _in_run
        _in_run = True
        if os.name == "posix" and threading.current_thread() is threading.main_thread():
            self._watch = _Watch()

    def __exit__(self, *exc: object) -> None:
        global _in_run, _asked
        _in_run = False
        _asked = None
        if self._watch is not None:
            self._watch.close()


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """While this context lasts, Ctrl-C and the like only set the flag that `asked` reads.

    For a run within somebody else's Python, whose handlers are put back at the end. A second
    signal raises KeyboardInterrupt, and nothing ends the process. A stop that the run did not see
    is then delivered again, to the handlers of the caller. Outside of the main thread, where Python
    allows no handlers, nothing is taken over; and neither is a handler that the caller has set for
    a signal other than Ctrl-C.
    """
    global _in_run, _asked
    if threading.current_thread() is not threading.main_thread() or _in_run:
        yield
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    ours = [n for n in NUMBERS if n == signal.SIGINT or before[n] == signal.SIG_DFL]
    ours = [n for n in ours if before[n] is not None]  # one that was not set by Python stays
    for number in ours:
        signal.signal(number, _note)
    _in_run, seen = True, False
    try:
        yield
    except (Interrupted, KeyboardInterrupt):
        seen = True
        raise
    finally:
        unseen, _in_run, _asked = _asked if not seen else None, False, None
        for number in ours:
            signal.signal(number, before[number])
        if unseen is not None and unseen in ours:
            signal.raise_signal(unseen)


def _note(number: int, frame: FrameType | None) -> None:
    global _asked, _asked_at
    if _is_second(number):
        raise KeyboardInterrupt
    if _asked is None:
        _asked_at = time.monotonic()
    _asked = signal.Signals(number)


class _Watch:
    """A thread that ends the process at a second signal when the handler cannot.

    Python runs a handler between two of its own steps, and so not within one long product of
    matrices. The system tells a pipe of each signal at once.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        first: float | None = None
        while arrived := os.read(self._reader, 64):
            now = time.monotonic()
            stops = [number for number in arrived if number in NUMBERS]
            if first is None and stops:
                first = now
            elif first is not None and stops and now - first >= TWICE_SECONDS:
                time.sleep(PATIENCE_SECONDS)
                if _in_run:
                    _end(CTRL_C if stops[-1] == signal.SIGINT else RESUMABLE)
        os.close(self._reader)

    def close(self) -> None:
        """The run is over; nothing is left to end."""
        signal.set_wakeup_fd(self._before)
        os.close(self._writer)


def _let_go() -> None:
    """In a forked process: its signals are not those of the process that it came from."""
    with contextlib.suppress(ValueError):  # forked by a thread that is not the main one
        signal.set_wakeup_fd(-1)
    _temporary.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _end(code: int) -> None:
    """Leave without Python's own way out, which waits for the call that is under way."""
    processes = sys.modules.get("multiprocessing")
    for child in processes.active_children() if processes else ():
        child.kill()
    for folder in list(_temporary):
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(code)


@contextlib.contextmanager
def removing(*folders: Path) -> Iterator[None]:
    """While this context lasts, a second signal removes these folders before the process ends."""
    _temporary.update(folders)
    try:
        yield
    finally:
        _temporary.difference_update(folders)


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
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("--limit: only the main thread has a timer; leave it out")
    before = signal.signal(signal.SIGALRM, _time_is_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if cause(_asked) == _LIMIT:  # the run has ended before it looked
            _asked = None


def _time_is_up(number: int, frame: FrameType | None) -> None:
    global _asked, _asked_at
    if _asked is None:
        _asked, _asked_at = signal.Signals(number), time.monotonic()


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
