"""`icl ncl`: the optima without context that losses are divided by, exact, drawn and official."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from toolbox.core import memory
from toolbox.core.compute import one_thread
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import no_context, tasks
from .cli import Ncl
from .names import CONTROLS, base, is_boolean, task_names

LENGTH = 2
"""Examples of a prompt; no optimum depends on it."""


def rows_of(names: Sequence[str], dims: Sequence[int]) -> list[tuple[str, int]]:
    """(task, d) for `all` tasks where they exist, or for the named ones.

    Errors: `ParameterError` for a named task that does not exist at one of the d.
    """
    if tuple(names) == ("all",):
        return [(name, d) for d in dims for name in task_names() if d >= _smallest(name)]
    for d in dims:
        for name in names:
            tasks.check(name, d)
    return [(name, d) for d in dims for name in names]


def mix_dims(mix: Sequence[str], dims: Sequence[int]) -> list[int]:
    """The d at which all tasks of a mix exist.

    Errors: `ParameterError` for an unknown task, for a retrieval, and where there is no such d.
    """
    for name in mix:
        tasks.check(name, max(dims), "mix")
        if base(name).endswith("-retrieval"):
            raise ParameterError(
                "mix",
                name,
                "what a network knows without context there depends on the keys",
                "leave it out",
            )
    return [d for d in dims if all(d >= _smallest(name) for name in mix)]


def _smallest(name: str) -> int:
    return tasks.SMALLEST_D.get(base(name), 1)


def ncl(run: Run, p: Ncl) -> None:
    """Table `ncl`, a row per task and dimension, and `mix`, where plateaus stand in a mix."""
    rows, together = rows_of(p.tasks, p.d), mix_dims(p.mix, p.d)
    name, dim = max(rows, key=lambda row: no_context.function_size(*row))
    size = 8.0 * p.functions * no_context.function_size(name, dim)
    memory.need(size, f"{{functions}} functions of {name} at {{d}} {dim}", "functions", p.functions)
    cells = [(repeat, name, dim) for repeat in range(run.repeats) for name, dim in rows]
    with one_thread(denormals=False):
        for repeat, name, dim in run.cells(cells, "optima"):
            exact = no_context.optimum(name, dim, LENGTH)
            stream = run.torch_generator(repeat, "ncl", name, dim)
            blocks = no_context.blocks_of(name, dim, p.inputs, p.functions)
            ends = np.cumsum([block.count for block in blocks])
            values = np.zeros(ends[-1])
            for k in run.steps(len(blocks), values, stream, label="blocks of inputs"):
                values[ends[k] - blocks[k].count : ends[k]] = no_context.drawn(
                    name, dim, LENGTH, blocks[k], p.functions, stream
                )
            drawn = no_context.combined(dim, blocks, values)
            error = drawn.standard_error
            official = repo(name, dim)
            run.write(
                "ncl",
                {
                    "task": [name], "d": dim, "boolean": is_boolean(name),
                    "exact": exact.value, "method": exact.method,
                    "monte_carlo": drawn.value, "standard_error": error,
                    "deviation": (drawn.value - exact.value) / error if error else math.nan,
                    "repo": official, "repo_over_exact": official / exact.value,
                },
                repeat,
            )  # fmt: skip
    for repeat in range(run.repeats):
        for dim in together:
            levels = no_context.plateaus(p.mix, dim, LENGTH)
            rows_of_mix = {"mix": "+".join(p.mix), "task": list(p.mix), "d": dim, "plateau": levels}
            run.write("mix", rows_of_mix, repeat)


def repo(name: str, d: int) -> float:
    """What the official code divides by; NaN where it has nothing, or is not known to."""
    if base(name) in (*CONTROLS, "boolean-retrieval"):
        return math.nan
    try:
        return no_context.optimum(name, d, LENGTH, "repo").value
    except ParameterError:
        return math.nan
