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
SPARE = 2
"""Vectors beyond those wanted that are handed on: a search that starts with them too converges
faster, as what is wanted then stands apart from the rest of the spectrum."""


class NotConverged(Exception):
    """The eigenvalues were not found to the tolerance; the message says how far they are."""


@dataclass(frozen=True)
class Pairs:
    """values : (m,), falling;  vectors : (n, m), orthonormal columns;  products : A V, (n, m).

    spare : (n, s), approximate eigenvectors that follow
    """

    values: Tensor
    vectors: Tensor
    products: Tensor
    spare: Tensor


def ritz(vectors: Tensor, products: Tensor) -> Pairs:
    """The best eigenpairs in a subspace.

    vectors : V, (n, b), orthonormal columns;  products : A V, (n, b)
    """
    values, rotation = torch.linalg.eigh(vectors.T @ products)
    rotation = rotation.flip(1)
    return Pairs(values.flip(0), vectors @ rotation, products @ rotation, vectors[:, :0])


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
    return _pairs(times, start, lambda values: count, tolerance, None)


def above(
    times: Callable[[Tensor], Tensor],
    start: Tensor,
    threshold: float,
    tolerance: float,
    draw: Callable[[int], Tensor],
    most: int,
) -> Pairs:
    """All eigenpairs above a threshold and the first one below, so that none is overlooked.

    start : (n, b) vectors of earlier points, b >= 1
    draw : m -> (n, m) random columns, which keep the method from overlooking a direction
    most : the largest number of pairs; more are an error

    Errors: `NotConverged` when more than `most` are above.
    """

    def wanted(values: list[float]) -> int:
        found = sum(value > threshold for value in values)
        if found > most:
            raise NotConverged(f"more than {most} effective eigenvalues are above {threshold}")
        return found + 1

    return _pairs(times, torch.cat([start, draw(1)], 1), wanted, tolerance, draw)


def _pairs(
    times: Callable[[Tensor], Tensor], start: Tensor, wanted: Callable[[list[float]], int],
    tolerance: float, draw: Callable[[int], Tensor] | None,
) -> Pairs:  # fmt: skip
    """As `largest`.

    wanted : falling eigenvalues of the projected matrix -> how many to find
    draw : random columns where the basis is smaller than that
    """
    n = len(start)
    basis = torch.linalg.qr(start[:, :n])[0].T  # vectors are rows here
    products = times(basis.T).T
    for _ in range(ROUNDS):
        rising, rotation = torch.linalg.eigh(basis @ products.T)
        known = rising.tolist()[::-1]
        want = wanted(known)
        count = min(want, len(known))
        turn = rotation.T.flip(0)
        vectors, images = turn[: count + SPARE] @ basis, turn[: count + SPARE] @ products
        values = rising.flip(0)[:count]
        found = Pairs(values, vectors[:count].T, images[:count].T, vectors[count:].T)
        residuals = images[:count] - values[:, None] * vectors[:count]
        scale = max(map(abs, known[:count])) or 1.0
        sizes = [size / scale for size in residuals.norm(dim=1).tolist()]
        missing = [i for i, size in enumerate(sizes) if size > tolerance]
        if len(basis) == n or (not missing and want == count):
            return found
        if len(basis) > LARGEST_BASIS:
            turn = turn[: 2 * count + 2]
            basis, products = turn @ basis, turn @ products
        new = residuals[missing]
        if want > count and draw is not None:
            new = torch.cat([new, draw(1).T])
        new = _outside(basis, new / new.norm(dim=1, keepdim=True))
        new = _outside(basis, new[: n - len(basis)])  # twice is enough
        if len(new):
            basis, products = torch.cat([basis, new]), torch.cat([products, times(new.T).T])
        elif want == count:  # what is left is rounding
            return found
    raise NotConverged(f"residual {max(sizes):.1e}, wanted {tolerance:.1e}")


def _outside(basis: Tensor, vectors: Tensor) -> Tensor:
    """What vectors add to a basis, orthonormal; those that add little but rounding are left out.

    basis : (b, n), orthonormal rows;  vectors : (m, n), of length about 1
    """
    q, r = torch.linalg.qr((vectors - (vectors @ basis.T) @ basis).T)
    kept: Tensor = q.T[r.diagonal().abs() > torch.finfo(q.dtype).eps ** 0.5]
    return kept
