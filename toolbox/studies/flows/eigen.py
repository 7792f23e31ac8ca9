"""The largest eigenvalues of the effective Hessian P^-1 H, by a warm-started block method.

Block Lanczos with full orthogonalisation: the basis grows by the residuals of the wanted pairs, and
eigenvalues are those of the projected matrix (Rayleigh-Ritz).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_BASIS = 48
ROUNDS = 60


class NotConverged(Exception):
    """The eigenvalues were not found to the tolerance; the message says how far they are."""


@dataclass(frozen=True)
class Pairs:
    """values : (m,), falling;  vectors : (n, m), orthonormal columns;  products : A V, (n, m)."""

    values: Tensor
    vectors: Tensor
    products: Tensor


def ritz(vectors: Tensor, products: Tensor) -> Pairs:
    """The best eigenpairs in a subspace.

    vectors : V, (n, b), orthonormal columns;  products : A V, (n, b)
    """
    projected = vectors.T @ products
    values, rotation = torch.linalg.eigh((projected + projected.T) / 2)
    rotation = rotation.flip(1)
    return Pairs(values.flip(0), vectors @ rotation, products @ rotation)


def largest(
    times: Callable[[Tensor], Tensor], start: Tensor, count: int, tolerance: float
) -> Pairs:
    """The `count` largest eigenpairs of a symmetric matrix A.

    times : V -> A V, (n, b) -> (n, b)
    start : (n, b), b >= count, independent columns: approximate eigenvectors, best first
    tolerance : of a residual |A v - lambda v| relative to the largest eigenvalue; the error of an
                eigenvalue is about its square

    Errors: `NotConverged` after so many rounds that there must be a reason.
    """
    basis = torch.linalg.qr(start)[0]
    products = times(basis)
    for _ in range(ROUNDS):
        pairs = ritz(basis, products)
        values, vectors = pairs.values[:count], pairs.vectors[:, :count]
        residuals = pairs.products[:, :count] - vectors * values
        size = residuals.norm(dim=0) / values.abs().max().clamp_min(1e-300)
        if bool((size <= tolerance).all()) or basis.shape[1] == len(basis):
            return Pairs(values, vectors, pairs.products[:, :count])
        if basis.shape[1] > LARGEST_BASIS:
            kept = 2 * count + 2
            basis, products = pairs.vectors[:, :kept], pairs.products[:, :kept]
        new = residuals[:, size > tolerance]
        new = new / new.norm(dim=0)
        for _ in range(2):  # twice is enough
            new = new - basis @ (basis.T @ new)
        q, r = torch.linalg.qr(new)
        q = q[:, r.diagonal().abs() > 1e-8][:, : len(basis) - basis.shape[1]]
        if q.shape[1] == 0:  # what is left is rounding
            return Pairs(values, vectors, pairs.products[:, :count])
        basis, products = torch.cat([basis, q], 1), torch.cat([products, times(q)], 1)
    raise NotConverged(f"residual {float(size.max()):.1e}, wanted {tolerance:.1e}")


def above(
    times: Callable[[Tensor], Tensor],
    start: Tensor,
    threshold: float,
    tolerance: float,
    draw: Callable[[int], Tensor],
    most: int,
) -> Pairs:
    """All eigenpairs above a threshold and the first one below, so that none is overlooked.

    start : (n, b) vectors of an earlier point, b >= 1
    draw : m -> (n, m) random columns, which keep the method from overlooking a direction
    most : the largest number of pairs; more are an error

    Errors: `NotConverged` when more than `most` are above.
    """
    count = start.shape[1]
    while True:
        pairs = largest(times, torch.cat([start, draw(1)], 1), count, tolerance)
        if float(pairs.values[-1]) <= threshold or count == len(start):
            found = int((pairs.values > threshold).sum())
            keep = min(found + 1, count)
            return Pairs(pairs.values[:keep], pairs.vectors[:, :keep], pairs.products[:, :keep])
        if count >= most:
            raise NotConverged(f"more than {most} effective eigenvalues are above {threshold}")
        start, count = torch.cat([pairs.vectors, draw(1)], 1), count + 1
