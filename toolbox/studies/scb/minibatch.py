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


def train(
    windows: tuple[Ints, Ints, Ints], N: int, steps: int, batch: int, rng: np.random.Generator
) -> tuple[Floats, Attention]:
    """V (C, N, N) and A (N, C, T) of the grid after linearly decaying proximal steps.

    windows : contexts (n, T), last tokens (n,), outputs (n,). Batches are drawn with replacement,
    the same for the whole grid; the start is V = mu 1^T and uniform attention.
    """
    X, last, out = windows
    sizes, T = grid(), X.shape[1]
    C, eye = sizes.lam.size, np.eye(N)
    mu = np.bincount(out, minlength=N) / len(out)
    V, A = np.repeat(np.outer(mu, np.ones(N))[None], C, axis=0), np.full((N, C, T), 1.0 / T)
    scale = 1.0 / np.maximum(mu, FLOOR / N)
    tiled = Steps.of(np.tile(sizes.eta_v, N), np.tile(sizes.eta_a, N), np.tile(sizes.lam, N))
    for step in range(steps):
        shrink = 1.0 - step / steps
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
    return V, A
