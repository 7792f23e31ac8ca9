"""Real signals to real processes: the exit code, the checkpoint, and nothing else left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from started import fork

from toolbox.core import signals

TOY = Path(__file__).parents[1] / "toy_toolbox.py"
LONG = ["coin", "train", "--steps", "400", "--pause", "0.02", "--device", "cpu", "--threads", "1"]


def wait_for(condition, process, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate(timeout=1)
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_leaves_a_checkpoint_and_nothing_under_a_final_name(out, tmp_path, number, code):
    folder = out / "coin" / "train"
    process = fork(*LONG, cwd=tmp_path)
    wait_for(lambda: list(folder.glob(".tmp-*/curve.csv")), process)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert stdout == ""
    assert stderr.splitlines()[-1].endswith("the same line resumes it")
    assert "Traceback" not in stderr
    assert "\x1b" not in stderr
    assert [path.suffix for path in folder.iterdir()] == [".checkpoint"]


def test_before_a_run_has_begun_a_stop_ends_the_process_at_once(monkeypatch):
    for number, code in [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]:
        monkeypatch.setattr(signals, "_asked", None)
        with pytest.raises(SystemExit) as stopped:
            signals._handle(number, None)
        assert stopped.value.code == code


def test_within_a_run_a_stop_is_only_remembered_until_its_end():
    with signals.defer():
        signals._handle(signal.SIGTERM, None)
        assert signals.asked() is signal.SIGTERM
        signals._handle(signal.SIGTERM, None)  # a scheduler may send it twice
    assert signals.asked() is None


@pytest.mark.parametrize("busy", ["steps", "one call"])
def test_a_second_signal_ends_the_process_and_leaves_the_last_checkpoint(out, busy, tmp_path):
    """Within one long call of a library no handler of Python runs."""
    folder = out / "coin" / "train"
    process = fork(*LONG, cwd=tmp_path)
    wait_for(lambda: list(folder.glob(".tmp-*/curve.csv")), process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    (saved,) = folder.glob("*.checkpoint")
    before = saved.read_bytes()
    step = (
        "while True: pass"
        if busy == "steps"
        else "hashlib.pbkdf2_hmac('sha256', b'', b'', 2 * 10**9)"
    )
    script = tmp_path / "deaf.py"
    script.write_text(
        f"import hashlib, runpy, sys\nsys.argv[0] = {str(TOY)!r}\n"
        "import toolbox.core.run as run\n"
        "def deaf(self, *a, **k):\n"
        f"    print('deaf', file=sys.stderr, flush=True)\n    {step}\n"
        "run.Run.steps = deaf\n"
        f"runpy.run_path({str(TOY)!r}, run_name='__main__')\n"
    )
    with subprocess.Popen(
        [sys.executable, str(script), *LONG], stderr=subprocess.PIPE, text=True
    ) as process:
        while "deaf" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None, "one signal waits for a step boundary"
        sent = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 75
        assert time.monotonic() - sent < 20  # torch takes its time to unload on a busy machine
        assert "Traceback" not in process.stderr.read()
    assert saved.read_bytes() == before
    assert list(folder.iterdir()) == [saved]


def test_install_takes_all_three():
    signals.install()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        assert signal.getsignal(number) is signals._handle


def test_a_run_ends_at_its_time_limit_and_the_same_line_goes_on(shell, out, tmp_path):
    line = ("coin", "train", "--steps", 40, "--pause", 0.05, "--device", "cpu")
    stopped = shell(*line, "--limit", "1s")
    assert stopped.code == 75, stopped.stderr
    assert "stopped by its time limit (--limit) at a step boundary" in stopped.stderr
    (saved,) = out.glob("coin/train/*.checkpoint")
    done = shell(*line)
    assert "resuming from" in done.stderr
    assert not saved.exists()
    table = (done.folder / "curve.csv").read_bytes()
    whole = shell(*line, "--limit", "10h", TOOLBOX_OUT=str(tmp_path / "whole"))
    assert (whole.folder / "curve.csv").read_bytes() == table


def test_a_limit_comes_from_the_environment_and_needs_a_unit(shell, cli):
    line = ("coin", "train", "--steps", 200, "--pause", 0.05, "--device", "cpu")
    assert shell(*line, TOOLBOX_LIMIT="1s").code == 75
    refused = cli(*line, "--limit", "30")
    assert refused.code == 2
    assert "--limit" in refused.stderr
    assert "expected a time above 0 such as 90s" in refused.stderr


def test_a_run_that_ended_before_its_limit_leaves_no_stop_behind():
    with signals.defer(), signals.limited(1e-3):
        time.sleep(0.05)
        assert signals.asked() == signal.SIGALRM
    assert signals.asked() is None
    before = signal.getsignal(signal.SIGALRM)
    with signals.limited(None):
        assert signal.getsignal(signal.SIGALRM) == before
