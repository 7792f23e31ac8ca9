"""Closed forms, limit cases and invariances of the flows and of what they stand on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from toolbox.core.compute import one_thread
from toolbox.studies.flows import complementarity, convex, eigen
from toolbox.studies.flows.central import Central, Setting, Stable, Tracker, scaled
from toolbox.studies.flows.landscape import Point
from toolbox.studies.flows.rule import Rule


@pytest.fixture(autouse=True)
def _small():
    """Many small operations: a second thread would only be in the way."""
    with one_thread():
        yield


NONE = torch.zeros(0, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def network(seed=0, n=12, inputs=4, width=5):
    """A tanh network on random data as an objective, and a start."""
    g = generator(seed)
    x = torch.randn(n, inputs, dtype=torch.float64, generator=g)
    y = torch.randn(n, dtype=torch.float64, generator=g)
    sizes = [inputs * width, width, width]

    def loss(w):
        a, b, c = w.split(sizes)
        return 0.5 * (torch.tanh(x @ a.view(inputs, width) + b) @ c - y).square().mean()

    return loss, torch.randn(sum(sizes), dtype=torch.float64, generator=g)


def dense(loss, w):
    return torch.autograd.functional.hessian(loss, w)


# ------------------------------------------------------------------------ eigenvalues, derivatives


def test_eigenvalues_are_those_of_a_dense_solve():
    loss, w = network(1)
    P = torch.rand(len(w), dtype=torch.float64, generator=generator(2)) + 0.5
    root = P.sqrt()
    expected = torch.linalg.eigvalsh(dense(loss, w) / root[:, None] / root).flip(0)
    start = torch.randn(len(w), 1, dtype=torch.float64, generator=generator(3))
    threshold = float(expected[3]) - 1e-3
    pairs = eigen.above(
        scaled(Point(loss, w), P), start, threshold, 1e-4,
        lambda m: torch.randn(len(w), m, dtype=torch.float64, generator=generator(4)), 16,
    )  # fmt: skip
    assert len(pairs.values) == 5  # four above, and the first below
    assert (pairs.values - expected[:5]).abs().max() < 1e-6 * expected[0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_eigenvalues_are_found_where_residuals_depend_on_each_other(dtype):
    """From one start the residuals of all pairs lie in one Krylov space; in float32 what they add
    to each other is soon rounding."""
    g = generator(8)
    Q = torch.linalg.qr(torch.randn(400, 400, dtype=torch.float64, generator=g))[0]
    values = torch.cat(
        [torch.tensor([2.0, 0.77, 0.41, 0.37, 0.3]), torch.linspace(0.25, -0.2, 395)]
    )
    A = ((Q * values) @ Q.T).to(dtype)
    start = torch.randn(400, 1, dtype=torch.float64, generator=g).to(dtype)
    draw = lambda m: torch.randn(400, m, dtype=torch.float64, generator=g).to(dtype)  # noqa: E731
    pairs = eigen.above(lambda v: A @ v, start, 0.35, 1e-4, draw, 16)
    assert (pairs.values.double() - values[:5]).abs().max() < 1e-6 * 2
    together = pairs.vectors.T @ pairs.vectors
    assert (together - torch.eye(5, dtype=dtype)).abs().max() < 100 * torch.finfo(dtype).eps


def test_more_eigenvalues_than_can_be_tracked_are_an_error():
    times = lambda v: 3 * v  # noqa: E731
    start = torch.randn(30, 1, dtype=torch.float64, generator=generator())
    g = generator(1)
    draw = lambda m: torch.randn(30, m, dtype=torch.float64, generator=g)  # noqa: E731
    with pytest.raises(eigen.NotConverged, match="more than 4"):
        eigen.above(times, start, 2.0, 1e-4, draw, 4)


def test_the_hessian_by_blocks_and_the_gradient_of_a_curvature():
    loss, w = network(5)
    point = Point(loss, w)
    assert torch.allclose(point.hessian(), dense(loss, w), atol=1e-12)
    U = torch.randn(len(w), 2, dtype=torch.float64, generator=generator(6))
    T, _ = point.third(U)
    assert torch.allclose(point.curvature_gradient(U), T[0, 0] + T[1, 1], atol=1e-12)
    quadratic = Point(lambda w: 0.5 * (w * w * torch.arange(1.0, 4.0)).sum(), torch.ones(3))
    assert float(quadratic.third(torch.eye(3))[0].abs().max()) == 0.0


# -------------------------------------------------------------------------------- the two programs


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_complementarity_problem_is_solved(k):
    rng = np.random.default_rng(k)
    for _ in range(20):
        m = k * (k + 1) // 2
        root = rng.standard_normal((m, m))
        A = rng.standard_normal((k, k))
        A, B = A + A.T, root @ root.T + 0.01 * np.eye(m)
        found = complementarity.solve(A, B)
        scale = np.abs(A).max()
        assert found.least > -1e-7 * max(scale, np.abs(found.X).max())
        assert found.gap < 1e-7 * scale * max(1.0, np.abs(found.X).max())
        if k == 1:
            assert found.X[0, 0] == pytest.approx(max(0.0, -A[0, 0] / B[0, 0]))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_both_methods_for_the_complementarity_problem_agree(k, monkeypatch):
    rng = np.random.default_rng(10 + k)
    for _ in range(10):
        m = k * (k + 1) // 2
        root, A = rng.standard_normal((m, m)), rng.standard_normal((k, k))
        A, B = A + A.T, root @ root.T + 0.01 * np.eye(m)
        newton = complementarity.solve(A, B).X
        with monkeypatch.context() as patch:
            patch.setattr(complementarity, "NEWTON", 0)
            other = complementarity.solve(A, B).X
        assert np.abs(newton - other).max() < 1e-8 * max(1.0, np.abs(other).max())


def test_the_complementarity_problem_agrees_with_a_convex_solver():
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    for _ in range(3):
        root, A = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
        A, B = A + A.T, root @ root.T + 0.1 * np.eye(6)
        X = cvxpy.Variable((3, 3), PSD=True)
        x = cvxpy.hstack([cvxpy.trace(E @ X) for E in complementarity.basis(3)])
        cost = cvxpy.quad_form(x, cvxpy.psd_wrap(B)) / 2 + cvxpy.trace(A @ X)
        cvxpy.Problem(cvxpy.Minimize(cost)).solve(solver="CLARABEL")
        assert np.abs(complementarity.solve(A, B).X - X.value).max() < 1e-4


@pytest.mark.parametrize("still", [False, True])
def test_the_stationary_preconditioner_agrees_with_a_convex_solver(still):
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(2)
    H, g = rng.standard_normal((12, 12)), rng.standard_normal(12) * (not still)
    H, eta = H + H.T, 0.7
    found = convex.stationary(H, g, eta, enough=1e-7)
    p = cvxpy.Variable(12, nonneg=True)
    cost = cvxpy.sum(p)
    if not still:
        cost = cost + cvxpy.sum(cvxpy.multiply((g / eta) ** 2, cvxpy.inv_pos(p)))
    value = cvxpy.Problem(cvxpy.Minimize(cost), [2 * cvxpy.diag(p) - H >> 0]).solve(
        solver="CLARABEL"
    )
    ours = found.P.sum() + (g**2 / eta**2 / found.P).sum()
    assert ours == pytest.approx(value, rel=1e-5)
    assert found.gap < 1e-6
    root = 1 / np.sqrt(found.P)
    assert np.linalg.eigvalsh(H * root[:, None] * root)[-1] < 2 + 1e-9


def test_the_stationary_average_does_not_move_under_the_flow_without_penalty():
    """nu-bar = (eta P-bar)^2 is a fixed point of nu: g^2 + diag(H Sigma H) = nu."""
    loss, w = network(7)
    point, eta = Point(loss, w), 0.05
    H, g = point.hessian().numpy(), point.gradient.numpy()
    found = convex.stationary(H, g, eta, enough=1e-10)
    sigma = (found.R @ found.R.T) * eta**2 / 2
    nu = (eta * found.P) ** 2
    assert np.abs(g**2 + np.diag(H @ sigma @ H) - nu).max() < 1e-3 * nu.max()


# -------------------------------------------------------------------------------------- the flows


def test_the_covariance_of_scalar_rmsprop_is_the_closed_form():
    """One direction at the edge: sigma^2 = [e<-g, dS>/S - c/2 (|g|^2/nu - 1)] / [e|dS|^2/(2S) +
    c S^2/(2 nu)], with e = eta/sqrt(nu) and S = 2/e; X = S sigma^2/2."""
    loss, w = network(4)
    point = Point(loss, w)
    values, vectors = torch.linalg.eigh(dense(loss, w))
    S, u = float(values[-1]), vectors[:, -1:]
    eta, beta2 = 1.0, 0.9
    nu = (eta * S / 2) ** 2
    rule = Rule("scalar-rmsprop", eta, beta2)
    average = torch.tensor([nu], dtype=torch.float64)
    c, e, g = rule.speed, eta / nu**0.5, point.gradient
    turn = point.third(u)[0][0, 0]
    above = e * float(-g @ turn) / S - c / 2 * (float(g @ g) / nu - 1)
    below = e / 2 * float(turn @ turn) / S + c / 2 * S**2 / nu
    flow = Central(loss, rule, w, average, Setting(), generator())
    pairs = eigen.Pairs(torch.tensor([2.0], dtype=torch.float64), u, u * 2, u[:, :0])
    found, _, _ = flow._rates(point, rule.P(average), pairs, dt=1.0)
    sigma = max(0.0, above / below)
    assert sigma > 0, "the example does not oscillate"
    assert float(found.X) == pytest.approx(S * sigma / 2, rel=1e-9)


@pytest.mark.parametrize("name", ["gd", "scalar-rmsprop", "rmsprop"])
def test_without_a_critical_direction_the_central_flow_is_the_stable_flow(name):
    loss, w = network(9)
    rule = Rule(name, 1e-3, 0.9, 1e-3)
    nu = rule.start(Point(loss, w).gradient)
    start = loss, rule, w, nu, Setting(substeps=4), generator()
    central, stable = Central(*start), Stable(*start)
    for _ in range(5):
        central.advance()
        stable.advance()
    assert float((central.w - stable.w).abs().max()) < 1e-13
    assert float((central.w - w).norm()) > 1e-3


ETA = 0.8
"""At this step size the network of `network(0)` is soon at the edge."""


def at_edge(loss, w, substeps, steps=30):
    flow = Central(loss, Rule("gd", ETA), w, NONE, Setting(substeps=substeps), generator())
    return flow, [flow.advance() for _ in range(steps)]


def test_at_the_edge_the_sharpness_stays_at_2_and_the_loss_falls():
    loss, w = network(0)
    _, seen = at_edge(loss, w, 4, 40)
    busy = [each for each in seen if each.critical and float(each.X.trace()) > 0]
    assert len(busy) > 10
    assert all(abs(each.top - 2) < 0.01 for each in busy[5:])
    losses = [each.loss for each in seen]
    assert max(b - a for a, b in itertools.pairwise(losses)) < 0
    assert all(each.gap < 1e-9 and each.least > -1e-9 for each in seen)
    assert all(each.mean_loss > each.loss for each in busy)


def test_an_orthogonal_change_of_coordinates_changes_nothing():
    loss, w = network(0)
    Q = torch.linalg.qr(torch.randn(len(w), len(w), dtype=torch.float64, generator=generator(1)))[0]
    first, _ = at_edge(loss, w, 2, 25)
    second, _ = at_edge(lambda v: loss(Q.T @ v), Q @ w, 2, 25)
    assert float((Q.T @ second.w - first.w).abs().max()) < 1e-5


def test_the_error_falls_with_the_substep():
    """Euler's method: order one."""
    loss, w = network(0)
    exact = at_edge(loss, w, 48, 12)[0].w
    errors = [float((at_edge(loss, w, n, 12)[0].w - exact).norm()) for n in (2, 4, 8)]
    slopes = np.diff(np.log(errors)) / np.diff(np.log([2, 4, 8]))
    assert (slopes > -1.6).all()
    assert (slopes < -0.7).all()


def test_a_tracker_comes_back_from_its_state():
    loss, w = network(3)
    g = generator()
    tracker = Tracker(len(w), Setting(), g, w)
    tracker.pairs(Point(loss, w), torch.ones(1, dtype=torch.float64))
    other = Tracker(len(w), Setting(), generator(5), w)
    other.load_state_dict(tracker.state_dict())
    assert torch.equal(other.vectors, tracker.vectors)
