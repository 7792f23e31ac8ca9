"""Speed of the streamed moment matrix of `hierarchical`, as a share of the machine's GEMM peak.

Run:    python benchmarks/hierarchical.py
Prints, per dimension d, for M = sum y phi phi' over n samples:
  share     D (D + 1) n floating-point operations (the symmetric half, all that is needed) over the
            time of everything (drawing x, labels, phi, products), over the best rate of a square
            2048 x 2048 single-precision product on the same thread. Above 0.5 it beats any method
            that spends its time in full products, even at that product's best rate.
  textbook  the same sum with phi (n, D) held whole in double precision, (phi y)' phi, over ours
Then kernel ridge: a path of nine penalties by one Cholesky factorisation each, over one
eigendecomposition of the same matrix. One BLAS thread throughout. Both forms are checked to agree.
"""

from __future__ import annotations

import time

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from toolbox.studies.hierarchical import basis, data, links, moments

REPEATS = 5
PENALTIES = np.geomspace(1e-8, 1, 9)


def best_seconds(act) -> float:
    """The least of several times: the machine is shared, and noise only adds."""
    act()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return min(times)


def textbook(task, x):
    """The sum written out: phi of all samples at once, one general product."""
    y = data.labels(task, x)
    x = x.T.astype(np.float64)
    i, j = np.triu_indices(task.d, 1)
    phi = np.concatenate([np.sqrt(2) * x[:, i] * x[:, j], x**2 @ linalg.helmert(task.d).T], axis=1)
    phi *= basis.scale(task.d)
    return (phi * y[:, None]).T @ phi


def ours(task, x):
    C = np.zeros((basis.size(task.d),) * 2, np.float32)
    for start in range(0, x.shape[1], moments.chunk_length(task.d)):
        part = x[:, start : start + moments.chunk_length(task.d)]
        moments.add_weighted(C, part, data.labels(task, part))
    return C


def main() -> None:
    rng = np.random.default_rng(0)
    square = rng.standard_normal((2048, 2048), dtype=np.float32)
    peak = 2 * 2048**3 / best_seconds(lambda: square @ square)
    print(f"peak: {peak / 1e9:.0f} Gflop/s (single precision, one thread)")
    for d, n in (
        (12, 1 << 17),
        (16, 1 << 17),
        (24, 1 << 16),
        (32, 1 << 16),
        (48, 1 << 15),
        (64, 1 << 14),
    ):
        task = data.make_task(rng, d, "flat", links.parse("p3", 2))
        D = basis.size(d)
        all_in = best_seconds(lambda task=task, n=n: moments.block_sum(task, rng, n, 0.0))
        x = data.sphere(rng, d, 1 << 13)
        exact, found = textbook(task, x), ours(task, x)
        assert np.abs(exact - found).max() < 1e-3 * np.abs(exact).max()
        ratio = best_seconds(lambda task=task, x=x: textbook(task, x)) / best_seconds(
            lambda task=task, x=x: ours(task, x)
        )
        share = D * (D + 1) * n / all_in / peak
        print(
            f"d = {d:3d}, D = {D:5d}: {n / all_in / 1e3:8.0f} thousand samples/s, "
            f"share {share:.2f}, textbook/ours {ratio:4.1f}"
        )

    K = np.exp(-((rng.standard_normal((2000, 1)) - rng.standard_normal(2000)) ** 2))
    K = K @ K.T / 2000
    eigen = best_seconds(lambda: linalg.eigh(K))

    def path():
        for penalty in PENALTIES:
            shifted = np.array(K, order="F")
            shifted[np.diag_indices(2000)] += penalty * 2000
            linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)

    print(
        f"kernel ridge, n = 2000: eigendecomposition/path of nine {eigen / best_seconds(path):.1f}"
    )


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        main()
