"""Full and closed standard streams: a message never costs a result, lost results are said."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parents[1] / "toy_toolbox.py"

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def toy(line: str, redirected: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, str(TOY), *line.split()],
        env={**os.environ, "TERM": "dumb"},
        capture_output=True,
        text=True,
        timeout=120,
    )


TRAIN = "coin train --steps 300 --pause 0.002 --device cpu --repeats 2"
SHARED = ("list", "runs", "verify coin", "plot coin train", "clean", "show {run}", "--help",
          "coin --help", "coin toss --help", "--version", "runs --json")  # fmt: skip


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&- </dev/null 0<&-"])
def test_progress_that_cannot_be_written_costs_no_result(out, where):
    done = toy(TRAIN, where)
    assert done.returncode == 0
    assert (Path(done.stdout.strip()) / "run.json").is_file()
    assert done.stderr == ""


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_results_that_cannot_be_written_are_one_sentence_and_the_run_stays(out, where):
    for again in (False, True):
        done = toy("coin toss", where)
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith(
            "toolbox: cannot write the results to stdout"
        )
        assert ("already complete" in done.stderr) is again
    assert len(list(out.glob("coin/toss/*/run.json"))) == 1


LOST = (">/dev/full", ">&- 2>&-"), (">&-", ">/dev/full 2>/dev/full")


@pytest.mark.parametrize(("line", "lost"), [*zip(SHARED, itertools.cycle(LOST))])
def test_shared_commands_answer_alike(cli, out, line, lost):
    run = cli("coin", "toss").folder.name
    cli("coin", "train", "--steps", 3, "--device", "cpu")
    line = line.format(run=run)
    for where in lost:
        done = toy(line, where)
        assert done.returncode == 1
        silent = "2>" in where
        said = done.stderr.splitlines()
        assert (said == []) if silent else said[-1].startswith("toolbox: cannot write the results")
        assert "Traceback" not in done.stderr
    done = toy(line, "2>&-")
    assert done.returncode == 0
    assert done.stdout


def test_a_file_opened_after_a_closed_stream_does_not_take_its_number(out):
    """What a library writes to descriptor 2 would else stand in a table."""
    done = toy("coin toss", ">&- 2>&- <&-")
    assert done.returncode == 1
    (folder,) = out.glob("coin/toss/*")
    lines = (folder / "counts.csv").read_text().splitlines()
    assert all(line.count(",") == lines[0].count(",") for line in lines)


def test_names_that_are_no_text_come_out_as_they_are(tmp_path):
    place = os.fsencode(tmp_path) + b"/caf\xe9"
    done = subprocess.run(
        [sys.executable, str(TOY), "coin", "toss", "--out", place], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(place)
