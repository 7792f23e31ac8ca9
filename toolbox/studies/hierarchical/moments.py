"""The matrix that one gradient step applies: M = (1/n) sum_i (y_i - mean y) phi(x_i) phi(x_i)'.

With f = 0 at the start and sigma_1'(z) = 2z near 0, a full-batch step on the first layer with
weight decay 1/eta sends each neuron w to a multiple of M w. M is summed in chunks that fit the
cache: phi of a chunk and one symmetric rank-B product (BLAS syrk), half the work of a general one.
No array of n x D exists, and n is bounded by patience alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import basis, data
from .data import Task

Floats = NDArray[np.floating]
Stream = Callable[[int], np.random.Generator]

BLOCK = 1 << 15
"""Samples that one worker sums in single precision before they join the double-precision total."""
WINDOW = 16
"""Blocks that a GPU sums before the host has the result."""
CHUNK = 4096
"""Samples of one product. With fewer, adding to the D x D sum costs as much as the product; with
more, phi leaves the cache (timed from d = 12 to 64)."""


def add_weighted(C: Floats, x: Floats, weights: Floats) -> None:
    """Add sum_i weights_i phi(x_i) phi(x_i)' to C in place.

    C : (D, D);  x : (d, B);  weights : (B,)
    phi is homogeneous of degree 2, so phi(|weight|^{1/4} x) carries the square root of a weight;
    samples are sorted by the weight's sign and each sign has its own product F F', which numpy
    gives to BLAS syrk, at half the work of a general product and without the interpreter's lock.
    """
    order = np.argsort(weights < 0, kind="stable")
    positive = int((weights >= 0).sum())
    scaled = np.abs(weights[order]) ** 0.25
    F = basis.phi(x[:, order] * scaled.astype(np.float32))
    C += F[:, :positive] @ F[:, :positive].T
    C -= F[:, positive:] @ F[:, positive:].T


def block_sum(task: Task, rng: np.random.Generator, n: int, centre: float) -> tuple[Floats, float]:
    """Sum of (y - centre) phi phi' over n fresh samples, (D, D), and of y."""
    D = basis.size(task.d)
    C, total = np.zeros((D, D), np.float32), 0.0
    for x, y in chunks(task, rng, n):
        total += float(y.sum())
        add_weighted(C, x, y - centre)
    return C, total


def chunks(task: Task, rng: np.random.Generator, n: int) -> Iterator[tuple[Floats, Floats]]:
    """n fresh samples, CHUNK at a time: x (d, B) and y (B,)."""
    for start in range(0, n, CHUNK):
        x = data.sphere(rng, task.d, min(CHUNK, n - start))
        yield x, data.labels(task, x)


def whole_block(task: Task, rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """The samples of a block at once, the same as `block_sum` sees: x (d, n) and y (n,)."""
    drawn = list(chunks(task, rng, n))
    return np.concatenate([x for x, _ in drawn], axis=1), np.concatenate([y for _, y in drawn])


@dataclass
class Moment:
    """The running sum of one sample, and where it is.

    centre : a first guess of the mean label, from the first block's first chunk. M is centred at
             the mean of all n: exactly where the guess is exact, else with E phi phi' = I for the
             small rest, which changes M by a relative 1/sqrt(n) of its noise.
    """

    total: Floats
    labels: float
    n: int
    block: int
    centre: float

    @classmethod
    def start(cls, task: Task, stream: Stream, first: int) -> Moment:
        """An empty sum; `first` is the smallest n that will be asked for."""
        D = basis.size(task.d)
        # Drawn again by block 0, whose first numbers these are: no sample beyond the first n.
        x = data.sphere(stream(0), task.d, min(first, CHUNK))
        return cls(np.zeros((D, D)), 0.0, 0, 0, float(data.labels(task, x).mean()))

    def add(self, C: Floats, labels: float, n: int, blocks: int = 1) -> None:
        """Add the sums of the next block, or of several."""
        self.total += C
        self.labels += labels
        self.n += n
        self.block += blocks

    def matrix(self) -> Floats:
        """M of the samples so far, (D, D), symmetric."""
        M = self.total / self.n
        M[np.diag_indices(len(M))] -= self.labels / self.n - self.centre
        return M


def blocks(start: int, stop: int) -> list[int]:
    """Lengths of the blocks that lead from `start` to `stop` samples."""
    return [min(BLOCK, stop - at) for at in range(start, stop, BLOCK)]


def grow(
    moment: Moment, task: Task, stream: Stream, stop: int, pool: Executor, workers: int,
    device: str = "",
) -> None:  # fmt: skip
    """Add the next blocks, one for each worker, on the way to `stop` samples.

    stream : block number -> its generator. Blocks are added in their order, so that the sum does
             not depend on how many workers there are.
    device : the torch device of the products, WINDOW blocks at a time; by default numpy's
    """
    window = blocks(moment.n, stop)[: WINDOW if device else workers]
    numbers = range(moment.block, moment.block + len(window))
    if device:
        from . import on_device

        drawn = pool.map(lambda number, n: whole_block(task, stream(number), n), numbers, window)
        C, total = on_device.window_sum(drawn, moment.centre, device)
        moment.add(C, total, sum(window), len(window))
        return
    found = pool.map(
        lambda number, n: block_sum(task, stream(number), n, moment.centre), numbers, window
    )
    for n, (C, total) in zip(window, found, strict=True):
        moment.add(C, total, n)
