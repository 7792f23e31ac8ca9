"""What is trained: the setting that all members of a call share, arms, and single members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from toolbox.core.errors import UsageError

from . import no_context, tasks

if TYPE_CHECKING:
    from toolbox.core.run import Run

    from .model import Sizes

DEFAULT_TASKS = ("parity2", "conjunction", "disjunction", "parity")
"""What `--tasks K` takes the first K of; docs/icl-search.md says why these."""

RECURRENT = ("lstm", "gru")
"""Stacked at every size; a stack of Mambas leaves the cache and loses."""


@dataclass(frozen=True)
class Setting:
    """Everything that changes numbers and is the same for all members."""

    d: int
    n: int
    batch: int
    per_task_batch: bool
    token: Literal["interleave", "pair"]
    model: str
    embd: int
    layers: int
    heads: int
    init_std: float
    optimizer: Literal["adam", "sgd"]
    warmup: int
    steps: int
    threshold: float
    window: int
    every: int
    until: Literal["escape", "complete", "steps"]
    ncl: Literal["exact", "repo"]
    precision: Literal["float32", "bfloat16"]

    @property
    def sizes(self) -> Sizes:
        """The shapes of the network."""
        from .model import Sizes

        pair = self.token == "pair"
        inputs = 2 * self.d + 1 if pair else self.d
        return Sizes(inputs, self.n if pair else 2 * self.n, self.embd, self.layers, self.heads)

    @property
    def read(self) -> range:
        """The positions at which predictions are read: those of the x."""
        return range(self.n) if self.token == "pair" else range(0, 2 * self.n, 2)

    @property
    def member_tokens(self) -> int:
        """Tokens of one member's step at equal total batch."""
        return self.batch * self.sizes.tokens

    def check(self, run: Run) -> None:
        """Refuse what does not fit together. Errors: `UsageError`."""
        if self.precision != "float32" and not run.device.startswith("cuda"):
            raise UsageError(
                f"--precision {self.precision}: is for CUDA, this is {run.device}; use float32"
            )
        if self.model == "gpt" and self.embd % self.heads:
            raise UsageError(
                f"--heads {self.heads}: does not divide --embd {self.embd}; choose a divisor"
            )
        if self.window > self.steps:
            raise UsageError(
                f"--window {self.window}: is longer than --steps {self.steps}; nothing can escape"
            )


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


def chosen(words: Sequence[str], flag: str = "--tasks") -> tuple[str, ...]:
    """Task names from a list of names, or the first K default tasks from one number.

    Errors: `UsageError`.
    """
    if len(words) != 1 or not words[0].lstrip("+-").isdigit():
        return tuple(words)
    count = int(words[0])
    if not 1 <= count <= len(DEFAULT_TASKS):
        raise UsageError(
            f"{flag} {words[0]}: there are {len(DEFAULT_TASKS)} default tasks "
            f"({', '.join(DEFAULT_TASKS)}); give a number up to that or names"
        )
    return DEFAULT_TASKS[:count]


def check_tasks(names: Sequence[str], setting: Setting, flag: str = "--tasks") -> None:
    """Refuse tasks that are unknown, or not defined at this d and n. Errors: `UsageError`."""
    for name in names:
        try:
            tasks.check(name, setting.d, setting.n)
            if setting.ncl == "repo":  # the code has constants for few d
                no_context.optimum(name, setting.d, setting.n, "repo")
        except UsageError as error:
            raise UsageError(str(error).replace("--tasks", flag, 1)) from None
    if len(names) > setting.batch and not setting.per_task_batch:
        raise UsageError(
            f"--batch {setting.batch}: is less than the {len(names)} tasks of a mix; "
            "raise it, or give --per-task-batch"
        )


def rates(lr: float, sweep: Sequence[float]) -> tuple[float, ...]:
    """`--lr` and the other rates of `--lr-sweep` (0 stands for none), rising."""
    return tuple(sorted({lr, *(rate for rate in sweep if rate > 0)}))
