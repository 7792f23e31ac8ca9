"""The stream of fresh samples, and the starts.

Labels are y = sum_k phi(v_k.x) + sigma xi on x ~ N(0, I_d). The v_k are the first P axes, or a
Haar frame: the Gaussian and a uniform start make this the same problem.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolbox.core import memory
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from .link import Link

Floats = NDArray[np.float64]
BLOCK = 1 << 18
"""Numbers drawn at a time, at least one batch: enough for drawing to run beside the rest."""


def check_sizes(P: int, d: int, m: int, field: str = "m") -> None:
    """Refuse more directions than there are dimensions, and m neurons that memory cannot hold.

    field : the name of the parameter that m comes from

    Errors: `ParameterError`.
    """
    if d < P:
        raise ParameterError(
            "P", P, f"orthonormal directions in R^{d} number at most {d}", "lower {P}"
        )
    neurons = 4 * 8.0 * m * d
    memory.need(neurons, f"neurons in R^{d}, their gradients and copies", field, m)


def coupled_starts(run: Run, repeat: int, m: int, d: int, P: int) -> Floats:
    """m uniform unit vectors, (m, d), whose first P coordinates are drawn alike for every d and P.

    Common random numbers: the Gaussian of coordinate k <= P of neuron j is the same in every
    dimension, so that laws in d are not blurred by the luck of the starts.
    """
    inner = [run.rng(repeat, "start", "inner", k).standard_normal(m) for k in range(P)]
    outer = run.rng(repeat, "start", "outer", d, P).standard_normal((m, d - P))
    return _unit(np.concatenate([np.stack(inner, axis=1), outer], axis=1))


def starts(rng: np.random.Generator, m: int, d: int) -> Floats:
    """m uniform unit vectors, (m, d)."""
    return _unit(rng.standard_normal((m, d)))


def _unit(v: Floats) -> Floats:
    unit: Floats = v / np.linalg.norm(v, axis=1, keepdims=True)
    return unit


def haar_frame(rng: np.random.Generator, d: int, P: int) -> Floats:
    """P orthonormal vectors, uniformly distributed, (d, P)."""
    q, r = np.linalg.qr(rng.standard_normal((d, P)))
    frame: Floats = q * np.sign(np.diag(r))
    return frame


class Stream:
    """Batches cut from blocks; the next block is drawn in a thread while this one is used.

    They are drawn on the CPU for every device, so that a GPU sees what a CPU sees. The numbers
    depend on the generator and the block's size alone.
    """

    def __init__(
        self,
        draw: Callable[[torch.Generator, int], tuple[Tensor, ...]],
        generator: torch.Generator,
        width: int,
        batch: int,
        device: str = "cpu",
    ) -> None:
        """draw : (generator, rows) -> tensors with rows leading; width : numbers of a row; device :
        of what `next` returns."""
        self.device = device
        self.draw, self.generator, self.batch = draw, generator, batch
        self.steps = max(1, BLOCK // (batch * width))
        self.pool = ThreadPoolExecutor(1)
        self.place = self.steps
        self.block: tuple[Tensor, ...] = ()
        self.before = generator.get_state()
        self.ahead: Future[Any] | None = None

    def _next_block(self) -> tuple[Tensor, tuple[Tensor, ...]]:
        before = self.generator.get_state()
        return before, self.draw(self.generator, self.steps * self.batch)

    def turn(self) -> bool:
        """Go to the next block at the end of this one; whether it did."""
        if self.place < self.steps:
            return False
        if self.ahead is not None:
            self.before, self.block = self.ahead.result()
        else:
            self.before, self.block = self._next_block()
        self.place = 0
        self.ahead = self.pool.submit(self._next_block)
        return True

    def next(self) -> tuple[Tensor, ...]:
        """The next batch: the drawn tensors, (b, ...) each."""
        self.turn()
        rows = slice(self.place * self.batch, (self.place + 1) * self.batch)
        self.place += 1
        return tuple(part[rows].to(self.device) for part in self.block)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {"before": self.before, "place": self.place, "drawn": bool(self.block)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; only on a stream not yet used."""
        self.generator.set_state(state["before"].cpu())
        self.before, self.place = state["before"], state["place"]
        if state["drawn"]:
            self.before, self.block = self._next_block()
            self.ahead = self.pool.submit(self._next_block)

    def close(self) -> None:
        """Let the thread go."""
        self.pool.shutdown(wait=True)


def normal(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    """Independent standard Gaussians."""
    return torch.empty(*shape, dtype=dtype, device=generator.device).normal_(generator=generator)


def shared(
    run: Run, repeat: int, link: Link, d: int, P: int, sigma: float, frame: Tensor | None,
    batch: int, name: str, dtype: torch.dtype = torch.float32,
) -> Stream:  # fmt: skip
    """Batches (x, y), (b, d) and (b,): one stream that every neuron and step size sees.

    frame : (d, P) on the CPU, or None for the first P axes
    """

    def draw(generator: torch.Generator, rows: int) -> tuple[Tensor, ...]:
        x = normal(generator, dtype, rows, d)
        projected = x[:, :P] if frame is None else x @ frame
        return x, labels(link, projected, sigma, generator)

    generator = run.torch_generator(repeat, name, link.name, d, P, device="cpu")
    return Stream(draw, generator, d, batch, run.device)


def reduced(
    run: Run, repeat: int, link: Link, d: int, P: int, sigma: float, m: int, batch: int, name: str,
    dtype: torch.dtype = torch.float32,
) -> Stream:  # fmt: skip
    """Batches (x_P, g, y), (b, P), (b, m) and (b,): what a neuron sees of x in law, no more.

    g holds the component of x along each neuron's own part outside the subspace.
    """

    def draw(generator: torch.Generator, rows: int) -> tuple[Tensor, ...]:
        projected = normal(generator, dtype, rows, P)
        outer = normal(generator, dtype, rows, m)
        return projected, outer, labels(link, projected, sigma, generator)

    generator = run.torch_generator(repeat, name, link.name, d, P, device="cpu")
    return Stream(draw, generator, P + m, batch, run.device)


def labels(link: Link, projected: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """y = sum_k phi(v_k.x) + sigma xi; inner : (b, P) -> (b,)."""
    y: Tensor = link.value(projected).sum(dim=1)
    if sigma > 0:
        y = y + sigma * normal(generator, projected.dtype, len(projected))
    return y
