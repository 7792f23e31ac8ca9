"""What is trained: what follows from the flags that all trainings share, arms, and members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from toolbox.core import memory
from toolbox.core.errors import ParameterError

from . import no_context, tasks
from .names import DEFAULT_TASKS

if TYPE_CHECKING:
    from toolbox.core.run import Run

    from .cli import Training
    from .model import Sizes

LEAST_OPTIMUM = 1e-6
"""Below, single precision cannot divide by it."""

RECURRENT = ("lstm", "gru")
"""Stacked at every size; a stack of Mambas leaves the cache and loses."""


def sizes_of(p: Training) -> Sizes:
    """The shapes of the network."""
    from .model import Sizes

    pair = p.token == "pair"
    inputs = 2 * p.d + 1 if pair else p.d
    return Sizes(inputs, p.n if pair else 2 * p.n, p.embd, p.layers, p.heads)


def read_at(p: Training) -> range:
    """The positions at which predictions are read: those of the x."""
    return range(p.n) if p.token == "pair" else range(0, 2 * p.n, 2)


def member_tokens(p: Training) -> int:
    """Tokens of one member's step at equal total batch."""
    return p.batch * sizes_of(p).tokens


@dataclass(frozen=True)
class Arm:
    """One kind of training run: its tasks, and which of them end it by escaping."""

    name: str
    kind: str
    """Role in the comparison: single, mix, duplicates, ..."""
    tasks: tuple[str, ...]
    lr: float
    watch: tuple[str, ...]

    @property
    def slots(self) -> tuple[str, ...]:
        """The distinct tasks, in order: copies of one task are one slot with their summed share."""
        return tuple(dict.fromkeys(self.tasks))


@dataclass(frozen=True)
class Member:
    """An arm in one replicate: what trains as one model."""

    arm: Arm
    repeat: int
    start: Any = None
    """Parameters that `Ensemble.parameters_of` returned; None is a fresh model."""
    keep: bool = False
    """Hand back the parameters in the end."""


@dataclass(frozen=True)
class Outcome:
    """What a member came to; K tasks, R recorded steps."""

    rows: np.ndarray
    """(R, 4, K): step, loss over optimum, the same at the last position, accuracy there."""
    escape: np.ndarray
    """(K,): steps at which the plateaus were left, or `escape.NEVER`."""
    complete: np.ndarray
    """(K,): steps at which the tasks were learnt, or `escape.NEVER`."""
    steps: int
    seen: np.ndarray
    """(K,): prompts of each task."""
    optimum: np.ndarray
    """(K,): optima without context."""
    boolean: np.ndarray
    """(K,): whether labels are signs."""
    diverged: int
    """The step at which the loss was not finite, or `escape.NEVER`."""
    parameters: Any = None
    """Where `Member.keep` asked for them."""
    longest_step: float = 0.0
    """Seconds that the host spent in one captured step of its group; the first one compiles."""


def chosen(words: Sequence[str]) -> tuple[str, ...]:
    """Task names from `tasks`: a list of names, or one number K for the first K default tasks.

    Errors: `ParameterError`.
    """
    if len(words) != 1 or not words[0].lstrip("+-").isdigit():
        return tuple(words)
    count = int(words[0])
    if not 1 <= count <= len(DEFAULT_TASKS):
        raise ParameterError(
            "tasks",
            words[0],
            f"there are {len(DEFAULT_TASKS)} default tasks ({', '.join(DEFAULT_TASKS)})",
            "give a number up to that or names",
        )
    return DEFAULT_TASKS[:count]


def check(run: Run, p: Training) -> None:
    """Refuse flags that do not fit together, and a network that memory cannot hold.

    Errors: `ParameterError`.
    """
    if p.precision != "float32" and not run.device.startswith("cuda"):
        raise ParameterError(
            "precision", p.precision, f"needs CUDA, this is {run.device}", "use float32"
        )
    if p.model == "gpt" and p.embd % p.heads:
        raise ParameterError(
            "heads", p.heads, f"does not divide {{embd}} {p.embd}", "choose a divisor"
        )
    if p.window > p.steps:
        raise ParameterError(
            "window",
            p.window,
            f"is longer than {{steps}} {p.steps}, so that nothing could escape",
            "lower it",
        )
    memory.need(
        member_bytes(p),
        "one network and its optimiser",
        "embd",
        p.embd,
        run.device,
    )


def member_bytes(p: Training) -> float:
    """Memory of one member, at least: weights, gradients and moments in float32, and for every
    layer the activations that its backward pass reads."""
    weights = 12 * p.layers * p.embd**2
    attention = p.heads * sizes_of(p).tokens if p.model == "gpt" else 0
    return 4.0 * (4 * weights + member_tokens(p) * p.layers * (8 * p.embd + attention))


def check_tasks(tried: Sequence[str], p: Training, field: str = "tasks") -> None:
    """Refuse tasks that are unknown, or not defined at this d. Errors: `ParameterError`."""
    for name in tried:
        tasks.check(name, p.d, field)
        optimum = no_context.optimum(name, p.d, p.n).value
        if optimum < LEAST_OPTIMUM:
            raise ParameterError(
                field,
                name,
                f"with {{d}} {p.d} nearly all its labels agree: the optimum without context, which "
                f"losses are divided by, is {optimum:.1g}",
                "lower {d}, or leave it out",
            )
        if p.ncl == "repo":  # the code has constants for few d
            no_context.optimum(name, p.d, p.n, "repo")
    if len(tried) > p.batch and not p.per_task_batch:
        raise ParameterError(
            "batch",
            p.batch,
            f"is less than the {len(tried)} tasks of a mix",
            "raise it, or give {per_task_batch}",
        )


def rates(lr: float, sweep: Sequence[float]) -> tuple[float, ...]:
    """`--lr` and the other rates of `--lr-sweep` (0 stands for none), rising."""
    return tuple(sorted({lr, *(rate for rate in sweep if rate > 0)}))
