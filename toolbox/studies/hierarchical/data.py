"""Data on the sphere, quadratic features, and the sign patterns that make them flat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from toolbox.core import memory
from toolbox.core.errors import ParameterError

from . import basis, links
from .links import Link

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Task:
    """A target f*(x) = g(p_1(x), ..., p_r(x)) with p_k(x) = x' A_k x.

    A : (r, d, d), symmetric, traceless, orthogonal, E p_k^2 = 1
    theta : (r, D), orthonormal rows, p_k = theta_k . phi
    """

    d: int
    A: Floats
    theta: Floats
    link: Link


def make_task(rng: np.random.Generator, d: int, kind: str, link: Link) -> Task:
    """A target with random features of one kind, `flat` or `goe`."""
    A = flat(rng, d, link.r) if kind == "flat" else goe(rng, d, link.r)
    return Task(d, A, basis.coordinates(A), link)


def check_features(kind: str, d: int, r: int, field: str) -> None:
    """Refuse a number of features that dimension d cannot have, and a d that memory cannot hold.

    field : the name of the parameter that d comes from

    Errors: `ParameterError`.
    """
    matrices = 4 * 8.0 * basis.size(d) ** 2
    memory.need(matrices, "the moment matrix of all quadratics and its copies", field, d)
    if r > d:
        raise ParameterError("r", r, f"more features than dimensions, {d}", "lower {r}")
    if r > basis.size(d):
        raise ParameterError("r", r, f"dimension {d} has one quadratic only", f"raise {{{field}}}")
    if kind == "flat" and r > hadamard_order(d) - 1:
        raise ParameterError(
            field,
            d,
            f"flat features have {hadamard_order(d) - 1} orthogonal balanced sign patterns there, "
            f"{{r}} {r} needs {r}",
            "take another multiple of 4, or {features} goe",
        )


def sphere(rng: np.random.Generator, d: int, n: int) -> Floats:
    """n points uniform on the sphere of radius sqrt d, (d, n)."""
    g = rng.standard_normal((d, n), dtype=np.float32)
    g *= np.sqrt(d / np.einsum("dn,dn->n", g, g, dtype=np.float32))
    return g


def features(task: Task, x: Floats) -> Floats:
    """p_k(x) = x' A_k x at points x (d, B): (r, B)."""
    A = task.A.astype(x.dtype)
    return np.stack([np.einsum("dn,dn->n", Ak @ x, x) for Ak in A])


def labels(task: Task, x: Floats) -> Floats:
    """y = g(p(x)) at points x (d, B): (B,)."""
    return links.evaluate(task.link, features(task, x))


# ------------------------------------------------------------------------------------- features


def flat(rng: np.random.Generator, d: int, r: int) -> Floats:
    """A_k = c Q diag(s_k) Q' with Q Haar and s_k orthogonal balanced signs, (r, d, d).

    Every eigenvalue is +-c, the smallest operator norm that E p_k^2 = 1 allows: on the sphere
    E (x' A x)^2 = 2d/(d+2) |A|_F^2, so |A|_F^2 = (d+2)/(2d) and c = sqrt((d+2)/2) / d.
    """
    Q = orthogonal(rng, d)
    A: Floats = math.sqrt((d + 2) / 2) / d * np.einsum("ij,kj,lj->kil", Q, sign_patterns(d, r), Q)
    return A


def goe(rng: np.random.Generator, d: int, r: int) -> Floats:
    """r random orthonormal directions in the D-dimensional space of quadratics, (r, d, d)."""
    rows = np.linalg.qr(rng.standard_normal((basis.size(d), r)))[0].T
    return basis.matrices(rows, d)


def orthogonal(rng: np.random.Generator, d: int) -> Floats:
    """A Haar-distributed orthogonal matrix, (d, d)."""
    Q, R = np.linalg.qr(rng.standard_normal((d, d)))
    return Q * np.sign(np.diag(R))


def sign_patterns(d: int, r: int) -> Floats:
    """r orthogonal sign vectors that each sum to zero, (r, d): rows of a Hadamard matrix of the
    largest order that divides d, each entry repeated."""
    order = hadamard_order(d)
    if not 1 <= r < order:
        raise ValueError(f"{order - 1} patterns in dimension {d}, asked for {r}")
    return np.repeat(hadamard(order)[1 : r + 1], d // order, axis=1)


def hadamard_order(d: int) -> int:
    """The largest divisor of d for which `hadamard` has a construction."""
    return next(h for h in range(d, 0, -1) if d % h == 0 and _constructible(h))


def hadamard(order: int) -> Floats:
    """A Hadamard matrix whose first row is all ones: Sylvester's doubling of Paley's two.

    Errors: `ValueError` for an order that these do not reach.
    """
    if not _constructible(order):
        raise ValueError(f"no Hadamard matrix of order {order} from these constructions")
    H: Floats = np.ones((1, 1))
    if order == 1:
        return H
    if _prime(order - 1) and (order - 1) % 4 == 3:
        H = _bordered(order - 1, -1.0) + np.eye(order)  # I + S, S skew
    elif order % 2 == 0 and _prime(order // 2 - 1) and (order // 2 - 1) % 4 == 1:
        C = _bordered(order // 2 - 1, 1.0)  # symmetric conference matrix
        H = np.kron(C, [[1, 1], [1, -1]]) + np.kron(np.eye(order // 2), [[1, -1], [-1, -1]])
    else:
        H = np.kron(hadamard(order // 2), [[1, 1], [1, -1]])
    signed: Floats = H * H[0]
    return signed


def _bordered(q: int, sign: float) -> Floats:
    """Paley's conference matrix of order q + 1: quadratic residues, bordered by ones."""
    chi = np.full(q, -1.0)
    chi[[i * i % q for i in range(1, q)]] = 1.0
    chi[0] = 0.0
    C = np.zeros((q + 1, q + 1))
    C[0, 1:], C[1:, 0] = 1.0, sign
    C[1:, 1:] = linalg.circulant(chi).T if sign > 0 else linalg.circulant(chi)
    return C


def _constructible(order: int) -> bool:
    if order in (1, 2):
        return True
    if order % 4:
        return False
    one = _prime(order - 1) and (order - 1) % 4 == 3
    two = _prime(order // 2 - 1) and (order // 2 - 1) % 4 == 1
    return one or two or _constructible(order // 2)


def _prime(q: int) -> bool:
    return q > 1 and all(q % f for f in range(2, math.isqrt(q) + 1))
