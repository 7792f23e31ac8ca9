"""Faults found by reading public code of the paper (github.com/zhuconv/arithmetic), written anew.

They are here to be shown, by `tape defects`, and to be told apart, by `tape check`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import encodings as en
from .model import Decoder, Layer, attend


class FaultyLayer(Layer):
    """A layer of which two steps may be done as in the public addition code.

    discards : q and k are rotated, and the result is not used
    transposes : the state is averaged by the transposed attention, sum_q P[q, k] z_q, so that early
                 tokens receive the states of later ones
    """

    discards = False
    transposes = False

    def forward(
        self,
        x: Tensor,
        state: Tensor | None,
        grown: Tensor | None,
        cache: tuple[Tensor, Tensor] | None,
        last: bool,
        fast: bool,
        groups: int,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
        """As `Layer.forward`."""
        h = self.norm1(x)
        q, k, v = self.split(self.q(h)), self.split(self.k(h)), self.split(self.v(h))
        assert state is not None, "these layers are TAPE's"
        if not self.discards:
            q, k = en.rotate(q, state), en.rotate(k, state)
        B, H, N, _ = v.shape
        Z = state.expand(B, H, -1, -1)
        eye = torch.eye(N, dtype=v.dtype, device=v.device).expand(B, H, N, N)
        P = attend(q, k, eye)
        x = x + self.o((P @ v).transpose(1, 2).flatten(2))
        m = self.mlp(self.norm2(x))
        if self.update is not None and not last:
            attended = (P.transpose(2, 3) if self.transposes else P) @ Z
            state = self.update(Z, attended, m)
        return x + m, state, (k, v)


class DiscardingLayer(FaultyLayer):
    """As released: rotated q and k are thrown away and the state attention is transposed."""

    discards = True
    transposes = True


class TransposedLayer(FaultyLayer):
    """The first fault repaired alone."""

    transposes = True


FAULTS = {"correct": FaultyLayer, "released": DiscardingLayer, "transposed": TransposedLayer}


def with_fault(model: Decoder, name: str) -> Decoder:
    """The same TAPE model with layers that have this fault (`correct`: none)."""
    for layer in model.layers:
        layer.__class__ = FAULTS[name]
    return model


@torch.no_grad()
def influence(model: Decoder, tokens: Tensor, noise: Tensor) -> float:
    """Largest change of the logits, relative to the largest, when the initial state is noise.

    noise : (1, H or 1, N, 2 F)
    """
    x = model.embed(tokens)
    first, grown = model.encoding(torch.arange(tokens.shape[1]), tokens.shape[1])
    logits = []
    for start in (first, noise.to(x.dtype)):
        y, state = x, start
        for index, layer in enumerate(model.stack):
            last = index + 1 == len(model.layers)
            y, state, _ = layer(y, state, grown, None, last, True, 0)
        logits.append(model.head(model.norm(y)))
    return float((logits[1] - logits[0]).abs().max() / logits[0].abs().max())


@torch.no_grad()
def leak(model: Decoder, tokens: Tensor, vocab: int) -> float:
    """Largest change of the first half's logits, relative, when the second half is another."""
    half = tokens.shape[1] // 2
    other = tokens.clone()
    other[:, half:] = (other[:, half:] + 1) % vocab
    a, b = model(tokens)[:, :half], model(other)[:, :half]
    return float((a - b).abs().max() / a.abs().max())
