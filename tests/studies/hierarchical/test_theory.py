"""Kernel ridge's eigenvalues and learning curve, harmonics, slopes and crossings."""

import math

import numpy as np
import pytest
from scipy import special

from toolbox.studies.hierarchical import baselines, data, links, measure, theory

PENALTIES = [1e-8, 1e-6, 1e-4, 1e-2]


def nodes(d):
    """Nodes t and weights of <x, x'>/d on the sphere in d dimensions."""
    t, w = special.roots_jacobi(60, (d - 3) / 2, (d - 3) / 2)
    return t, w / w.sum()


@pytest.mark.parametrize("d", [3, 8, 30])
def test_gegenbauer_polynomials_are_orthogonal_with_the_multiplicity_as_inverse_norm(d):
    t, w = nodes(d)
    table = np.array([theory.gegenbauer(degree, d, t) for degree in range(7)])
    norms = [1 / theory.multiplicity(degree, d) for degree in range(7)]
    np.testing.assert_allclose((table * w) @ table.T, np.diag(norms), atol=1e-12)
    assert theory.gegenbauer(5, d, 1.0) == pytest.approx(1)


def test_the_harmonics_of_degree_two_are_the_quadratics():
    from toolbox.studies.hierarchical import basis

    assert [theory.multiplicity(2, d) for d in (4, 9)] == [basis.size(4), basis.size(9)]


@pytest.mark.parametrize("d", [4, 12])
def test_kernel_eigenvalues_are_the_integrals_and_sum_to_the_kernel(d):
    t, w = nodes(d)
    k = np.cosh(baselines.SHARPNESS * t) / math.cosh(baselines.SHARPNESS)
    for degree in range(7):
        integral = w @ (k * theory.gegenbauer(degree, d, t))
        assert theory.kernel_eigenvalue(degree, d) == pytest.approx(integral, abs=1e-12)
    trace = sum(theory.multiplicity(j, d) * theory.kernel_eigenvalue(j, d) for j in range(40))
    assert trace == pytest.approx(1)


def test_the_energies_of_pure_links_are_in_their_degree():
    rng = np.random.default_rng(0)
    linear = data.make_task(rng, 8, "goe", links.parse("z1 + z2", 2))
    np.testing.assert_allclose(theory.degree_energies(rng, linear, 4000, 1), [1.0])
    padded = theory.degree_energies(rng, linear, 60_000, 3)
    np.testing.assert_allclose(padded, [1, 0, 0], atol=0.06)
    # y = p_1 p_2 with flat features: A_1 A_2 + A_2 A_1 is traceless and of the third pattern, so
    # the part of degree 2 is E[y p_3]^2 over all patterns; the rest is of degree 4.
    product = data.make_task(rng, 8, "flat", links.parse("prod", 2))
    share = theory.degree_energies(rng, product, 60_000, 2)
    assert share.sum() == pytest.approx(1)
    x = data.sphere(rng, 8, 200_000)
    y = data.labels(product, x)
    third = product.A[0] @ product.A[1]
    third *= math.sqrt((8 + 2) / (2 * 8)) / np.linalg.norm(third)
    along = np.mean(y * np.einsum("in,ij,jn->n", x, third, x))
    assert share[0] == pytest.approx(along**2 / y.var(), abs=0.03)


def test_the_learning_curve_of_kernel_ridge_is_the_theorys():
    rng = np.random.default_rng(1)
    task = data.make_task(rng, 8, "flat", links.parse("p3", 2))
    energies = theory.degree_energies(rng, task, 100_000, 3)
    x_test = data.sphere(rng, 8, 2000)
    y_test = data.labels(task, x_test)
    for n in (500, 1000):
        errors = []
        for _ in range(4):
            x = data.sphere(rng, 8, n)
            found, _ = baselines.kernel_ridge(x, data.labels(task, x), x_test, PENALTIES)
            errors.append(np.mean((found - y_test) ** 2) / y_test.var())
        expected = theory.kernel_error(n, 8, energies, PENALTIES)
        assert np.mean(errors) == pytest.approx(expected, rel=0.15)


def test_a_kernel_needs_as_many_samples_as_the_law_in_high_dimension():
    """Targets of pure degree 2p: the slope of the theory's n* tends to 2p."""
    for p in (1, 2, 3):
        pure = [0.0] * (p - 1) + [1.0]
        n = [theory.kernel_samples(0.5, d, pure) for d in (128, 256, 512, 1024)]
        gaps = np.abs(np.diff(np.log2(n)) - 2 * p)
        assert gaps[-1] < 0.03
        assert gaps[-1] <= gaps[0]


def test_kernel_ridge_without_penalty_interpolates_and_reproduces_the_kernel():
    rng = np.random.default_rng(0)
    x = data.sphere(rng, 5, 60)
    anchors, weights = data.sphere(rng, 5, 3), np.array([1.0, -2.0, 0.5])
    y = weights @ baselines.kernel(anchors, x)
    found, chosen = baselines.kernel_ridge(x, y, x, [1e-10, 1.0])
    assert chosen == 1e-10
    np.testing.assert_allclose(found, y, atol=1e-4)
    np.testing.assert_allclose(baselines.kernel(x, -x), baselines.kernel(x, x), atol=1e-12)


def test_slopes_and_crossings_are_exact_on_power_laws():
    d = np.array([8.0, 16.0, 32.0])
    slope, error = theory.fitted_slope(d, 3 * d**2.5)
    assert slope == pytest.approx(2.5)
    assert error == pytest.approx(0, abs=1e-9)
    assert math.isnan(theory.fitted_slope([8], [2])[0])
    n = np.geomspace(1, 1e4, 9)
    assert measure.crossing(n, np.log(n), math.log(50)) == pytest.approx(50)
    assert measure.crossing(n, 7 * n**-0.5, 0.7, rising=False) == pytest.approx(100)
    assert math.isnan(measure.crossing(n, np.log(n), 100))
    assert math.isnan(measure.crossing(n, np.log(n), -1))
