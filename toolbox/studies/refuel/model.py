"""Ensembles of policies on the states of the guided dialogue.

All members, which are methods and their settings, are trained at once: the parameters of each are a
row of `flat` (M, P), and their logits are a table (M, S, A).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .data import Floats

BETA1, BETA2, TINY = 0.9, 0.999, 1e-8


class Policies:
    """M policies and the moments of Adam (Kingma and Ba, arXiv:1412.6980).

    inputs : (S, D) what a network sees of each state; None for a table of logits
    """

    def __init__(self, inputs: Floats | None, states: int, answers: int, width: int) -> None:
        self.inputs = None if inputs is None else torch.tensor(inputs, dtype=torch.float32)
        self.states, self.answers = states, answers
        if self.inputs is None:
            self.shapes = [(states, answers)]
        else:
            d = self.inputs.shape[1]
            self.shapes = [(d, width), (1, width), (width, width), (1, width), (width, answers),
                           (1, answers)]  # fmt: skip
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.flat = torch.zeros(0, sum(self.sizes))
        self.first, self.second = torch.zeros(0), torch.zeros(0)
        self.count = torch.zeros((), dtype=torch.int64)

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Initial parameters of one member, (P,): weights uniform within 1 / sqrt(inputs)."""
        parts = []
        for shape in self.shapes:
            bound = 0.0 if self.inputs is None or shape[0] == 1 else shape[0] ** -0.5
            parts.append(rng.uniform(-bound, bound, math.prod(shape)) if bound else np.zeros(shape))
        return torch.tensor(np.concatenate([part.ravel() for part in parts]), dtype=torch.float32)

    def start(self, flat: Tensor) -> None:
        """Take parameters (M, P) and forget the moments."""
        self.flat = flat.clone().contiguous().requires_grad_()
        self.first, self.second = torch.zeros_like(flat), torch.zeros_like(flat)
        self.count = torch.zeros((), dtype=torch.int64)

    def reset(self) -> None:
        """Forget the moments, as at the start of an iteration."""
        self.first.zero_()
        self.second.zero_()
        self.count.zero_()

    @property
    def changing(self) -> list[Tensor]:
        """What a step changes."""
        return [self.flat, self.first, self.second, self.count]

    def logits(self) -> Tensor:
        """(M, S, A)."""
        members = self.flat.shape[0]
        pieces = torch.split(self.flat, self.sizes, dim=1)
        parts = [p.view(members, *shape) for p, shape in zip(pieces, self.shapes, strict=True)]
        if self.inputs is None:
            return parts[0]
        x: Tensor = self.inputs.expand(members, -1, -1)
        for weight, bias in zip(parts[0::2], parts[1::2], strict=True):
            x = torch.baddbmm(bias, x, weight)
            if weight is not parts[4]:
                x = torch.tanh(x)
        return x

    @torch.no_grad()
    def probabilities(self) -> Floats:
        """The policies, (M, S, A), in double precision."""
        return torch.softmax(self.logits().double(), dim=2).numpy()

    def step(self, loss: Tensor, rate: float) -> None:
        """One step of Adam on the sum of the members' losses."""
        gradient = torch.autograd.grad(loss, self.flat)[0]
        with torch.no_grad():
            self.count += 1
            t = int(self.count)
            self.first.lerp_(gradient, 1 - BETA1)
            self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            scale = self.second.div(1 - BETA2**t).sqrt_().add_(TINY)
            self.flat.addcdiv_(self.first, scale, value=-rate / (1 - BETA1**t))
