"""One-shot recovery: the positions from one averaged gradient, the other half of `scb stages`.

At V = (P + mu 1^T) / 2 and uniform attention the preconditioned gradient in a^(k) is about
-K_VP q^(k) plus noise of variance sigma^2 / (n mu_k) per entry. Its Q most negative entries are the
positions once n reaches about 2 sigma^2 Q^2 log(N T) / (mu_k K_VP^2): logarithmic in T.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from toolbox.core.run import Run

from . import model, theory
from .data import Floats, Sampler, Task, signal

RATIOS = (0.0625, 0.125, 0.25, 0.375, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""Samples in units of the law's, rounded up."""
SHARES = (0.5, 0.9)


def law_samples(task: Task, V: Floats) -> float:
    """2 sigma^2 Q^2 log(N T) / (mu_min K_VP^2), for the rarest last token."""
    noise = 2 * theory.gradient_noise(task, V) * math.log(task.N * task.T)
    return noise * (task.Q / signal(V, task.P, task.mu)) ** 2 / float(task.mu.min())


def found_columns(task: Task, gradient: Floats) -> np.ndarray:
    """Whether the Q most negative entries of each a^(k)'s gradient (N, T) are its positions."""
    lowest = np.argpartition(gradient, task.Q - 1, axis=1)[:, : task.Q]
    return np.asarray((np.sort(lowest, axis=1) == task.positions).all(axis=1))


def recovery(rng: np.random.Generator, task: Task, samples: np.ndarray) -> Floats:
    """Share of columns found after each of the growing, nested numbers of samples, (m,)."""
    V, A = model.start(task, dtype=np.float32)
    V = (V + task.P) / 2
    sampler, factor = Sampler(task, rng), np.ones((task.N, 1))
    share = np.zeros(samples.size)
    total = np.zeros((task.N, task.T))
    for i, fresh in enumerate(np.diff(samples, prepend=0)):
        batch = sampler.batch(int(fresh))
        f = model.forward(V, A, batch)
        gradient = model.attention_gradient(V, f, batch, A.shape, factor, A.dtype)
        total += fresh * gradient[:, 0]
        share[i] = found_columns(task, total).mean()
    return share


def one_shot(run: Run, repeat: int, task: Task, trials: int, rng: np.random.Generator) -> None:
    """Curve of the share of columns found, and the samples for half and for nine tenths."""
    law = law_samples(task, (task.P + task.U) / 2)
    samples, first = np.unique(np.ceil(law * np.array(RATIOS)).astype(int), return_index=True)
    share = np.zeros(samples.size)
    for _ in run.steps(trials, share, rng, label="trials of one-shot recovery"):
        share += recovery(rng, task, samples) / trials
    curve = {"T": task.T, "n": samples, "ratio": np.array(RATIOS)[first], "found": share}
    run.write("oneshot", pd.DataFrame(curve), repeat)
    need = [crossing(samples, share, target) for target in SHARES]
    columns = {"T": task.T, "share": SHARES, "samples": need, "law_samples": law}
    run.write("oneshot_need", pd.DataFrame(columns), repeat)


def crossing(samples: np.ndarray, mean: Floats, target: float) -> float:
    """Samples at which the mean curve passes the target, log-linear in between; NaN if never."""
    above = np.flatnonzero(mean >= target)
    if not above.size or above[0] == 0:
        return math.nan
    i = int(above[0])
    share = (target - mean[i - 1]) / (mean[i] - mean[i - 1])
    return float(np.exp(np.log(samples[i - 1]) * (1 - share) + np.log(samples[i]) * share))
