"""Every flag at its bounds: no traceback, no more than some memory, and a stop is heard.

One flag may not eat the machine or deafen it. All flags are slow (`-m slow`); one flag of each
command is tried in the fast suite.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.params import Param

from .harness import Case, cases, finish, fork, wait_for_work
from .warm import Warm

MEMORY = 4 << 30
HEARD_WITHIN = 3.0
"""Processor seconds between a stop and the end of the process."""


def extremes(param: Param) -> Iterator[str]:
    """The least and the largest value that the bounds allow, as they are typed."""
    for bound in param.bounds:
        match bound:
            case Ge(ge=limit) | Le(le=limit):
                value = limit
            case Gt(gt=limit):
                value = limit + 1 if param.kind is int else limit + abs(limit) * 1e-3 + 1e-300
            case Lt(lt=limit):
                value = limit - 1 if param.kind is int else limit - abs(limit) * 1e-3
            case _:
                continue
        value = int(value) if param.kind is int else float(value)
        yield param.text((value,) if param.many else value)


def every_flag() -> list[tuple[Case, str, str]]:
    """(command, flag, value) for all numeric flags of all commands."""
    return [
        (case, param.flag, value)
        for case in cases()
        for param in case.params.values()
        if param.kind in (int, float) and not param.positional
        for value in extremes(param)
    ]


def some_flags() -> list[tuple[Case, str, str]]:
    """One for each command, the same in every run of the suite."""
    drawn = {}
    for tried in every_flag():
        drawn.setdefault(tried[0], []).append(tried)
    return [random.Random(str(case)).choice(own) for case, own in drawn.items()]


def named(tried: list[tuple[Case, str, str]]) -> list[str]:
    return [f"{case} {flag} {value}" for case, flag, value in tried]


@pytest.mark.parametrize(("command", "flag", "value"), some_flags(), ids=named(some_flags()))
def test_some_flag_at_a_bound(command: Case, flag: str, value: str, tmp_path: Path) -> None:
    keeps(command, flag, value, tmp_path, work=0.5)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "flag", "value"), every_flag(), ids=named(every_flag()))
def test_every_flag_at_its_bounds(command: Case, flag: str, value: str, tmp_path: Path) -> None:
    keeps(command, flag, value, tmp_path, work=2.0)


def keeps(case: Case, flag: str, value: str, out: Path, work: float) -> None:
    """Run it, stop it after some work, and look at what it said."""
    argv = [*case.words, "--preset", "smoke", "--quiet", "--threads", "1", f"{flag}={value}"]
    process = fork(*argv, out=out, memory=MEMORY)
    wait_for_work(process, out, case)
    until(process, used(process) + work)
    process.send_signal(signal.SIGTERM)
    before = used(process)
    heard = until(process, before + HEARD_WITHIN)
    if not heard:
        process.kill()
    code, _, said = finish(process)
    assert heard, f"it did not end within {HEARD_WITHIN} s of processor time after SIGTERM"
    assert "Traceback" not in said, said
    assert code in (0, 1, 2, 75), (code, said)
    # Each training of a grid that diverged has a line of its own.
    lines = [line for line in said.strip().splitlines() if not line.startswith("diverged: ")]
    assert len(lines) <= 1, said


def until(process: Warm, seconds: float) -> bool:
    """Wait until a process has ended (True) or has used so much processor time."""
    began = time.monotonic()
    while process.poll() is None:
        # The second bound is for one that sleeps.
        if used(process) >= seconds or time.monotonic() - began > 60:
            return False
        time.sleep(0.01)
    return True


def used(process: Warm) -> float:
    """The processor seconds of a process that is at work; 0 of one that has ended."""
    try:
        text = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return 0.0
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
