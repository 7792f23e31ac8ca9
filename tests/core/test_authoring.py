"""Mistakes of an author: found before the run where they can be, and told with file and line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent.parent / "toys" / "coin"


def line_of(path: Path, text: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


SEEN_BEFORE = {
    "a table that is not declared": ("toss", '"counts"', '"count"', "did you mean \'counts\'?"),
    "a column that is not declared": ("toss", '"share":', '"shar":', "did you mean \'share\'?"),
    "a column that is missing": ("toss", '{**rows, "share":', '{"share":', "is missing"),
    "a file that is no Python": ("train", "noise = run", "noise == = run", "not valid Python"),
    "a statistic that is not there": (
        "study", "share_of_heads", "share_of_head", "did you mean \'share_of_heads\'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEEN_BEFORE)
def test_a_mistake_is_one_sentence_before_anything_is_computed(cli, studies, out, kind):
    part, old, new, said = SEEN_BEFORE[kind]
    name = "study.yaml" if part == "study" else f"{part}.py"
    text = (TOY / name).read_text(encoding="utf-8")
    assert old in text
    folder = studies("broken", **{part: text.replace(old, new, 1)})
    result = cli("broken", "toss", "--tosses", 100)
    assert result.code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert f"{folder / name}:" in result.stderr
    assert said in result.stderr
    assert not list(out.glob("broken/*/*"))
    assert cli("coin", "toss", "--tosses", 100, "--quiet").code == 0


def test_a_statistic_that_is_lost_later_harms_no_other_study(cli, studies):
    folder = studies("broken")
    assert cli("broken", "toss").code == cli("coin", "toss").code == 0
    metrics = folder / "metrics.py"
    text = metrics.read_text(encoding="utf-8")
    metrics.write_text(text.replace("def share_of_heads", "def other"), encoding="utf-8")
    del sys.modules["toolbox.studies.broken.metrics"]
    alone = cli("verify", "broken")
    assert alone.code == 1
    assert len(alone.stderr.splitlines()) == 1
    line = line_of(folder / "study.yaml", "statistic: share_of_heads")
    assert f"{folder / 'study.yaml'}:{line}: " in alone.stderr
    every = cli("verify")
    assert every.code == 1  # something was left out
    assert "coin toss" in every.stdout
    assert every.stderr.count("share_of_heads") == 1


WRITE = 'run.write("counts", '
AT_RUN_TIME = {
    "a table under a computed name": (WRITE, 'run.write("count" + "", ', "no such table"),
    "columns of different lengths": (
        '"share":',
        '"count": [1, 2, 3], "share":',
        "differ in length",
    ),
}


@pytest.mark.parametrize("kind", AT_RUN_TIME)
def test_a_mistake_of_a_row_names_the_line_that_writes_it(cli, studies, kind):
    old, new, said = AT_RUN_TIME[kind]
    text = (TOY / "toss.py").read_text(encoding="utf-8")
    assert old in text
    folder = studies("broken", toss=text.replace(old, new))
    result = cli("broken", "toss", "--tosses", 100)
    assert result.code == 1
    assert len(result.stderr.splitlines()) == 1
    line = line_of(folder / "toss.py", "run.write")
    assert f"{folder / 'toss.py'}:{line}" in result.stderr
    assert said in result.stderr


def test_an_import_that_fails_inside_an_experiment_is_one_sentence(cli, studies):
    text = (TOY / "toss.py").read_text(encoding="utf-8")
    folder = studies(
        "broken", toss=text.replace("from toolbox", "import numpyy\n\nfrom toolbox", 1)
    )
    result = cli("broken", "toss", "--tosses", 100)
    assert result.code == 1
    line = line_of(folder / "toss.py", "import numpyy")
    assert result.stderr.startswith(f"toolbox: {folder / 'toss.py'}:{line}: ModuleNotFoundError")
    assert len(result.stderr.splitlines()) == 1
