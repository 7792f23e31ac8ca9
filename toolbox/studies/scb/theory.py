"""Closed forms of sparse contextual bigrams: population gradients, excess loss, sample laws.

Everything here is derived from the definitions (the paper states orders, not constants).
A : (N, C, T), V : (C, N, N) as in model.py; K_VW = <V, W>_mu - <V mu, W mu>.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .data import Floats, Task, signal
from .model import ROUNDING, Attention


def squares(A: Attention) -> Floats:
    """|a_k|^2 of every last token and configuration, (N, C), summed in double precision."""
    result: Floats = np.einsum("kct,kct->kc", A, A, dtype=np.float64)
    return result


def overlaps(task: Task, A: Attention) -> Floats:
    """<a_k, q_k>, (N, C); q has Q nonzeros, so that this is a look-up."""
    seen = np.take_along_axis(A, task.positions[:, None, :], axis=2)
    result: Floats = np.einsum("kj,kcj->kc", task.weights, seen, dtype=np.float64)
    return result


def excess_loss(task: Task, V: Floats, A: Attention) -> Floats:
    """Population loss above that of the truth, exact, (C,); no sampling.

    1/2 sum_k mu_k [|a_k|^2 K_V - 2 <a_k, q_k> K_VP + |q_k|^2 K_P + |(1^T a_k) V mu - mu|^2]:
    X a - X q has covariance per position D and mean (1^T a - 1) mu.
    """
    mu, q = task.mu, task.q
    squared, truth = squares(A), overlaps(task, A)
    sums = A.sum(axis=2, dtype=np.float64)
    K_V = np.einsum("cij,jl,cil->c", V, task.D, V)
    K_VP = np.einsum("cij,jl,il->c", V, task.D, task.P)
    mean = np.einsum("kc,ci->kci", sums, V @ mu) - mu
    inside = squared * K_V - 2 * truth * K_VP + (q**2).sum(axis=1)[:, None] * task.K_P
    result: Floats = 0.5 * mu @ (inside + (mean**2).sum(axis=2))
    return result


def measures(task: Task, V: Floats, A: Attention) -> dict[str, Floats]:
    """Errors |V - P|_mu^2 and |A - q|_mu^2, cosines in the mu metric, excess loss, wrong support.

    corr_v is of V - U with P - U, corr_a of A with q. `misplaced` counts entries of A on the wrong
    side of the rounding threshold. Every value is (C,); NaN where a configuration diverged.
    """
    mu, q = task.mu, task.q
    with np.errstate(all="ignore"):
        squared, truth = mu @ squares(A), mu @ overlaps(task, A)
        size = mu @ (q**2).sum(axis=1)
        K_V = np.einsum("cij,jl,cil->c", V, task.D, V)
        K_VP = np.einsum("cij,jl,il->c", V, task.D, task.P)
        excess = excess_loss(task, V, A)
        corr_v = np.where(K_V > 1e-20, K_VP / np.sqrt(np.maximum(K_V, 1e-20) * task.K_P), 0.0)
        wrong = ((A >= ROUNDING / task.Q) != (q > 0)[:, None, :]).sum(axis=(0, 2))
        measured: dict[str, Floats] = {
            "err_v": ((V - task.P) ** 2 @ mu).sum(axis=1),
            "err_a": np.maximum(squared - 2 * truth + size, 0.0),
            "corr_v": corr_v,
            "corr_a": truth / np.sqrt(squared * size),
            "excess": excess,
            "misplaced": wrong.astype(float),
        }
    dead = ~np.isfinite(excess)
    return {name: np.where(dead, np.nan, value) for name, value in measured.items()}


def trivial_excess(task: Task) -> float:
    """Excess loss of always predicting mu: sum_k mu_k |q_k|^2 K_P / 2."""
    return float(0.5 * task.mu @ (task.q**2).sum(axis=1) * task.K_P)


def value_gradient(task: Task, V: Floats, A: Attention) -> Floats:
    """Preconditioned population gradient in V, (C, N, N), on the constraint set.

    |A|_mu^2 (V - U) - <A, q>_mu (P - U), for 1^T a = 1, V mu = mu and 1^T V = 1^T.
    """
    squared, truth = task.mu @ squares(A), task.mu @ overlaps(task, A)
    result: Floats = squared[:, None, None] * (V - task.U) - truth[:, None, None] * (
        task.P - task.U
    )
    return result


def attention_gradient(task: Task, V: Floats, A: Attention) -> Attention:
    """Preconditioned, centred population gradient in A, (N, C, T), on the constraint set.

    (I - 1 1^T / T)(K_V a^(k) - K_VP q^(k)); zero at V = U: the start is a saddle.
    """
    K_V = np.array([signal(v, v, task.mu) for v in V])
    K_VP = np.array([signal(v, task.P, task.mu) for v in V])
    raw = K_V[:, None] * A - K_VP[:, None] * task.q[:, None, :]
    result: Attention = raw - raw.mean(axis=2, keepdims=True)
    return result


# ------------------------------------------------------------------- phase one, uniform attention


def noise_constant(task: Task) -> float:
    """c = (N - 1)(1 - |mu|^2) / K_P: stage one needs about c T samples for a correlation of 0.7.

    The estimate V - U is P - U plus noise of covariance diag(mu) - mu mu^T on the left and
    T / n times an (N - 1)-dimensional isotropic one, in the mu metric, on the right.
    """
    return (task.N - 1) * (1.0 - float(task.mu @ task.mu)) / task.K_P


def mean_field_corr(c: float, ratio: ArrayLike) -> Floats:
    """corr_V = (1 + c T / n)^(-1/2) when the noise's length does not fluctuate; ratio = n / T."""
    return (1.0 + c / np.asarray(ratio, dtype=np.float64)) ** -0.5


def mean_corr(c: float, N: int, ratio: ArrayLike) -> Floats:
    """E corr_V over draws: the mean cosine of a Gaussian of d = (N - 1)^2 dimensions, shifted.

    sqrt(z) Gamma((d+1)/2) / Gamma(d/2 + 1) 1F1(1/2; d/2 + 1; -z), z = d nu / 2, nu = n / (c T).
    Kummer's transform keeps 1F1 positive; beyond z = 300 its asymptotic series
    sum_j (1/2)_j ((1-d)/2)_j / (j! z^j) takes over. Beyond d = 400 (N > 21) the length of the
    noise hardly fluctuates and the mean field is used.
    """
    d = (N - 1) ** 2
    if d > 400:
        return mean_field_corr(c, ratio)
    z = d * np.asarray(ratio, dtype=np.float64) / (2 * c)
    small, large = np.minimum(z, 300.0), np.maximum(z, 300.0)
    front = np.sqrt(small) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2 + 1))
    exact = front * np.exp(-small) * special.hyp1f1(d / 2 + 0.5, d / 2 + 1, small)
    term = tail = np.ones_like(large)
    for j in range(60):
        term = term * (0.5 + j) * ((1 - d) / 2 + j) / ((j + 1) * large)
        tail = tail + term
    return np.where(z > 300, tail, exact)


def samples_to_corr(c: float, N: int, T: int, target: float) -> float:
    """Samples after which E corr_V reaches the target, by bisection on the law: linear in T."""
    low, high = 1e-9, 1e9
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if float(mean_corr(c, N, middle)) < target else (low, middle)
    return high * T


# ----------------------------------------------------------------------- phase two, the threshold


def signal_per_entry(task: Task, V: Floats) -> float:
    """K_VP / Q: the drift of an entry of A on the support at the uniform start, V (N, N)."""
    return signal(V, task.P, task.mu) / task.Q


def gradient_noise(task: Task, V: Floats) -> float:
    """sigma^2 = tr(V D V^T D): B mu_k times the variance of an off-support gradient entry."""
    return float(np.trace(V @ task.D @ V.T @ task.D))


def threshold_batch(task: Task, V: Floats, lam: float) -> float:
    """Batch from which no off-support entry passes the threshold lam in a step.

    B >= 2 sigma^2 log(N T) / (mu_min lam^2), by the largest of N T Gaussians; needs
    lam < K_VP / Q, or the support does not pass either.
    """
    noise = 2 * gradient_noise(task, V) * math.log(task.N * task.T)
    return noise / (float(task.mu.min()) * lam**2)
