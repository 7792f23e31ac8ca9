"""The steps of an ensemble on a GPU: captured as a graph, with prompts drawn a block ahead.

A step on the CPU looks at the spread of the scores and takes another attention where it is large
(`transformer.FAR`). A graph cannot look. It notes that it should have, and the note is read at the
next look or at the end of the block: then the steps since are done again, one after the other, and
so are all that follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from toolbox.core.compute import Captured

if TYPE_CHECKING:
    from .ensemble import Ensemble

BLOCK = 64
"""Steps whose prompts are drawn at a time, on the CPU while the GPU is at work."""


class Replay:
    """Where the steps of one ensemble stand."""

    def __init__(self, model: Ensemble, place: int = 0) -> None:
        """place : steps of the first block that were done before"""
        self.model = model
        device = model.flat.device
        self.count = torch.full((), float(model.steps), dtype=torch.float64, device=device)
        self.place = torch.full((1,), place, dtype=torch.int64, device=device)
        self.failed = torch.zeros((), dtype=torch.bool, device=device)
        self.plain = False
        self.at, self.settled = place, place
        self.began, drawn = self._draw()
        self.inputs = [each.to(device) for each in drawn]
        self.coming: tuple[Tensor | None, list[Tensor]] | None = None
        self.rebuild()

    def rebuild(self) -> None:
        """Begin with the tensors that the model has now."""
        self.captured = Captured(self._step, str(self.model.flat.device))
        self.base = [each.detach().clone() for each in self._trained()]

    def _trained(self) -> list[Tensor]:
        return [self.model.flat, self.model.first, self.model.second]

    def _draw(self) -> tuple[Tensor | None, list[Tensor]]:
        """Where the stream stood, and what the steps of a block draw, (BLOCK, ...) each."""
        stream = self.model.stream
        if stream is None:
            return None, []
        before = stream.get_state()
        rows = [self.model.draw() for _ in range(BLOCK)]
        return before, [torch.stack(each) for each in zip(*rows, strict=True)]

    def step(self) -> None:
        """The next step; the GPU may still be at work on it when this returns."""
        if self.at == BLOCK:
            self.next_block()
        self._step() if self.plain else self.captured()
        self.at += 1
        if self.at == BLOCK:
            self.coming = self._draw()

    def next_block(self) -> None:
        """Settle this block, and put the next in its place."""
        self.settle()
        assert self.coming is not None
        (self.began, drawn), self.coming = self.coming, None
        for kept, new in zip(self.inputs, drawn, strict=True):
            kept.copy_(new)
        self._go_to(0)

    def _go_to(self, row: int) -> None:
        self.at = self.settled = row
        self.place.fill_(row)

    def _step(self) -> None:
        model = self.model
        drawn = [each.index_select(0, self.place)[0] for each in self.inputs]
        model.failed = None if self.plain else self.failed
        try:
            gradient = model.gradient(drawn)
        finally:
            model.failed = None
        self.count.add_(1)
        model.adam(gradient, self.count)
        self.place.add_(1)

    def settle(self) -> None:
        """Read whether a step should have looked; then do the steps since the last reading again.

        After it the weights are those of `at` steps of the block.
        """
        if self.model.stream is None or self.at == self.settled:
            return
        if bool(self.failed):
            done, self.plain = self.at, True
            self.failed.zero_()
            with torch.no_grad():
                for now, before in zip(self._trained(), self.base, strict=True):
                    now.copy_(before)
            self.count.sub_(done - self.settled)
            self._go_to(self.settled)
            for _ in range(done - self.at):
                self._step()
            self.at = done
        with torch.no_grad():
            for before, now in zip(self.base, self._trained(), strict=True):
                before.copy_(now)
        self.settled = self.at
