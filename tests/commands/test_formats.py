"""`--format` of verify, runs and list: each reader gets its own escapes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import pytest

from toolbox.commands import formats

ROWS = [["a|b", 'say "x", y'], ["50 % of $x_1$ & <b>", "θ ≤ 1\nline"]]


def test_csv_is_read_back_as_it_was():
    text = formats.written("csv", ["one", "two"], ROWS)
    assert list(csv.reader(io.StringIO(text))) == [["one", "two"], *ROWS]


def test_markdown_keeps_every_row_on_a_line_and_shows_signs_as_they_are():
    head, rule, first, second = formats.written("markdown", ["one", "two"], ROWS).splitlines()
    assert head == "| one | two |"
    assert rule == "| --- | --- |"
    assert first == r'| a\|b | say "x", y |'
    assert second == r"| 50 % of \$x\_1\$ &amp; &lt;b&gt; | θ ≤ 1 line |"


def test_latex_escapes_what_latex_reads():
    text = formats.written("latex", ["one", "two"], ROWS)
    assert r"50 \% of \$x\_1\$ \& \textless{}b\textgreater{}" in text
    assert r"$\theta$ $\le$ 1 line" in text
    assert text.count(r" \\") == 3
    assert r"\begin{tabular}{ll}" in text


@pytest.mark.parametrize(("rows", "kind"), [(2, "tabular"), (40, "longtable")])
def test_a_long_table_of_latex_goes_over_pages_and_long_columns_break(rows, kind):
    text = formats.written("latex", ["one", "two"], [["x", "words " * 30]] * rows)
    assert rf"\begin{{{kind}}}{{l>{{\raggedright\arraybackslash}}p{{0." in text
    assert (r"\endhead" in text) == (kind == "longtable")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not installed")
@pytest.mark.parametrize("rows", [2, 40])
def test_latex_compiles(rows, tmp_path):
    table = formats.written("latex", ["one", "two"], [*ROWS, ["x", "words " * 30]] * rows)
    packages = r"\usepackage[T1]{fontenc}\usepackage{array,booktabs,longtable}"
    (tmp_path / "page.tex").write_text(
        rf"\documentclass{{article}}{packages}\begin{{document}}{table}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.fixture
def judged(cli):
    cli("coin", "toss", "--tosses", 2000, "--repeats", 3, "--quiet")
    return cli("coin", "train", "--quiet")


@pytest.mark.parametrize("format", ["csv", "markdown", "latex"])
def test_verify_has_a_row_for_every_claim_in_every_format(cli, judged, format):
    done = cli("verify", "coin", "--format", format)
    assert done.code == 0
    verdicts = [v for pool in json.loads(cli("verify", "coin", "--json").stdout)
                for v in pool["verdicts"]]  # fmt: skip
    for verdict in verdicts:
        (line,) = [line for line in done.stdout.splitlines() if verdict["claim"] in line]
        assert verdict["verdict"] in line
        assert verdict["statement"] in line
    assert "\x1b" not in done.stdout


def test_verify_in_csv_has_the_numbers_of_json(cli, judged):
    rows = csv.DictReader(io.StringIO(cli("verify", "coin", "--format", "csv").stdout))
    known = {v["claim"]: v for pool in json.loads(cli("verify", "coin", "--json").stdout)
             for v in pool["verdicts"]}  # fmt: skip
    for row in rows:
        expected = known[row["claim"]]["measured"]
        assert float(row["measured"]) == pytest.approx(expected, rel=1e-4)


def test_the_controls_stand_in_every_format(cli, judged):
    done = cli("verify", "coin", "--null", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["verdict under its control"] for row in rows} <= {"refuted", "inconclusive"}


def test_runs_and_list_in_every_format(cli, judged):
    (toss, train) = csv.DictReader(io.StringIO(cli("runs", "--format", "csv").stdout))
    assert (toss["command"], train["command"]) == ("toss", "train")
    assert "tosses=2000" in toss["parameters"]
    assert cli("runs", "--format", "markdown").stdout.count("complete") == 2
    rows = list(csv.DictReader(io.StringIO(cli("list", "--format", "csv").stdout)))
    assert {"coin", "gd"} <= {row["study"] for row in rows}
    claims = list(csv.DictReader(io.StringIO(cli("list", "coin", "--format", "csv").stdout)))
    assert [claim["claim"] for claim in claims] == ["fair", "learns"]
    assert r"\toprule" in cli("list", "coin", "--format", "latex").stdout


def test_an_unknown_format_is_refused(cli):
    refused = cli("verify", "--format", "html")
    assert refused.code == 2
    assert "--format html: expected table, json, csv, markdown, latex" in refused.stderr
    refused = cli("runs", "--format", "csv", "--json")
    assert refused.code == 2
    assert re.search("csv and --json differ", refused.stderr)


def test_the_page_of_a_study_names_all_it_declares(cli):
    page = cli("list", "coin", "--format", "markdown").stdout
    for part in ("# `coin`: On Coins", "## `toolbox coin toss`", "The coin is fair.", "--bias",
                 "counts.csv", "tosses=100000"):  # fmt: skip
        assert part in page
    assert "contract" not in page
