"""`toolbox plot`: where pictures go, what stands under them, and figures that are kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from matplotlib.figure import Figure
from PIL import Image

from toolbox.commands import render

CSV = "step,loss\n1,3\n2,2\n3,1\n"
AXES = ("--x", "step", "--y", "loss")


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def figures(monkeypatch):
    """Every figure that is saved, as matplotlib's object."""
    made: list[Figure] = []
    write = render.save
    monkeypatch.setattr(render, "save", lambda f, *rest: made.append(f) or write(f, *rest))
    return made


def words(figure):
    """All texts of a figure."""
    return [text.get_text() for text in figure.findobj(lambda each: hasattr(each, "get_text"))]


def footer(figure):
    return (figure._supxlabel.get_text() if figure._supxlabel else "").split("\n")


# ----------------------------------------------------------------------------- where pictures go


def test_a_picture_stands_beside_its_table(cli, here):
    for name in ("a", "b"):
        (here / name).mkdir()
        (here / name / "loss.csv").write_text(CSV)
        assert cli("plot", f"{name}/loss.csv", *AXES).stdout.strip() == f"{name}/loss.png"
    assert not (here / "loss.png").exists()


def test_nothing_is_replaced_that_was_not_drawn_from_the_same_table(cli, here):
    (here / "t.csv").write_text(CSV)
    (here / "t.tsv").write_text(CSV.replace(",", "\t"))
    (here / "t.png").write_bytes(b"mine")
    refused = cli("plot", "t.csv", *AXES)
    assert refused.code == 2
    assert "t.png is there and was not drawn by toolbox" in refused.stderr
    assert (here / "t.png").read_bytes() == b"mine"
    assert cli("plot", "t.csv", *AXES, "-o", "t.png").code == 2
    (here / "t.png").unlink()
    assert cli("plot", "t.csv", *AXES).code == 0
    assert cli("plot", "t.csv", *AXES, "--logy").code == 0  # its own
    refused = cli("plot", "t.tsv", *AXES)
    assert refused.code == 2
    assert "t.png is there and shows t.csv" in refused.stderr
    assert cli("plot", "t.tsv", *AXES, "-o", "t.png").code == 0  # asked for by name


@pytest.mark.parametrize(
    ("arguments", "files"),
    [
        (("-o", "x.svg"), ["x.svg"]),
        (("-o", "sub/x.pdf"), ["sub/x.pdf"]),
        (("-o", "T=0.5"), ["T=0.5.png"]),
        (("-o", "x", "--format", "png,svg"), ["x.png", "x.svg"]),
    ],
)
def test_o_names_the_file(cli, here, arguments, files):
    (here / "t.csv").write_text(CSV)
    assert cli("plot", "t.csv", *AXES, *arguments).stdout.split() == files
    assert all((here / file).is_file() for file in files)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "x.jpg"), "png, svg or pdf"),
        (("-o", "x.png", "--format", "svg"), "differ"),
        (("--format", "gif"), "expected png, svg, pdf"),
        (("--kind", "pie"), "--kind pie: expected line, scatter"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(cli, here, arguments, said):
    (here / "t.csv").write_text(CSV)
    refused = cli("plot", "t.csv", *AXES, *arguments)
    assert refused.code == 2
    assert said in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_pipes_and_standard_input(here):
    def plot(*arguments, **more):
        command = [sys.executable, "-m", "toolbox", "plot", *arguments, *AXES]
        return subprocess.run(command, capture_output=True, text=True, check=True, **more).stdout

    assert plot("-", input=CSV).strip() == "stdin.png"
    reading, writing = os.pipe()
    os.write(writing, CSV.encode())
    os.close(writing)
    assert plot(f"/dev/fd/{reading}", pass_fds=[reading]).strip() == "pipe.png"


def test_dollars_are_text_and_formulas_are_formulas(cli, here, figures):
    rows = "".join(
        f"{step},{step},{name}\n"
        for name in ("$SCRATCH/runs/a__b", "from $5 to $6", "$x^{", r"$\kappa$", "a\x07b")
        for step in (1, 2)
    )
    (here / "t.csv").write_text(f"step,loss,run\n{rows}")
    for way in ("--hue", "--col"):
        done = cli("plot", "t.csv", *AXES, way, "run", "--title", "$5 and $HOME")
        assert done.code == 0, done.stderr
        assert "Warning" not in done.stderr
    texts = " ".join(words(figures[0]))
    for part in (r"\$SCRATCH/runs/a__b", r"from \$5 to \$6", r"\$x^{", r"$\kappa$", r"a\x07b"):
        assert part in texts
    assert cli("plot", "t.csv", *AXES, "--hue", "run", "--terminal").code == 0


def test_a_legend_that_is_cut_says_so(cli, here, figures):
    rows = "".join(f"{step},{at},run {at}\n" for at in range(200) for step in (1, 2))
    (here / "t.csv").write_text(f"step,loss,run\n{rows}")
    done = cli("plot", "t.csv", *AXES, "--hue", "run")
    assert "of its 200 labels do not fit" in done.stderr
    shown = words(figures[0])
    assert any(text.startswith("... and ") for text in shown)
    assert shown.index("run 2") < shown.index("run 10")


def test_a_home_that_does_not_exist_prints_nothing(here):
    (here / "t.csv").write_text(CSV)
    environment = {k: v for k, v in os.environ.items() if k != "MPLCONFIGDIR"}
    done = subprocess.run(
        [sys.executable, "-m", "toolbox", "plot", "t.csv", *AXES],
        capture_output=True, text=True, check=True, env=environment | {"HOME": "/dev/null/none"},
    )  # fmt: skip
    assert done.stderr == ""


# ------------------------------------------------------------------- what stands under a study's


def test_the_footer_tells_run_replicates_band_and_verdict(cli, out, figures):
    cli("coin", "toss", "--tosses", 50, "--repeats", 4)
    cli("coin", "toss", "--tosses", 50, "--repeats", 4, "--seed", 1)
    assert cli("plot", "coin", "toss").code == 0
    made, band, *rest = footer(figures[0])
    assert made.startswith("toolbox coin toss, custom (preset ")
    assert made.endswith("with tosses = 50), 8 replicates (seeds 0, 1)")
    assert band == "mean of 8 replicates; bar: pointwise 95 % Student-t interval"
    assert rest == []
    (picture,) = (out / "coin" / "toss" / "figures").glob("*/shares.png")
    facts = json.loads(Image.open(picture).text["Description"])
    assert facts["footer"] == [made]


def test_the_verdict_of_the_claim_is_that_of_verify(cli, out, figures, monkeypatch):
    from toolbox.commands import plot
    from toolbox.core import spec

    cli("coin", "toss", "--repeats", 4)
    declared = spec.load_command("coin", "toss")
    shares = declared.figures["shares"].model_copy(update={"claim": "fair"})
    changed = declared.model_copy(update={"figures": {"shares": shares}})
    monkeypatch.setattr(plot, "selected", lambda *_: [("coin", "toss", changed)])
    monkeypatch.setattr("toolbox.core.pools.load_command", lambda *_: changed)
    assert cli("plot", "coin", "toss").code == 0
    (verdict,) = json.loads(cli("verify", "coin", "toss", "--json").stdout)[0]["verdicts"]
    made, _, said = footer(figures[0])
    assert made == "toolbox coin toss, preset small, 4 replicates (seed 0)"
    assert said.startswith(f"claim fair: {verdict['verdict']}, {verdict['measured']:.4g} [")
    assert said.endswith("pass region 0.48 to 0.52")


def test_the_footer_counts_what_diverged(cli, out, figures):
    sgd = ("coin", "train", "--optimizer", "sgd", "--device", "cpu", "--quiet")
    cli(*sgd, "--lr", 100)
    done = cli("plot", "coin", "train")
    assert done.code == 0, done.stderr
    assert "1 replicate (seed 0), of which 1 diverged" in " ".join(footer(figures[0]))


def test_a_runs_folder_and_a_runs_table_are_drawn(cli, out, figures):
    folder = cli("coin", "toss", "--tosses", 50).folder
    drawn = cli("plot", str(folder)).stdout.strip()
    assert drawn == str(folder.parent / "figures" / folder.name / "shares.png")
    assert cli("plot", str(folder / "counts.csv"), "--x", "side", "--y", "share").code == 0
    table = folder / "counts.csv"
    table.write_text(table.read_text()[:-9])
    assert cli("plot", str(folder)).code == 1
    assert cli("plot", str(folder.parent)).code == 2


# ---------------------------------------------------------------------------- figures that are kept


def test_a_kept_figure_is_drawn_again_from_anywhere(cli, here, tmp_path, monkeypatch):
    (here / "t.csv").write_text(CSV)
    asked = ("--logy", "--title", "Ünter: #1", "--ref-y", 2, "--where", "step < 3", "--sep", ",")
    assert cli("plot", "t.csv", *AXES, *asked, "--save-spec", "fig.yaml").code == 0
    first = (here / "t.png").read_bytes()
    (here / "t.png").unlink()
    monkeypatch.chdir(tmp_path)
    assert cli("plot", "work/fig.yaml").code == 0
    assert (here / "t.png").read_bytes() == first
    assert cli("plot", "work/fig.yaml", "--liny", "-o", "other.png").code == 0
    assert (tmp_path / "other.png").read_bytes() != first


def test_a_kept_figure_of_a_study(cli, here, out):
    cli("coin", "toss", "--tosses", 50)
    assert cli("plot", "coin", "toss", "--kind", "scatter", "--save-spec", "f.yaml").code == 0
    assert "kind: scatter" in (here / "f.yaml").read_text()
    assert cli("plot", "f.yaml").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x: step\n", "no target"),
        ("target: t.csv\nx: step\ny: loss\nlogz: true\n", "logz"),
        ("target: t.csv\nx: step\nx: loss\n", "f.yaml"),
        ("target: [a]\n", "no target"),
        ("target: t.csv\nsep: 3\n", "sep"),
        ("target: gone.csv\nx: step\ny: loss\n", "gone.csv"),
    ],
)
def test_a_figures_file_is_strict(cli, here, text, said):
    (here / "t.csv").write_text(CSV)
    (here / "f.yaml").write_text(text)
    refused = cli("plot", "f.yaml")
    assert refused.code == 2
    assert said in refused.stderr


def test_save_spec_replaces_no_other_file(cli, here):
    (here / "t.csv").write_text(CSV)
    (here / "own.yaml").write_text("mine: true\n")
    refused = cli("plot", "t.csv", *AXES, "--save-spec", "own.yaml")
    assert refused.code == 2
    assert (here / "own.yaml").read_text() == "mine: true\n"


@pytest.mark.parametrize("arguments", [("anytime",), ("--figure", "f")])
def test_what_belongs_to_a_study_is_refused_for_a_table(cli, here, arguments):
    (here / "t.csv").write_text(CSV)
    refused = cli("plot", "t.csv", *arguments, *AXES)
    assert refused.code == 2
    assert len(refused.stderr.splitlines()) == 1


def test_odd_texts_and_values_print_no_warning(cli, here, recwarn):
    long = "/a/very/long/path" * 9
    rows = "".join(f"{s},{v},{o}\n" for o in ("例", long, "b") for s, v in ((1, 2), (2, "1e308")))
    (here / "t.csv").write_text(f"step,loss,o\n{rows}")
    done = cli("plot", "t.csv", *AXES, "--hue", "o")
    assert done.code == 0
    assert "the font has no sign for 例" in done.stderr
    assert "left out 3 infinite values of 'loss'" in done.stderr
    assert not recwarn.list
