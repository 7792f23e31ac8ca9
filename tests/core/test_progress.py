"""Progress off a terminal is a plain line now and then, and nothing at all under quiet."""

from __future__ import annotations

import pytest

from toolbox.core import progress
from toolbox.core.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(progress.time, "monotonic", lambda: Clock.now)
    return Clock


def lines_of(capsys, clock, total, seconds_per_step, **options):
    with Progress(total, "training", **options) as bar:
        for _ in range(total - bar.done):
            clock.now += seconds_per_step
            bar.update()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err
    assert "\r" not in captured.err
    return captured.err.splitlines()


def test_a_line_every_tenth_when_that_takes_three_seconds(capsys, clock):
    lines = lines_of(capsys, clock, 100, 1.0)
    assert lines[0] == "training: 10/100 (10 %)"
    assert lines[-1] == "training: 100/100 (100 %)"
    assert len(lines) == 10


def test_a_line_every_thirty_seconds_when_a_tenth_takes_longer(capsys, clock):
    lines = lines_of(capsys, clock, 100, 10.0)
    assert lines[0] == "training: 3/100 (3 %)"
    assert len(lines) == 33


def test_never_two_lines_within_three_seconds(capsys, clock):
    assert len(lines_of(capsys, clock, 100, 0.1)) <= 3
    assert lines_of(capsys, clock, 1000, 0.001) == []


def test_a_resumed_run_counts_on_from_where_it_was(capsys, clock):
    lines = lines_of(capsys, clock, 100, 1.0, start=50)
    assert lines[0] == "training: 60/100 (60 %)"


def test_nothing_is_said_under_quiet(capsys, clock):
    assert lines_of(capsys, clock, 10, 100.0, quiet=True) == []


def test_the_note_stands_behind_the_count(capsys, clock):
    with Progress(10, "training") as bar:
        clock.now += 60
        bar.update(5, "loss 0.31")
    assert capsys.readouterr().err == "training: 5/10 (50 %) loss 0.31\n"


@pytest.mark.parametrize("total", [0, 1])
def test_nothing_to_do_is_no_error(capsys, clock, total):
    with Progress(total, "training") as bar:
        clock.now += 60
        bar.update(total)
