"""The population formulas: against Monte Carlo, closed forms, conserved quantities."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from toolbox.studies.multiindex import data, metrics, theory
from toolbox.studies.multiindex.link import parse_link


def integrate(link, u0, times):
    """An independent integration: v in all d coordinates, projected gradient, tight tolerance."""
    P = len(u0) - 1

    def right(t, v):
        G = np.zeros_like(v)
        G[:P] = sum(q * c * c * v[:P] ** (q - 1) for q, c in link.terms)
        return G - (G @ v) * v

    found = solve_ivp(right, (0, times[-1]), u0, t_eval=times, rtol=1e-10, atol=1e-13)
    return found.y.T


def unit(rng, d):
    v = rng.standard_normal(d)
    return v / np.linalg.norm(v)


@pytest.mark.parametrize("text", ["h2+h4", "0.5*h1+h3", "h2-0.5*h3"])
def test_the_population_correlation_and_gradient_agree_with_monte_carlo(text):
    link, rng, d, P, n = parse_link(text), np.random.default_rng(1), 6, 3, 400_000
    v = np.concatenate([[0.6, -0.5, 0.3], 0.3 * np.ones(3)])
    v /= np.linalg.norm(v)
    x = rng.standard_normal((n, d))
    y = link.value(x[:, :P]).sum(axis=1)
    sample = y * link.value(x @ v)
    error = sample.std() / math.sqrt(n)
    assert abs(sample.mean() - theory.correlation(link, v[:P])) < 3.5 * error
    # The gradient of E y phi(v.x) on the sphere: (G_k, 0) less its radial part.
    weight = y * link.slope(x @ v)
    per_sample = weight[:, None] * (x - (x @ v)[:, None] * v)
    du, _ = theory.velocity(link, v[None, :P], np.array([np.linalg.norm(v[P:])]))
    rho = (v[:P] * theory.pull(link, v[:P])).sum()
    expected = np.concatenate([du[0], -rho * v[P:]])
    errors = per_sample.std(axis=0) / math.sqrt(n)
    assert (np.abs(per_sample.mean(axis=0) - expected) < 4 * errors).all()


@pytest.mark.parametrize("aligned", [False, True])
def test_the_noise_of_the_gradient_agrees_with_monte_carlo(aligned):
    link, rng, P, n = parse_link("h2+0.5*h3"), np.random.default_rng(2), 3, 2_000_000
    x = rng.standard_normal((n, P + 1))
    y = link.value(x[:, :P]).sum(axis=1) + 0.7 * rng.standard_normal(n)
    sample = (y * link.slope(x[:, 0 if aligned else P])) ** 2
    error = sample.std() / math.sqrt(n)
    assert abs(sample.mean() - theory.moment(link, P, 0.7, aligned)) < 4 * error


def test_the_flow_stays_on_the_sphere():
    link, rng = parse_link("h1+h2+0.3*h5"), np.random.default_rng(3)
    v = rng.standard_normal((50, 8))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    u, r = v[:, :4], np.linalg.norm(v[:, 4:], axis=1)
    du, dr = theory.velocity(link, u, r)
    np.testing.assert_allclose((u * du).sum(axis=1) + r * dr, 0, atol=1e-14)


def test_second_order_alone_is_the_exact_logistic_and_freezes_the_ratios():
    link, rng = parse_link("0.8*h2"), np.random.default_rng(4)
    P, d = 4, 300
    v = unit(rng, d)
    start = np.append(v[:P], np.linalg.norm(v[P:]))
    times = np.linspace(0, 3, 7)
    path = integrate(link, start, times)
    s = (path[:, :P] ** 2).sum(axis=1)
    np.testing.assert_allclose(s, theory.logistic(link, s[0], times), rtol=1e-6)
    np.testing.assert_allclose(path[:, 1] / path[:, 0], v[1] / v[0], rtol=1e-6)
    time = theory.leading_time(link, v[None, :P], 0.8)
    assert theory.logistic(link, s[0], time)[0] == pytest.approx(0.8)
    found = theory.flow(link, v[None, :P], 10.0, 0.8)
    assert found.subspace[0] == pytest.approx(time[0], rel=1e-6)


@pytest.mark.parametrize(("text", "q"), [("h4", 4), ("h3", 3), ("h2+h4", 4), ("0.7*h2+h5", 5)])
def test_one_higher_order_conserves_differences_of_powers(text, q):
    """With w = u / r: e^{2 c_2^2 (q-2) t} (w_k^{2-q} - w_l^{2-q}) is constant along the flow."""
    link = parse_link(text)
    start = np.array([0.35, 0.22, 0.15, 0.0])
    start[3] = math.sqrt(1 - (start[:3] ** 2).sum())
    times = np.linspace(0, 0.6, 5)
    path = integrate(link, start, times)
    w = path[:, :3] / path[:, 3:]
    grown = np.exp(2 * link.coefficient(2) ** 2 * (q - 2) * times)
    for a, b in ((0, 1), (1, 2)):
        conserved = grown * (w[:, a] ** (2 - q) - w[:, b] ** (2 - q))
        np.testing.assert_allclose(conserved, conserved[0], rtol=1e-6)


@pytest.mark.parametrize("text", ["h2+h4", "h4", "h3", "h1+h3"])
def test_crossing_times_agree_with_an_independent_integration(text):
    link, rng = parse_link(text), np.random.default_rng(5)
    starts = data.starts(rng, 3, 40)[:, :4]
    found = theory.flow(link, starts, 60.0, 0.8)
    for u0, t_sub, t_dir in zip(starts, found.subspace, found.direction, strict=True):
        for t, reduce in ((t_sub, np.sum), (t_dir, np.max)):
            if math.isnan(t):
                continue
            start = np.append(u0, math.sqrt(1 - (u0**2).sum()))
            path = integrate(link, start, [0.0, t])
            assert reduce(path[-1, :4] ** 2) == pytest.approx(0.8, abs=2e-5)


def test_the_blow_up_time_of_the_fourth_order_is_reached_as_d_grows():
    link = parse_link("h4")
    ratios = []
    for small in (0.1, 0.03, 0.01):
        u0 = np.array([[small, small / 3]])
        found = theory.flow(link, u0, 1e5, 0.8)
        ratios.append(found.direction[0] / theory.leading_time(link, u0, 0.8)[0])
    assert abs(ratios[2] - 1) < abs(ratios[1] - 1) < abs(ratios[0] - 1)
    assert ratios[2] == pytest.approx(1, abs=0.01)


def test_the_first_order_finds_the_mean_direction_at_its_closed_form():
    link = parse_link("h1")
    u0 = np.array([[0.2, -0.1, 0.15, 0.05]])
    time = theory.leading_time(link, u0, 0.8)[0]
    path = integrate(link, np.append(u0[0], math.sqrt(1 - (u0**2).sum())), [0.0, time])
    assert path[-1, :4].sum() / 2 == pytest.approx(math.sqrt(0.8), rel=1e-6)


def test_the_largest_coordinate_wins():
    link, rng = parse_link("h2+h4"), np.random.default_rng(6)
    starts = np.abs(data.starts(rng, 20, 100)[:, :3])
    for u0 in starts:
        path = integrate(link, np.append(u0, math.sqrt(1 - (u0**2).sum())), [0.0, 30.0])
        if np.sort(u0)[-2] < 0.98 * u0.max():
            assert path[-1, u0.argmax()] ** 2 > 0.99


def test_times_grow_by_the_laws_that_the_claims_test():
    dims = np.array([1e3, 1e4, 1e5])
    logs, powers = [], []
    for d in dims:
        u0 = np.array([[1.5, 0.7]]) / math.sqrt(d)
        logs.append(theory.flow(parse_link("0.5*h2+h4"), u0, 1e4, 0.8).direction[0])
        powers.append(theory.flow(parse_link("h6"), u0, 1e12, 0.8).direction[0])
    slope = np.polyfit(np.log(dims), logs, 1)[0]
    assert slope == pytest.approx(1 / (4 * 0.25), rel=0.02)
    assert metrics.loglog_slope(dims, powers) == pytest.approx(2.0, abs=0.02)
    assert theory.time_exponent(parse_link("h6")) == 2


@pytest.mark.parametrize("P", [2, 4, 9])
def test_the_isotropy_nulls_are_those_of_uniform_directions(P):
    u = data.starts(np.random.default_rng(7), 200_000, P)
    found = metrics.alignment(u)
    assert found["iso_sum4"] == pytest.approx(theory.null_sum4(P), abs=2e-3)
    assert found["iso_max"] == pytest.approx(theory.null_max(P), abs=2e-3)
    if P == 4:
        assert theory.null_max(P) == pytest.approx(0.617, abs=1e-3)


def test_coupons_agree_with_simulation():
    drawn = np.random.default_rng(8).integers(0, 5, (40_000, 7))
    found = np.array([(drawn == k).any(axis=1) for k in range(5)])
    assert theory.coupon(5, 7) == pytest.approx(found.mean(), abs=5e-3)
    assert theory.coupon_all(5, 7) == pytest.approx(found.all(axis=0).mean(), abs=1e-2)
    assert theory.coupon_all(5, 4) == 0


def test_the_exact_ridge_error_agrees_with_a_test_set():
    link, rng = parse_link("h2+0.5*h3"), np.random.default_rng(9)
    v, a = data.starts(rng, 4, 5), rng.standard_normal(4)
    x = rng.standard_normal((400_000, 5))
    y = link.value(x[:, :2]).sum(axis=1)
    square = (link.value(x @ v.T) @ a - y) ** 2
    exact = theory.ridge_error(link, v[:, :2], v @ v.T, a)
    error = square.std() / math.sqrt(len(x)) / (2 * link.square)
    assert abs(square.mean() / (2 * link.square) - exact) < 4 * error


def test_the_step_unit_scales_as_the_theory_says():
    """eta ~ c^-2 under phi -> c phi, and d^-1 with second order, d^-q/2 with order q alone."""
    for text, power in (("h2+h4", 1.0), ("h4", 2.0), ("h3", 1.5), ("h1", 1.0)):
        link, doubled = parse_link(text), parse_link(text.replace("h", "2*h"))
        unit = theory.step_unit(link, 4, 100)
        assert theory.step_unit(link, 4, 200) == pytest.approx(unit / 2**power)
        assert theory.step_unit(doubled, 4, 100) == pytest.approx(unit / 4)
        assert theory.step_unit(link, 4, 100, settle=True) <= unit
