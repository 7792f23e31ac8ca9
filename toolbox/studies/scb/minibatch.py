"""The proximal method on the windows of a text, beside the exact least squares of `scb fit`.

The contexts are short (T of 8 or 16), so that dense one-hot products are the fast form here.
"""

from __future__ import annotations

import numpy as np

from . import model
from .data import Floats, Ints
from .model import Attention, Steps

FLOOR = 0.16
"""The preconditioner takes no class for rarer than FLOOR / N: its gradient would be noise."""
ETA_V = 0.05
ETAS, LAMS = (0.1, 0.3), (0.0, 0.003, 0.01)


def grid() -> Steps:
    """Every pair of attention step size and penalty."""
    return Steps.of(ETA_V, np.repeat(ETAS, len(LAMS)), np.tile(LAMS, len(ETAS)))


def start(windows: tuple[Ints, Ints, Ints], N: int) -> tuple[Floats, Attention]:
    """V = mu 1^T (C, N, N) and uniform attention A (N, C, T), for every pair of the grid.

    windows : contexts (n, T), last tokens (n,), outputs (n,)
    """
    X, _, out = windows
    C, T = grid().lam.size, X.shape[1]
    mu = np.bincount(out, minlength=N) / len(out)
    V = np.repeat(np.outer(mu, np.ones(N))[None], C, axis=0)
    return V, np.full((N, C, T), 1.0 / T)


def step(
    V: Floats, A: Attention, windows: tuple[Ints, Ints, Ints], shrink: float, batch: int,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """One proximal step of the whole grid, in place, on one batch drawn with replacement.

    shrink : factor on both step sizes
    """
    X, last, out = windows
    N, C, T = A.shape
    sizes, eye = grid(), np.eye(N)
    mu = np.bincount(out, minlength=N) / len(out)
    scale = 1.0 / np.maximum(mu, FLOOR / N)
    tiled = Steps.of(np.tile(sizes.eta_v, N), np.tile(sizes.eta_a, N), np.tile(sizes.lam, N))
    mine = rng.integers(0, len(out), size=batch)
    onehot, k = eye[X[mine]], last[mine]  # (B, T, N), (B,)
    H = A[k] @ onehot  # (B, C, N)
    Hc = np.ascontiguousarray(H.swapaxes(0, 1))  # (C, B, N)
    r = Hc @ V.swapaxes(1, 2) - eye[out[mine]]
    back = (r @ V).swapaxes(0, 1) @ onehot.swapaxes(1, 2)  # (B, C, T)
    gA = (eye[k].T @ back.reshape(batch, -1)).reshape(N, C, T) / batch
    descent = shrink * sizes.eta_a[:, None] * scale[:, None, None] * gA
    model.move_attention(A.reshape(N * C, T), descent.reshape(N * C, T), tiled.times(shrink))
    gV = r.swapaxes(1, 2) @ Hc / batch
    V -= shrink * sizes.eta_v[:, None, None] * gV * scale
    V -= (V @ mu - mu)[:, :, None]
