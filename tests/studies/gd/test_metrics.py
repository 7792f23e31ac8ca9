"""Closed forms in their limits, and fits that recover what was put in."""

import numpy as np
import pytest

from toolbox.studies.gd import metrics, model


def test_closed_forms_agree_where_they_meet():
    k = np.arange(1, 12)
    assert metrics.silver_tau(k) == pytest.approx(metrics.primitive_tau(model.silver_sum(k)))
    assert metrics.constant_tau(1.0, k) == pytest.approx(metrics.primitive_tau(k))
    with pytest.raises(ValueError, match=r"\(0, 2\)"):
        metrics.constant_tau(2.0, 5)


def test_silver_horizons_follow_their_exponent():
    k = np.arange(7, 20)
    assert -metrics.loglog_slope(2.0**k - 1, metrics.silver_tau(k)) == pytest.approx(
        model.P, abs=2e-3
    )


def test_potential_of_the_start():
    assert metrics.primitive_potential(0.0, 3.0, 7.0, 1.0) == 0.5
    assert metrics.primitive_potential(2.0, 1.0, 1.0, 0.0) == 5.0


def test_restart_contraction_reference_values():
    sums = [model.schedule("anytime", N).sum() for N in (2, 4, 8)]
    assert metrics.restart_contraction(sums, 5.0) == pytest.approx([0.479, 0.227, 0.0744], abs=5e-4)
    assert metrics.restart_contraction(0.0, 5.0) == 1.0


def test_growth_exponent_is_theta_at_p_and_the_sums_follow_it():
    assert metrics.growth_exponent(model.P) == pytest.approx(model.THETA)
    for c in (0.8, model.P, 1.8):
        blocks = model.anytime_blocks(10**6, c)
        late = blocks.ends > 10**4
        slope = metrics.loglog_slope(blocks.ends[late], blocks.end_sums[late])
        assert slope == pytest.approx(metrics.growth_exponent(c), abs=0.02)


def test_slope_and_exponents_of_a_power_law():
    N = np.array([1, 3, 10, 500])
    assert metrics.loglog_slope(N, 7.0 * N**-1.3) == pytest.approx(-1.3)
    assert metrics.running_exponents(N, 7.0 * N**-1.3)[1:] == pytest.approx(1.3)
    for x, y in (([1, 1], [1, 2]), ([1], [1]), ([1, 2], [1, 0])):
        with pytest.raises(ValueError, match="log-log slope"):
            metrics.loglog_slope(x, y)


def test_envelope_and_decades():
    assert metrics.envelope([3.0, 1.0, 2.0, 0.5]).tolist() == [3.0, 2.0, 2.0, 0.5]
    edges, sups = metrics.decade_sups([1, 9, 10, 11, 100, 1000], [1, 5, 6, 2, 3, 9])
    assert edges.tolist() == [1, 10, 100]
    assert sups.tolist() == [6, 3, 9]


def test_nesterov_bound_is_below_every_plain_schedule_at_length():
    N = 10**4
    assert metrics.nesterov_tau(N) < metrics.primitive_tau(model.schedule("anytime", N).sum())
