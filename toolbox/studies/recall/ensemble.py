"""Many networks of one shape trained at once: a leading dimension E, and one Adam for all.

Every product is a batched one (`bmm`). A slice depends, in its last bit, on where it lies in memory
but not on what lies behind it. Members stand in the order of their replicates and those that leave
close ranks, so a replicate's numbers do not depend on how many follow it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolbox.core.run import Run

from .on_device import BLOCK, Replay

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
STATED = ("flat", "first", "second", "rate")
SMALL = 2**18


@contextmanager
def threads_for(numbers: int) -> Iterator[None]:
    """One thread where the largest tensor of one member holds fewer than SMALL numbers.

    There a second thread saves a quarter of the time on idle cores, and on shared ones it costs
    several times as much, since each waits spinning for the other. Of one member, not of the
    ensemble: a replicate's rounding must not depend on how many run beside it.
    """
    allowed = torch.get_num_threads()
    torch.set_num_threads(1 if numbers < SMALL else allowed)
    try:
        yield
    finally:
        torch.set_num_threads(allowed)


class Ensemble(ABC):
    """E networks with the parameters of each in one row of `flat`, (E, P).

    A model says in `draw` what a step draws, in `pieces` what it trains on and in `logits` what it
    computes. On a GPU the steps are those of `on_device`.
    """

    stream: torch.Generator | None = None
    """What `draw` draws from, on the CPU for every device; None: a step draws nothing."""
    failed: Tensor | None = None
    """Set while a step is captured: where it notes that it should have looked at a number."""

    def __init__(self, initial: Mapping[str, Tensor], rates: Sequence[float]) -> None:
        """initial : name -> (E, *shape); rates : the learning rate of each member, (E,)."""
        self.shapes = {name: tuple(value.shape[1:]) for name, value in initial.items()}
        members = len(rates)
        self.flat = torch.cat([value.reshape(members, -1) for value in initial.values()], dim=1)
        self.flat.requires_grad_()
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.rate = torch.tensor(rates, dtype=torch.float32, device=self.flat.device)[:, None]
        self.steps = 0
        self.captured = self.flat.is_cuda
        self.replay: Replay | None = None

    @property
    def members(self) -> int:
        """E."""
        return len(self.flat)

    def parameters(self) -> dict[str, Tensor]:
        """name -> (E, *shape), views into `flat`."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        pieces = torch.split(self.flat, sizes, dim=1)
        return {
            name: piece.view(self.members, *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def draw(self) -> tuple[Tensor, ...]:
        """What the next step draws, on the CPU."""
        return ()

    @abstractmethod
    def pieces(self, drawn: Sequence[Tensor]) -> list[tuple[Any, Tensor]]:
        """The batch of a step, from what it drew: inputs and labels (B,), cut where it would fill
        memory."""

    @abstractmethod
    def logits(self, inputs: Any) -> Tensor:
        """(E, B, answers)."""

    @abstractmethod
    def largest(self) -> int:
        """Numbers in the largest tensor of one member's step."""

    @abstractmethod
    def accuracy(self) -> np.ndarray:
        """The accuracy by which a trial is judged, (E,)."""

    def step(self) -> None:
        """One step of Adam on the cross entropy, its mean over the batch."""
        if self.captured:
            self.replay = self.replay or Replay(self)
            self.replay.step()
            self.steps += 1
            return
        self.steps += 1
        self.adam(self.gradient(self.draw()), self.steps)

    def gradient(self, drawn: Sequence[Tensor]) -> Tensor:
        """Of the cross entropy, its mean over the batch, in all parameters: (E, P)."""
        pieces = self.pieces(drawn)
        gradient = torch.zeros_like(self.flat)
        for inputs, labels in pieces:
            logits = self.logits(inputs)
            with torch.no_grad():
                # The gradient of the cross entropy in the logits; the loss is never needed.
                pull = torch.softmax(logits, dim=2)
                right = labels.expand(self.members, -1)[..., None]
                pull.scatter_add_(2, right, pull.new_full((), -1.0).expand(right.shape))
            gradient += torch.autograd.grad(logits, self.flat, pull)[0]
        # The mean is taken here, where the numbers are few.
        return gradient / sum(len(labels) for _, labels in pieces)

    @torch.no_grad()
    def adam(self, gradient: Tensor, steps: int | Tensor) -> None:
        """Kingma and Ba, arXiv:1412.6980, Algorithm 1.

        gradient : (E, P);  steps : t, this one counted; in a captured step a float64 tensor
        """
        past1, past2 = _power(BETA1, steps), _power(BETA2, steps)
        self.first.lerp_(gradient, 1 - BETA1)
        self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        scale = (self.second / (1 - past2)).sqrt_().add_(EPSILON)
        self.flat.sub_(self.first / scale * (self.rate / (1 - past1)))

    @torch.no_grad()
    def finite(self) -> np.ndarray:
        """Which members have finite weights, (E,) booleans.

        A loss or gradient that is not finite leaves weights that never become finite again.
        """
        self.settle()
        return torch.isfinite(self.flat).all(dim=1).cpu().numpy()

    def settle(self) -> None:
        """See to it that the weights are those of all steps; called before they are looked at."""
        if self.replay is not None:
            self.replay.settle()

    def keep(self, members: Tensor) -> None:
        """Go on with some members only; members : (K,) indices."""
        self.settle()
        for name in STATED:
            setattr(self, name, getattr(self, name).detach()[members].clone())
        self.flat.requires_grad_()
        if self.replay is not None:
            self.replay.rebuild()

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; the stream as it stood `place` steps before."""
        self.settle()
        state = {"steps": self.steps, **{name: getattr(self, name).detach() for name in STATED}}
        if self.stream is None:
            return state
        if self.replay is None:
            return {**state, "stream": self.stream.get_state(), "place": 0, "plain": False}
        if self.replay.at == BLOCK:
            self.replay.next_block()
        at, plain = self.replay.at, self.replay.plain
        return {**state, "stream": self.replay.began, "place": at, "plain": plain}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.steps = state["steps"]
        for name in STATED:
            setattr(self, name, state[name].clone())
        self.flat.requires_grad_()
        self.replay = None
        if self.stream is not None:
            self.stream.set_state(state["stream"].cpu())
            if self.captured:
                self.replay = Replay(self, state["place"])
                self.replay.plain = state["plain"]


def _power(base: float, steps: int | Tensor) -> float | Tensor:
    return torch.exp(steps * math.log(base)) if isinstance(steps, Tensor) else base**steps


# ----------------------------------------------------------------------------------- training


@dataclass(frozen=True)
class Budget:
    """When trials are looked at and when they end."""

    steps: int
    every: int
    """Steps between two looks at the accuracy."""
    threshold: float
    """A trial ends when its accuracy is at least this."""
    early: bool = True
    """End a trial that cannot reach the threshold any more, see `hopeless`."""


@dataclass
class Outcome:
    """How E trials stand."""

    best: np.ndarray
    """Best accuracy seen, (E,)."""
    stopped: np.ndarray
    """Step of the last look, (E,)."""
    diverged: np.ndarray
    """Whether the weights are no longer finite, (E,) booleans."""
    alive: np.ndarray
    """Those that go on, (K,) indices."""

    @property
    def accuracy(self) -> np.ndarray:
        """Best accuracy, NaN for trials that diverged: (E,)."""
        return np.where(self.diverged, np.nan, self.best)


FIRST_SHARE = 0.25


def hopeless(best: np.ndarray, step: int, budget: Budget) -> np.ndarray:
    """Trials that will not reach the threshold within the budget, (E,) booleans.

    best : (E,) best accuracies so far. Let e = 1 - threshold be the error to reach. A trial that
    just makes it has an error of about e^q or less at a share q of its budget: it learns fastest
    first. From a quarter of the budget on a trial is given up when its error exceeds e^(q/2), at
    half that pace. An empirical rule: the tests hold it to changing no capacity on the small grids.
    """
    share = step / budget.steps
    if share < FIRST_SHARE:
        return np.zeros(len(best), dtype=bool)
    error = max(1 - budget.threshold, 1e-3)
    return np.asarray(1 - best > error ** (share / 2))


def train(run: Run, model: Ensemble, budget: Budget) -> Outcome:
    """Train every member until it succeeds, cannot succeed, diverges, or the budget is spent."""
    members = model.members
    found = Outcome(
        best=np.zeros(members),
        stopped=np.zeros(members, dtype=np.int64),
        diverged=np.zeros(members, dtype=bool),
        alive=np.arange(members),
    )
    with threads_for(model.largest()):
        for step in run.steps(budget.steps, model, found):
            model.step()
            done = step + 1
            if done % budget.every and done != budget.steps:
                continue
            found.diverged[found.alive] = ~model.finite()
            found.best[found.alive] = np.maximum(found.best[found.alive], model.accuracy())
            found.stopped[found.alive] = done
            decided = found.diverged | (found.best >= budget.threshold)
            if budget.early:
                decided |= hopeless(found.best, done, budget)
            going = ~decided[found.alive]
            found.alive = found.alive[going]
            if not len(found.alive):
                break
            if not going.all():
                model.keep(torch.from_numpy(np.flatnonzero(going)).to(model.flat.device))
    return found
