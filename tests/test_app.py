"""The front door: one line per error, the right exit code, a quiet end when the reader is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import toolbox

TOY = Path(__file__).parent / "toy_toolbox.py"


def test_the_version_is_printed(cli):
    assert cli("--version") == (0, f"toolbox {toolbox.__version__}\n", "")


@pytest.mark.parametrize(
    "line",
    [
        "coin toss --no-such-flag 1",
        "coin toss --tosses",
        "coin toss --tosses many",
        "coin toss --tosses 0",
        "coin toss --bias nan",
        "coin toss --sides one",
        "coin toss --sides a,a",
        "coin toss extra",
        "coin toss --device tpu",
        "coin toss --device cuda",
        "coin toss --threads 0",
        "coin toss --repeats 0",
        "coin train --optimizer lbfgs",
        "coin tos",
        "coins toss",
        "runs coin toss extra",
    ],
)
def test_bad_usage_is_one_line_on_stderr_and_exits_2(cli, out, line):
    result = cli(*line.split())
    assert result.code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("toolbox: ")
    assert len(result.stderr.splitlines()) == 1
    assert not list(out.glob("*/*/*"))


@pytest.mark.parametrize("line", ["--help", "coin --help", "coin toss --help", "runs -h"])
def test_help_is_given_and_exits_0(cli, line, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    result = cli(*line.split())
    assert result.code == 0
    assert "Usage: toolbox" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("line", ["", "coin"])
def test_a_group_alone_shows_its_help(cli, line):
    result = cli(*line.split())
    assert "Usage: toolbox" in result.stdout + result.stderr
    assert "toolbox: " not in result.stderr


def test_results_are_on_stdout_and_all_else_on_stderr(cli, out):
    first = cli("coin", "toss")
    assert first.stdout == f"{first.folder}\n"
    assert first.folder.parent == out / "coin" / "toss"
    assert "claim" in first.stderr
    second = cli("coin", "toss")
    assert second.stdout == first.stdout
    assert "already complete; --again computes it anew" in second.stderr
    assert cli("coin", "toss", "--quiet") == (0, first.stdout, "")
    document = json.loads(cli("coin", "toss", "--json", "--again").stdout)
    assert document["folder"] == str(first.folder)
    assert document["status"] == "complete"
    assert not document["already_there"]
    assert Path(document["tables"]["counts"]).is_file()
    assert document["verdicts"][0]["claim"] == "fair"


def test_a_bug_of_ours_keeps_its_traceback(cli, monkeypatch):
    from toolbox.core import execute

    def bug(*rest):
        raise ZeroDivisionError

    monkeypatch.setattr(execute, "_compute", bug)
    with pytest.raises(ZeroDivisionError):
        cli("coin", "toss")


@pytest.mark.parametrize("line", ["coin toss --help", "list coin", "list --json"])
def test_a_reader_that_goes_away_is_no_error(line):
    process = subprocess.Popen(
        [sys.executable, str(TOY), *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()  # before a byte is written
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 0
    assert stderr == b""


def test_a_run_in_a_process_of_its_own_has_no_escape_in_a_pipe(interpreter, cli):
    result = interpreter("coin", "toss", FORCE_COLOR="", PYTHONWARNINGS="error")
    assert result.code == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "already complete" in cli("coin", "toss").stderr  # the same id in another process
