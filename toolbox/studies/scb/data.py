"""The sparse contextual bigram: its tasks, its samples, and the counts that stage one needs.

A task is (P, q). Tokens x_1..x_{T+1} are i.i.d. from mu, the stationary law of P; the last token
k = x_{T+1} picks a position s ~ q^(k) and the output is x_o ~ P[:, x_s] (paper, section 2).
Matrices have one column per token.

Reference: Learning and Transferring Sparse Contextual Bigrams with Linear Transformers,
arXiv:2410.23438.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BALANCE = 3.0
"""The constant C of the paper's assumption N mu_k in [1/C, C]; the value is chosen here."""
DRAWS = 20_000
PIECE = 2**17


@dataclass(frozen=True)
class Task:
    """A transition matrix and a position law per last token.

    P : (N, N) column-stochastic, mu : (N,) its stationary law, positions : (N, Q) the support of
    q^(k), weights : (N, Q) the probabilities on it, T : context length
    """

    P: Floats
    mu: Floats
    positions: Ints
    weights: Floats
    T: int

    @property
    def N(self) -> int:
        """Number of tokens."""
        return self.mu.size

    @property
    def Q(self) -> int:
        """Positions on which an output depends."""
        return int(self.positions.shape[1])

    @cached_property
    def q(self) -> Floats:
        """Position laws as rows, (N, T); row k is q^(k)."""
        q = np.zeros((self.N, self.T))
        np.put_along_axis(q, self.positions, self.weights, axis=1)
        return q

    @property
    def U(self) -> Floats:
        """The trivial predictor mu 1^T, (N, N)."""
        return np.repeat(self.mu[:, None], self.N, axis=1)

    @property
    def D(self) -> Floats:
        """Covariance of a one-hot token, diag(mu) - mu mu^T, (N, N)."""
        return np.diag(self.mu) - np.outer(self.mu, self.mu)

    @property
    def K_P(self) -> float:
        """Squared size of the signal, |P|_mu^2 - |mu|^2 = |P - U|_mu^2."""
        return signal(self.P, self.P, self.mu)


def signal(V: Floats, W: Floats, mu: Floats) -> float:
    """K_VW = <V, W>_mu - <V mu, W mu> = tr(V D W^T); the last form holds for every V, W."""
    return float(((V * W) @ mu).sum() - (V @ mu) @ (W @ mu))


def stationary(P: Floats) -> Floats:
    """mu with P mu = mu, 1^T mu = 1, (N,); least squares, so that it also bears periodic P."""
    N = P.shape[0]
    system = np.vstack([P - np.eye(N), np.ones(N)])
    mu = np.linalg.lstsq(system, np.append(np.zeros(N), 1.0), rcond=None)[0]
    mu = np.clip(mu, 0.0, None)
    return np.asarray(mu / mu.sum(), dtype=np.float64)


def draw_task(rng: np.random.Generator, N: int, T: int, Q: int) -> Task:
    """A random task: columns of P from Dirichlet(1/2), q^(k) equal weights on Q random positions.

    P is redrawn until K_P > |mu|^2 / 2 (not close to rank one) and N mu_k in [1/3, 3].

    Raises ValueError when no draw passes, which happens for many tokens.
    """
    for _ in range(DRAWS):
        P = rng.dirichlet(np.full(N, 0.5), size=N).T
        mu = stationary(P)
        balanced = N * mu.min() >= 1 / BALANCE and N * mu.max() <= BALANCE
        if balanced and signal(P, P, mu) > mu @ mu / 2:
            break
    else:
        raise ValueError(f"no learnable P of {N} tokens in {DRAWS} draws")
    positions = np.stack([np.sort(rng.choice(T, size=Q, replace=False)) for _ in range(N)])
    return Task(P, mu, positions, np.full((N, Q), 1.0 / Q), T)


def correlated_transition(
    rng: np.random.Generator, task: Task, rho: float, draws: int = 400
) -> Floats:
    """A column-stochastic matrix with the task's mu at exact correlation rho with P, (N, N).

    P_pre = U + s (rho dP + sqrt(1 - rho^2) R) with dP = P - U and R random, R mu = 0, 1^T R = 0,
    orthogonal to dP and as long in the mu inner product. s = 1 (the same K_P) whenever one of the
    draws is nonnegative, else the largest s that some draw bears; s does not change correlation.
    """
    mu, U, N = task.mu, task.U, task.N
    dP = task.P - U
    best, scale = U, 0.0
    for _ in range(draws):
        R = rng.standard_normal((N, N))
        R = R - R.mean(axis=0)
        R = R - np.outer(R @ mu, np.ones(N))
        R = R - signal(R, dP, mu) / signal(dP, dP, mu) * dP
        length = signal(R, R, mu)
        if length > 0:
            R = R * np.sqrt(signal(dP, dP, mu) / length)
        dV = rho * dP + np.sqrt(max(0.0, 1.0 - rho**2)) * R
        down = dV < 0
        largest = float(np.min(U[down] / -dV[down])) if down.any() else 1.0
        if largest > scale:
            best, scale = dV, min(1.0, largest)
        if scale == 1.0:
            break
    return U + scale * best


@dataclass(frozen=True)
class Batch:
    """Samples sorted by their last token.

    X : (B, T) token ids, first : (N + 1,) rows first[k]:first[k + 1] end in token k, out : (B,)
    """

    X: NDArray[np.uint8]
    first: Ints
    out: Ints

    @property
    def B(self) -> int:
        """Number of samples."""
        return self.out.size

    @property
    def last(self) -> Ints:
        """The last token of every row, (B,)."""
        return np.repeat(np.arange(self.first.size - 1), np.diff(self.first))


class Sampler:
    """Draws batches of one task; the stream is `rng`, whatever is done with the batches.

    Tokens come from 32-bit integers compared with thresholds, several times faster than a table
    look-up; a probability is then right to 2^-32.
    """

    def __init__(self, task: Task, rng: np.random.Generator) -> None:
        self.task, self.rng = task, rng
        edges = np.minimum(np.round(np.cumsum(task.mu)[:-1] * 2.0**32), 2.0**32 - 1)
        self.edges = edges.astype(np.uint32)
        self.cum_P = np.cumsum(task.P, axis=0)[:-1]
        self.cum_q = np.cumsum(task.weights, axis=1)[:, :-1]

    def batch(self, B: int) -> Batch:
        """B fresh samples."""
        task, rng = self.task, self.rng
        counts = rng.multinomial(B, task.mu)
        first = np.concatenate([[0], np.cumsum(counts)])
        last = np.repeat(np.arange(task.N), counts)
        X = np.zeros((B, task.T), dtype=np.uint8)
        rows = max(1, PIECE // task.T)
        for low in range(0, B, rows):  # pieces that stay in the cache; the stream is the same
            part = X[low : low + rows]
            draws = rng.integers(0, 2**32, size=part.shape, dtype=np.uint32)
            for edge in self.edges:
                part += draws >= edge
        which = (rng.random(B)[:, None] >= self.cum_q[last]).sum(axis=1)
        seen = X[np.arange(B), task.positions[last, which]]
        out = (rng.random(B)[None, :] >= self.cum_P[:, seen]).sum(axis=0)
        return Batch(X, first, out)


def stage_one_counts(
    rng: np.random.Generator, task: Task, n: int, size: int = 1
) -> tuple[Ints, Ints]:
    """Sufficient statistics of n samples under uniform attention, for `size` independent draws.

    Only the counts of tokens matter then: the token at the drawn position and the output are one
    multinomial over pairs, and the other T - 1 tokens of all samples with output o are one
    multinomial of n_o (T - 1) trials. Exact, and as cheap for T = 50,000 as for T = 50.

    Returns outputs (size, N), and pairs (size, N, N): row o, column k counts the tokens k in the
    contexts of the samples whose output is o.
    """
    joint = (task.P * task.mu).ravel()
    pairs = rng.multinomial(n, joint / joint.sum(), size=size).reshape(size, task.N, task.N)
    outputs = pairs.sum(axis=2)
    return outputs, pairs + rng.multinomial(outputs * (task.T - 1), task.mu)


def stage_one_value(task: Task, n: int, outputs: Ints, pairs: Ints) -> Floats:
    """The value matrix of stage one from its counts, (size, N, N).

    V = U + mean (e_o - mu)(c - T mu)^T diag(1/mu), c the counts of the context: this is
    Proj(U - T mean gV), the fixed point of value steps under uniform attention.
    """
    mu, T = task.mu, task.T
    total = pairs.sum(axis=1)  # tokens of all contexts, (size, N)
    centred = pairs - mu[:, None] * total[:, None, :]  # sum of (e_o - mu) c^T
    drift = outputs - n * mu  # sum of (e_o - mu)
    estimate = (centred - T * drift[:, :, None] * mu[None, None, :]) / (n * mu)
    return np.asarray(task.U + estimate, dtype=np.float64)
