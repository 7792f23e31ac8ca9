"""The stream of prompts of one member: tasks in equal shares, tokens as the network reads them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from toolbox.core.seeds import seed_sequence

from . import no_context, tasks
from .cli import Training
from .plan import Member


def stream(seed: int, repeat: int, *name: str | int) -> torch.Generator:
    """A CPU generator for one named stream of one replicate."""
    words = seed_sequence(seed, repeat, *name).generate_state(2, "uint32")
    return torch.Generator().manual_seed(int(words[0]) << 32 | int(words[1]))


def tokens_of(x: Tensor, y: Tensor, token: str) -> Tensor:
    """x : (..., n, d), y : (..., n). The tokens of the prompts.

    interleave : x_1, y_1, ..., x_n, y_n with y padded by zeros: (..., 2n, d), as in the paper
    pair : token i is (x_i, x_{i-1}, y_{i-1}): (..., n, 2d + 1); a stand-in, not the paper's
    """
    if token == "pair":
        before = torch.cat([x, y[..., None]], dim=-1)[..., :-1, :]
        before = torch.cat([torch.zeros_like(before[..., :1, :]), before], dim=-2)
        return torch.cat([x, before], dim=-1)
    padded = torch.zeros_like(x)
    padded[..., 0] = y
    return torch.stack([x, padded], dim=-2).flatten(-3, -2)


@dataclass
class Block:
    """`S` steps of one member's prompts."""

    x: Tensor
    """(S, B, n, d)."""
    y: Tensor
    """(S, B, n)."""
    share: Tensor
    """(S, B, K): 1 / (number of sequences of the task in the step) where the sequence is of the
    task, so that a weighted sum over B is the mean over the task's sequences."""


class Prompts:
    """Draws a member's prompts in blocks.

    A batch is split equally; each sequence that is left over goes to a task drawn at random (Kim et
    al., generate.py). Copies of one task are one slot with their summed share: together they have
    the law of the task alone.
    """

    def __init__(self, setting: Training, member: Member, seed: int) -> None:
        arm, repeat = member.arm, member.repeat
        self.setting, self.arm = setting, arm
        # What is fixed for a run, such as retrieval's tables, all arms of a replicate share; arms
        # that differ in the learning rate alone see the same prompts.
        self.tasks = [
            tasks.make(name, setting.d, setting.n, stream(seed, repeat, "task", name))
            for name in arm.slots
        ]
        values = [no_context.of(task, setting.ncl).value for task in self.tasks]
        self.optimum = torch.tensor(values, dtype=torch.float64)
        self.boolean = torch.tensor([task.boolean for task in self.tasks])
        copies = torch.tensor([arm.tasks.count(name) for name in arm.slots])
        self.slot_of = torch.repeat_interleave(torch.arange(len(copies)), copies)
        """Slot of every copy."""
        self.copies = copies
        k = len(arm.tasks)
        self.size = setting.batch * (k if setting.per_task_batch else 1)
        self.each, self.left = divmod(self.size, k)
        self.seen = torch.zeros(len(copies), dtype=torch.int64)
        self.streams = [
            stream(seed, repeat, "prompts", arm.name, name) for name in ("", *arm.slots)
        ]

    def block(self, steps: int) -> Block:
        """The next `steps` batches."""
        k, B, n, d = len(self.slot_of), self.size, self.setting.n, self.setting.d
        copy = torch.arange(k).repeat_interleave(self.each).expand(steps, -1)
        if self.left:
            order = torch.rand(steps, k, generator=self.streams[0]).argsort(dim=1)
            copy = torch.cat([copy, order[:, : self.left]], dim=1)
        slot = self.slot_of[copy]
        x, y = torch.empty(steps, B, n, d), torch.empty(steps, B, n)
        for index, task in enumerate(self.tasks):
            mine = slot == index
            count = int(mine.sum())
            self.seen[index] += count
            x[mine], y[mine] = task.draw(self.streams[index + 1], count)
        share = torch.nn.functional.one_hot(slot, len(self.tasks)).double()
        return Block(x, y, share / share.sum(dim=1, keepdim=True))

    def state(self) -> dict[str, Any]:
        """Where the streams stand."""
        return {"streams": [each.get_state() for each in self.streams], "seen": self.seen.clone()}

    def load(self, state: Any) -> None:
        """Go on from what `state` returned."""
        for each, saved in zip(self.streams, state["streams"], strict=True):
            each.set_state(saved)
        self.seen = state["seen"].clone()


class Drawing:
    """The blocks of several members, on a GPU drawn one ahead, in a thread while it computes."""

    def __init__(self, prompts: Sequence[Prompts], ahead: bool) -> None:
        self.prompts = prompts
        self.before = self._states()
        """Where the streams stood when the block under way began."""
        self.after = self.before
        """And when the block drawn ahead began."""
        self.pool = ThreadPoolExecutor(1) if ahead else None
        self.ahead: Future[list[Block]] | None = None

    def _states(self) -> list[dict[str, Any]]:
        return [each.state() for each in self.prompts]

    def next(self, rows: Sequence[int], steps: int, then: int) -> list[Block]:
        """A block of `steps` for the members `rows`; it will be followed by one of `then`."""

        def draw(count: int) -> list[Block]:
            return [self.prompts[row].block(count) for row in rows]

        if self.ahead is None:
            self.before = self._states()
            drawn = draw(steps)
        else:
            self.before, drawn, self.ahead = self.after, self.ahead.result(), None
        if self.pool is not None:
            self.after = self._states()
            self.ahead = self.pool.submit(draw, then) if then > 0 else None
        return drawn

    def undraw(self) -> None:
        """Go back to before the block drawn ahead."""
        if self.ahead is not None:
            self.ahead.result()
            self.ahead = None
            for each, saved in zip(self.prompts, self.after, strict=True):
                each.load(saved)

    def state(self, under_way: bool = False) -> list[dict[str, Any]]:
        """Where the streams stood when the block under way, or else the next, began."""
        if under_way:
            return self.before
        return self._states() if self.ahead is None else self.after

    def load(self, states: Sequence[Any]) -> None:
        """Go on from what `state` returned."""
        self.undraw()
        for each, saved in zip(self.prompts, states, strict=True):
            each.load(saved)
