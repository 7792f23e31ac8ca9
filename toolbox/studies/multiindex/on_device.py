"""Steps on a GPU that do not wait for the host: a block of samples there, its steps as a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from toolbox.core.compute import Captured

from .data import Stream
from .model import Learner, Shared


class Steps:
    """The steps of a learner on its stream; on a CPU they are `learner.step(*stream.next())`.

    On a GPU a block of the stream, which is drawn on the CPU, is copied there at once, and the step
    takes its batch by a place in the block that it counts itself. `Reduced` draws chi-squares on
    the host in every step and is not captured.
    """

    def __init__(self, learner: Learner, stream: Stream, captured: bool | None = None) -> None:
        """captured : by default on a GPU"""
        self.learner, self.stream = learner, stream
        if captured is None:
            captured = isinstance(learner, Shared) and learner.v.is_cuda
        self.captured = captured
        self.graph: Captured | None = None
        self.neurons: Tensor | None = None
        self.inputs: list[Tensor] = []

    def advance(self) -> None:
        """The next step; a GPU may still be at work on it when this returns."""
        learner, stream = self.learner, self.stream
        if not self.captured:
            learner.step(*stream.next())
            return
        assert isinstance(learner, Shared)
        if stream.turn() or not self.inputs:
            parts = [
                part.view(stream.steps, stream.batch, *part.shape[1:]) for part in stream.block
            ]
            if not self.inputs:
                self.inputs = [part.to(learner.v.device, copy=True) for part in parts]
                self.place = torch.zeros(1, dtype=torch.int64, device=learner.v.device)
            for kept, part in zip(self.inputs, parts, strict=True):
                kept.copy_(part)
            self.place.fill_(stream.place)
        if self.graph is None or self.neurons is not learner.v:  # others after some have left
            if self.graph is not None:
                self.graph.forget()
            self.neurons = learner.v
            self.graph = Captured(self._step, str(learner.v.device))
        self.graph()
        stream.place += 1

    def _step(self) -> None:
        learner, kept = self.learner, self.neurons
        assert isinstance(learner, Shared)
        assert kept is not None
        x, y = (part.index_select(0, self.place)[0] for part in self.inputs)
        learner.step(x, y)
        kept.copy_(learner.v)
        learner.v = kept
        self.place.add_(1)
