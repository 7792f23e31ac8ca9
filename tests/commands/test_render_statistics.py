import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from toolbox.commands.render.panels import arrange
from toolbox.commands.render.statistics import align, estimate, spikes, thin
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


# -- replicates that differ in extent --------------------------------------------------------------


def test_a_mean_never_moves_where_no_replicate_does():
    """Constant replicates of different lengths: every drawn line is flat."""
    rows = [
        {"seed": seed, "step": step, "loss": 10.0**seed}
        for seed in range(4)
        for step in range(seed, 10 + 5 * seed)
    ]
    result = plot(pd.DataFrame(rows), x="step", y="loss")
    (curve,) = result.panels[0].curves
    x, y = curve.line
    known = ~np.isnan(y)
    assert (x[known].min(), x[known].max()) == (3, 9)
    assert np.ptp(y[known]) == 0
    for _, values in curve.members:
        assert np.ptp(values) == 0
    assert has(result.notes, "only from step = 3 to 9 are all replicates there")
    assert "thin: each one where not all are there" in result.summary


def test_replicates_without_a_common_range_are_drawn_alone():
    rows = [
        {"seed": seed, "step": 10 * seed + step, "loss": 1.0}
        for seed in range(3)
        for step in range(5)
    ]
    result = plot(pd.DataFrame(rows), x="step", y="loss")
    (curve,) = result.panels[0].curves
    assert curve.line is None
    assert len(curve.members) == 3
    assert has(result.notes, "no step is common to all replicates")


def test_each_replicate_is_a_thin_line_where_that_is_asked_for():
    result = plot(curves(seeds=5), **LINE, band="replicates", estimate="median")
    for curve in result.panels[0].curves:
        assert len(curve.members) == 5
        values = np.stack([y for _, y in curve.members])
        np.testing.assert_array_equal(curve.line[1], np.median(values, axis=0))
        assert curve.low is None
    assert result.summary == "thick: median of 5 replicates; thin: each of them"


# -- bounds ----------------------------------------------------------------------------------------


def test_an_interval_stays_in_what_its_quantity_can_be():
    share = pd.DataFrame({"step": [1, 1, 1], "seed": [0, 1, 2], "y": [0.0, 0.0, 1.0]})
    result = plot(share, x="step", y="y")
    assert result.panels[0].curves[0].low.tolist() == [0]
    assert result.panels[0].curves[0].high.tolist() == [1]
    assert has(result.notes, "cut at the bounds of 'y'")
    free = plot(share.assign(y=share.y * 2), x="step", y="y").panels[0].curves[0]
    assert free.low[0] < 0
    told = plot(share.assign(y=share.y * 2), x="step", y="y", bounds=(0, None)).panels[0].curves[0]
    assert told.low[0] == 0


# -- spikes ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(5, 90), min_size=0, max_size=5, unique=True),
    st.sampled_from([lambda x: x, lambda x: -x, lambda x: 0 * x, np.sqrt]),
)
def test_an_envelope_is_the_curve_without_its_spikes(at, smooth):
    at = [place for place in at if not {place - 1, place - 2, place + 1, place + 2} & {*at}]
    x = np.arange(1.0, 101.0)
    y = smooth(x) + 0.0
    tall = y.copy()
    tall[at] += 1000.0
    (_, base), (places, feet, tips) = spikes(x, tall, False, False)
    assert places.tolist() == sorted(x[at].tolist())
    assert (tips - feet > 900).all()
    np.testing.assert_array_equal(np.delete(base, at), np.delete(y, at))
    assert (base <= tall).all()


def test_an_envelope_of_many_points_is_quick():
    x = np.arange(1.0, 200_001.0)
    y = 1 / x
    y[::1000] *= 50
    (_, base), (places, _, _) = spikes(x, y, True, True)
    assert base.size < 10_000
    assert places.size > 100
