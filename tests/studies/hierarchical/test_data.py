"""Quadratics on the sphere, Hadamard patterns, features."""

import numpy as np
import pytest

from toolbox.core.errors import UsageError
from toolbox.studies.hierarchical import basis, data, links


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("d", [3, 6, 9])
def test_the_quadratics_are_orthonormal_and_of_constant_length(d):
    x = data.sphere(rng(), d, 100_000).astype(float)
    F = basis.phi(x)
    D = basis.size(d)
    assert F.shape == (D, 100_000)
    np.testing.assert_allclose(np.sum(F**2, axis=0), D, rtol=1e-4)
    # An entry of the empirical matrix has standard deviation of order one over sqrt(n).
    deviation = F @ F.T / F.shape[1] - np.eye(D)
    fourth = (F[:, None, ::10] * F[None, :, ::10]).var(axis=2) / F.shape[1]
    assert np.abs(deviation / np.sqrt(fourth)).max() < 5.5
    assert np.abs(F.mean(axis=1)).max() < 5 / np.sqrt(F.shape[1])


def test_coordinates_and_matrices_are_inverse_and_represent_the_form():
    A = rng().standard_normal((4, 7, 7))
    A = A + A.swapaxes(1, 2)
    A -= np.trace(A, axis1=1, axis2=2)[:, None, None] * np.eye(7) / 7
    theta = basis.coordinates(A)
    np.testing.assert_allclose(basis.matrices(theta, 7), A, atol=1e-12)
    x = data.sphere(rng(1), 7, 50).astype(float)
    np.testing.assert_allclose(theta @ basis.phi(x), np.einsum("in,kij,jn->kn", x, A, x), atol=1e-4)


def test_hadamard_matrices_are_hadamard_at_every_order_reached():
    reached = [n for n in range(1, 130) if data._constructible(n)]
    assert {1, 2, *range(4, 49, 4), 60, 64, 128} <= set(reached)
    for n in reached:
        H = data.hadamard(n)
        np.testing.assert_array_equal(H @ H.T, n * np.eye(n))
        np.testing.assert_array_equal(H[0], np.ones(n))


def test_an_order_out_of_reach_is_an_error():
    for n in (3, 6, 52, 92):
        with pytest.raises(ValueError, match=str(n)):
            data.hadamard(n)


@pytest.mark.parametrize(("d", "r"), [(8, 2), (12, 11), (24, 7), (6, 1), (52, 3)])
def test_flat_features_are_normalised_orthogonal_and_flat(d, r):
    task = data.make_task(rng(), d, "flat", links.parse("p2", r))
    np.testing.assert_allclose(task.theta @ task.theta.T, np.eye(r), atol=1e-10)
    c2 = (d + 2) / (2 * d * d)
    for A in task.A:
        np.testing.assert_allclose(A @ A, c2 * np.eye(d), atol=1e-12)
        assert abs(np.trace(A)) < 1e-10


@pytest.mark.parametrize("kind", ["flat", "goe"])
def test_features_have_unit_covariance_on_the_sphere(kind):
    task = data.make_task(rng(3), 12, kind, links.parse("p2", 3))
    p = data.features(task, data.sphere(rng(4), 12, 200_000)).astype(float)
    standard_error = np.sqrt(((p[:, None] * p[None]) ** 2).mean(axis=2) / p.shape[1])
    assert (np.abs(p @ p.T / p.shape[1] - np.eye(3)) < 4 * standard_error).all()


@pytest.mark.parametrize(
    ("kind", "d", "r", "says"),
    [
        ("flat", 10, 2, "dims=10"),
        ("flat", 7, 1, "dims=7"),
        ("flat", 12, 12, "11"),
        ("flat", 8, 9, "r=9"),
        ("goe", 5, 6, "r=6"),
    ],
)
def test_impossible_features_are_refused_in_one_sentence(kind, d, r, says):
    with pytest.raises(UsageError) as caught:
        data.check_features(kind, d, r, "dims")
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_task_does_not_see_a_rotation():
    """p_k(x) with A_k equals p_k(R x) with R A_k R'."""
    task = data.make_task(rng(), 8, "goe", links.parse("p3", 2))
    R = data.orthogonal(rng(5), 8)
    A = R @ task.A @ R.T
    turned = data.Task(8, A, basis.coordinates(A), task.link)
    x = data.sphere(rng(1), 8, 100).astype(float)
    np.testing.assert_allclose(data.labels(turned, R @ x), data.labels(task, x), atol=1e-9)
