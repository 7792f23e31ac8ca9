"""Strongly convex step counts: reference numbers, exponents, references with closed forms."""

import math
import time

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from toolbox.studies.gd import metrics, model, restarts
from toolbox.studies.gd.restarts import iterations_to, restart_steps

KAPPAS = [30, 100, 300, 1000, 3000, 10_000]
COUNTS = {
    "constant": [139, 461, 1382, 4606, 13816, 46052],
    "anytime": [123, 365, 921, 2733, 7157, 20677],
    "silver": [119, 283, 699, 1974, 3888, 11259],
}


@pytest.mark.parametrize("method", COUNTS)
def test_reference_counts(method):
    counts = [iterations_to(method, kappa).count for kappa in KAPPAS]
    assert counts == COUNTS[method]
    slope = metrics.loglog_slope(KAPPAS[1:], counts[1:])
    expected = {"constant": 1.000, "anytime": 0.879, "silver": 0.789}[method]
    assert slope == pytest.approx(expected, abs=2e-3)


def test_periods():
    periods = [restart_steps("anytime", kappa).size for kappa in KAPPAS]
    assert periods == [16, 44, 116, 324, 852, 2436]
    silver = [restart_steps("silver", kappa).size for kappa in KAPPAS]
    assert silver == [15, 63, 127, 255, 1023, 2047]
    assert restart_steps("constant", 3.0) == pytest.approx([1.5])


def test_the_period_is_the_first_block_end_that_is_due():
    h = restart_steps("anytime", 500.0)
    _, is_endpoint = model.structure("anytime", h.size)
    ends = np.cumsum(h)[is_endpoint]
    assert is_endpoint[-1]
    assert ends[-2] < restarts.RESTART_RATIO * 500.0 <= ends[-1]


def test_restart_ratio_maximises_the_gain_per_step():
    def loss(x):
        return -math.log(1 + x + x * x) / x ** (1 / model.THETA)

    best = minimize_scalar(loss, bounds=(0.1, 10), method="bounded", options={"xatol": 1e-10})
    assert best.x == pytest.approx(restarts.RESTART_RATIO, abs=1e-6)


def simulate(h, gradient, x, N):
    for step in np.resize(h, N):
        x = x - step * gradient(x)
    return x


@pytest.mark.parametrize("method", ["anytime", "silver"])
def test_the_count_is_the_first_step_where_all_members_are_within_eps(method):
    """Also on strongly convex Huber functions, which stay below the quadratics."""
    kappa, eps = 50.0, 1e-6
    found = iterations_to(method, kappa, eps)
    h = restart_steps(method, kappa)
    assert found.period == h.size
    curvature = np.linspace(1 / kappa, 1.0, 20_001)
    kink = np.geomspace(1e-4, 1.0, 501)
    for N, within in ((found.count - 1, False), (found.count, True)):
        quadratic = simulate(h, lambda x: curvature * x, np.ones(curvature.size), N)
        huber = simulate(
            h, lambda x: x / kappa + (1 - 1 / kappa) * np.clip(x, -kink, kink), np.ones(501), N
        )
        assert (np.max(quadratic**2) <= eps) == within
        assert np.max(huber**2) <= np.max(quadratic**2)
    assert found.family_member == "quadratic"


def test_constant_count_is_the_simulated_one():
    kappa, eps = 20.0, 1e-5
    N = iterations_to("constant", kappa, eps).count
    rate = ((kappa - 1) / (kappa + 1)) ** 2
    assert rate**N <= eps < rate ** (N - 1)


def test_chebyshev_count_is_that_of_its_own_steps():
    kappa, eps = 100.0, 1e-8
    N = iterations_to("chebyshev", kappa, eps).count
    curvature = np.linspace(1 / kappa, 1.0, 50_001)
    for steps, within in ((N, True), (N - 1, False)):
        h = model.chebyshev(steps, 1 / kappa)
        largest = np.max(np.prod(1 - h[:, None] * curvature, axis=0) ** 2)
        assert (largest <= eps) == within


def test_exponents_of_the_references():
    for method in ("nesterov", "chebyshev"):
        counts = [iterations_to(method, kappa).count for kappa in (1e3, 1e4, 1e5)]
        assert metrics.loglog_slope([1e3, 1e4, 1e5], counts) == pytest.approx(0.5, abs=0.02)


def test_the_grid_of_curvatures_does_not_change_the_count():
    for method in ("anytime", "silver", "nesterov"):
        assert len({iterations_to(method, 300.0, curvatures=n).count for n in (300, 4000)}) == 1


def test_large_condition_numbers_take_seconds():
    start = time.process_time()
    assert iterations_to("anytime", 3e4).count > 20677
    assert time.process_time() - start < 5.0


@pytest.mark.parametrize(
    ("method", "kappa", "eps", "what"),
    [
        ("heavy", 10.0, 0.1, "unknown method"),
        ("silver", 1.0, 0.1, "kappa must be greater than 1"),
        ("silver", 10.0, 1.0, "eps must be"),
        ("silver", math.nan, 0.1, "kappa must be"),
    ],
)
def test_bad_arguments_are_refused(method, kappa, eps, what):
    with pytest.raises(ValueError, match=what):
        iterations_to(method, kappa, eps)
