"""toolbox: the experiments of deep-learning-theory papers on the reader's own machine.

    import toolbox

    run = toolbox.run("gd anytime", T=10_000)    # computed, or there already
    run.table("worst_case")                      # a DataFrame
    run.verdicts                                 # a DataFrame
    run.plot("flatness")                         # a matplotlib Figure
    toolbox.verdicts("icl")                      # pooled over everything in outputs/

The same runs, ids and folders as on the command line. Nothing heavy is imported before a function
is called. `toolbox.public` lists every public name, also those of the studies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolbox.version import __version__ as __version__

if TYPE_CHECKING:
    from toolbox.api import FinishedRun, load, plot, run, runs, table, verdicts
    from toolbox.core.errors import (
        Diverged,
        Interrupted,
        ParameterError,
        StudyError,
        TableError,
        ToolboxError,
        UsageError,
    )

__all__ = [
    "Diverged",
    "FinishedRun",
    "Interrupted",
    "ParameterError",
    "StudyError",
    "TableError",
    "ToolboxError",
    "UsageError",
    "load",
    "plot",
    "run",
    "runs",
    "table",
    "verdicts",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'toolbox' has no attribute {name!r}")
    from importlib import import_module

    home = "toolbox.core.errors" if name.endswith("Error") else "toolbox.api"
    if name in ("Diverged", "Interrupted"):
        home = "toolbox.core.errors"
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
