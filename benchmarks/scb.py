"""Speed of one grid step of sparse contextual bigrams against the dense one-hot form.

Run:    python benchmarks/scb.py
Prints, per context length, the median milliseconds of one proximal step of a grid of 24
configurations on one batch, both ways, and their ratio:
  dense  each configuration's step by itself, one-hot contexts (B, N, T) and einsum, float64
  ours   all configurations at once on the batch's token ids (toolbox.studies.scb.model.step)
Then the cost of one draw of stage one by counts at several T, over that at the shortest.
One BLAS thread on both sides. Both forms are checked to give the same numbers before timing.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from threadpoolctl import threadpool_limits

from toolbox.studies.scb import data, model
from toolbox.studies.scb.model import Steps

REPEATS, C, B, N, Q = 15, 24, 32, 3, 2
LENGTHS = (400, 2000, 5000)


def dense_step(V, A, X, last, out, mu, steps):
    """The textbook step: one configuration after the other on one-hot tensors, in place."""
    onehot = np.eye(mu.size)[X]  # (B, T, N)
    target, token = np.eye(mu.size)[out], np.eye(mu.size)[last]
    for c in range(V.shape[0]):
        a = A[:, c].astype(float)
        H = np.einsum("btn,bt->bn", onehot, token @ a)
        r = H @ V[c].T - target
        gV = np.einsum("bi,bj->ij", r, H) / len(out) / mu
        gA = np.einsum("bk,btn,bn->kt", token, onehot, r @ V[c], optimize=True) / len(out)
        a -= steps.eta_a[c] * gA / mu[:, None]
        threshold = steps.eta_a[c] * steps.lam[c]
        a = np.sign(a) * np.maximum(np.abs(a) - threshold, 0)
        A[:, c] = a + (1 - a.sum(axis=1, keepdims=True)) / a.shape[1]
        V[c] -= steps.eta_v[c] * gV
        V[c] -= (V[c] @ mu - mu)[:, None]


def median_ms(act) -> float:
    act()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def main() -> None:
    rng = np.random.default_rng(0)
    etas, lams = (
        np.repeat([0.2, 0.1, 0.05, 0.025], 6),
        np.tile([0, 0.005, 0.01, 0.02, 0.03, 0.04], 4),
    )
    steps = Steps.of(etas / 2, etas, lams)
    print(f"one step of {C} configurations, N = {N}, B = {B}")
    for T in LENGTHS:
        task = data.draw_task(rng, N, T, Q)
        batch = data.Sampler(task, rng).batch(B)
        V, A = model.start(task, C, np.float32)
        V += 0.5 * (task.P - task.U)
        X, last = batch.X.astype(np.int64), batch.last

        V1, A1, V2, A2 = V.copy(), A.copy(), V.copy(), A.copy()
        model.step(V1, A1, batch, task.mu, steps)
        dense_step(V2, A2, X, last, batch.out, task.mu, steps)
        assert np.abs(V1 - V2).max() < 1e-5
        assert np.abs(A1 - A2).max() < 1e-5

        ours = median_ms(lambda: model.step(V1, A1, batch, task.mu, steps))
        dense = median_ms(lambda: dense_step(V2, A2, X, last, batch.out, task.mu, steps))
        print(f"T = {T:5d}: dense {dense:7.2f} ms, ours {ours:6.2f} ms, ratio {dense / ours:5.1f}")

    def stage_one(task):
        n = 32 * task.T
        return data.stage_one_value(task, n, *data.stage_one_counts(rng, task, n))

    tasks = [data.draw_task(rng, N, T, Q) for T in (50, 5000, 50_000)]
    costs = [median_ms(lambda task=task: stage_one(task)) for task in tasks]
    shown = ", ".join(
        f"T = {t.T}: {cost / costs[0]:.2f}" for t, cost in zip(tasks, costs, strict=True)
    )
    print(f"stage one of 32 T samples, cost over that at T = {tasks[0].T}: {shown}")


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"), np.errstate(over="ignore", invalid="ignore"):
        main()
