"""One-layer linear attention, its gradients from token ids, and the steps of every algorithm.

f(x) = V X a^(k) with k = x_{T+1}: V (N, N) is the value, a^(k) (T,) the attention of last token k
(paper, section 3). Loss 1/2 |f(x) - e_{x_o}|^2 + lambda |a|_1.

A grid of C configurations shares every batch and is a trailing axis of the attention:
A : (N, T, C) with A[k] = a^(k), V : (C, N, N). Steps change both in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Batch, Floats, Ints, Task

Attention = NDArray[Any]  # float32 in grids, float64 for one configuration

ROUNDING = 0.2
"""Entries of A below ROUNDING / Q are rounded to zero; the value is chosen here."""


@dataclass(frozen=True)
class Forward:
    """H (C, N, B) = X a^(k), residuals r (C, N, B) = V H - e_o, and how the tokens were laid out:
    `slots` (B, T) for one configuration, `rows` (B, N - 1, T) for a grid."""

    H: Floats
    r: Floats
    slots: Ints | None = None
    rows: Attention | None = None


def start(task: Task, C: int = 1, dtype: Any = np.float64) -> tuple[Floats, Attention]:
    """The saddle at which training starts: V = mu 1^T and uniform attention."""
    V = np.repeat(task.U[None], C, axis=0)
    return V, np.full((task.N, task.T, C), 1.0 / task.T, dtype=dtype)


def indicators(batch: Batch, N: int, dtype: Any) -> Attention:
    """One-hot rows of the first N - 1 tokens, (B, N - 1, T); the last is one minus the others."""
    rows = np.empty((batch.B, N - 1, batch.X.shape[1]), dtype=dtype)
    for token in range(N - 1):
        np.equal(batch.X, token, out=rows[:, token], casting="unsafe")
    return rows


def forward(V: Floats, A: Attention, batch: Batch) -> Forward:
    """The mixed contexts and residuals of every sample under every configuration."""
    N, T, C = A.shape
    H = np.empty((C, N, batch.B))
    slots = rows = None
    if C == 1:  # counting by token id beats a product for a single configuration
        slots = np.arange(batch.B)[:, None] * N + batch.X
        weights = A[batch.last, :, 0]
        H[0] = np.bincount(slots.ravel(), weights.ravel(), batch.B * N).reshape(batch.B, N).T
    else:
        rows = indicators(batch, N, A.dtype)
        ones = np.ones(T, dtype=A.dtype)
        for k, mine in _groups(batch):
            seen = rows[mine].reshape(-1, T) @ A[k]
            H[:, : N - 1, mine] = seen.reshape(-1, N - 1, C).transpose(2, 1, 0)
            H[:, N - 1, mine] = (ones @ A[k])[:, None] - H[:, : N - 1, mine].sum(axis=1)
    r = V @ H
    r[:, batch.out, np.arange(batch.B)] -= 1.0
    return Forward(H, r, slots, rows)


def value_gradient(f: Forward) -> Floats:
    """Mean of r H^T over the batch, (C, N, N)."""
    gradient: Floats = f.r @ f.H.swapaxes(1, 2) / f.r.shape[2]
    return gradient


def attention_gradient(
    V: Floats, f: Forward, batch: Batch, shape: tuple[int, ...], factor: Floats, dtype: Any
) -> Attention:
    """factor[k, c] times the batch mean of (V^T r)[x_t] over samples of last token k, (N, T, C).

    factor : (N, C); 1 gives the gradient, 1 / mu_k the preconditioned one
    """
    N, T, C = shape
    gradient = np.zeros(shape, dtype=dtype)
    back = V.swapaxes(1, 2) @ f.r / batch.B  # (C, N, B)
    if f.slots is not None:
        spread = back[0].T.ravel()[f.slots]  # (B, T)
        for k, mine in _groups(batch):
            gradient[k, :, 0] = factor[k, 0] * spread[mine].sum(axis=0)
        return gradient
    assert f.rows is not None
    for k, mine in _groups(batch):
        part = back[:, :, mine] * factor[k][:, None, None]
        lifts = (part[:, : N - 1] - part[:, N - 1 :]).transpose(2, 1, 0).reshape(-1, C)
        np.matmul(f.rows[mine].reshape(-1, T).T, lifts.astype(dtype), out=gradient[k])
        gradient[k] += part[:, N - 1].sum(axis=1).astype(dtype)
    return gradient


@dataclass(frozen=True)
class Steps:
    """One step's size per configuration: eta_v, eta_a, lam (C,).

    plain : (C,) marks plain SGD, which has no preconditioner, no projection and no proximal map;
            the others are preconditioned and projected, and lam = 0 makes them projected SGD
    """

    eta_v: Floats
    eta_a: Floats
    lam: Floats
    plain: NDArray[np.bool_]

    @staticmethod
    def of(eta_v: Any, eta_a: Any, lam: Any, plain: Any = False) -> Steps:
        """Broadcast the arguments to one length."""
        v, a, w, p = np.broadcast_arrays(*map(np.atleast_1d, (eta_v, eta_a, lam, plain)))
        return Steps(v.astype(float), a.astype(float), w.astype(float), p.astype(bool))

    def times(self, factor: Any) -> Steps:
        """The same with both step sizes scaled, by a number or per configuration."""
        return Steps(self.eta_v * factor, self.eta_a * factor, self.lam, self.plain)


def step(V: Floats, A: Attention, batch: Batch, mu: Floats, steps: Steps) -> None:
    """One proximal step of every configuration (paper, Algorithm 1), in place.

    V <- Proj(V - eta_v gV diag(1/mu)), A <- Proj(soft(A - eta_a gA / mu_k, eta_a lam)), the
    projections being V - (V mu - mu) 1^T and a shift of each a^(k) to sum 1.
    """
    f = forward(V, A, batch)
    factor = steps.eta_a * np.where(steps.plain, 1.0, 1.0 / mu[:, None])
    move_attention(A, attention_gradient(V, f, batch, A.shape, factor, A.dtype), steps)
    move_value(V, value_gradient(f), mu, steps)


def move_attention(A: Attention, descent: Attention, steps: Steps) -> None:
    """A <- Proj(soft(A - descent, eta_a lam)), in place; descent has the step size in it."""
    bent = ~steps.plain
    A -= descent
    threshold = (steps.eta_a * steps.lam * bent).astype(A.dtype)
    if threshold.any():
        A -= np.clip(A, -threshold, threshold)
    A += (bent * (1.0 - A.sum(axis=1, keepdims=True)) / A.shape[1]).astype(A.dtype)


def move_value(V: Floats, gradient: Floats, mu: Floats, steps: Steps) -> None:
    """V <- Proj(V - eta_v gV diag(1/mu)), in place."""
    bent = ~steps.plain[:, None, None]
    V -= steps.eta_v[:, None, None] * gradient * np.where(bent, 1.0 / mu, 1.0)
    V -= bent * (V @ mu - mu)[:, :, None]


def value_step(V: Floats, A: Attention, batch: Batch, mu: Floats, steps: Steps) -> None:
    """One step of the value alone, in place."""
    move_value(V, value_gradient(forward(V, A, batch)), mu, steps)


def rounded(A: Attention, Q: int) -> Attention:
    """A with entries below 0.2 / Q set to zero and columns renormalised to sum 1.

    A column that loses every entry becomes uniform.
    """
    kept = np.where(A >= ROUNDING / Q, A, 0.0)
    total = kept.sum(axis=1, keepdims=True)
    T = A.shape[1]
    return np.where(total > 0, kept / np.where(total > 0, total, 1.0), 1.0 / T).astype(A.dtype)


def softmax(W: Attention) -> Attention:
    """Softmax over the positions, axis 1 of (N, T, C)."""
    e = np.exp(W - W.max(axis=1, keepdims=True))
    result: Attention = e / e.sum(axis=1, keepdims=True)
    return result


def softmax_gradient(a: Attention, gradient: Attention) -> Attention:
    """Gradient in the logits from the one in a = softmax(W): a (g - <a, g>), (N, T, C)."""
    result: Attention = a * (gradient - (a * gradient).sum(axis=1, keepdims=True))
    return result


class Adam:
    """Adam with the usual constants, one step size per configuration (Kingma and Ba, 2015)."""

    BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.m, self.v, self.t = np.zeros(shape, dtype), np.zeros(shape, dtype), 0

    def step(self, x: NDArray[Any], gradient: NDArray[Any], rate: NDArray[Any]) -> None:
        """x <- x - rate * m_hat / (sqrt(v_hat) + eps), in place; rate broadcasts against x."""
        self.t += 1
        self.m += (1 - self.BETA1) * (gradient - self.m)
        self.v += (1 - self.BETA2) * (gradient**2 - self.v)
        root = np.sqrt(self.v / (1 - self.BETA2**self.t)) + self.EPS
        x -= (rate / (1 - self.BETA1**self.t) * self.m / root).astype(x.dtype)

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"m": self.m, "v": self.v, "t": self.t}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.m, self.v, self.t = state["m"], state["v"], state["t"]


def _groups(batch: Batch) -> list[tuple[int, slice]]:
    """(last token, its rows) of the tokens that end some sample."""
    first = batch.first
    return [(k, slice(first[k], first[k + 1])) for k in range(first.size - 1)
            if first[k + 1] > first[k]]  # fmt: skip
