"""The network f(x) = c + sum_j a_j sigma_1(<w_j, h(x)> + b_j), trained layer by layer.

h(x) = sigma_2(V x) with sigma_2(z) = (z^2 - 1) / sqrt 2 and unit rows v_k. On the sphere
h = L phi(x) exactly, so everything is computed with phi: a neuron w acts as u = L' w in R^D. With
an infinite second layer L'L is a multiple of the identity, and u is the neuron.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from . import basis

Floats = NDArray[np.floating]


# ---------------------------------------------------------------------------- stage 1: features


def second_layer(rng: np.random.Generator, d: int, m2: int) -> Floats:
    """L, (m2, D): the quadratics h_k(x) = (<v_k, x>^2 - 1) / sqrt 2 in coordinates.

    v v' - I/d is the traceless matrix of <v, x>^2 - 1 where |x|^2 = d.
    """
    v = rng.standard_normal((m2, d))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    L = np.empty((m2, basis.size(d)))
    for at in range(0, m2, 256):  # the matrices (256, d, d) at a time
        part = v[at : at + 256]
        L[at : at + 256] = basis.coordinates(
            (part[:, :, None] * part[:, None, :] - np.eye(d) / d) / math.sqrt(2)
        )
    return L


def initial(rng: np.random.Generator, D: int, m: int, L: Floats | None = None) -> Floats:
    """m random neurons as unit vectors u in R^D, (m, D): uniform, or L' w with w uniform."""
    W = rng.standard_normal((m, D if L is None else len(L)))
    return unit(W if L is None else W @ L)


def unit(W: Floats) -> Floats:
    """Rows of length 1, which gives pre-activations unit variance (the role of eta)."""
    length: Floats = np.maximum(np.linalg.norm(W, axis=1, keepdims=True), 1e-300)
    return W / length


def steps(W: Floats, M: Floats, count: int, L: Floats | None = None) -> Floats:
    """The neurons after `count` full-batch steps: u -> M u, then (L'L) for a finite second layer.

    W : (m, D);  M : (D, D);  L : (m2, D) or None.  With h = L phi, a step on w is w -> L M L' w.
    """
    for _ in range(count):
        W = W @ M
        W = unit(W if L is None else (W @ L.T) @ L)
    return W


def paired(W: Floats, m1: int) -> Floats:
    """m1 neurons from half as many: the symmetric start a_{m1+1-j} = -a_j gives +-M w."""
    return np.concatenate([W, -W])[:m1]


# ------------------------------------------------------------------------- stage 2: outer layer


def activate(z: Floats, act: str) -> Floats:
    """sigma_1: `relu`, or `hat`: z^2 for |z| < 1, 2|z| - 1 otherwise."""
    if act == "relu":
        return np.maximum(z, 0)
    size = np.abs(z)
    return np.where(size < 1, z * z, 2 * size - 1)


@dataclass(frozen=True)
class Hidden:
    """The first layer as stage 2 sees it: pre-activations W z + b of inputs z.

    W : (m, D) on phi(x), or (m, r) on the true features (the oracle);  b : (m,)
    """

    W: Floats
    b: Floats
    act: str

    def __call__(self, z: Floats) -> Floats:
        """Hidden activations of inputs z (D or r, B): (m, B)."""
        return activate(self.W @ z + self.b[:, None], self.act)


def gram(hidden: Hidden, batches: Iterable[tuple[Floats, Floats]]) -> Floats:
    """Sum over samples of v v' with v = (hidden activations, 1, y): (m+2, m+2), symmetric.

    It holds everything that least squares on these samples and its error need.
    """
    size = len(hidden.b) + 2
    G = np.zeros((size, size))
    for z, y in batches:
        v = np.empty((size, len(y)))
        v[:-2], v[-2], v[-1] = hidden(z), 1.0, y
        G += v @ v.T  # BLAS syrk
    return G


def ridge(G: Floats, penalty: float) -> Floats:
    """(a, c) minimising (1/n) sum (y - a' s - c)^2 + penalty |a|^2, from the Gram matrix: (m+1,).

    The intercept is not penalised. One Cholesky factorisation; the Gram matrix is shared by all
    penalties of a path.
    """
    n = G[-2, -2]
    mean = G[:-2, -2] / n
    S = G[:-2, :-2] / n - np.outer(mean, mean)
    target = G[:-2, -1] / n - mean * (G[-1, -2] / n)
    S[np.diag_indices(len(S))] += penalty
    a = linalg.solve(S, target, assume_a="pos", overwrite_a=True, check_finite=False)
    return np.append(a, G[-1, -2] / n - a @ mean)


def squared_error(G: Floats, weights: Floats) -> float:
    """Mean squared error of `ridge`'s weights on the samples behind a Gram matrix."""
    w = np.append(weights, -1.0)
    return float(w @ G @ w / G[-2, -2])


def fit_outer(train: Floats, held_out: Floats, penalties: Sequence[float]) -> tuple[Floats, float]:
    """The penalty that is best on the held-out Gram matrix, and the fit to both with it."""
    errors = [squared_error(held_out, ridge(train, penalty)) for penalty in penalties]
    best = penalties[int(np.argmin(errors))]
    return ridge(train + held_out, best), best


def predict(hidden: Hidden, weights: Floats, z: Floats) -> Floats:
    """f at inputs z (D or r, B): (B,)."""
    outputs: Floats = weights[:-1] @ hidden(z) + weights[-1]
    return outputs
