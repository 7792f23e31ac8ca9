"""What the layerwise network is compared with: kernel ridge, and a two-layer network by Adam.

Each is tuned as ours is: its parameters are chosen on the held-out fifth of its own samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Floats = NDArray[np.floating]

HELD_OUT = 5
"""One sample in five is held out."""
SHARPNESS = 2.0
"""a of the kernel cosh(a t) / cosh(a)."""


def kernel(x: Floats, z: Floats) -> Floats:
    """The even kernel cosh(2 t) / cosh(2), t = <x, z> / d, of x (d, n) and z (d, k): (n, k)."""
    t = np.asarray(x, np.float64).T @ np.asarray(z, np.float64)
    t *= SHARPNESS / len(x)
    np.cosh(t, out=t)
    t /= math.cosh(SHARPNESS)
    return t


def kernel_ridge(
    x: Floats, y: Floats, x_test: Floats, penalties: Sequence[float]
) -> tuple[Floats, float]:
    """Predictions at x_test (d, k) of kernel ridge on x (d, n), y (n,), and the penalty chosen.

    Minimises (1/n) sum (f(x_i) - y_i)^2 + penalty |f|^2 after centring y. The kernel matrix is
    made once; each penalty costs one Cholesky factorisation of it, which at ten penalties is a
    small part of an eigendecomposition.
    """
    n, kept = len(y), len(y) - len(y) // HELD_OUT
    mean = y.mean()
    K = kernel(x, x)
    head, side = K[:kept, :kept], K[kept:, :kept]
    errors = []
    for penalty in penalties:
        alpha = _solve(head, y[:kept] - mean, penalty * kept)
        errors.append(float(np.mean((side @ alpha - (y[kept:] - mean)) ** 2)))
    best = penalties[int(np.argmin(errors))]
    alpha = _solve(K, y - mean, best * n)
    return alpha @ kernel(x, x_test) + mean, best


def _solve(K: Floats, y: Floats, shift: float) -> Floats:
    shifted = np.array(K, order="F")
    shifted[np.diag_indices(len(K))] += shift
    factor = linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
    solution: Floats = linalg.cho_solve((factor, True), y, check_finite=False)
    return solution


@dataclass(frozen=True)
class Training:
    """How the two-layer network is trained.

    rates : step sizes of Adam, of which the best on the held-out samples is kept
    """

    width: int
    rates: tuple[float, ...]
    steps: int
    batch: int


@np.errstate(over="ignore", invalid="ignore")  # a rate may diverge: it is not the best then
def two_layer(
    rng: np.random.Generator,
    x: Floats,
    y: Floats,
    x_test: Floats,
    how: Training,
    before_each_step: Callable[[], None] = lambda: None,
) -> tuple[Floats, float]:
    """Predictions at x_test of a two-layer ReLU network on all its weights, and the rate chosen.

    All rates train side by side (leading dimension R) on the same batches. Rates decay linearly to
    0; of each the iterate that is best on the held-out samples is kept, looked at 25 times.
    """
    d, n = x.shape
    kept, R, m = n - n // HELD_OUT, len(how.rates), how.width
    mean, spread = y.mean(), max(float(y.std()), 1e-30)
    inputs, target = np.ascontiguousarray(x.T, np.float32), ((y - mean) / spread).astype("f4")
    W = rng.standard_normal((d, m), dtype=np.float32) * np.float32(math.sqrt(2 / d))
    a = rng.standard_normal((m, 1), dtype=np.float32) / np.float32(math.sqrt(m))
    start = [W, np.zeros((1, m), "f4"), a, np.zeros((1, 1), "f4")]
    weights = [np.repeat(part[None], R, axis=0) for part in start]
    first, second = ([np.zeros_like(part) for part in weights] for _ in range(2))
    rates = np.array(how.rates, dtype=np.float32)[:, None, None]
    lowest, best = np.full(R, np.inf), [part.copy() for part in weights]
    looks = {math.ceil(how.steps * (k + 1) / 25) for k in range(25)}
    for step in range(1, how.steps + 1):
        before_each_step()
        chosen = rng.integers(0, kept, how.batch)
        gradients = _gradients(weights, inputs[chosen], target[chosen])
        rate = rates * np.float32(1 - (step - 1) / how.steps)
        for part, g, m_, v_ in zip(weights, gradients, first, second, strict=True):
            m_ += np.float32(0.1) * (g - m_)
            v_ += np.float32(0.001) * (g * g - v_)
            size = np.sqrt(v_ / np.float32(1 - 0.999**step)) + np.float32(1e-8)
            part -= rate / np.float32(1 - 0.9**step) * m_ / size
        if step in looks:
            outputs = _outputs(weights, inputs[kept:])
            error = np.mean((outputs - target[kept:]) ** 2, axis=1)
            better = error < lowest
            lowest = np.where(better, error, lowest)
            for old, new in zip(best, weights, strict=True):
                old[better] = new[better]
    chosen_rate = int(np.argmin(lowest))
    model = [part[chosen_rate : chosen_rate + 1] for part in best]
    outputs = _outputs(model, np.ascontiguousarray(x_test.T, np.float32))
    return outputs[0].astype(np.float64) * spread + mean, how.rates[chosen_rate]


def _outputs(weights: list[Floats], inputs: Floats) -> Floats:
    """Outputs (R, B) of R networks at inputs (B, d), a chunk of inputs at a time."""
    W, b, a, c = weights
    parts = [
        (np.maximum(inputs[at : at + 4096] @ W + b, 0) @ a + c)[..., 0]
        for at in range(0, len(inputs), 4096)
    ]
    return np.concatenate(parts, axis=1)


def _gradients(weights: list[Floats], inputs: Floats, target: Floats) -> list[Floats]:
    """Gradients of the mean squared error over a batch, of R networks: as `weights`."""
    W, b, a, c = weights
    hidden = np.maximum(inputs @ W + b, 0)  # (R, B, m)
    residual = (hidden @ a + c - target[:, None]) * np.float32(2 / len(target))  # (R, B, 1)
    back = residual * a.swapaxes(1, 2) * (hidden > 0)
    return [
        inputs.T @ back,
        back.sum(axis=1, keepdims=True),
        hidden.swapaxes(1, 2) @ residual,
        residual.sum(axis=1, keepdims=True),
    ]
