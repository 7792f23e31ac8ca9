"""A stop is heard, and the run that was stopped goes on byte for byte.

Where a run stops is chosen by the number of the step boundary, in this process: its first, a
middle and its last one. That a real signal arrives there is tried on one command of each study.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from toolbox.app import run

from .harness import (
    Boundaries,
    Case,
    finish,
    folder_of,
    fork,
    litter,
    manifest,
    some_share,
    tables,
    wait_for_work,
)

WORK = 0.25
"""Processor seconds after which a stop is asked for."""
HEARD_WITHIN = 3.0
"""Processor seconds in which it has to be heard, at any size."""


def test_a_run_has_step_boundaries(case: Case, smoke: Path, counted: dict[Case, int]) -> None:
    assert counted[case] >= 1, "it never looks for a stop; loop by run.steps or run.cells"


def test_stopped_at_its_first_middle_and_last_boundary_it_resumes_byte_for_byte(
    case: Case,
    smoke: Path,
    counted: dict[Case, int],
    boundaries: Boundaries,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One run, stopped at each of them in turn and resumed from there."""
    last = counted[case] - 1
    argv = [*case.words, "--preset", "smoke", "--out", str(tmp_path), "--quiet"]
    gone = 0
    for where in sorted({0, last // 2, last}):
        boundaries.stop_at(where - gone)
        code = run(argv)
        if code == 0 and where == last and gone:
            break  # a resumed run may have one boundary less; then it is over before the last one
        assert code == 75, f"it did not stop at boundary {where} of {last}"
        assert not list(tmp_path.glob("*/*/*/run.json")), "a stopped run left a finished folder"
        assert litter(tmp_path) == []
        gone = where
    boundaries.stop_at(None)
    began = time.monotonic()
    assert run(argv) == 0, capsys.readouterr().err
    folder = folder_of(case, tmp_path)
    # What was done before the stop is not done again. A crew of processes is looked after while it
    # starts and works, as often as time passes: at each report, of which a worker sends some a
    # second.
    waited = 15 * (time.monotonic() - began) if "workers" in manifest(folder) else 0
    assert boundaries.count <= 0.1 * (last + 1) + 4 + waited
    if last > 0:  # before the first step there is nothing to go on from
        assert manifest(folder)["resumed"], "it began anew after each stop"
    assert tables(folder) == tables(smoke), f"stopped at boundary 0, {last // 2}, {last}"


def test_a_stop_is_heard_at_the_default_size(
    case: Case, boundaries: Boundaries, tmp_path: Path
) -> None:
    """In processor time, so that other work on the machine does not count."""
    began = time.process_time()
    heard: list[float] = []

    def late() -> bool:
        now = time.process_time() - began
        if now >= WORK and not heard:
            heard.append(now)
        return bool(heard)

    boundaries.on_boundary = late
    argv = [*case.words, "--out", str(tmp_path), "--quiet", "--threads", "1"]
    with cut_off(WORK + HEARD_WITHIN + 2):
        code = run(argv)
    assert code in (0, 75)
    last = heard[0] if heard else time.process_time() - began
    assert last <= WORK + HEARD_WITHIN, f"a stop was heard after {last - WORK:.1f} s"


@contextmanager
def cut_off(seconds: float) -> Iterator[None]:
    """End what takes more processor time than this, so that a deaf run does not last for hours."""

    def end(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"no stop was heard in {seconds} s", pytrace=False)

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def test_a_real_signal_stops_it_and_the_same_line_resumes_it(
    one: Case, smoke: Path, tmp_path: Path
) -> None:
    argv = [*one.words, "--preset", "smoke"]
    for name, number, share in (
        ("early", signal.SIGTERM, 0.0),
        ("later", signal.SIGUSR1, some_share(one)),
    ):
        out = tmp_path / name
        out.mkdir()
        process = fork(*argv, out=out)
        wait_for_work(process, out, one)
        time.sleep(share * manifest(smoke)["wall_seconds"])
        process.send_signal(number)
        code, _, stderr = finish(process)
        assert code in (0, 75), stderr
        assert "Traceback" not in stderr
        assert litter(out) == []
        if code == 75:
            assert not list(out.glob("*/*/*/run.json")), "a stopped run left a finished folder"
            code, _, stderr = finish(fork(*argv, out=out))
            assert code == 0, stderr
        assert tables(folder_of(one, out)) == tables(smoke)
