"""The worst case along a schedule: against dense brute force, theorems and reference numbers."""

import time
from dataclasses import fields

import numpy as np
import pytest

from toolbox.studies.gd import metrics, model
from toolbox.studies.gd.worst_case import (
    CERTIFIED,
    LOWER_BOUND,
    THEOREM,
    Prefixes,
    WorstCase,
    stopping_times,
    worst_case,
    worst_case_of,
)

FIVE = ("constant1", "constant1.9", "dynamic", "silver", "anytime")


def log_bound(h, curvature):
    gaps = np.abs(1 - np.multiply.outer(h, curvature))
    return np.log(curvature / 2) + 2 * np.log(np.maximum(gaps, 1e-300)).sum(axis=0)


def golden_section(f, a, b):
    ratio = (5**0.5 - 1) / 2
    for _ in range(60):
        x, y = b - ratio * (b - a), a + ratio * (b - a)
        a, b = (x, b) if f(x) < f(y) else (a, y)
    return f((a + b) / 2)


def brute_force(h, stops, points=200_000):
    """Quadratic bound from a dense grid and golden section around each of its best 20 peaks."""
    log_grid = np.geomspace(0.3 / (h.sum() + 1), 1.0, points // 2)
    grid = np.unique(np.concatenate((log_grid, np.linspace(1e-3, 1.0, points // 2))))
    g, done, out = np.log(grid / 2), 0, []
    for stop in stops:
        for step in h[done:stop]:
            g += 2 * np.log(np.maximum(np.abs(1 - step * grid), 1e-300))
        done = stop
        padded = np.pad(g, 1, constant_values=-np.inf)
        peaks = np.flatnonzero((g >= padded[:-2]) & (g >= padded[2:]) & (g > g.max() - 0.5))
        best = g.max()
        for i in peaks[np.argsort(g[peaks])[-20:]]:
            low, high = grid[max(i - 1, 0)], grid[min(i + 1, grid.size - 1)]
            best = max(best, golden_section(lambda x, n=stop: log_bound(h[:n], x), low, high))
        out.append(np.exp(best))
    return np.array(out)


@pytest.mark.parametrize("curvatures", [500, 1500])
@pytest.mark.parametrize(
    ("name", "c"),
    [
        *(("anytime", c) for c in (model.P, 0.7, 0.2)),
        *((name, 1.0) for name in ("silver", "grimmer7", "constant1.99", "pridp")),
    ],
)
def test_quadratic_bound_is_right_to_1e_6(name, c, curvatures, brute):
    stops = [1, 2, 9, 13, 60, 77, 131, 250]
    bound = worst_case(name, stops, c, curvatures)
    assert bound.quadratic == pytest.approx(brute(name, c, tuple(stops)), rel=1e-6)
    h = model.schedule(name, stops[-1], c)
    attained = [np.exp(log_bound(h[:n], x)) for n, x in zip(stops, bound.curvature, strict=True)]
    assert bound.quadratic == pytest.approx(attained, rel=1e-9)


@pytest.fixture(scope="module")
def brute():
    known = {}

    def get(name, c, stops):
        if (name, c) not in known:
            known[name, c] = brute_force(model.schedule(name, stops[-1], c), stops)
        return known[name, c]

    return get


def test_a_coarser_grid_and_another_chunking_give_the_same_values():
    """Newton's method, not the grid, decides the value; also at c != p and over a long run."""
    for name, c in (("anytime", model.P), ("anytime", 0.9), ("silver", 1.0), ("dynamic", 1.0)):
        stops = np.unique(np.geomspace(1, 20_000, 150).astype(int))
        fine, coarse = worst_case(name, stops, c, 2000), worst_case(name, stops, c, 400)
        assert coarse.quadratic == pytest.approx(fine.quadratic, rel=1e-7)
        prefixes = Prefixes.of(name, stops, c, 2000)
        so_far = prefixes.start()
        parts = [prefixes.worst_case(rows, so_far) for rows in prefixes.chunks(7)]
        tau = np.concatenate([part.tau for part in parts])
        assert tau == pytest.approx(fine.tau, rel=1e-12)


def test_primitive_prefixes_are_exact_and_huber():
    for name in ("dynamic", "silver", "anytime"):
        w = worst_case(name, np.arange(1, 301))
        assert w.endpoint.any()
        assert w.tau[w.endpoint] == pytest.approx(1 / (4 * w.cum_sum[w.endpoint] + 2), rel=1e-9)
        assert set(w.exactness[w.endpoint]) == {THEOREM}


def test_exactness_says_what_is_known():
    def tags(name, N, c=model.P):
        return worst_case(name, [*range(1, N), N], c).exactness.tolist()

    assert set(tags("constant1", 40)) == set(tags("constant0.3", 40)) == {THEOREM}
    assert set(tags("constant1.9", 32)) == {CERTIFIED}
    assert tags("constant1.9", 33)[-1] == tags("constant2.5", 2)[-1] == LOWER_BOUND
    assert tags("silver", 33)[-3:] == [THEOREM, CERTIFIED, LOWER_BOUND]
    assert tags("silver", 25)[-1] == LOWER_BOUND
    anytime = tags("anytime", 60)
    assert LOWER_BOUND not in anytime[:33]
    known = [n for n in range(34, 61) if anytime[n - 1] != LOWER_BOUND]
    assert known == [36, 37, 40, 44, 45, 48, 52, 53, 60]
    other = tags("anytime", 8, c=1.0)
    assert other == [LOWER_BOUND, THEOREM] * 4
    assert tags("pridp", 5) == tags("domdp", 5) == [LOWER_BOUND] * 4 + [THEOREM]


def test_constant_steps_have_their_closed_form():
    N = np.arange(1, 400)
    for h in (0.3, 1.0, 1.5, 1.9, 1.99):
        assert worst_case(f"constant{h}", N).tau == pytest.approx(
            metrics.constant_tau(h, N), rel=1e-9
        )


def test_silver_right_after_its_horizon():
    """At N = 2^k the worst case is 1 / (2 rho^2), for every k: silver is not anytime."""
    w = worst_case("silver", 2 ** np.arange(1, 20))
    assert w.tau == pytest.approx(np.full(19, metrics.SILVER_FLOOR), rel=1e-9)
    assert abs(metrics.SILVER_FLOOR - 0.085786) < 5e-7


REFERENCE_ANYTIME = [0.180740, 0.071115, 0.049277, 0.034769, 0.025567, 0.022337, 0.017896]
REFERENCE_ANYTIME += [0.016251, 0.026406, 0.011656, 0.010662, 0.010055]
REFERENCE_SILVER = [0.130602, 0.085786, 0.046918, 0.085786, 0.024614, 0.020565, 0.018422, 0.085786]


def test_reference_values_of_short_schedules():
    """Exact SDP values of every prefix, computed independently."""
    assert worst_case("anytime", np.arange(1, 13)).tau == pytest.approx(REFERENCE_ANYTIME, rel=1e-4)
    assert worst_case("silver", np.arange(1, 9)).tau == pytest.approx(REFERENCE_SILVER, rel=1e-4)
    later = worst_case("anytime", [33, 37, 45, 53]).tau
    assert later == pytest.approx([0.00299579, 0.00264651, 0.00214291, 0.003915], rel=1e-4)
    pridp = [worst_case("pridp", [n]).tau[0] for n in range(1, 9)]
    assert pridp == pytest.approx(
        [0.130602, 0.071115, 0.046918, 0.034769, 0.027191, 0.022078, 0.018422, 0.015850], rel=1e-4
    )


@pytest.mark.parametrize(
    ("name", "tau", "sup"),
    [
        ("constant1", 2.5e-5, 0.250),
        ("constant1.9", 1.31575e-5, 0.132),
        ("dynamic", 1.2505e-5, 0.125),
        ("anytime", 4.6946e-6, 0.122),
    ],
)
def test_reference_values_at_ten_thousand(name, tau, sup):
    w = worst_case(name, np.arange(5000, 10_001))
    assert w.tau[-1] == pytest.approx(tau, rel=1e-4)
    assert np.max(w.N * w.tau) == pytest.approx(sup, abs=5e-4)


def test_anytime_rate_over_six_decades():
    w = worst_case("anytime", stopping_times("anytime", 10**6), curvatures=500)
    scaled = w.N**model.THETA * w.tau
    edges, sups = metrics.decade_sups(w.N, scaled)
    assert edges.tolist() == [1, 10, 100, 1000, 10**4, 10**5]
    assert sups == pytest.approx([0.309, 0.3335, 0.3389, 0.3495, 0.3516, 0.3521], rel=3e-4)
    slopes = [(10, 1e4, 1.131), (100, 1e4, 1.127), (1000, 1e4, 1.123)]
    slopes += [(1e3, 1e6, 1.1193), (1e4, 1e6, 1.1174), (1e5, 1e6, 1.1165)]
    for decade, T, slope in slopes:
        rows = w.endpoint & np.isin(w.N, np.arange(decade, T + 1))
        assert -metrics.loglog_slope(w.N[rows], w.tau[rows]) == pytest.approx(slope, abs=6e-4)
    ends = scaled[w.endpoint & (w.N >= 24) & (w.N <= 10**4)]
    assert (ends.min(), ends.max()) == pytest.approx((0.1416, 0.1573), abs=1e-4)


def test_grimmer_is_not_anytime():
    w = worst_case("grimmer7", np.arange(1, 10_001))
    envelope = metrics.envelope(w.tau)
    assert w.cum_sum[-1] == pytest.approx(3.2e4, rel=1e-3)
    assert (envelope[99], envelope[999]) == pytest.approx((4.11, 0.307), rel=1e-2)


def test_stopping_times_hold_everything_that_matters():
    stops = stopping_times("anytime", 10_000)
    assert np.array_equal(stops[:1000], np.arange(1, 1001))
    assert stops[-1] == 10_000
    ends = np.flatnonzero(model.structure("anytime", 10_000)[1]) + 1
    assert np.isin(ends, stops).all()
    assert np.isin(ends[:-1] + 1, stops).all()  # the long steps
    assert stopping_times("dynamic", 10**6).size < 1500
    assert stopping_times("silver", 5).tolist() == [1, 2, 3, 4, 5]
    assert stopping_times("anytime", 50, dense=0)[-1] == 50


def test_ten_thousand_steps_take_under_three_seconds():
    start = time.process_time()
    for name in FIVE:
        worst_case(name, stopping_times(name, 10_000))
    assert time.process_time() - start < 3.0


@pytest.mark.parametrize("N", [[], [0], [3, 2], [2, 2]])
def test_bad_stopping_times_are_refused(N):
    with pytest.raises(ValueError, match="increasing whole numbers"):
        worst_case("silver", N)


def test_every_column_has_one_entry_per_stop():
    w = worst_case("anytime", np.arange(1, 600))
    assert {getattr(w, f.name).shape for f in fields(WorstCase)} == {(599,)}
    assert np.array_equal(w.tau, np.maximum(np.maximum(w.huber, w.quadratic), w.overshoot))


def test_any_list_of_steps_has_the_worst_case_of_its_schedule():
    for name in ("anytime", "silver", "constant1.5", "grimmer7"):
        h = model.schedule(name, 60)
        N = np.array([1, 7, 31, 60])
        own, known = worst_case_of(h, N), worst_case(name, N)
        assert np.allclose(own.tau, known.tau, rtol=1e-9)
        assert set(own.exactness) == {"lower-bound"}
    assert worst_case_of([1.0, 1.0]).N.tolist() == [1, 2]
    assert np.allclose(worst_case_of([0.5, 1.5]).huber, [1 / 4, 1 / 10])


@pytest.mark.parametrize("steps", [[], [[1.0]], [1.0, -1.0], [np.nan], [0.0]])
def test_steps_that_are_none_are_refused(steps):
    with pytest.raises(ValueError, match="positive number"):
        worst_case_of(steps)
    with pytest.raises(ValueError, match="N asks for 3 steps, but there are 2"):
        worst_case_of([1.0, 1.0], [3])
