import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolbox.commands.render.panels import arrange
from toolbox.commands.render.statistics import align, estimate, thin
from toolbox.core.figure import FigureSpec
from toolbox.core.intervals import median_ranks


def curves(seeds=5, steps=20, hues=("adam", "sgd"), **more):
    rng = np.random.default_rng(0)
    rows = [
        {"optimizer": hue, "seed": seed, "step": step, "loss": 1 / (1 + step) + 0.1 * rng.random()}
        for hue, seed, step in itertools.product(hues, range(seeds), range(steps))
    ]
    return pd.DataFrame(rows).assign(**more)


LINE = {"x": "step", "y": "loss", "hue": "optimizer"}


def plot(frame, columns=None, **spec):
    return arrange(frame, FigureSpec(**spec), columns or {})


def has(notes, *words):
    return any(all(word in note for word in words) for note in notes)


def test_band_is_the_student_t_interval_of_scipy():
    frame = curves(seeds=5)
    curve = plot(frame, **LINE).panels[0].curves[0]
    for index, (step, part) in enumerate(frame[frame.optimizer == "adam"].groupby("step")):
        low, high = stats.t.interval(0.95, 4, part.loss.mean(), stats.sem(part.loss))
        assert curve.line[0][index] == step
        assert curve.line[1][index] == pytest.approx(part.loss.mean())
        assert (curve.low[index], curve.high[index]) == pytest.approx((low, high))


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_interval_neither_under_nor_overflows(scale):
    values = np.array([[1.0], [2.0], [4.0]])
    wanted = stats.t.interval(0.95, 2, values.mean(), stats.sem(values[:, 0]))
    _, low, high = estimate(values * scale, "mean")
    assert (low[0] / scale, high[0] / scale) == pytest.approx(wanted)


@pytest.mark.parametrize("count", range(1, 40))
def test_median_band_uses_the_narrowest_order_statistics_that_hold_95_percent(count):
    def cover(k):
        return 1 - 2 * stats.binom.cdf(k - 1, count, 0.5)

    ranks = median_ranks(count)
    rank = 0 if ranks is None else ranks[0] + 1
    assert ranks is None or ranks[1] == count - rank
    assert rank == 0 or cover(rank) >= 0.95
    assert cover(rank + 1) < 0.95 or 2 * (rank + 1) > count
    values = np.random.default_rng(count).normal(size=(count, 1))
    centre, low, high = estimate(values, "median")
    assert centre[0] == pytest.approx(np.median(values))
    ordered = np.sort(values[:, 0])
    if rank:
        assert (low[0], high[0]) == (ordered[rank - 1], ordered[count - rank])
    else:
        assert np.isnan(low[0])


def test_missing_values_lower_the_count_not_the_mean():
    values = np.array([[1.0, 1.0], [2.0, np.nan], [3.0, 3.0], [np.nan, np.nan]])
    centre, low, _ = estimate(values, "mean")
    assert centre.tolist() == [2.0, 2.0]
    assert np.isfinite(low[0])
    assert np.isnan(low[1])  # two values give no interval


def test_one_or_two_replicates_are_drawn_one_by_one():
    for seeds, lines in ((1, 1), (2, 2), (3, 1)):
        result = plot(curves(seeds=seeds), **LINE)
        curve = result.panels[0].curves[0]
        assert len(curve.lines) == lines
        assert (curve.low is not None) == (seeds == 3)
    assert has(plot(curves(seeds=2), **LINE).notes, "2 replicates", "no interval")


def test_seed_and_repeat_together_name_a_replicate():
    frame = pd.concat([curves(seeds=2, repeat=0), curves(seeds=2, repeat=1)])
    result = plot(frame, **LINE)
    assert result.panels[0].curves[0].count == 4
    assert not has(result.notes, "averaged")


def test_forward_fill_stays_inside_a_replicate():
    a = (np.array([0.0, 2.0, 4.0]), np.array([1.0, 2.0, 3.0]))
    b = (np.array([1.0, 2.0]), np.array([10.0, 20.0]))
    x, values = align([a, b], fill=True)
    assert x.tolist() == [0, 1, 2, 4]
    np.testing.assert_array_equal(values, [[1, 1, 2, 3], [np.nan, 10, 20, np.nan]])
    _, exact = align([a, b], fill=False)
    np.testing.assert_array_equal(exact, [[1, np.nan, 2, 3], [np.nan, 10, 20, np.nan]])


def test_replicates_of_a_parameter_are_never_filled():
    frame = pd.DataFrame(
        {"kappa": [1, 10, 100] * 3, "seed": np.repeat([0, 1, 2], 3), "n": [1.0, 2, 3] * 3}
    ).drop(index=4)
    parameter = {"kappa": {"role": "parameter"}}
    curve = plot(frame, parameter, x="kappa", y="n").panels[0].curves[0]
    assert curve.line[1].tolist() == [1, 2, 3]
    assert np.isnan(curve.low[1])  # two replicates at kappa = 10
    assert has(plot(frame, x="kappa", y="n").notes, "aligned", "forward fill")


def test_replicates_that_end_early_are_named():
    frame = curves(seeds=4)
    frame = frame[~((frame.seed == 3) & (frame.step > 9) & (frame.optimizer == "sgd"))]
    notes = plot(frame, **LINE).notes
    assert has(notes, "from step = 0 to 9 are all replicates there", "drawn alone (sgd)")
    assert not has(notes, "drawn alone (adam)")


def test_rows_that_share_everything_are_averaged_out_loud():
    frame = pd.concat([curves(width=8), curves(width=16)])
    assert has(plot(frame, **LINE).notes, "averaged 400 rows", "width")
    assert not has(plot(frame, **LINE, where="width == 8").notes, "averaged")


def test_what_averaged_rows_differ_in_is_a_parameter_by_its_declared_role():
    frame = pd.concat([curves(lr=0.1, escaped=False), curves(lr=0.2, escaped=True)])
    roles = {"lr": {"role": "parameter"}, "escaped": {"role": "metric"}}
    assert has(plot(frame, roles, **LINE).notes, "averaged 400 rows", "differ in lr:")
    assert has(plot(frame, **LINE).notes, "differ in escaped:")  # a float may be a metric


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 59_999), st.sampled_from([1e6, -1e6]), st.booleans())
def test_spikes_survive_thinning(at, spike, log):
    x = np.arange(1, 60_001.0)
    y = np.sin(x)
    y[at] = spike
    kept = thin(x, [y], log)
    assert at in kept
    assert kept.size < 8_000
    assert {0, 59_999} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_thinning_keeps_gaps_and_short_lines():
    x = np.arange(50_000.0)
    y = np.where((x > 20_000) & (x < 30_000), np.nan, x)
    assert np.isnan(y[thin(x, [y], False)]).any()
    assert thin(x[:100], [y[:100]], False).tolist() == list(range(100))
