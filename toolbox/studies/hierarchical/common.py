"""What the experiments share: worker threads, streams of samples, growing M, the second stage."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from toolbox.core import memory
from toolbox.core.compute import one_thread
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import baselines, basis, data, links, model, moments
from .cli import Fitted
from .data import Task
from .links import Link
from .model import Hidden
from .moments import Moment, Stream

Floats = NDArray[np.floating]
T = TypeVar("T")

POINTS = 2048
"""Samples of a block of stage 2 and of the test set, which have a random stream each."""


@dataclass(frozen=True)
class Crew:
    """Worker threads, each with one BLAS thread: numbers do not depend on how many there are."""

    pool: Executor
    size: int


class RunIsOver(Exception):
    """Ends a job of which nobody waits for the result any more."""


_run_is_over = threading.Event()


@contextmanager
def crew(run: Run) -> Iterator[Crew]:
    """As many workers as the run may use cores. When the run is stopped their jobs end too."""
    with one_thread():
        pool = ThreadPoolExecutor(run.threads)
        try:
            yield Crew(pool, run.threads)
        finally:
            _run_is_over.set()
            pool.shutdown()
            _run_is_over.clear()


def check_the_run_goes_on() -> None:
    """Called again and again by long jobs. Errors: `RunIsOver`."""
    if _run_is_over.is_set():
        raise RunIsOver


def result(run: Run, job: Future[T]) -> T:
    """Wait for a job; a stop is heard meanwhile."""
    while wait([job], 0.2).not_done:
        run.look_around()
    return job.result()


def computed(
    run: Run, workers: Crew, compute: Callable[..., dict[str, Any]], jobs: Sequence[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    """compute(*job) for every job, in order, as many at a time as there are workers.

    A stop is heard between two of them, and what is done is not done again.
    """
    rows: list[dict[str, Any]] = run.kept([])
    ahead: dict[int, Future[dict[str, Any]]] = {}
    for index in run.cells(range(len(jobs)), "fits"):
        for near in range(index, min(index + workers.size, len(jobs))):
            if near not in ahead:
                ahead[near] = workers.pool.submit(compute, *jobs[near])
        rows.append(result(run, ahead[index]))
        del ahead[index]
    return rows


def checked_link(run: Run, text: str, r: int, learned: bool, field: str = "link") -> Link:
    """The link of a command; says so when one gradient step cannot see every feature of it.

    learned : whether stage 1 is trained on this link
    """
    link = links.parse(text, r, field)
    if learned and link.visible < r:
        run.say(
            f"link {text}: its mean Hessian has rank {link.visible} and there are {r} features, so "
            "that one gradient step does not see every feature"
        )
    return link


def check_rising(field: str, values: Sequence[float]) -> None:
    """Refuse a list that does not rise.

    Errors: `ParameterError`.
    """
    if list(values) != sorted(values):
        shown = ",".join(str(value) for value in values)
        raise ParameterError(field, shown, "the values must rise", "sort them")


def check_gram(n: int, what: str, field: str, value: Any) -> None:
    """Refuse a Gram matrix (n, n) of which memory cannot hold the copies that a fit makes.

    what : whose products it holds ("neurons");  field, value : the parameter that n comes from

    Errors: `ParameterError`.
    """
    memory.need(3 * 8.0 * n**2, f"the products of {n} {what} and their copies", field, value)


def stream(run: Run, repeat: int, *name: str | int) -> Stream:
    """Block number -> generator, for one named sample of one replicate."""

    def generator(block: int) -> np.random.Generator:
        check_the_run_goes_on()
        return run.rng(repeat, *name, block)

    return generator


def points(task: Task, source: Stream, start: int, stop: int) -> Iterator[tuple[Floats, Floats]]:
    """Samples start..stop of a stream as (x (d, B), y (B,)); a sample does not depend on `stop`."""
    for block in range(start // POINTS, -(-stop // POINTS)):
        at = block * POINTS
        x = data.sphere(source(block), task.d, POINTS)
        # Of the whole block: a matrix product of fewer columns may be rounded otherwise.
        y = data.labels(task, x)
        wanted = slice(max(start - at, 0), stop - at)
        yield x[:, wanted], y[wanted]


def sample(task: Task, source: Stream, stop: int) -> tuple[Floats, Floats]:
    """The first `stop` samples of a stream at once: x (d, n), y (n,)."""
    parts = list(points(task, source, 0, stop))
    return np.concatenate([x for x, _ in parts], axis=1), np.concatenate([y for _, y in parts])


# -------------------------------------------------------------------------------------- stage 1


def growing(
    run: Run, workers: Crew, task: Task, source: Stream, sizes: Sequence[int]
) -> Iterator[tuple[int, Floats]]:
    """(n, M) for each n of `sizes`, on one growing sample; on a GPU its products alone."""
    device = "" if run.device == "cpu" else run.device
    moment = Moment.start(task, source, sizes[0])
    for n in run.cells(sizes, "sample sizes", moment):
        for _ in run.steps(None, moment, label="blocks of samples"):
            if moment.n >= n:
                break
            moments.grow(moment, task, source, n, workers.pool, workers.size, device)
        yield n, moment.matrix()


def hidden_layer(run: Run, repeat: int, d: int, W: Floats, act: str) -> Hidden:
    """Neurons W (m, D or r) with fresh biases, uniform in [-3, 3]."""
    b = run.rng(repeat, "biases", d).uniform(-3, 3, len(W))
    return Hidden(W.astype(np.float32), b.astype(np.float32), act)


def initial_layer(run: Run, repeat: int, d: int, m: int, L: Floats | None = None) -> Floats:
    """Random neurons (m, D), the same for every number of samples and steps."""
    return model.initial(run.rng(repeat, "neurons", d), basis.size(d), m, L)


# -------------------------------------------------------------------------------------- stage 2


def fit_and_test(
    task: Task,
    hidden: Hidden,
    source: Stream,
    n: int,
    test: Stream,
    how: Fitted,
    oracle: bool = False,
) -> tuple[float, float]:
    """Ridge on the activations of n samples: (test error over Var y, penalty chosen).

    One sample in five is held out to choose the penalty; the fit then uses all n.
    """
    see: Callable[[Floats], Floats] = (lambda x: data.features(task, x)) if oracle else basis.phi
    kept = n - n // baselines.HELD_OUT
    train = model.gram(hidden, ((see(x), y) for x, y in points(task, source, 0, kept)))
    held = model.gram(hidden, ((see(x), y) for x, y in points(task, source, kept, n)))
    weights, penalty = model.fit_outer(train, held, how.penalties)
    errors, labels = [], []
    for x, y in points(task, test, 0, how.n_test):
        errors.append(model.predict(hidden, weights, see(x)) - y)
        labels.append(y)
    return relative_error(np.concatenate(errors), np.concatenate(labels)), penalty


def relative_error(errors: Floats, y: Floats) -> float:
    """Mean squared error over the variance of the labels."""
    return float(np.mean(errors**2) / np.var(y))
