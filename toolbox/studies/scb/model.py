"""One-layer linear attention, its gradients from token ids, and the steps of every algorithm.

f(x) = V X a^(k) with k = x_{T+1}: V (N, N) is the value, a^(k) (T,) the attention of last token k
(paper, section 3). Loss 1/2 |f(x) - e_{x_o}|^2 + lambda |a|_1.

A grid of C configurations shares every batch and is an axis of both:
A : (N, C, T) with A[k, c] = a^(k), V : (C, N, N). Steps change both in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .data import Batch, Floats, Task

Attention = NDArray[Any]  # float32 in grids, float64 for one configuration

ROUNDING = 0.2
"""Entries of A below ROUNDING / Q are rounded to zero; the value is chosen here."""


Piece = tuple[int, slice, Attention]
"""Last token, its rows of the batch, and their indicators or slots."""


@dataclass(frozen=True)
class Forward:
    """H (C, N, B) = X a^(k) and the residuals r (C, N, B) = V H - e_o, in the precision of A.

    pieces : the indicators of the batch, kept for the way back when they are small
    """

    H: Attention
    r: Attention
    pieces: list[Piece] | None = None


def start(task: Task, C: int = 1, dtype: Any = np.float64) -> tuple[Floats, Attention]:
    """The saddle at which training starts: V = mu 1^T and uniform attention."""
    V = np.repeat(task.U[None], C, axis=0)
    return V, np.full((task.N, C, task.T), 1.0 / task.T, dtype=dtype)


def forward(V: Floats, A: Attention, batch: Batch) -> Forward:
    """The mixed contexts and residuals of every sample under every configuration."""
    N, C, _ = A.shape
    H = np.empty((C, N, batch.B), dtype=A.dtype)
    pieces = None
    if counts_tokens(N, C):
        for k, mine, slots in _slots(batch, N):
            weights = np.broadcast_to(A[k, 0], slots.shape).ravel()
            counted = np.bincount(slots.ravel(), weights, slots.shape[0] * N)
            H[0][:, mine] = counted.reshape(-1, N).T
    else:
        kept = batch.X.size * (N - 1) <= _limit(C)
        pieces = list(_indicators(batch, N, C, A.dtype)) if kept else None
        for k, mine, rows in pieces or _indicators(batch, N, C, A.dtype):
            seen = A[k] @ rows.T
            H[:, : N - 1, mine] = seen[:, :-1].reshape(C, N - 1, -1)
            H[:, N - 1, mine] = seen[:, -1:] - H[:, : N - 1, mine].sum(axis=1)
    r = V.astype(A.dtype) @ H
    r[:, batch.out, np.arange(batch.B)] -= 1.0
    return Forward(H, r, pieces)


def value_gradient(f: Forward) -> Floats:
    """Mean of r H^T over the batch, (C, N, N)."""
    gradient: Floats = (f.r @ f.H.swapaxes(1, 2)).astype(np.float64) / f.r.shape[2]
    return gradient


def attention_gradients(
    V: Floats, f: Forward, batch: Batch, shape: tuple[int, ...], factor: Floats, dtype: Any
) -> Iterator[tuple[int, Attention]]:
    """(k, factor[k] times the gradient in a^(k)), (C, T), one last token after the other.

    The gradient is the batch mean of (V^T r)[x_t] over the samples that end in k. All are handed
    out in the same array, which the caller may overwrite: a fresh one would be paged in each time.
    factor : (N, C); 1 gives the gradient, 1 / mu_k the preconditioned one
    """
    N, C, T = shape
    back = V.astype(dtype).swapaxes(1, 2) @ f.r  # (C, N, B)
    back *= (factor / batch.B).astype(dtype).T[:, None, batch.last]
    counting = counts_tokens(N, C)
    parts: Iterable[Piece]
    if counting:
        parts = _slots(batch, N)
    else:
        parts = f.pieces or _indicators(batch, N, C, dtype)
        # Indicators are of the first N - 1 tokens; the last one's lift is a row of ones.
        lifted = back[:, : N - 1] - back[:, N - 1 :]
    reached, gradient = 0, np.zeros((C, T), dtype)
    for k, mine, layout in parts:
        while reached < k:  # hand out what is complete, zeros for tokens that end no sample
            yield reached, gradient
            reached += 1
            gradient[:] = 0
        if counting:
            gradient[0] += back[0, :, mine].T.ravel()[layout].sum(axis=0)
            continue
        lifts = np.empty((C, layout.shape[0]), dtype=dtype)
        lifts[:, :-1] = lifted[:, :, mine].reshape(C, -1)
        lifts[:, -1] = back[:, N - 1, mine].sum(axis=1)
        if mine.start == batch.first[k]:
            np.matmul(lifts, layout, out=gradient)
        else:
            gradient += lifts @ layout
    while reached < N:
        yield reached, gradient
        reached += 1
        gradient[:] = 0


def attention_gradient(
    V: Floats, f: Forward, batch: Batch, shape: tuple[int, ...], factor: Floats, dtype: Any
) -> Attention:
    """The same for all last tokens, (N, C, T)."""
    result: Attention = np.empty(shape, dtype)
    for k, gradient in attention_gradients(V, f, batch, shape, factor, dtype):
        result[k] = gradient
    return result


COUNTING = 8
"""Above this many tokens counting ids beats products with indicators, for one configuration."""
CHUNK = 2**18  # numbers that stay in the cache; a grid has larger products to win from


def counts_tokens(N: int, C: int) -> bool:
    """Whether sums over positions are counted by token id; else they are small products."""
    return C == 1 and N > COUNTING


def _limit(C: int) -> int:
    return CHUNK if C == 1 else 16 * CHUNK


def _slots(batch: Batch, N: int) -> Iterator[Piece]:
    """(last token, its rows, row N + token of every position) in pieces of bounded size."""
    for k, mine in _pieces(batch, CHUNK // batch.X.shape[1]):
        X = batch.X[mine]
        yield k, mine, np.arange(X.shape[0])[:, None] * N + X


def _indicators(batch: Batch, N: int, C: int, dtype: Any) -> Iterator[Piece]:
    """(last token, its m rows, indicators) in pieces of bounded size.

    indicators : ((N - 1) m + 1, T), the first N - 1 tokens of each sample, and a row of ones: the
    last token's indicator is the ones minus the others, and needs no product of its own
    """
    T, several = batch.X.shape[1], batch.X.size * (N - 1) > _limit(C)
    # One allocation for a small batch: the parts of a fresh one would be paged in at every step.
    whole = None if several else np.empty((batch.B * (N - 1) + N, T), dtype=dtype)
    for k, mine in _pieces(batch, _limit(C) // (T * (N - 1))):
        X = batch.X[mine]
        m = X.shape[0]
        low = mine.start * (N - 1) + k
        size = m * (N - 1) + 1
        rows = np.empty((size, T), dtype=dtype) if whole is None else whole[low : low + size]
        for token in range(N - 1):
            rows[token * m : (token + 1) * m] = token == X
        rows[-1] = 1
        yield k, mine, rows


def _pieces(batch: Batch, limit: int) -> Iterator[tuple[int, slice]]:
    """(last token, at most `limit` of its rows), tokens in order."""
    first, limit = batch.first, max(1, limit)
    for k in range(first.size - 1):
        for low in range(first[k], first[k + 1], limit):
            yield k, slice(low, min(low + limit, first[k + 1]))


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

    @cached_property
    def threshold(self) -> Floats:
        """What the proximal map takes off every entry, eta_a lam, (C, 1)."""
        return (self.eta_a * self.lam * ~self.plain)[:, None]

    @cached_property
    def held(self) -> slice:
        """From the first to the last configuration with a threshold; a grid puts them together."""
        thresholded = np.flatnonzero(self.threshold)
        return slice(thresholded[0], thresholded[-1] + 1) if thresholded.size else slice(0, 0)

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
    for k, descent in attention_gradients(V, f, batch, A.shape, factor, A.dtype):
        move_attention(A[k], descent, steps)
    move_value(V, value_gradient(f), mu, steps)


def move_attention(a: Attention, descent: Attention, steps: Steps) -> None:
    """a <- Proj(soft(a - descent, eta_a lam)) for one last token, in place; a, descent (C, T).

    descent has the step size in it, and is used up.
    """
    a -= descent
    held = a[steps.held]
    if held.size:
        threshold, clipped = steps.threshold[steps.held].astype(a.dtype), descent[steps.held]
        np.minimum(held, threshold, out=clipped)  # two passes, yet faster than a clip
        np.maximum(clipped, -threshold, out=clipped)
        held -= clipped
    sums = a @ np.ones(a.shape[1], dtype=a.dtype)
    a += (~steps.plain * (1.0 - sums) / a.shape[1]).astype(a.dtype)[:, None]


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
    total = kept.sum(axis=2, keepdims=True)
    T = A.shape[2]
    return np.where(total > 0, kept / np.where(total > 0, total, 1.0), 1.0 / T).astype(A.dtype)


def softmax(W: Attention) -> Attention:
    """Softmax over the positions, the last axis of (N, C, T)."""
    e = np.exp(W - W.max(axis=2, keepdims=True))
    result: Attention = e / e.sum(axis=2, keepdims=True)
    return result


def softmax_gradient(a: Attention, gradient: Attention) -> Attention:
    """Gradient in the logits from the one in a = softmax(W): a (g - <a, g>), (N, C, T)."""
    result: Attention = a * (gradient - (a * gradient).sum(axis=2, keepdims=True))
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

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"m": self.m, "v": self.v, "t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.m, self.v, self.t = state["m"], state["v"], state["t"]
