"""The network: second layer, first step, outer layer, baselines."""

import math

import numpy as np
import pytest

from toolbox.studies.hierarchical import baselines, basis, cli, common, data, links, measure, model

RNG = np.random.default_rng


def make(d=8, link="p2", kind="flat"):
    return data.make_task(RNG(0), d, kind, links.parse(link, 2))


def test_the_second_layer_is_its_activation():
    """h_k(x) = sigma_2(<v_k, x>) with the v that the generator draws."""
    L = model.second_layer(RNG(3), 6, 300)
    v = RNG(3).standard_normal((300, 6))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    x = data.sphere(RNG(1), 6, 40).astype(float)
    np.testing.assert_allclose(L @ basis.phi(x), ((v @ x) ** 2 - 1) / math.sqrt(2), atol=1e-5)


def test_a_step_is_the_gradient_of_the_squared_loss_at_the_start():
    """Weights w of a finite second layer: minus the gradient of (1/2n) sum (y - f)^2 in w."""
    task, n, eps = make(6, kind="goe"), 400, 1e-4
    L = model.second_layer(RNG(3), 6, 15)
    x = data.sphere(RNG(1), 6, n).astype(float)
    y = data.labels(task, x)
    y -= y.mean()
    h, w = L @ basis.phi(x), RNG(2).standard_normal(15)

    def loss(v):  # one neuron of the pair a, -a; its twin keeps f = 0 at the start
        f = model.activate(eps * v @ h, "hat") - model.activate(eps * w @ h, "hat")
        return np.mean((y - f) ** 2) / 2

    gradient = [(loss(w + 1e-3 * e) - loss(w - 1e-3 * e)) / 2e-3 for e in np.eye(15)]
    step = -model.unit(np.array(gradient)[None])
    F = basis.phi(x)
    M = (F * y) @ F.T / n
    np.testing.assert_allclose(
        model.steps((w @ L)[None], M, 1, L)[0], model.unit(step @ L)[0], atol=1e-4
    )


def test_a_random_second_layer_keeps_the_share_of_a_direction_that_its_formula_says():
    """E |L'L theta|^2 / (E theta'L'L theta)^2 = 1 + (D - 1) / m2."""
    d, m2 = 8, 60
    D = basis.size(d)
    theta = make(d).theta[0]
    moved = np.array(
        [L.T @ (L @ theta) for L in (model.second_layer(RNG(k), d, m2) for k in range(400))]
    )
    along = moved @ theta
    ratio = np.sum(moved**2, axis=1).mean() / along.mean() ** 2
    fourth = np.mean(data.features(make(d), data.sphere(RNG(0), d, 100_000))[0] ** 4)
    # Along theta itself the variance of p^2 enters, which the formula's D - 1 leaves out.
    exact = 1 + (D - 1) / m2
    assert ratio == pytest.approx(exact, rel=0.03)
    assert 1 < fourth < 4


def test_one_step_commutes_with_a_rotation_of_everything():
    task = make(kind="goe")
    R = data.orthogonal(RNG(5), 8)
    x = data.sphere(RNG(1), 8, 3000).astype(float)
    y = data.labels(task, x)
    y -= y.mean()
    A = R @ task.A @ R.T
    W = model.initial(RNG(2), basis.size(8), 20)
    turned_W = basis.coordinates(R @ basis.matrices(W, 8) @ R.T)
    plain, turned = (
        measure.overlaps(model.steps(w, (F * y) @ F.T, 2), theta)
        for w, F, theta in (
            (W, basis.phi(x), task.theta),
            (turned_W, basis.phi(R @ x), basis.coordinates(A)),
        )
    )
    np.testing.assert_allclose(plain, turned, rtol=1e-6)


def test_the_top_directions_of_neurons_in_the_span_are_the_features():
    theta = np.linalg.qr(RNG(0).standard_normal((20, 3)))[0].T
    W = RNG(1).standard_normal((50, 3)) @ theta
    assert measure.top_overlap(W, theta) == pytest.approx(1)
    assert measure.overlaps(W, theta) == pytest.approx(np.ones(50))
    others = np.linalg.qr(np.vstack([theta, RNG(2).standard_normal((3, 20))]).T)[0].T[3:]
    assert measure.top_overlap(W, others) == pytest.approx(0, abs=1e-12)


def test_activations_are_what_they_are_called():
    z = np.array([-2.0, -0.5, 0.0, 0.5, 3.0])
    np.testing.assert_array_equal(model.activate(z, "relu"), [0, 0, 0, 0.5, 3])
    np.testing.assert_array_equal(model.activate(z, "hat"), [3, 0.25, 0, 0.25, 5])


@pytest.mark.parametrize("penalty", [1e-6, 0.1])
def test_the_outer_layer_is_the_ridge_of_scikit_learn(penalty):
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = RNG(0)
    hidden = model.Hidden(rng.standard_normal((30, 5)), rng.uniform(-3, 3, 30), "relu")
    z, y = rng.standard_normal((5, 200)), rng.standard_normal(200)
    G = model.gram(hidden, [(z[:, :120], y[:120]), (z[:, 120:], y[120:])])
    weights = model.ridge(G, penalty)
    reference = linear_model.Ridge(alpha=200 * penalty).fit(hidden(z).T, y)
    np.testing.assert_allclose(weights[:-1], reference.coef_, rtol=1e-5, atol=1e-8)
    assert weights[-1] == pytest.approx(reference.intercept_)
    residual = model.predict(hidden, weights, z) - y
    assert model.squared_error(G, weights) == pytest.approx(np.mean(residual**2))


def test_kernel_ridge_is_that_of_scikit_learn():
    kernel_ridge = pytest.importorskip("sklearn.kernel_ridge")
    rng = RNG(0)
    x, x_test = data.sphere(rng, 6, 100), data.sphere(rng, 6, 30)
    y = rng.standard_normal(100)
    found, chosen = baselines.kernel_ridge(x, y, x_test, [0.01])
    assert chosen == 0.01
    reference = kernel_ridge.KernelRidge(alpha=1.0, kernel="precomputed")
    reference.fit(baselines.kernel(x, x), y - y.mean())
    expected = reference.predict(baselines.kernel(x_test, x)) + y.mean()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_penalties_and_rates_are_chosen_on_held_out_samples():
    """Pure noise: the heaviest penalty. A clean target: a light one."""
    rng = RNG(0)
    x, x_test = data.sphere(rng, 6, 500), data.sphere(rng, 6, 10)
    path = [1e-8, 1e-4, 1.0]
    assert baselines.kernel_ridge(x, rng.standard_normal(500), x_test, path)[1] == 1.0
    assert baselines.kernel_ridge(x, data.labels(make(6, kind="goe"), x), x_test, path)[1] == 1e-8


def test_the_two_layer_networks_gradients_are_finite_differences():
    rng = RNG(0)
    shapes = ((2, 3, 7), (2, 1, 7), (2, 7, 1), (2, 1, 1))
    weights = [rng.standard_normal(shape) for shape in shapes]
    x, y = rng.standard_normal((9, 3)), rng.standard_normal(9)

    def loss():
        return np.mean((baselines._outputs(weights, x) - y) ** 2, axis=1)

    for part, gradient in zip(weights, baselines._gradients(weights, x, y), strict=True):
        for index in np.ndindex(part.shape):
            kept = part[index]
            part[index] = kept + 1e-6
            above = loss()[index[0]]
            part[index] = kept - 1e-6
            below = loss()[index[0]]
            part[index] = kept
            assert gradient[index] == pytest.approx((above - below) / 2e-6, rel=1e-4, abs=1e-6)


def test_the_two_layer_network_learns_a_linear_function():
    x, x_test = RNG(0).standard_normal((4, 2000)), RNG(1).standard_normal((4, 500))
    direction = np.array([1.0, -1.0, 0.5, 0.0])
    how = baselines.Training(64, (1e-3, 1e-2), 600, 64)
    found, rate = baselines.two_layer(RNG(2), x, direction @ x, x_test, how)
    assert rate in how.rates
    assert np.mean((found - direction @ x_test) ** 2) < 0.02 * np.var(direction @ x_test)


def test_a_sample_does_not_depend_on_how_many_are_asked_for():
    task = make()

    def stream(block):
        return RNG([7, block])

    x, y = common.sample(task, stream, 5000)
    tail = list(common.points(task, stream, 3000, 3500))
    np.testing.assert_array_equal(
        np.concatenate([part for part, _ in tail], axis=1), x[:, 3000:3500]
    )
    np.testing.assert_array_equal(np.concatenate([part for _, part in tail]), y[3000:3500])


def test_the_outer_layer_learns_a_link_of_the_true_features():
    task = make(12, "p3")
    W = model.unit(RNG(0).standard_normal((300, 2)))
    hidden = model.Hidden(W.astype("f4"), RNG(1).uniform(-3, 3, 300).astype("f4"), "relu")
    how = cli.Fitted(penalties=(1e-8, 1e-6, 1e-4), n_test=2000)
    second, test = (lambda b: RNG([1, b])), (lambda b: RNG([2, b]))
    error, _ = common.fit_and_test(task, hidden, second, 2000, test, how, oracle=True)
    assert error < 0.01
