"""Concrete convex functions for gradient descent to run on: two synthetic, two from small data.

Each comes with what a rate needs: the exact smoothness constant L, the minimum f* (closed form or
Newton's method, to 1e-12 relative) and a minimiser x*. One run shows how gradient descent does on
that function; it is never the worst case.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .model import Floats

OBJECTIVES = ("huber", "leastsq", "logistic", "quadratic")
RIDGE = 1e-6


@dataclass(frozen=True)
class Objective:
    """A convex function with what is known about it.

    value, gradient : (d,) -> float and (d,) -> (d,)
    L : Lipschitz constant of the gradient, the least one
    f_star, x_star : minimum and a minimiser, (d,); the one nearest to x0 if there are several
    x0 : (d,) starting point
    """

    name: str
    value: Callable[[Floats], float]
    gradient: Callable[[Floats], Floats]
    L: float
    f_star: float
    x_star: Floats
    x0: Floats


def objective(name: str, rng: np.random.Generator) -> Objective:
    """The objective called ``name`` with its default parameters; all but huber draw from rng.

    Raises ValueError for an unknown name, FileNotFoundError if its data set is missing.
    """
    if name == "quadratic":
        return quadratic(rng)
    if name == "huber":
        return huber()
    if name == "logistic":
        return logistic(rng)
    if name == "leastsq":
        return least_squares(rng)
    raise ValueError(f"unknown objective {name!r}: expected one of {', '.join(OBJECTIVES)}")


def quadratic(
    rng: np.random.Generator, dimension: int = 100, condition: float = 1e4, rotate: bool = True
) -> Objective:
    """f(x) = x^T H x / 2 with eigenvalues log-spaced in [1/condition, 1]; x_0 on the unit sphere.

    rotate : turn the eigenvectors at random (Haar), else H is diagonal
    """
    spectrum = np.geomspace(1.0 / condition, 1.0, dimension)
    basis = np.eye(dimension)
    if rotate:
        q, r = np.linalg.qr(rng.standard_normal((dimension, dimension)))
        basis = q * np.sign(np.diag(r))  # the sign makes the distribution Haar
    x0 = rng.standard_normal(dimension)
    H = (basis * spectrum) @ basis.T
    return Objective(
        "quadratic",
        lambda x: 0.5 * float(x @ (H @ x)),
        lambda x: H @ x,
        1.0,
        0.0,
        np.zeros(dimension),
        x0 / np.linalg.norm(x0),
    )


def huber(kink: float = 1e-3) -> Objective:
    """x^2 / 2 for |x| <= kink, kink |x| - kink^2 / 2 beyond, from x_0 = 1.

    With kink = 1 / (2 A_N + 1) it is a worst case at the end of a primitive prefix of sum A_N.
    Raises ValueError unless kink > 0.
    """
    if not kink > 0.0:
        raise ValueError(f"kink must be positive, but got {kink}")

    def value(x: Floats) -> float:
        clipped = np.minimum(np.abs(x), kink)
        return float(np.sum(clipped * (np.abs(x) - 0.5 * clipped)))

    return Objective(
        "huber", value, lambda x: np.clip(x, -kink, kink), 1.0, 0.0, np.zeros(1), np.ones(1)
    )


def logistic(rng: np.random.Generator, ridge: float = RIDGE) -> Objective:
    """Mean logistic loss on the breast-cancer data, features standardised, with an intercept.

    f(w) = mean_i log(1 + exp(-y_i x_i . w)) + ridge |w|^2 / 2, from a random w_0, d = 31. A plane
    separates the two classes, so without ridge the infimum 0 is not attained: the small ridge is
    there to have a minimiser, and makes f only weakly convex (kappa about 3e6).
    L = ||X^T X|| / (4 n) + ridge, attained at w = 0.
    """
    features, label = _standardised("breast_cancer")
    sign = np.where(label > 0.5, 1.0, -1.0)
    Z = np.column_stack((features, np.ones(label.size))) * sign[:, None]
    n, d = Z.shape

    def value(w: Floats) -> float:
        return float(np.mean(np.logaddexp(0.0, -(Z @ w))) + 0.5 * ridge * (w @ w))

    def gradient(w: Floats) -> Floats:
        return np.asarray(-(Z.T @ _sigmoid(-(Z @ w))) / n + ridge * w)

    def hessian(w: Floats) -> Floats:
        s = _sigmoid(Z @ w)
        return np.asarray((Z.T * (s * (1.0 - s))) @ Z / n + ridge * np.eye(d))

    w_star = _newton(value, gradient, hessian, np.zeros(d))
    L = float(np.linalg.eigvalsh(Z.T @ Z)[-1]) / (4.0 * n) + ridge
    return Objective("logistic", value, gradient, L, value(w_star), w_star, _random_start(rng, d))


def least_squares(rng: np.random.Generator) -> Objective:
    """Mean squared error / 2 on the diabetes data, features and target standardised.

    f(w) = |X w - y|^2 / (2 n), from a random w_0, d = 10; both sides are centred, so there is no
    intercept.
    """
    X, y = _standardised("diabetes")
    y = (y - y.mean()) / y.std()
    n, d = X.shape
    w_star = np.linalg.lstsq(X, y, rcond=None)[0]

    def value(w: Floats) -> float:
        residual = X @ w - y
        return 0.5 * float(np.mean(residual**2))

    return Objective(
        "leastsq",
        value,
        lambda w: X.T @ (X @ w - y) / n,
        float(np.linalg.eigvalsh(X.T @ X)[-1]) / n,
        value(w_star),
        w_star,
        _random_start(rng, d),
    )


def _random_start(rng: np.random.Generator, d: int) -> Floats:
    """A point of length about one: what makes a replicate of a run on fixed data."""
    return np.asarray(rng.standard_normal(d) / np.sqrt(d))


def load_csv(name: str) -> tuple[list[str], Floats]:
    """Header and numbers of the data set ``name``: columns (d,), values (n, d).

    Looks in the installed package's data folder, then in the checkout's.
    Raises FileNotFoundError if it is in neither.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "data", package.parent / "data"):
        path = folder / f"{name}.csv"
        if path.is_file():
            with path.open(encoding="utf-8") as lines:
                header = next(lines).strip().split(",")
                return header, np.loadtxt(lines, delimiter=",", ndmin=2)
    raise FileNotFoundError(
        f"data set {name}.csv is neither in {package / 'data'} nor in {package.parent / 'data'}: "
        "reinstall toolbox or restore the file from the repository"
    )


def _standardised(name: str) -> tuple[Floats, Floats]:
    """Features with mean 0 and variance 1, (n, d), and the last column as the target, (n,)."""
    _, table = load_csv(name)
    X = table[:, :-1]
    return (X - X.mean(axis=0)) / X.std(axis=0), table[:, -1]


def _sigmoid(z: Floats) -> Floats:
    return np.exp(-np.logaddexp(0.0, -z))


def _newton(
    value: Callable[[Floats], float],
    gradient: Callable[[Floats], Floats],
    hessian: Callable[[Floats], Floats],
    w: Floats,
) -> Floats:
    """Minimise a strictly convex function: Newton steps, halved until they decrease it enough.

    Ends when the Newton decrement, which bounds the gap, is below 1e-15 of the value.
    """
    for _ in range(200):
        g = gradient(w)
        step = np.linalg.solve(hessian(w), g)
        decrement = float(g @ step)
        if decrement <= 1e-15 * abs(value(w)):
            return w - step
        size = 1.0
        while value(w - size * step) > value(w) - 0.25 * size * decrement:
            size *= 0.5
        w = w - size * step
    raise RuntimeError("Newton's method did not converge in 200 steps")
