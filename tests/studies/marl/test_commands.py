"""Refusals in one sentence, and a run whose order of gaps is known."""

import pandas as pd
import pytest

from toolbox.app import run
from toolbox.studies.marl import common, metrics


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("game --conc 3", "no action is rare"),
        ("game --true-rank 4 --agents 3", "above the number of agents"),
        ("game --critics IR9", "is no critic"),
        ("coop --agents 10 --actions 4 --contexts 8", "needs a table of"),
        ("shift --agents 10 --actions 4", "joint actions"),
        ("shift --ranks 7", "is no rank"),
        ("regularise --supports half", "is no support"),
    ],
)
def test_what_does_not_fit_is_refused_first(words, said, tmp_path, capsys):
    assert run(["marl", *words.split(), "--out", str(tmp_path)]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_rank_above_the_number_of_agents_is_the_joint_one():
    assert common.fit_rank("IR3", 2) == common.fit_rank("joint", 2) == 2


def test_one_iteration_is_the_behaviour(tmp_path):
    words = "game --agents 3 --iters 1 --samples 200 --quiet"
    assert run(["marl", *words.split(), "--out", str(tmp_path)]) == 0
    rows = pd.concat(pd.read_csv(path) for path in tmp_path.glob("marl/game/*/gaps.csv"))
    for _, same in rows.groupby(["seed", "repeat"]):
        assert same["cce_gap"].nunique() == 1
        assert same["chi2_to_nu"].abs().max() < 1e-9
    assert metrics.vdn_and_ir1({"gaps": rows}) == 0


def test_gaps_are_the_same_alone_and_among_others(tmp_path):
    tables = []
    for repeats in ("1", "3"):
        words = f"marl game --preset smoke --agents 3,4 --repeats {repeats} --quiet --out".split()
        assert run([*words, str(tmp_path / repeats)]) == 0
        path = next((tmp_path / repeats).glob("marl/game/*/gaps.csv"))
        rows = pd.read_csv(path)
        tables.append(rows[rows["repeat"] == 0].reset_index(drop=True))
    pd.testing.assert_frame_equal(*tables, check_exact=True)
