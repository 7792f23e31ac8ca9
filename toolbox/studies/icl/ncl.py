"""`icl ncl`: the optima without context that losses are divided by, exact, drawn and official."""

from __future__ import annotations

import math
from collections.abc import Sequence

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from . import no_context, tasks
from .trainer import one_thread

LENGTH = 2
"""Examples of a prompt; no optimum depends on it."""


def rows_of(names: Sequence[str], dims: Sequence[int]) -> list[tuple[str, int]]:
    """(task, d) for `all` tasks where they exist, or for the named ones.

    Errors: `UsageError` for a named task that does not exist at one of the d.
    """
    if tuple(names) != ("all",):
        for d in dims:
            for name in names:
                tasks.check(name, d, LENGTH)
        return [(name, d) for d in dims for name in names]
    return [(name, d) for d in dims for name in tasks.names() if d >= tasks.SMALLEST_D.get(name, 1)]


def ncl(run: Run, *, names: Sequence[str], d: Sequence[int], inputs: int, functions: int) -> None:
    """One row per task and dimension."""
    rows = rows_of(names, d)
    start = run.restore() or 0
    total = run.repeats * len(rows)
    with one_thread(), run.progress(total, "optima", start) as progress:
        for index in range(start, total):
            run.checkpoint(lambda: index)
            repeat, row = divmod(index, len(rows))
            name, dim = rows[row]
            exact = no_context.optimum(name, dim, LENGTH)
            stream = run.torch_generator(repeat, "ncl", name, dim)
            drawn = no_context.monte_carlo(name, dim, LENGTH, inputs, functions, stream)
            error = drawn.standard_error
            official = repo(name, dim)
            run.write(
                "ncl",
                {
                    "task": [name], "d": dim, "boolean": tasks.is_boolean(name),
                    "exact": exact.value, "method": exact.method,
                    "monte_carlo": drawn.value, "standard_error": error,
                    "deviation": (drawn.value - exact.value) / error if error else math.nan,
                    "repo": official, "repo_over_exact": official / exact.value,
                },
                repeat,
            )  # fmt: skip
            progress.update(1)


def repo(name: str, d: int) -> float:
    """What the official code divides by; NaN where it has nothing, or is not known to."""
    if tasks.base(name) in (*tasks.CONTROLS, "boolean-retrieval"):
        return math.nan
    try:
        return no_context.optimum(name, d, LENGTH, "repo").value
    except UsageError:
        return math.nan
