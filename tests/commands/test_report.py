"""`toolbox report`: what the page holds, that it is whole, and that nothing in it can do harm."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from toolbox.commands.report import workers
from toolbox.commands.report.picture import span
from toolbox.core.claims import decide
from toolbox.core.manifest import sealed
from toolbox.core.spec import load_study


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def ids(self):
        return [attrs["id"] for _, attrs in self.elements if "id" in attrs]

    @property
    def words(self):
        return " ".join(self.text.split())


@pytest.fixture
def report(cli):
    """Write a report; returns its page."""

    def call(*arguments, code=0):
        done = cli("report", *arguments)
        assert done.code == code, done.stderr
        return Page(Path(done.stdout.strip()).read_text(encoding="utf-8"))

    return call


def cells(page):
    return [attrs for attrs in page.all("a") if "data-outcome" in attrs]


def test_the_matrix_counts_what_verify_counts(cli, report, toss):
    toss("--tosses", 2000, "--repeats", 3)
    cli("coin", "train", "--quiet")
    judged = json.loads(cli("verify", "coin", "--json").stdout)
    verdicts = Counter(verdict["verdict"] for pool in judged for verdict in pool["verdicts"])
    page = report("coin")
    assert Counter(cell["data-outcome"] for cell in cells(page)) == verdicts
    assert {a["href"] for a in cells(page)} == {"#coin.toss.fair", "#coin.train.learns"}


def test_claims_of_commands_without_a_run_are_not_run(report, toss):
    toss()
    page = report("coin")
    (cell,) = [cell for cell in cells(page) if cell["href"] == "#coin.train.learns"]
    assert cell["data-outcome"] == "not run"
    assert "coin.train.learns" in page.ids
    assert "toolbox coin train" in page.words


def test_every_id_is_there_once_and_every_link_leads_somewhere(report, toss, out):
    toss("--tosses", 2000, "--repeats", 3)
    toss("--tosses", 50)
    page = report("coin")
    assert len(page.ids) == len(set(page.ids))
    links = [attrs["href"] for tag, attrs in page.elements if "href" in attrs and tag != "link"]
    for link in links:
        if link.startswith("#"):
            assert link[1:] in page.ids, link
        elif not link.startswith(("data:", "https://arxiv.org/abs/")):
            assert (out / unquote(link)).exists(), link
    for used in re.findall(r"url\(#([^)]*)\)", " ".join(map(str, page.elements))):
        assert used in page.ids


def test_nothing_is_loaded_from_elsewhere(report, toss):
    toss()
    page = report("coin")
    for tag, attrs in page.elements:
        assert "src" not in attrs, tag
        assert not [value for value in attrs.values() if "url(http" in (value or "")]
    assert [attrs["href"] for attrs in page.all("link")] == ["data:,"]
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_a_mixed_folder_is_told_whole(cli, report, one_of_each, toss, out):
    cut = toss("--tosses", 70)
    (cut / "counts.csv").write_text("seed")
    stranger = out / "physics" / "spin" / "0123456789ab"
    stranger.mkdir(parents=True)
    (stranger / "notes.txt").write_text("mine")
    (out / "coin" / "notes").mkdir()
    page = report(code=1)  # as verify: a run was left out
    for status in ("interrupted", "failed", "running"):
        assert f"{one_of_each[status]}" in page.words
        assert f": {status}" in page.words
    assert f"{cut}: damaged" in page.words
    assert "physics/spin/0123456789ab" in page.words
    assert "1 of 1" in page.words or "all 1 replicates diverged" in page.words
    listed = json.loads(cli("runs", "--json").stdout)
    assert {run["run"] for run in listed if run["study"] == "coin"} >= set(one_of_each.values())


HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)> 'a' & {{ 7*7 }} --> ]]>"""


def test_text_from_outside_is_text(report, toss, out, studies):
    """A label in a table, the message of a failure, the name of a folder, the title of a study."""
    folder = toss("--sides", f"{HOSTILE.replace(',', '')},tail", "--tosses", 2000, "--repeats", 3)
    manifest = json.loads((folder / "run.json").read_text())
    failed = sealed({**manifest, "status": "failed", "message": HOSTILE})
    (folder.parent / "fa11ed.failed.json").write_text(json.dumps(failed))
    bad = out / "<b>study" / "co'm\"mand" / "0123456789ab"
    bad.mkdir(parents=True)
    (bad / "x").touch()
    text = (studies("copy") / "study.yaml").read_text()
    path = studies("hostile") / "study.yaml"
    path.write_text(text.replace("title: On Coins", f"title: {json.dumps(HOSTILE)}"))
    page = report()
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert not page.all("b") or all("data-count" in attrs for attrs in page.all("b"))
    assert not [attrs for _, attrs in page.elements if any(n.startswith("on") for n in attrs)]
    assert "49" not in page.words.partition("hostile:")[2][:200]
    assert page.words.count(" ".join(HOSTILE.split())) >= 4
    assert "<b>study" in page.words


def test_a_report_replaces_reports_alone(cli, report, toss, out, tmp_path):
    toss()
    report("coin")
    report("coin")
    mine = tmp_path / "mine.html"
    mine.write_text("<html>mine</html>")
    for target, said in (
        (mine, "is no report by toolbox"),
        (tmp_path, "it is a folder"),
        (tmp_path / "x.pdf", "end with .html"),
    ):
        refused = cli("report", "--to", target)
        assert refused.code == 2
        assert said in refused.stderr
    assert mine.read_text() == "<html>mine</html>"


def test_a_place_without_runs_says_so(cli, out):
    done = cli("report", "coin")
    assert done.code == 2
    assert f"no run of coin under {out}" in done.stderr
    assert not (out / "report.html").exists()


def test_small_tables_are_in_the_page_and_large_ones_are_named(cli, report, toss, out):
    folder = toss("--tosses", 50)
    many = cli("coin", "train", "--steps", 2000, "--quiet").folder
    page = report("coin")
    (link,) = [a for a in page.all("a") if a.get("download") == "coin-toss-counts.csv"]
    assert base64.b64decode(link["href"].partition(",")[2]) == (folder / "counts.csv").read_bytes()
    size = (many / "curve.csv").stat().st_size
    assert size > 50_000
    assert os.path.relpath(many / "curve.csv", out) in [a["href"] for a in page.all("a")]


def test_the_tables_of_several_runs_stand_in_one(report, toss):
    for seed in (0, 1, 2):
        toss("--tosses", 50, "--seed", seed)
    page = report("coin", "toss")
    (link,) = [a for a in page.all("a") if a.get("download") == "coin-toss-counts.csv"]
    lines = base64.b64decode(link["href"].partition(",")[2]).decode().splitlines()
    assert lines[0].startswith("seed,repeat,side")
    assert len(lines) == 1 + 3 * 2
    assert "3 replicates (seeds 0, 1, 2)" in page.words


def test_each_configuration_can_be_chosen(report, toss):
    toss("--tosses", 50)
    toss("--tosses", 2000, "--repeats", 3)
    page = report("coin", "toss")
    first, second = page.all("option")
    assert "selected" in first
    assert "selected" not in second
    assert {first["value"], second["value"]} <= set(page.ids)
    assert "custom (preset small with tosses = 2000)" in page.words
    assert "tosses = 2000 (flag)" in page.words
    assert "--tosses 2000" in page.words


def test_a_broken_study_is_told_and_the_others_are_shown(report, cli, toss, studies):
    toss()
    folder = studies("broken")
    cli("broken", "toss", "--quiet")
    (folder / "metrics.py").write_text("import nothing_of_this_name\n")
    sys.modules.pop("toolbox.studies.broken.metrics", None)
    page = report()
    assert "nothing_of_this_name" in page.words
    assert "coin.toss.fair" in page.ids


def test_all_cores_give_what_one_gives(report, toss, monkeypatch):
    toss("--tosses", 2000, "--repeats", 3)
    words = []
    for few in (100, 0):
        monkeypatch.setattr(workers, "FEW", few)
        monkeypatch.setattr(workers.machine, "default_threads", lambda: 2)
        page = report("coin")
        words.append(page.words.partition("Claims")[2])
    assert words[0] == words[1]
    assert "supported" in words[0]


# ----------------------------------------------------------------------- the picture of an interval


def verdict_of(values, region, paper="-"):
    claim = load_study("coin").commands["toss"].claims["fair"]
    claim = claim.model_copy(update={"region": region, "paper": paper, "requires": None})
    return decide("fair", claim, values)


def test_an_interval_inside_its_region_is_drawn_inside():
    found = span(verdict_of([1.0, 1.1, 0.9], (0.0, 2.0), paper="1.2"))
    low, high = found.interval
    assert found.region[0] < low < found.measured < found.paper < found.region[1]
    assert high < found.region[1]
    assert [text for _, text, _ in found.edges] == ["0", "2"]
    assert "pass region 0 to 2; supported" in found.label


def test_a_region_without_an_end_reaches_the_edge_of_the_picture():
    found = span(verdict_of([3.0, 3.1, 2.9], (None, 1.0)))
    assert found.region[0] == 0.0
    assert found.measured > found.region[1]
    assert found.paper is None


def test_one_replicate_has_no_interval_and_numbers_far_apart_stand_on_a_logarithmic_scale():
    found = span(verdict_of([1e-6], (1.0, None)))
    assert found.interval is None
    assert found.measured == pytest.approx(20)
    assert found.region == (pytest.approx(80), 100.0)
    middle = span(verdict_of([1e-3, 1e-3, 1e-3], (1e-6, 1.0)))
    assert middle.measured == pytest.approx(50)


def test_nothing_measured_is_not_drawn():
    assert span(verdict_of([float("nan")], (0.0, 1.0))) is None


# -------------------------------------------------------------------------------- pages of Markdown


@pytest.fixture
def pages(cli, tmp_path):
    """Write the pages; name -> text."""

    def call(*arguments):
        done = cli("report", *arguments, "--markdown", tmp_path / "pages")
        assert done.code == 0, done.stderr
        return {Path(line).name: Path(line).read_text() for line in done.stdout.splitlines()}

    return call


def test_a_page_of_a_paper_has_verdicts_and_figures(cli, pages, toss, tmp_path):
    toss("--tosses", 2000, "--repeats", 3)
    text = pages("coin")["coin.md"]
    assert "# `coin`: On Coins" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| fair |")]
    judged = json.loads(cli("verify", "coin", "--json").stdout)[0]["verdicts"][0]
    assert row.endswith(f"| {judged['verdict']} |")
    assert f"{judged['measured']:.4g}" in row
    (figure,) = re.findall(r"\]\((figures/[^)]*)\)", text)
    svg = (tmp_path / "pages" / figure).read_text()
    assert ElementTree.fromstring(svg).attrib["width"].endswith("pt")
    assert "coin train" not in text  # it was not run


def test_the_index_counts_what_verify_counts(cli, pages, toss):
    toss("--tosses", 2000, "--repeats", 3)
    index = pages()["README.md"]
    (row,) = [line for line in index.splitlines() if line.startswith("| [coin](coin.md)")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    verdicts = json.loads(cli("verify", "coin", "--json").stdout)[0]["verdicts"]
    outcomes = Counter(verdict["verdict"] for verdict in verdicts)
    assert cells[2:6] == [str(outcomes[o]) for o in ("supported", "refuted", "inconclusive")] + [
        "1"  # coin train has a claim and no run
    ]


def test_the_same_runs_give_the_same_pages(pages, toss, tmp_path):
    toss("--tosses", 2000, "--repeats", 3)
    first = pages("coin")
    drawn = {path: path.read_bytes() for path in (tmp_path / "pages" / "figures").iterdir()}
    assert pages("coin") == first
    assert drawn == {path: path.read_bytes() for path in drawn}


def test_a_page_that_somebody_wrote_is_not_replaced(cli, toss, tmp_path):
    toss()
    (tmp_path / "coin.md").write_text("mine")
    refused = cli("report", "coin", "--markdown", tmp_path)
    assert refused.code == 2
    assert "coin.md is there and was not written by toolbox" in refused.stderr
    assert (tmp_path / "coin.md").read_text() == "mine"
    assert not (tmp_path / "figures").exists()


def test_hostile_text_is_no_markup_in_markdown(pages, toss, tmp_path):
    toss("--sides", f"{HOSTILE.replace(',', '')},tail")
    pages("coin")
    (svg,) = (tmp_path / "pages" / "figures").glob("coin-toss-*.svg")
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(svg).iter()}
    assert not tags & {"script", "img", "foreignObject"}
