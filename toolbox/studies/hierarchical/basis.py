"""The D = d(d+1)/2 - 1 orthonormal quadratics phi on the sphere |x|^2 = d.

Every traceless quadratic x' A x is theta . phi(x). On the sphere E phi = 0, E phi phi' = I, and
|phi(x)|^2 = D at every point. Arrays are (features, samples): the fast layout for BLAS here.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.floating]


def size(d: int) -> int:
    """D, the number of quadratics."""
    return d * (d + 1) // 2 - 1


def scale(d: int) -> float:
    """The factor that makes the quadratics orthonormal on the sphere: sqrt((d+2) / (2d))."""
    return math.sqrt((d + 2) / (2 * d))


def phi(x: Floats) -> Floats:
    """phi of points x (d, B): (D, B), of the dtype of x.

    First sqrt2 x_i x_j for i < j, row by row, then the Helmert contrasts of the squares, all times
    `scale(d)`. Homogeneous of degree 2, so that phi(t x) = t^2 phi(x) also off the sphere.
    """
    d, B = x.shape
    out = np.empty((size(d), B), dtype=x.dtype)
    scaled = x * x.dtype.type(math.sqrt(2) * scale(d))
    at = 0
    for i in range(d - 1):
        np.multiply(x[i + 1 :], scaled[i], out=out[at : at + d - 1 - i])
        at += d - 1 - i
    contrasts = (linalg.helmert(d) * scale(d)).astype(x.dtype)
    np.matmul(contrasts, x * x, out=out[at:])
    return out


def coordinates(A: Floats) -> Floats:
    """theta with x' A x = theta . phi(x), for symmetric traceless A (..., d, d): (..., D)."""
    d = A.shape[-1]
    above = np.triu_indices(d, 1)
    crossed = A[..., above[0], above[1]] * (math.sqrt(2) / scale(d))
    squares = np.einsum("kd,...dd->...k", linalg.helmert(d), A) / scale(d)
    return np.concatenate([crossed, squares], axis=-1)


def matrices(theta: Floats, d: int) -> Floats:
    """The inverse of `coordinates`: symmetric traceless A (..., d, d) from theta (..., D)."""
    above = np.triu_indices(d, 1)
    pairs = len(above[0])
    A = np.zeros((*theta.shape[:-1], d, d))
    A[..., above[0], above[1]] = theta[..., :pairs] * (scale(d) / math.sqrt(2))
    A = A + np.swapaxes(A, -1, -2)
    diagonal = np.arange(d)
    A[..., diagonal, diagonal] = theta[..., pairs:] @ linalg.helmert(d) * scale(d)
    return A
