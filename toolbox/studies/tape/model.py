"""A Llama-style decoder whose positional encoding is a parameter.

B sequences, N tokens, C = dim, H heads of size D, F = D / 2 frequencies. RMSNorm before attention
and MLP, SwiGLU, no biases, untied output head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

from toolbox.core.errors import ParameterError

from . import encodings as en
from .names import ENCODINGS, is_tape
from .state import INIT, YARN_START, Update

ROTARY = ("rope", "randpe", "yarn", "xpos")
BIASED = ("alibi", "fire", "t5")
Cache = list[tuple[Tensor, Tensor]]
"""Per layer the rotated keys and the values, widened by the state, of the tokens so far."""


@dataclass(frozen=True)
class Shape:
    """The size of a decoder and its encoding. position_size P = 0 means 4 H."""

    vocab: int
    dim: int
    layers: int
    heads: int
    ffn: int
    pe: str = "rope"
    position_size: int = 0
    trained: int = 1024
    factor: float = 1.0
    base: float = en.BASE
    abacus: int = 0

    def __post_init__(self) -> None:
        if self.pe not in ENCODINGS:
            raise ParameterError(
                "pe", self.pe, "is no encoding", f"choose among {', '.join(ENCODINGS)}"
            )
        if self.dim % (2 * self.heads):
            raise ParameterError(
                "dim", self.dim, f"is no multiple of 2 {{heads}} = {2 * self.heads}",
                "the size of a head must be a whole even number",
            )  # fmt: skip

    @property
    def head(self) -> int:
        """D."""
        return self.dim // self.heads

    @property
    def P(self) -> int:
        """Width of the state's MLP update."""
        return self.position_size or 4 * self.heads


class Layer(nn.Module):
    """One layer: attention, MLP, and the encoding's own parameters."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        C, I = shape.dim, shape.ffn  # noqa: E741 - the letter of the formulas
        self.heads, self.pe = shape.heads, shape.pe
        self.norm1, self.norm2 = nn.RMSNorm(C, eps=1e-6), nn.RMSNorm(C, eps=1e-6)
        self.q, self.k, self.v, self.o = (nn.Linear(C, C, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(C, I, bias=False), nn.Linear(C, I, bias=False)
        self.down = nn.Linear(I, C, bias=False)
        self.update: Update | None = None
        self.bias: nn.Module | None = None
        if is_tape(shape.pe):
            self.update = Update(C, shape.heads, shape.P, shape.pe)
        elif shape.pe in BIASED:
            self.bias = {"alibi": en.Alibi, "fire": en.Fire, "t5": en.T5}[shape.pe](shape.heads)
        elif shape.pe == "cope":
            self.bias = en.Cope(shape.head, max(2, shape.trained))

    def mlp(self, x: Tensor) -> Tensor:
        """W_down(silu(W_gate x) * (W_up x))."""
        out: Tensor = self.down(fn.silu(self.gate(x)) * self.up(x))
        return out

    def split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, H, N, D)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

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
        """x (B, N, C), state (B or 1, H or 1, N, 2 F), xPos's growth -> the next x and state, and
        the keys and values that later tokens need."""
        h = self.norm1(x)
        q, k, v = self.split(self.q(h)), self.split(self.k(h)), self.split(self.v(h))
        if state is not None:
            q, k = en.rotate(q, state), en.rotate(k, state)
        if grown is not None:
            q, k = q * grown, k / grown
        B, H, _, D = v.shape
        update = None if last else self.update
        states = None
        if update is not None and state is not None:
            states = state.expand(B, H, -1, -1)
            if fast:
                v = torch.cat([v, states], dim=-1)
            elif cache is not None:
                raise ValueError("the literal form keeps no cache")
        if cache is not None:
            k, v = torch.cat([cache[0], k], dim=2), torch.cat([cache[1], v], dim=2)
        out = attend(q, k, v, self.bias, groups)
        attended = out[..., D:]
        out = out[..., :D]
        if states is not None and not fast:
            # As the method is written: cos and sin each through an attention of their own.
            attended = torch.cat(
                [attend(q, k, part, self.bias, groups) for part in states.chunk(2, dim=-1)], dim=-1
            )
        x = x + self.o(out.transpose(1, 2).flatten(2))
        m = self.mlp(self.norm2(x))
        if update is not None and states is not None:
            state = update(states, attended, m) if fast else update.literal(states, attended, m)
        return x + m, state, (k, v)


class Decoder(nn.Module):
    """Tokens (B, N) -> logits (B, N, V)."""

    def __init__(self, shape: Shape, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocab, shape.dim)
        self.abacus = nn.Embedding(shape.abacus, shape.dim) if shape.abacus else None
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.RMSNorm(shape.dim, eps=1e-6)
        self.head = nn.Linear(shape.dim, shape.vocab, bias=False)
        self.fast, self.groups = True, 0
        if generator is not None:
            self.reset(generator)

    @property
    def stack(self) -> list[Layer]:
        """The layers, from the first to the last."""
        return [cast(Layer, layer) for layer in self.layers]

    def reset(self, generator: torch.Generator) -> None:
        """All matrices N(0, 0.02^2). What every encoding has is drawn first, so that models of one
        seed differ in their encodings alone."""
        own = [module for layer in self.stack for module in (layer.update, layer.bias) if module]
        theirs = {id(weight) for module in own for weight in module.parameters()}
        if self.abacus is not None:
            theirs.add(id(self.abacus.weight))
        for weight in self.parameters():
            if weight.dim() == 2 and id(weight) not in theirs:
                weight.data.normal_(0, INIT, generator=generator)
        for module in own:
            if isinstance(module, Update):
                module.reset(generator)
            elif not isinstance(module, en.Cope):
                for weight in module.parameters():
                    if weight.dim() == 2:
                        weight.data.normal_(0, weight.shape[1] ** -0.5, generator=generator)
                    elif weight.dim() == 1:
                        weight.data.zero_()
        if self.abacus is not None:
            self.abacus.weight.data.normal_(0, INIT, generator=generator)

    def encoding(self, positions: Tensor, n: int) -> tuple[Tensor | None, Tensor | None]:
        """The rotation state and xPos's growth at these positions, (1, 1, N, 2 F) or None.

        n : length of the whole sequence, from which YaRN's factor follows
        """
        s = self.shape
        if s.pe not in ROTARY and not is_tape(s.pe):
            return None, None
        w, scale = en.frequencies(s.head, s.base), 1.0
        if s.pe in ("yarn", YARN_START) and n > s.trained:
            w, scale = en.yarn(s.head, s.trained, n / s.trained, s.base)
        weight = self.embed.weight
        state = en.rotation(positions.cpu() / s.factor, w, scale).to(weight.device, weight.dtype)
        grown = None
        if s.pe == "xpos":
            grown = en.xpos(positions.cpu() - n // 2, s.head).to(weight.device, weight.dtype)
        return state[None, None], grown

    def forward(
        self,
        tokens: Tensor,
        positions: Tensor | None = None,
        cache: Cache | None = None,
        digits: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, N, V).

        positions : (N,); default 0, 1, ..., for RandPE evenly spaced ones
        cache : of an earlier call, extended in place; the tokens follow those of that call. It
                holds 3 D numbers per head and token where RoPE's holds 2 D
        digits : (B, N) indices of Abacus embeddings
        """
        past = cache[0][0].shape[2] if cache else 0
        n = past + tokens.shape[1]
        if cache is not None and self.shape.pe in ("xpos", "randpe", "yarn", YARN_START):
            # Their tables depend on the length of the whole sequence.
            raise ValueError(f"{self.shape.pe} decodes without a cache")
        if positions is None:
            spread = self.shape.pe == "randpe"
            positions = (
                en.random_positions(n, self.shape.trained, None) if spread
                else torch.arange(past, n)
            )  # fmt: skip
        x = self.embed(tokens)
        if self.abacus is not None and digits is not None:
            x = x + self.abacus(digits)
        state, grown = self.encoding(positions, n)
        for index, layer in enumerate(self.stack):
            old = cache[index] if cache and past else None
            last = index + 1 == len(self.layers)
            x, state, new = layer(x, state, grown, old, last, self.fast, self.groups)
            if cache is not None:
                cache[index : index + 1] = [new]
        logits: Tensor = self.head(self.norm(x))
        return logits


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: nn.Module | None = None, groups: int = 0
) -> Tensor:
    """Causal softmax attention; q (B, H, n, D), k (B, H, N, D), v (B, H, N, any) -> (B, H, n, any).

    The n queries are the last of the N tokens. groups : LongLoRA's shifted sparse attention
    """
    if groups:
        return shifted(q, k, v, groups)
    n, N = q.shape[2], k.shape[2]
    if bias is None and v.shape[-1] == q.shape[-1]:
        if n == N:
            return fn.scaled_dot_product_attention(q, k, v, is_causal=True)
        if n == 1:
            return fn.scaled_dot_product_attention(q, k, v)
    if bias is None and n == N and n >= LONG:
        return padded(q, k, v)
    distance = en.distances(n, N, q.device)
    future = distance < 0
    logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
    if isinstance(bias, en.Cope):
        logits = logits + bias(q, logits, future)
    elif bias is not None:
        logits = logits + bias(distance).to(logits.dtype)
    return logits.masked_fill(future, -torch.inf).softmax(-1) @ v


LONG = 64
"""Tokens from which one fused call with zeros in q and k beats the products written out
(measured on two cores)."""


def padded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One fused attention call with values wider than q and k, which get zeros: fused kernels
    want equal widths. A zero adds nothing to q k, and the scale stays 1 / sqrt(D)."""
    wide = v.shape[-1]
    fill = (0, wide - q.shape[-1])
    return fn.scaled_dot_product_attention(
        fn.pad(q, fill), fn.pad(k, fill), v, is_causal=True, scale=q.shape[-1] ** -0.5
    )


def shifted(q: Tensor, k: Tensor, v: Tensor, groups: int) -> Tensor:
    """LongLoRA's shifted sparse attention (Chen et al. 2023): causal attention inside groups of
    G = N / groups tokens; half of the heads are rolled by G / 2 before and back after.

    Errors: `ParameterError` where groups or half groups are not whole.
    """
    N, H = q.shape[2], q.shape[1]
    if N % (2 * groups):
        raise ParameterError(
            "groups", groups, f"{N} tokens do not make {groups} groups of an even size",
            "take a length divisible by twice their number",
        )  # fmt: skip
    G = N // groups

    def fold(u: Tensor) -> Tensor:
        rolled = torch.cat([u[:, : H // 2], u[:, H // 2 :].roll(-G // 2, dims=2)], dim=1)
        return rolled.reshape(-1, H, groups, G, u.shape[3]).transpose(1, 2).flatten(0, 1)

    out = fn.scaled_dot_product_attention(fold(q), fold(k), fold(v), is_causal=True)
    out = out.view(-1, groups, H, G, v.shape[3]).transpose(1, 2).flatten(2, 3)
    return torch.cat([out[:, : H // 2], out[:, H // 2 :].roll(G // 2, dims=2)], dim=1)
