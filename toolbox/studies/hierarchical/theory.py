"""Closed forms: the population moment of a quadratic link, what one step can reach, and the
learning curve of kernel ridge on the sphere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from . import baselines, basis, data
from .data import Task

Floats = NDArray[np.floating]


def null_overlap(r: int, D: int) -> float:
    """Mean overlap of a random direction with the span of r features: r / D."""
    return r / D


# -------------------------------------------------------------------------- the population moment


def population_moment(task: Task) -> Floats:
    """M = E (y - E y) phi phi' of a link of degree 2 without linear terms, exactly, (D, D).

    y = (1/2) sum_kl H_kl (p_k p_l - E p_k p_l). For traceless A, B, C, E the Gaussian expectation
    of q_A q_B q_C q_E (q_A = x' A x) is the sum over the pairings and the cycles:
        4 [tr AB tr CE + tr AC tr BE + tr AE tr BC] + 8 sum over the 6 cyclic orders of tr A...,
    and on the sphere it is d^4 / (d (d+2) (d+4) (d+6)) of it, the ratio of E |x|^8.

    Errors: `ValueError` for another link.
    """
    if any(sum(orders) != 2 for orders, _ in task.link.terms):
        raise ValueError(f"the closed form is for links of degree 2, not {task.link.text}")
    d, H = task.d, task.link.mean_hessian
    B = basis.matrices(np.eye(basis.size(d)), d)  # phi_b = x' B_b x
    ratio = d**3 / ((d + 2) * (d + 4) * (d + 6))
    image, mean = np.zeros_like(B), 0.0
    for k, j in np.argwhere(H):
        A, C = task.A[k], task.A[j]
        along_a, along_c = np.einsum("ij,bij->b", A, B), np.einsum("ij,bij->b", C, B)
        pairs = np.sum(A * C) * B
        pairs += np.multiply.outer(along_a, C) + np.multiply.outer(along_c, A)
        both = A @ C + C @ A
        cycles = B @ both + both @ B + A @ B @ C + C @ B @ A
        image += 0.5 * H[k, j] * (4 * pairs + 8 * cycles)
        mean += 0.5 * H[k, j] * float(k == j)
    # <B_b, image_c> is E y phi_b phi_c; symmetrised against rounding.
    M = ratio * (B.reshape(len(B), -1) @ image.reshape(len(B), -1).T)
    return 0.5 * (M + M.T) - mean * np.eye(len(M))


def expected_overlap(task: Task, n: ArrayLike, label_energy: float) -> Floats:
    """E |P M^ w|^2 / E |M^ w|^2 after one step from a uniform w, for n samples, quadratic links.

    P projects on the features. As |phi|^2 = D at every point, sampling adds exactly
    E |M^|_F^2 = (1 - 1/n) |M|_F^2 + D^2 Var(y) / n and
    E |P M^|_F^2 = (1 - 1/n) |P M|_F^2 + D E[(y - E y)^2 |p|^2] / n.

    label_energy : E (y - E y)^2 |p|^2
    """
    n = np.asarray(n, dtype=float)
    M, D = population_moment(task), basis.size(task.d)
    keep = 1 - 1 / n
    signal = keep * np.sum((task.theta @ M) ** 2) + D * label_energy / n
    return signal / (keep * np.sum(M**2) + D**2 * label_variance(task) / n)


def flat_saturation(d: int) -> float:
    """`expected_overlap` of p2 with flat features at infinite n: (d + 6) / (3 (d + 2)), to 1/3.

    With A^2 a multiple of I, M maps A_k to a multiple of itself and every B to one of
    sum_k A_k B A_k, which is what keeps one step away from the features.
    """
    return (d + 6) / (3 * (d + 2))


def label_variance(task: Task) -> float:
    """Var y of a link of degree 2 on the sphere, exactly: (1/2) sum_kl H_kl theta_k' M theta_l."""
    half = 0.5 * task.link.mean_hessian
    M = task.theta @ population_moment(task) @ task.theta.T
    return float(np.sum(half * M))


# ----------------------------------------------------------------------------------- kernel ridge


_DEGREES = 40
"""Harmonics beyond this degree hold nothing of the kernel in double precision."""


def kernel_eigenvalue(degree: int, d: int) -> float:
    """Eigenvalue of cosh(a t)/cosh(a), t = <x, x'>/d, on harmonics of a degree (Funk-Hecke).

    (a/2)^l Gamma(d/2) / Gamma(l + d/2) 0F1(l + d/2; a^2/4) for even l, over cosh a; 0 for odd l.
    """
    if degree % 2:
        return 0.0
    a, nu = baselines.SHARPNESS, degree + d / 2
    log = degree * math.log(a / 2) + special.gammaln(d / 2) - special.gammaln(nu)
    return float(math.exp(log) * special.hyp0f1(nu, a * a / 4) / math.cosh(a))


def multiplicity(degree: int, d: int) -> float:
    """Number of spherical harmonics of a degree in d dimensions."""
    if degree < 2:
        return float(1 if degree == 0 else d)
    return float(special.comb(d + degree - 1, degree) - special.comb(d + degree - 3, degree - 2))


def kernel_error(
    n: float, d: int, energies: ArrayLike, penalties: Sequence[float] | None = None
) -> float:
    """Test error over Var y of noiseless kernel ridge with n samples at its best penalty.

    The deterministic equivalent: kappa solves
        penalty / kappa + (1/n) sum_l N_l mu_l / (mu_l + kappa) = 1,
    and the error is sum_l E_l (kappa / (mu_l + kappa))^2 / (1 - gamma) with
    gamma = (1/n) sum_l N_l (mu_l / (mu_l + kappa))^2.

    energies : share of Var y in the harmonics of degree 2, 4, 6, ...
    penalties : those to choose from; None for every penalty >= 0
    """
    degrees = range(0, _DEGREES, 2)
    mu = np.array([kernel_eigenvalue(degree, d) for degree in degrees])
    N = np.array([multiplicity(degree, d) for degree in degrees])
    E = np.zeros(len(mu))
    E[1 : 1 + np.size(energies)] = energies

    def kappa_of(penalty: float) -> float:
        def excess(log: float) -> float:
            kappa = math.exp(log)
            return penalty / kappa + float(np.sum(N * mu / (mu + kappa))) / n - 1

        lowest, highest = -150.0, max(10.0, math.log(penalty + 1.0) + 1.0)
        if excess(lowest) <= 0:  # more samples than harmonics: nothing is left to learn
            return math.exp(lowest)
        return math.exp(optimize.brentq(excess, lowest, highest, xtol=1e-10))

    if penalties is None:  # penalties >= 0 are the kappa above that of no penalty
        kappa = np.geomspace(kappa_of(0.0), 10.0, 400)[:, None]
    else:
        kappa = np.array([kappa_of(penalty) for penalty in penalties])[:, None]
    gamma = np.sum(N * (mu / (mu + kappa)) ** 2, axis=1) / n
    errors = np.sum(E * (kappa / (mu + kappa)) ** 2, axis=1) / np.maximum(1 - gamma, 1e-12)
    return float(errors.min())


def kernel_samples(target: float, d: int, energies: ArrayLike) -> float:
    """Samples at which `kernel_error` at the best penalty falls to `target`; NaN if at once."""

    def above(log: float) -> float:
        return math.log(kernel_error(math.exp(log), d, energies) / target)

    low, high = math.log(4.0), math.log(multiplicity(2 * np.size(energies), d)) + 5.0
    if above(low) <= 0 or above(high) >= 0:
        return math.nan
    return math.exp(optimize.brentq(above, low, high, xtol=1e-4))


def degree_energies(rng: np.random.Generator, task: Task, n: int, degree: int) -> Floats:
    """Shares of Var y in the harmonics of degree 2, 4, ..., 2 p, estimated on n pairs.

    E y(x) y(x') over pairs with <x, x'> = rho d is sum_l E_l P_l(rho), P_l the Gegenbauer
    polynomial with P_l(1) = 1; correlations at well-spread rho are solved for E_l.
    """
    orders = np.arange(0, 2 * degree + 1, 2)
    rho = np.cos(np.linspace(0, math.pi / 2, 2 * len(orders) + 1))[:-1]
    correlations = np.zeros(len(rho))
    for start in range(0, n, 4096):
        x = data.sphere(rng, task.d, min(4096, n - start)).astype(np.float64)
        side = rng.standard_normal(x.shape)
        side -= x * (np.einsum("dn,dn->n", side, x) / np.einsum("dn,dn->n", x, x))
        side *= math.sqrt(task.d) / np.linalg.norm(side, axis=0)
        y = data.labels(task, x)
        for k, value in enumerate(rho):
            pair = value * x + math.sqrt(1 - value**2) * side
            correlations[k] += float(y @ data.labels(task, pair))
    table = np.array([gegenbauer(int(order), task.d, rho) for order in orders]).T
    energies: Floats = optimize.nnls(table, correlations / n)[0][1:]
    energies /= energies.sum()
    return energies


def gegenbauer(degree: int, d: int, t: ArrayLike) -> Floats:
    """P_l(t) of the sphere in d dimensions, P_l(1) = 1, by the three-term recurrence."""
    t = np.asarray(t, dtype=float)
    before, now = np.ones_like(t), t
    if degree == 0:
        return before
    for k in range(1, degree):
        before, now = now, ((2 * k + d - 2) * t * now - k * before) / (k + d - 2)
    return now


def fitted_slope(x: ArrayLike, y: ArrayLike) -> tuple[float, float]:
    """Slope of ln y on ln x and its standard error; NaN where they are not defined."""
    u, v = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    if u.size < 2 or np.ptp(u) == 0 or not np.isfinite(v).all():
        return math.nan, math.nan
    u = u - u.mean()
    slope = float(u @ v / (u @ u))
    rest = v - v.mean() - slope * u
    error = math.sqrt(float(rest @ rest) / (u.size - 2) / float(u @ u)) if u.size > 2 else math.nan
    return slope, error
