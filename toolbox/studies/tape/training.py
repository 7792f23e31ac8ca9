"""One training of one decoder, the same for every encoding and task."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor

from toolbox.core.errors import ParameterError

from .model import Decoder
from .tasks import Batch

BETAS, DECAY, CLIP = (0.9, 0.98), 0.01, 1.0


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, a constant, and from `hold` of the steps on linear decay to `floor`."""

    steps: int
    warmup: int
    hold: float = 0.5
    floor: float = 0.0

    def __call__(self, step: int) -> float:
        """The factor on the rate at this step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        turn = self.hold * self.steps
        if step < turn:
            return 1.0
        return self.floor + (1 - self.floor) * (self.steps - step) / (self.steps - turn)


def optimiser(
    model: Decoder, lr: float, tape_mult: float, decay: float = DECAY
) -> torch.optim.AdamW:
    """AdamW on all weights that are trained; TAPE's matrices have `tape_mult` times the rate."""
    theirs = [w for name, w in model.named_parameters() if ".update." in name and w.requires_grad]
    known = {id(w) for w in theirs}
    rest = [w for w in model.parameters() if w.requires_grad and id(w) not in known]
    groups = [{"params": rest, "lr": lr, "base": lr}]
    if theirs:
        groups.append({"params": theirs, "lr": lr * tape_mult, "base": lr * tape_mult})
    return torch.optim.AdamW(groups, betas=BETAS, weight_decay=decay, fused=True)


def to(batch: Batch, device: str) -> tuple[Tensor, Tensor]:
    """Tokens, and which of them are answers."""
    return torch.from_numpy(batch.tokens).to(device), torch.from_numpy(batch.answers).to(device)


def answer_loss(logits: Tensor, tokens: Tensor, answers: Tensor) -> Tensor:
    """Mean cross-entropy of the answers; the logits are those behind all tokens but the last."""
    wanted = answers[:, 1:]
    return fn.cross_entropy(logits[wanted], tokens[:, 1:][wanted])


def step(
    model: Decoder,
    optimiser: torch.optim.AdamW,
    batch: Batch,
    factor: float,
    device: str,
    positions: Tensor | None = None,
    digits: Tensor | None = None,
) -> Tensor:
    """One step on one batch; its loss."""
    tokens, answers = to(batch, device)
    loss = answer_loss(model(tokens[:, :-1], positions, digits=digits), tokens, answers)
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * factor
    optimiser.step()
    return loss.detach()


@torch.no_grad()
def right(
    model: Decoder, batch: Batch, device: str, digits: Tensor | None = None
) -> tuple[np.ndarray, float]:
    """Which tokens are predicted, (B, L - 1) bool, and the mean loss of the answers."""
    tokens, answers = to(batch, device)
    logits = model(tokens[:, :-1], digits=digits)
    hit = logits.argmax(-1) == tokens[:, 1:]
    return hit.cpu().numpy(), float(answer_loss(logits, tokens, answers))


def accuracy(hit: np.ndarray, batch: Batch, kind: int | None = None) -> float:
    """Share of the answers that are predicted."""
    wanted = batch.answers[:, 1:]
    if kind is not None and batch.kinds is not None:
        wanted = wanted & (batch.kinds[:, 1:] == kind)
    return float(hit[wanted].mean()) if wanted.any() else math.nan


def exact(hit: np.ndarray, batch: Batch) -> np.ndarray:
    """For each row whether its whole answer is predicted."""
    return np.asarray((hit | ~batch.answers[:, 1:]).all(axis=1))


@torch.no_grad()
def largest_state(model: Decoder, tokens: Tensor) -> float:
    """Largest |z| of the positional state before the last layer; RoPE's is 1."""
    x = model.embed(tokens)
    state, grown = model.encoding(torch.arange(tokens.shape[1]), tokens.shape[1])
    if state is None:
        return 0.0
    for index, layer in enumerate(model.stack[:-1]):
        x, state, _ = layer(x, state, grown, None, False, model.fast, 0)
        assert state is not None, f"layer {index} keeps the state"
    c, s = state.chunk(2, dim=-1)
    return float((c * c + s * s).max().sqrt())


def known_encodings(field: str, names: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """Errors: `ParameterError` for an unknown or repeated name."""
    for name in names:
        if name not in allowed:
            raise ParameterError(
                field, name, "is not known here", f"choose among {', '.join(allowed)}"
            )
    if len(set(names)) < len(names):
        raise ParameterError(field, ",".join(names), "names one twice", "name each once")


Draw = Callable[[np.random.Generator], Batch]
