"""The semidefinite complementarity problem that fixes the covariance of the oscillations.

Find X, symmetric k x k, with  X >= 0,  Z = A + B[X] >= 0,  <X, Z> = 0,  B positive semidefinite:
the minimiser of <X, B[X]>/2 + <A, X> over X >= 0. Matrices are written as vectors of length
m = k(k+1)/2 in an orthonormal basis, so that products of vectors are products of matrices.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NEWTON = 40
ROUNDS = 5000
ACCURACY = 1e-11


class Unsolvable(Exception):
    """The problem has no solution; the message says why."""


@functools.cache
def basis(k: int) -> Floats:
    """An orthonormal basis of the symmetric k x k matrices, (m, k, k)."""
    matrices = []
    for i in range(k):
        for j in range(i, k):
            matrix = np.zeros((k, k))
            matrix[i, j] = matrix[j, i] = 1.0 if i == j else np.sqrt(0.5)
            matrices.append(matrix)
    return np.array(matrices)


@dataclass(frozen=True)
class Solution:
    """X, Z : (k, k).

    least : smallest eigenvalue of X and Z, relative to their size; 0 or above when exact
    gap : <X, Z> relative to |X| |Z|
    """

    X: Floats
    Z: Floats

    @property
    def least(self) -> float:
        """How far X and Z are from positive semidefinite: the lower of their eigenvalues."""
        return min(_least(self.X), _least(self.Z))

    @property
    def gap(self) -> float:
        """|<X, Z>|, which is 0 for the exact solution."""
        return abs(float((self.X * self.Z).sum()))


def solve(A: Floats, B: Floats) -> Solution:
    """The solution X, Z of the problem.

    A : (k, k), symmetric;  B : (m, m), in the basis `basis(k)`; its symmetric part counts

    One direction: X = max(0, -A/B). If A + B[X] = 0 has a solution X >= 0, that is it; else
    Newton's method for X = the positive part of X - Z, and where that stalls the alternating
    direction method of multipliers.

    Errors: `Unsolvable` where B is zero and A is not >= 0, as for a quadratic loss.
    """
    k = len(A)
    E = basis(k)
    B = (B + B.T) / 2
    if not np.isfinite(A).all() or not np.isfinite(B).all():
        raise Unsolvable("the complementarity problem has a number that is not finite")
    if _least(A) >= 0:
        return Solution(np.zeros((k, k)), A)
    if np.trace(B) <= 1e-14 * np.abs(A).max():
        raise Unsolvable(
            "nothing bends the loss: no oscillation can hold the sharpness at the edge"
        )
    if k == 1:
        X = -A / B
        return Solution(X, np.zeros_like(A))
    a = np.einsum("mij,ij->m", E, A)
    x = np.linalg.lstsq(B, -a, rcond=1e-12)[0]
    X, Z = _matrix(E, x), _matrix(E, a + B @ x)
    if _least(X) >= 0 and np.abs(Z).max() <= 1e-10 * np.abs(A).max():
        return Solution(X, np.zeros_like(A))
    size = np.abs(a).max()
    scale = size / max(np.trace(B) / len(B), 1e-300)  # of X
    a, B = a / size, B * scale / size
    found = _newton(E, a, B, x / scale)
    X = _alternate(E, a, B) if found is None else found
    return Solution(X * scale, _matrix(E, a + B @ _vector(E, X)) * size)


def _newton(E: Floats, a: Floats, B: Floats, x: Floats) -> Floats | None:
    """X, by Newton's method on F(x) = x - (x - a - B x)_+, from x; None where it stalls.

    The derivative of the positive part of S = Q diag(v) Q^T in a direction D is
    Q (O * Q^T D Q) Q^T with O_ij = (max(v_i, 0) - max(v_j, 0))/(v_i - v_j); it is of order two
    where no v_i is 0.
    """
    m, k = E.shape[:2]
    flat = E.reshape(m, -1)

    def at(x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """F, the eigenvalues and eigenvectors of S = X - Z, and the positive part of S."""
        values, vectors = np.linalg.eigh(((x - a - B @ x) @ flat).reshape(k, k))
        X: Floats = (vectors * np.maximum(values, 0)) @ vectors.T
        return x - flat @ X.ravel(), values, vectors, X

    values, vectors = np.linalg.eigh((x @ flat).reshape(k, k))
    x = flat @ ((vectors * np.maximum(values, 0)) @ vectors.T).ravel()
    F, values, vectors, X = at(x)
    for _ in range(NEWTON):
        error = np.abs(F).max()
        if error < ACCURACY:
            return X
        plus, apart = np.maximum(values, 0), values[:, None] - values
        equal = np.abs(apart) < 1e-14
        slopes = np.where(equal, values > 0, (plus[:, None] - plus) / np.where(equal, 1.0, apart))
        turned = (vectors.T @ E @ vectors).reshape(m, -1)
        D = (turned * slopes.ravel()) @ turned.T
        try:
            move = np.linalg.solve(np.eye(m) - D + D @ B, -F)
        except np.linalg.LinAlgError:
            return None
        share = 1.0
        while np.abs((after := at(x + share * move))[0]).max() >= (1 - 0.1 * share) * error:
            share /= 2
            if share < 1e-3:
                return None
        x = x + share * move
        F, values, vectors, X = after
    return None


def _alternate(E: Floats, a: Floats, B: Floats) -> Floats:
    """X, by the alternating direction method of multipliers; a and B of size one."""
    x = np.zeros(len(a))
    dual = np.zeros(len(a))
    penalty = 0.3
    inverse = np.linalg.inv(B + penalty * np.eye(len(a)))
    X = np.zeros(E.shape[1:])
    for turn in range(ROUNDS):
        x = inverse @ (penalty * (_vector(E, X) - dual) - a)
        values, vectors = np.linalg.eigh(_matrix(E, x + dual))
        before = X
        X = (vectors * np.maximum(values, 0)) @ vectors.T
        dual = dual + x - _vector(E, X)
        primal = np.abs(x - _vector(E, X)).max()
        moved = penalty * np.abs(X - before).max()
        if primal < ACCURACY and moved < ACCURACY:
            break
        if turn % 50 == 49 and not 0.1 < primal / max(moved, 1e-300) < 10:
            factor = 2.0 if primal > moved else 0.5
            penalty, dual = penalty * factor, dual / factor
            inverse = np.linalg.inv(B + penalty * np.eye(len(a)))
    return X


def _matrix(E: Floats, x: Floats) -> Floats:
    found: Floats = np.einsum("m,mij->ij", x, E)
    return found


def _vector(E: Floats, X: Floats) -> Floats:
    found: Floats = np.einsum("mij,ij->m", E, X)
    return found


def _least(matrix: Floats) -> float:
    return float(np.linalg.eigvalsh(matrix)[0])
