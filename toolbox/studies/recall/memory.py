"""Associative memories (paper, Section 3): a matrix, an MLP, and the superposition in closed form.

Prediction: argmax over outputs y of <u_y, F(e_x)>, with frozen random unit e_x and u_y.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolbox.core.run import Run

from . import data
from .ensemble import Ensemble

PIECE = 2**24
"""Logits of one member held at a time; N associations have N^2 of them."""

MakeGenerator = Callable[[int, int], torch.Generator]
"""(repeat, N) -> the stream of one trial."""


@dataclass(frozen=True)
class Shape:
    """A memory of dimension d; `width` None is the matrix, else an MLP; `outputs` None is M = N."""

    d: int
    width: int | None = None
    outputs: int | None = None

    def __str__(self) -> str:
        """Its name in messages: "d = 8, m = 16"."""
        return f"d = {self.d}" + ("" if self.width is None else f", m = {self.width}")

    @property
    def parameters(self) -> int:
        """d^2, or m d as on the paper's axis (the MLP holds 2 m d + m numbers)."""
        return self.d * (self.d if self.width is None else self.width)

    @property
    def held(self) -> int:
        """Every trained number."""
        return self.d**2 if self.width is None else 2 * self.width * self.d + self.width


class Memory(Ensemble):
    """E trials at one size N; members are (replicate, learning rate) pairs."""

    def __init__(
        self, shape: Shape, N: int, repeats: Sequence[int], rates: Sequence[float],
        generator: MakeGenerator, device: str,
    ) -> None:  # fmt: skip
        """Fresh embeddings and LeCun-normal weights for each replicate, the same for each rate."""
        f = data.association(N, shape.outputs)
        outputs = shape.outputs or N
        drawn = [self._draw(shape, N, outputs, generator(repeat, N), device) for repeat in repeats]
        keys, values, initial = zip(*drawn, strict=True)
        self.keys = _each(keys, len(rates))
        self.values = _each(values, len(rates))
        self.labels = torch.from_numpy(f).to(device)
        names = initial[0].keys()
        super().__init__(
            {name: _each([one[name] for one in initial], len(rates)) for name in names},
            [rate for _ in repeats for rate in rates],
        )

    @staticmethod
    def _draw(
        shape: Shape, N: int, outputs: int, generator: torch.Generator, device: str
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        def normal(rows: int, columns: int) -> Tensor:
            drawn = torch.randn(rows, columns, generator=generator, device=generator.device)
            return drawn.div_(rows**0.5).to(device)

        keys = data.unit_rows(N, shape.d, generator, device)
        values = data.unit_rows(outputs, shape.d, generator, device).T.contiguous()
        if shape.width is None:
            return keys, values, {"W": normal(shape.d, shape.d)}
        weights = {"W1": normal(shape.d, shape.width), "W2": normal(shape.width, shape.d)}
        return keys, values, {**weights, "b": torch.zeros(1, shape.width, device=device)}

    def pieces(self, drawn: Sequence[Tensor] = ()) -> list[tuple[Tensor, Tensor]]:
        """Full batch: every association; nothing is drawn for it."""
        rows = max(1, PIECE * len(self.labels) // self.largest())
        keys, labels = torch.split(self.keys, rows, dim=1), torch.split(self.labels, rows)
        return list(zip(keys, labels, strict=True))

    def logits(self, inputs: Tensor) -> Tensor:
        """<u_y, F(e_x)>: (E, N, M). inputs : (E, N, d)."""
        p = self.parameters()
        if "W" in p:
            return torch.bmm(torch.bmm(inputs, p["W"]), self.values)
        hidden = torch.baddbmm(p["b"], inputs, p["W1"]).relu()
        return torch.bmm(torch.bmm(hidden, p["W2"]), self.values)

    def largest(self) -> int:
        """The logits or the hidden layer."""
        N, M = len(self.labels), self.values.shape[2]
        return N * max(M, self.shapes.get("b", (1, 0))[1])

    @torch.no_grad()
    def accuracy(self) -> np.ndarray:
        """Fraction of the N associations recalled, exactly: (E,)."""
        right = [self.logits(keys).argmax(dim=2) == labels for keys, labels in self.pieces()]
        return torch.cat(right, dim=1).double().mean(dim=1).cpu().numpy()

    @torch.no_grad()
    def loss(self) -> np.ndarray:
        """Cross entropy, mean over associations: (E,)."""
        each = [
            torch.nn.functional.cross_entropy(
                self.logits(keys).transpose(1, 2), labels.expand(self.members, -1), reduction="none"
            )
            for keys, labels in self.pieces()
        ]
        return torch.cat(each, dim=1).double().mean(dim=1).cpu().numpy()

    def keep(self, members: Tensor) -> None:
        """Their embeddings go with the members."""
        super().keep(members)
        self.keys, self.values = self.keys[members], self.values[members]

    def state_dict(self) -> dict[str, object]:
        """The embeddings too: who is left is not known from outside."""
        return {**super().state_dict(), "keys": self.keys, "values": self.values}

    def load_state_dict(self, state) -> None:  # type: ignore[no-untyped-def]
        """Go on from what `state_dict` returned."""
        super().load_state_dict(state)
        self.keys, self.values = state["keys"], state["values"]


def _each(tensors: Sequence[Tensor], times: int) -> Tensor:
    """Stack and repeat every entry `times` times in a row: (len * times, ...)."""
    return torch.stack(list(tensors)).repeat_interleave(times, dim=0)


def superposition_accuracy(
    d: int, N: int, outputs: int | None, draws: int, generator: torch.Generator, device: str,
    run: Run | None = None,
) -> float:  # fmt: skip
    """Accuracy of W = sum_x u_f(x) e_x^T, mean over fresh embeddings (paper, Section 3.1).

    run : of which the draws are the steps
    """
    f = torch.from_numpy(data.association(N, outputs)).to(device)
    count = {"right": 0}
    steps = range(draws) if run is None else run.steps(draws, generator, count, label="draws")
    for _ in steps:
        keys = data.unit_rows(N, d, generator, device)
        values = data.unit_rows(outputs or N, d, generator, device)
        read = keys @ (values[f].T @ keys).T
        rows = max(1, PIECE // len(values))
        for outs, labels in zip(torch.split(read, rows), torch.split(f, rows), strict=True):
            count["right"] += int(((outs @ values.T).argmax(dim=1) == labels).sum())
    return count["right"] / (draws * N)
