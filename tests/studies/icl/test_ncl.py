"""`icl ncl`: which rows there are, what they say, and the statistics on tables made by hand."""

import math

import pandas as pd
import pytest

from toolbox.studies.icl import metrics, ncl, no_context
from toolbox.studies.icl.names import task_names


def test_all_tasks_are_those_that_exist_at_each_dimension():
    rows = ncl.rows_of(["all"], [2, 3, 4])
    assert len(rows) == 3 * len(task_names()) - 4 - 1
    assert ("parity3", 4) in rows
    assert not {("parity3", 3), ("parity2", 2), ("sparse-linear", 2)} & set(rows)


def test_a_run_writes_the_exact_optimum_beside_one_drawn_near_it(cli):
    result = cli("icl", "ncl", "--preset", "smoke", "--repeats", "2", "--quiet")
    table = pd.read_csv(result.folder / "ncl.csv")
    assert len(table) == 2 * 2 * 8
    for row in table.itertuples():
        assert row.exact == no_context.optimum(row.task, row.d, 2).value
        assert row.monte_carlo - row.exact == pytest.approx(
            row.deviation * row.standard_error, rel=1e-6
        )
    assert (table["deviation"].abs() < 5).all()
    mix = pd.read_csv(result.folder / "mix.csv")
    assert set(mix["d"]) == {3, 10}
    here = mix[(mix["d"] == 3) & (mix["repeat"] == 1)]["plateau"].tolist()
    assert here == list(no_context.plateaus(("parity2", "conjunction", "disjunction"), 3, 2))
    first, second = (table[table["repeat"] == r].reset_index(drop=True) for r in (0, 1))
    assert (first["monte_carlo"] != second["monte_carlo"]).all()
    official = first.set_index(["task", "d"])["repo"]
    assert official["conjunction", 10] == 0.40751
    assert math.isnan(official["conjunction", 3])
    assert math.isnan(official["coin", 10])
    assert official["relu", 10] == no_context.optimum("relu", 10, 2, "repo").value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--tasks parity3 --d 3,5", "--tasks parity3: with --d 3"),
        ("--tasks linear,all", "--tasks all: no such task"),
        ("--mix parity3,coin --d 3,2", "--mix parity3: with --d 3"),
        ("--mix coin,boolean-retrieval", "--mix boolean-retrieval: what"),
    ],
)
def test_a_named_task_that_does_not_exist_is_refused_before_anything_is_computed(
    cli, out, words, said
):
    result = cli("icl", "ncl", *words.split())
    assert result.code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(out.glob("icl/*/*"))


def test_the_statistics_are_the_largest_deviation_and_the_largest_error_of_a_boolean_constant():
    table = pd.DataFrame(
        {
            "boolean": [True, True, False, True],
            "exact": [1.0, 2.0, 3.0, 1.0],
            "monte_carlo": [1.1, 1.3, 3.2, 1.0],
            "standard_error": [0.1, 0.2, 0.1, 0.0],
            "repo": [1.01, 1.64, 4.0, math.nan],
        }
    )
    assert metrics.worst_deviation({"ncl": table}) == pytest.approx(3.5)
    assert metrics.worst_constant({"ncl": table}) == pytest.approx(0.18)
    assert math.isnan(metrics.worst_constant({"ncl": table.iloc[2:]}))
