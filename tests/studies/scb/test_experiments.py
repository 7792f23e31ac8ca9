"""The statistics and sentences of the experiments, on tables whose answer is known."""

import math

import numpy as np
import pandas as pd
import pytest

from toolbox.studies.scb import cli, compare, data, metrics, oneshot, stages, theory, transfer


def final_of(prox, sgd):
    """A table with one configuration per side: excess by iterate."""
    rows = [
        {"alg": alg, "decay": "linear", "iterate": name, "excess": value, "err_a": value,
         "diverged": not math.isfinite(value)}
        for alg, values in (("prox", prox), ("sgd", sgd))
        for name, value in zip(metrics.ITERATES, values, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("prox", "sgd", "said"),
    [
        ([1, 1, 1, 1], [10, 10, 5, 1], "rounding and refitting remove the win"),
        ([1, 1, 1, 1], [10, 10, 5, 9], "and also after rounding"),
        ([1, 1, 1, 2], [10, 10, 5, 1], "behind after rounding and refitting"),
        ([1, 1, 1, 1], [1, 1, 1, 1], "level with SGD"),
        ([3, 3, 1, 3], [1, 1, 1, 1], "behind with and without"),
        ([1, 1, 1, 1], [math.nan, math.nan, 1, 1], "a side diverged"),
        ([1, 1, 1, 1], [10, 1, 5, 1], "level with SGD"),  # averaging is no post-processing
    ],
)
def test_the_sentence_says_what_the_numbers_say(prox, sgd, said):
    best = metrics.best_of_each_side(final_of(prox, sgd))
    assert said in metrics.comparison_sentence(best)


def test_a_diverged_configuration_is_never_the_best_and_never_the_win():
    final = pd.concat([final_of([2, 2, 2, 2], [1, 1, 1, 1]), final_of([math.nan] * 4, [9] * 4)])
    best = metrics.best_of_each_side(final)
    assert (best["ratio"] == 2).all()
    assert (best["prox_diverged"] == 1).all()
    lost = metrics.best_of_each_side(final_of([1] * 4, [math.nan] * 4))
    assert lost["ratio"].isna().all()


def test_both_sides_have_the_same_steps_and_penalised_ones_stand_together():
    grid = compare.make_grid(
        cli.Compare(prox_etas=(0.2, 0.1), lams=(0.01, 0.02), sgd_etas=(0.2, 0.1, 0.05))
    )
    held = np.flatnonzero(grid.sizes.lam)
    assert (np.diff(held) == 1).all()
    columns = pd.DataFrame(grid.columns())
    assert not columns.duplicated().any()
    assert set(columns["alg"]) == {"prox", "sgd", "sgd-raw"}
    np.testing.assert_allclose(grid.factor(0, 10), 1)
    np.testing.assert_allclose(grid.factor(5, 10), np.where(grid.decay == "linear", 0.5, 1))


def test_limits_of_the_law_of_stage_one():
    for N in (2, 3, 6, 20):
        assert theory.mean_corr(5.0, N, 1e-12) == pytest.approx(0, abs=1e-5)
        assert theory.mean_corr(5.0, N, 1e9) == pytest.approx(1, abs=1e-6)
        ratios = np.geomspace(1e-3, 1e5, 400)
        assert (np.diff(theory.mean_corr(5.0, N, ratios)) > -1e-12).all()
        edge = 600 * 5.0 / (N - 1) ** 2  # where the series takes over
        below, above = theory.mean_corr(5.0, N, np.array([edge * 0.999999, edge * 1.000001]))
        assert below == pytest.approx(above, abs=1e-6)
    # One dimension: the cosine is a sign, and its mean the error function.
    assert theory.mean_corr(1.0, 2, 0.5) == pytest.approx(math.erf(math.sqrt(0.25)))
    # Many dimensions: the length of the noise does not fluctuate.
    many = theory.mean_corr(5.0, 30, 8.0)
    assert many == pytest.approx(theory.mean_field_corr(5.0, 8.0), abs=1e-3)
    need = theory.samples_to_corr(5.0, 3, 200, 0.9)
    assert theory.mean_corr(5.0, 3, need / 200) == pytest.approx(0.9)
    assert theory.samples_to_corr(5.0, 3, 800, 0.9) == pytest.approx(4 * need)


def test_a_crossing_is_interpolated_and_never_extrapolated():
    n = np.array([10, 100, 1000])
    assert oneshot.crossing(n, np.array([0.0, 0.5, 1.0]), 0.75) == pytest.approx(316.2, rel=1e-3)
    assert math.isnan(oneshot.crossing(n, np.array([0.0, 0.5, 0.7]), 0.9))
    assert math.isnan(oneshot.crossing(n, np.array([0.95, 0.97, 0.99]), 0.9))


def test_a_search_resumed_goes_on_as_if_it_had_not_stopped():
    task = data.draw_task(np.random.default_rng(0), 3, 40, 2)
    arm = stages.Arm("fixed", 0.0, 32)

    def fresh():
        return stages.Search(
            task, np.random.default_rng(1), arm, cli.Stages(lam_share=0.5, gain=0.36, cap=3000)
        )

    whole = fresh()
    while not whole.over:
        whole.step()
    half = fresh()
    for _ in range(5):
        half.step()
    other = fresh()
    other.load_state_dict(half.state_dict())
    while not other.over:
        other.step()
    pd.testing.assert_frame_equal(whole.rows(), other.rows())


def costs(pairs, scratch):
    rows = [
        {
            "T": 400,
            "init": "transfer",
            "rho": rho,
            "stage1_samples": 0,
            "samples": n,
            "reached": True,
        }
        for rho, n in pairs
    ]
    rows += [
        {
            "T": 400,
            "init": "scratch",
            "rho": np.nan,
            "stage1_samples": 7,
            "samples": n,
            "reached": ok,
        }
        for n, ok in scratch
    ]
    return pd.DataFrame(rows)


def test_break_even_lies_where_the_costs_cross():
    found = transfer.break_even(costs([(1.0, 100), (0.5, 400)], [(200, True), (50, False)]))
    assert found["break_even"][0] == pytest.approx(0.75)  # a start that never arrived is no rival
    assert found["bracketed"][0]
    always = transfer.break_even(costs([(1.0, 100), (0.5, 150)], [(200, True)]))
    assert (always["break_even"][0], always["bracketed"][0]) == (0.5, False)
    never = transfer.break_even(costs([(1.0, 300), (0.5, 400)], [(200, True)]))
    assert (never["break_even"][0], never["bracketed"][0]) == (1.0, False)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--Q", "500"),
        ("compare", "--decays", "cosine"),
        ("stages", "--Ts", "50"),
        ("transfer", "--Ts", "50"),
    ],
)
def test_what_cannot_be_is_refused_before_computing(cli, words):
    result = cli("scb", *words)
    assert result.code == 2
    assert words[1] in result.stderr


def test_more_threads_do_not_change_a_number(cli, out, tmp_path):
    tables = []
    for threads in ("1", "2"):
        place = tmp_path / threads
        assert (
            cli("scb", "compare", "--preset", "smoke", "--threads", threads, "--out", place).code
            == 0
        )
        tables.append(next(place.glob("scb/compare/*/final.csv")).read_bytes())
    assert tables[0] == tables[1]
