"""What is measured on the first layer: how much of it lies in the span of the features."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

Floats = NDArray[np.floating]


def overlaps(W: Floats, theta: Floats) -> Floats:
    """|P w_j|^2 / |w_j|^2 of every neuron, P on the rows of theta: W (m, D), theta (r, D) -> (m,).

    A random neuron has r / D on average.
    """
    inside: Floats = np.sum((W @ theta.T) ** 2, axis=1)
    inside /= np.sum(W**2, axis=1)
    return inside


def energy_overlap(W: Floats, M: Floats, theta: Floats) -> float:
    """Overlap of one more step with every neuron weighted by its length: sum |P M w|^2 over
    sum |M w|^2. Its expectation has a closed form (`theory.expected_overlap`)."""
    moved = W @ M
    return float(np.sum((moved @ theta.T) ** 2) / np.sum(moved**2))


def top_overlap(W: Floats, theta: Floats) -> float:
    """|P_top P|_F^2 / r: how much of the features the top r right singular directions hold."""
    m, r = len(W), len(theta)
    if m < r:
        return float("nan")
    values, left = linalg.eigh(W @ W.T, subset_by_index=[m - r, m - 1])
    top = (left.T @ W) / np.sqrt(np.maximum(values, 1e-300))[:, None]
    return float(np.sum((top @ theta.T) ** 2) / r)


def crossing(n: ArrayLike, value: ArrayLike, target: float, rising: bool = True) -> float:
    """The n at which a measured curve first reaches a target, NaN where it starts beyond it or
    never arrives; linear in ln n (in ln value too where the curve falls)."""
    x, y, goal = np.log(np.asarray(n, dtype=float)), np.asarray(value, dtype=float), target
    if not rising:
        y, goal = -np.log(y), -float(np.log(target))
    reached = np.flatnonzero(y >= goal)
    if not reached.size or reached[0] == 0:
        return float("nan")
    k = reached[0]
    share = (goal - y[k - 1]) / (y[k] - y[k - 1])
    return float(np.exp(x[k - 1] + share * (x[k] - x[k - 1])))
