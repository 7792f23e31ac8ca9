"""Objectives: gradients, smoothness constants and minima are what they are said to be."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import check_grad, linprog, minimize

from toolbox.studies.gd import data, model
from toolbox.studies.gd.worst_case import worst_case

DATA = Path(__file__).resolve().parents[3] / "data"


@pytest.fixture(params=data.OBJECTIVES)
def objective(request):
    return data.objective(request.param, np.random.default_rng(0))


def test_gradient_is_the_derivative(objective):
    rng = np.random.default_rng(1)
    for _ in range(3):
        x = objective.x0 + 0.3 * rng.standard_normal(objective.x0.size)
        error = check_grad(objective.value, objective.gradient, x)
        assert error < 1e-5 * max(1.0, float(np.linalg.norm(objective.gradient(x))))


def test_L_is_a_lipschitz_constant_and_the_least(objective):
    rng = np.random.default_rng(2)
    d = objective.x0.size
    start = np.zeros(d)  # the curvature of all four is largest at 0
    direction = rng.standard_normal(d)
    for _ in range(2000):  # power iteration on gradient differences
        direction /= np.linalg.norm(direction)
        moved = objective.gradient(start + 1e-6 * direction)
        direction = (moved - objective.gradient(start)) / 1e-6
    assert np.linalg.norm(direction) == pytest.approx(objective.L, rel=1e-4)
    for _ in range(200):
        x, y = rng.standard_normal((2, d))
        change = np.linalg.norm(objective.gradient(x) - objective.gradient(y))
        assert change <= objective.L * np.linalg.norm(x - y) * (1 + 1e-12)


def test_minimum_is_stationary_and_lowest(objective):
    assert np.linalg.norm(objective.gradient(objective.x_star)) < 1e-12
    assert objective.value(objective.x_star) == objective.f_star
    rng = np.random.default_rng(3)
    for _ in range(50):
        x = objective.x_star + 0.1 * rng.standard_normal(objective.x0.size)
        assert objective.value(x) >= objective.f_star


def test_logistic_minimum_agrees_with_another_solver():
    f = data.logistic(np.random.default_rng(0), ridge=1e-3)
    found = minimize(f.value, f.x0, jac=f.gradient, method="BFGS", options={"gtol": 1e-9})
    assert found.fun == pytest.approx(f.f_star, rel=1e-10)


def test_breast_cancer_is_separable_hence_the_ridge():
    _, table = data.load_csv("breast_cancer")
    X = (table[:, :-1] - table[:, :-1].mean(axis=0)) / table[:, :-1].std(axis=0)
    sign = np.where(table[:, -1] > 0.5, 1.0, -1.0)
    margins = np.column_stack((X, np.ones(sign.size))) * sign[:, None]
    plane = linprog(np.zeros(31), A_ub=-margins, b_ub=-np.ones(sign.size), bounds=(None, None))
    assert plane.status == 0
    assert np.min(margins @ plane.x) >= 1 - 1e-6


def test_gradient_descent_stays_below_the_worst_case(objective):
    """The theorem on concrete functions: gap <= tau_N L |x_0 - x*|^2 at every primitive prefix."""
    h = model.schedule("anytime", 200)
    w = worst_case("anytime", np.arange(1, 201))
    scale = objective.L * np.sum((objective.x0 - objective.x_star) ** 2)
    x = objective.x0.copy()
    for n, step in enumerate(h):
        x = x - step / objective.L * objective.gradient(x)
        if w.endpoint[n]:
            assert objective.value(x) - objective.f_star <= w.tau[n] * scale * (1 + 1e-9)


def test_huber_attains_the_worst_case_at_its_horizon():
    h = model.schedule("silver", 31)
    f = data.huber(1.0 / (2.0 * h.sum() + 1.0))
    x = f.x0.copy()
    for step in h:
        x = x - step * f.gradient(x)
    assert f.value(x) == pytest.approx(1 / (4 * h.sum() + 2), rel=1e-12)


def test_the_generator_decides_where_a_run_starts():
    for name in ("quadratic", "logistic", "leastsq"):
        a, again, b = (data.objective(name, np.random.default_rng(s)) for s in (0, 0, 1))
        assert np.array_equal(a.x0, again.x0)
        assert not np.array_equal(a.x0, b.x0)
        assert (a.L, a.f_star) == (b.L, b.f_star)


def test_unrotated_quadratic_is_diagonal():
    diagonal = data.quadratic(np.random.default_rng(0), 5, 100.0, rotate=False)
    assert diagonal.gradient(np.ones(5)) == pytest.approx(np.geomspace(0.01, 1, 5))


@pytest.mark.parametrize(("name", "shape"), [("breast_cancer", (569, 31)), ("diabetes", (442, 11))])
def test_files_have_the_shape_and_checksum_that_their_readme_states(name, shape):
    header, table = data.load_csv(name)
    assert table.shape == shape
    assert len(header) == len(set(header)) == shape[1]
    digest = hashlib.sha256((DATA / f"{name}.csv").read_bytes()).hexdigest()
    assert digest in (DATA / "README.md").read_text(encoding="utf-8")


def test_files_are_the_copies_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    cancer, diabetes = datasets.load_breast_cancer(), datasets.load_diabetes(scaled=False)
    for name, source in (("breast_cancer", cancer), ("diabetes", diabetes)):
        _, table = data.load_csv(name)
        assert np.array_equal(table, np.column_stack((source.data, source.target)))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown objective 'hubr': expected one of huber"):
        data.objective("hubr", np.random.default_rng(0))
    with pytest.raises(FileNotFoundError, match=r"iris\.csv is neither in"):
        data.load_csv("iris")
    with pytest.raises(ValueError, match="kink must be positive"):
        data.huber(0.0)
