"""Edited code is told from reformatted code, and does not go on from a checkpoint of the other."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

from toolbox.core import code, signals
from toolbox.core.studies import study_file

SOURCE = b'''
"""A module."""
LIMIT = 3  # a comment


def f(x: int) -> int:
    """Add."""
    return x + 1
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        (b"  # a comment", b"", True),
        (b'"""Add."""', b'"""Add one to a number."""', True),
        (b'"""A module."""', b"", True),
        (b"return x + 1", b"return (x\n            + 1)", True),
        (b"\n\n\n", b"\n\n", True),
        (b"LIMIT = 3", b"LIMIT = 4", False),
        (b"x + 1", b"1 + x", False),
        (b"x + 1", b"x - 1", False),
        (b"LIMIT", b"LIMITS", False),
        (b"return x + 1", b"return 'x + 1'", False),
        (b"def f", b"async def f", False),
        (b"(x: int)", b"(*, x: int)", False),
    ],
)
def test_only_what_can_change_a_number_counts(old, new, same):
    assert old in SOURCE
    changed = SOURCE.replace(old, new)
    assert (code.syntax_of(changed) == code.syntax_of(SOURCE)) is same


@pytest.fixture
def editable(tmp_path, monkeypatch):
    """A copy of the toy study whose files a test may change."""
    folder = tmp_path / "studies"
    source = study_file("coin").parent
    shutil.copytree(source, folder / "coin", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(code, "study_file", lambda study: folder / study / "study.yaml")

    def edit(name, text):
        with (folder / "coin" / name).open("a") as handle:
            handle.write(text)

    return edit


def test_already_complete_names_the_files_that_changed(cli, editable):
    folder = cli("coin", "toss").folder
    editable("toss.py", "\n# a comment\n")
    assert "already complete; --again computes it anew" in cli("coin", "toss").stderr
    editable("toss.py", "\nTHETA = 1.0\n")
    again = cli("coin", "toss")
    assert again.code == 0
    assert again.folder == folder
    said = "already complete, but coin/toss.py has changed since; --again computes it anew"
    assert said in again.stderr


def test_a_checkpoint_of_other_code_is_refused_and_kept(cli, out, editable, stop_at):
    line = ("coin", "train", "--steps", 9, "--device", "cpu")
    stop_at(4)
    assert cli(*line).code == signals.RESUMABLE
    stop_at(None)
    editable("model.py", "RATE = 2.0\n")
    refused = cli(*line)
    assert refused.code == 1
    assert "was made by other code (coin/model.py)" in refused.stderr
    assert "--again starts anew" in refused.stderr
    assert len(list(out.glob("coin/train/*.checkpoint"))) == 1
    assert cli(*line, "--again").code == 0
    assert not list(out.glob("coin/train/*.checkpoint"))


def test_runs_of_other_code_are_counted(editable):
    now = {"code": code.code_of("coin")}
    assert code.other_code("coin", [now, now]) == ""
    editable("metrics.py", "X = 1\n")
    other = {"code": code.code_of("coin")}
    assert code.other_code("coin", [now, other, {}]) == (
        "1 of 3 runs was made by other code (coin/metrics.py changed since); --again computes anew"
    )


def test_verify_and_plot_say_how_many_runs_other_code_made(cli, editable):
    cli("coin", "toss", "--seed", 1)
    editable("toss.py", "\nTHETA = 1.0\n")
    cli("coin", "toss", "--seed", 2)
    said = "1 of 2 runs was made by other code (coin/toss.py changed since); --again computes anew"
    assert said in " ".join(cli("verify", "coin", "toss").stdout.split())
    assert f"coin toss: {said}" in cli("plot", "coin", "toss").stderr


def test_what_was_imported_is_in_the_manifest(cli):
    manifest = json.loads((cli("coin", "train").folder / "run.json").read_text())
    versions = manifest["versions"]
    assert {"python", "torch", "numpy", "pandas", "typer"} <= set(versions)
    assert versions["python"] == sys.version.split()[0]
