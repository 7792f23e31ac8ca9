"""Speed of the streamed moment matrix of `hierarchical`, as a share of the machine's GEMM peak.

Run:    python benchmarks/hierarchical.py
Prints, per dimension d, for M = sum y phi phi' over n samples:
  share     D (D + 1) n floating-point operations (the symmetric half, all that is needed) over the
            time of everything (drawing x, labels, phi, products), over the rate of a square
            2048 x 2048 single-precision product in the same minute. Above 0.5 it beats any method
            that spends its time in full products, even at that product's best rate.
  textbook  the same sum with phi (n, D) held whole in double precision, (phi y)' phi, over ours
Then kernel ridge: a path of nine penalties by one Cholesky factorisation each, over one
eigendecomposition of the same matrix. One BLAS thread throughout; times are processor time of that
thread, medians of ratios taken in turn. Both forms are checked to agree.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from toolbox.studies.hierarchical import basis, data, links, moments

REPEATS = 5
PENALTIES = np.geomspace(1e-8, 1, 9)


def seconds(act) -> float:
    """Processor time of this thread, which other jobs on the machine do not lengthen by waiting."""
    started = time.thread_time()
    act()
    return time.thread_time() - started


def ratio(first, second) -> float:
    """Median over repeats of the time of one over that of the other, taken in turn."""
    for act in (first, second):
        act()
    return statistics.median(seconds(first) / seconds(second) for _ in range(REPEATS))


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
    for start in range(0, x.shape[1], moments.CHUNK):
        part = x[:, start : start + moments.CHUNK]
        moments.add_weighted(C, part, data.labels(task, part))
    return C


def main() -> None:
    rng = np.random.default_rng(0)
    square = rng.standard_normal((2048, 2048), dtype=np.float32)

    def peak():
        return square @ square

    rate = 2 * 2048**3 / min(seconds(peak) for _ in range(REPEATS))
    print(f"peak: {rate / 1e9:.0f} Gflop/s (single precision, one thread)")
    for d, n in ((12, 16), (16, 16), (24, 16), (32, 8), (48, 4), (64, 4)):
        task = data.make_task(rng, d, "flat", links.parse("p3", 2))
        D, n = basis.size(d), n * moments.CHUNK
        x = data.sphere(rng, d, 2 * moments.CHUNK)
        exact, found = textbook(task, x), ours(task, x)
        assert np.abs(exact - found).max() < 1e-3 * np.abs(exact).max()
        gain = ratio(lambda task=task, x=x: textbook(task, x), lambda task=task, x=x: ours(task, x))
        share = ratio(peak, lambda task=task, n=n: moments.block_sum(task, rng, n, 0.0))
        share *= D * (D + 1) * n / (2 * 2048**3)
        print(f"d = {d:3d}, D = {D:5d}: share {share:.2f}, textbook/ours {gain:4.1f}")

    K = np.exp(-((rng.standard_normal((2000, 1)) - rng.standard_normal(2000)) ** 2))
    K = K @ K.T / 2000

    def path():
        for penalty in PENALTIES:
            shifted = np.array(K, order="F")
            shifted[np.diag_indices(2000)] += penalty * 2000
            linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)

    gain = ratio(lambda: linalg.eigh(K), path)
    print(f"kernel ridge, n = 2000: eigendecomposition/path of nine {gain:.1f}")


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):
        main()
