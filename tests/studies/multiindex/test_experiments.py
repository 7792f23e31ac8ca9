"""The rules of the experiments: censoring, fits, and what a command line says and refuses."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from toolbox.app import run as command_line
from toolbox.studies.multiindex import metrics
from toolbox.studies.multiindex.learn import Arrival, Problem
from toolbox.studies.multiindex.link import parse_link
from toolbox.studies.multiindex.scaling import _best, _fits, _laws


def cell(d: int, direction: list[float], text: str = "h4") -> dict:
    problem = Problem(parse_link(text), d, 2, 4)
    times = np.array(direction)
    found = Arrival(times * 0.5, times, np.array([1000.0] * len(times)))
    scales = np.arange(1.0, len(times) + 1)
    return _best(problem, scales, scales * 1e-3, 10, 0.8, found)


def test_the_best_step_size_is_the_first_to_arrive_and_a_censored_one_never_is():
    row = cell(16, [np.nan, 500.0, 400.0, np.nan])
    assert (row["eta_scale"], row["samples_dir"], row["censored"]) == (3.0, 400, False)
    assert row["at_edge"] is False
    assert row["time_dir"] == pytest.approx(400 * 3e-3)
    assert cell(16, [300.0, 500.0])["at_edge"] is True
    none = cell(16, [np.nan, np.nan])
    assert none["censored"] is True
    assert none["samples_dir"] is None


def test_a_fit_leaves_censored_sizes_out_and_counts_them():
    best = pd.DataFrame([cell(d, [7.0 * d**3]) for d in (8, 16, 32)] + [cell(64, [np.nan])])
    problems = [Problem(parse_link("h4"), d, 2, 4) for d in (8, 16, 32, 64)]
    row = _fits(best, problems, "d").set_index("target").loc["dir"]
    assert (row["points"], row["censored"]) == (3, 1)
    assert row["exponent"] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize(("text", "power"), [("h4", 3), ("h3+h4", 2)])
def test_the_drawn_theory_has_the_power_of_the_information_exponent(text, power):
    dims = (8, 16, 32)
    best = pd.DataFrame([cell(d, [1e5 + d], text) for d in dims])
    laws = _laws(best, [Problem(parse_link(text), d, 2, 4) for d in dims], "d")
    theory = laws[laws["source"] == "theory"]
    assert metrics.loglog_slope(theory["d"], theory["samples"]) == pytest.approx(power)
    assert theory["samples"].iloc[-1] == pytest.approx(1e5 + 32, rel=1e-3)


def test_exponents_are_of_the_links_that_the_claim_is_about():
    powers = {"h2+h4": 1.2, "h4": 2.5, "h3": 1.9, "h6": 7.0, "h2": 9.0}
    samples = pd.DataFrame(
        [(link, d, 5.0 * d**power) for link, power in powers.items() for d in (8, 16, 32)],
        columns=["link", "d", "samples_dir"],
    )
    # One that did not arrive leaves its link out: what is missing would be the largest.
    samples.loc[(samples["link"] == "h6") & (samples["d"] == 32), "samples_dir"] = math.nan
    tables = {"samples": samples}
    assert metrics.second_order_exponent(tables) == pytest.approx(1.2)
    assert metrics.higher_order_exponent(tables) == pytest.approx(2.2)
    assert metrics.exponent_gap(tables) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--link", "h9"], "--link h9: h9 is beyond h8"),
        (["train", "--P", "65"], "--P 65: orthonormal directions in R^64"),
        (["scaling", "--dims", "2,16"], "--P 4: orthonormal directions in R^2"),
        (["flow", "--links", "h2,1*h2"], "stands there twice"),
        (["psweep", "--Ps", "2,65"], "--P 65"),
        (["width", "--link", "0*h2+h4"], "the coefficient of h2 is 0"),
        (["identify", "--eta", "0"], "--eta"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(words, said, tmp_path: Path, capsys):
    assert command_line(["multiindex", *words, "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown.strip().splitlines()) == 1
    assert not list(tmp_path.glob("*/*/*/*.csv"))


def smoke(tmp_path: Path, *words: str) -> Path:
    argv = ["multiindex", *words, "--preset", "smoke", "--quiet", "--out", str(tmp_path)]
    assert command_line(argv) == 0
    (folder,) = (path.parent for path in tmp_path.glob("multiindex/*/*/run.json"))
    return folder


def test_a_reader_can_bring_an_own_link_with_noise_in_a_rotated_frame(tmp_path, capsys):
    words = ["--link", "h2-0.3*h3+0.1*h8", "--noise", "0.5", "--rotate", "--P", "3"]
    folder = smoke(tmp_path, "train", *words)
    final = pd.read_csv(folder / "final.csv")
    assert final["link"].item() == "h2-0.3*h3+0.1*h8"
    assert 0 < final["sub_mean"].item() <= 1 + 1e-6


@pytest.mark.parametrize("stream", ["shared", "reduced"])
def test_all_directions_may_fill_the_space(stream, tmp_path, capsys):
    folder = smoke(tmp_path, "scaling", "--dims", "4,5", "--links", "h2+h3", "--stream", stream)
    steps = pd.read_csv(folder / "steps.csv")
    full = steps[steps["d"] == 4]
    assert (full["samples_sub"] == full["batch"]).all()


def test_the_flow_of_a_full_space_and_of_the_first_order_is_defined(tmp_path, capsys):
    folder = smoke(tmp_path, "flow", "--dims", "4,5", "--links", "h2,h1,h2+h4", "--neurons", "7")
    medians = pd.read_csv(folder / "medians.csv")
    full = medians[(medians["d"] == 4) & (medians["target"] == "sub")]
    assert (full["time"] == 0).all()


def test_the_link_is_explained_before_anything_is_computed(tmp_path, capsys):
    argv = ["multiindex", "flow", "--preset", "smoke", "--links", "h3", "--out", str(tmp_path)]
    assert command_line(argv) == 0
    said = capsys.readouterr().err
    assert "information exponent 3" in said
    assert "d^2" in said
    assert "generative exponent 1 (not even)" in said
