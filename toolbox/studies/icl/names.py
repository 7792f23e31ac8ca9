"""The names of tasks and of controls, without torch: the command line completes and checks them."""

from __future__ import annotations

CONTINUOUS = (
    "linear", "sparse-linear", "quadratic", "leaky-relu", "relu", "logistic", "sine",
    "relu-network", "decision-tree", "gaussian-retrieval",
)  # fmt: skip
BOOLEAN = ("parity2", "parity3", "parity", "conjunction", "disjunction", "boolean-retrieval")
CONTROLS = ("coin", "truth-table")
NO_CONTEXT = "/no-context"
DEFAULT_TASKS = ("parity2", "conjunction", "disjunction", "parity")
"""What `--tasks K` takes the first K of; docs/icl-search.md says why these."""
KINDS = ("alone", "duplicates", "no-context", "coin", "retrieval", "real")
"""What `icl controls` can put beside a task."""


def task_names() -> tuple[str, ...]:
    """Every task; each also exists as `NAME/no-context`."""
    return CONTINUOUS + BOOLEAN + CONTROLS


def base(name: str) -> str:
    """`parity2` of `parity2/no-context`."""
    return name.removesuffix(NO_CONTEXT)


def is_boolean(name: str) -> bool:
    """Whether y is a sign, judged by the logistic loss."""
    return base(name) not in CONTINUOUS
