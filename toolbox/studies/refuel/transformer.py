"""Ensembles of causal transformers that see the whole dialogue so far, token by token.

A dialogue of H turns is the row of tokens [BOS, level, topic, type, content, level, topic, ...] of
1 + 4 H tokens. Type and content of turn h (from 0) stand at the places 3 + 4 h and 4 + 4 h, and are
predicted one place before. The chance of an answer is that of its type among the two types times
that of its content among the C contents.

Nothing here reads a number of a tensor, so that on CUDA whole roll-outs and steps run without
waiting for the device, and can be captured as one graph. Products are in bfloat16 on CUDA and in
float32 on a CPU; parameters, moments, softmax and losses are in float32 on both.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from toolbox.core import compute

from .data import Game
from .model import BETA1, BETA2, TINY

HEAD = 16
"""Width of an attention head."""


@dataclass(frozen=True)
class Words:
    """Numbers of the tokens: BOS, then levels, topics, types and contents."""

    game: Game

    @property
    def length(self) -> int:
        """Places of a dialogue."""
        return 1 + 4 * self.game.horizon

    @property
    def level(self) -> int:
        """Number of the token of level 0."""
        return 1

    @property
    def topic(self) -> int:
        """Number of the token of topic 0."""
        return 2 + self.game.horizon

    @property
    def type(self) -> int:
        """Number of the token of type 0."""
        return self.topic + self.game.topics

    @property
    def content(self) -> int:
        """Number of the token of content 0."""
        return self.type + 2

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.content + self.game.contents


class Transformers:
    """E transformers; their parameters are the rows of `flat` (E, P), and so are Adam's moments."""

    def __init__(self, game: Game, width: int, layers: int, device: str = "cpu") -> None:
        self.words, self.width, self.layers, self.device = Words(game), width, layers, device
        outputs = 2 + game.contents
        block = [(2, width), (width, 3 * width), (1, 3 * width), (width, width), (1, width),
                 (2, width), (width, 4 * width), (1, 4 * width), (4 * width, width),
                 (1, width)]  # fmt: skip
        self.shapes = [(self.words.size, width), (self.words.length, width), *block * layers,
                       (2, width), (width, outputs), (1, outputs)]  # fmt: skip
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.start(torch.zeros(0, sum(self.sizes)))

    def draw(self, rng: np.random.Generator) -> Tensor:
        """Initial parameters of one member, (P,), as in GPT-2: normal weights of size 0.02, those
        that end a residual branch smaller by the square root of the number of branches."""
        parts = []
        for i, shape in enumerate(self.shapes):
            if shape[0] == 2 and shape[1] == self.width:  # gain and offset of a layer norm
                parts.append(np.stack([np.ones(self.width), np.zeros(self.width)]).ravel())
            elif shape[0] == 1:
                parts.append(np.zeros(shape[1]))
            else:
                ends = 2 <= i < len(self.shapes) - 3 and (i - 2) % 10 in (3, 8)
                scale = 0.02 / (math.sqrt(2 * self.layers) if ends else 1.0)
                parts.append(rng.normal(0.0, scale, math.prod(shape)))
        return torch.tensor(np.concatenate(parts), dtype=torch.float32)

    def start(self, flat: Tensor) -> None:
        """Take parameters (E, P) and forget the moments."""
        self.flat = flat.to(self.device).clone().contiguous().requires_grad_()
        self.first, self.second = (torch.zeros_like(self.flat.detach()) for _ in range(2))
        self.count = torch.zeros((), dtype=torch.float32, device=self.device)

    def reset(self) -> None:
        """Forget the moments, as at the start of an iteration."""
        for each in (self.first, self.second, self.count):
            each.zero_()

    @property
    def changing(self) -> list[Tensor]:
        """What a step changes."""
        return [self.flat, self.first, self.second, self.count]

    def cache(self, count: int) -> list[Tensor]:
        """Room for keys and values of N dialogues, (2, E, N, heads, L, d) for each layer."""
        members, heads = self.flat.shape[0], self.width // HEAD
        kind = torch.bfloat16 if self.device.startswith("cuda") else torch.float32
        shape = (2, members, count, heads, self.words.length, HEAD)
        return [torch.zeros(shape, dtype=kind, device=self.device) for _ in range(self.layers)]

    def logits(self, tokens: Tensor, begin: int = 0, cache: list[Tensor] | None = None) -> Tensor:
        """Logits of the next type and content at each place, (E, N, L, 2 + C).

        tokens : (E, N, L), those of the places from `begin` on
        cache : keys and values of the places before, to which these are added
        """
        members, count, length = tokens.shape
        pieces = torch.split(self.flat, self.sizes, dim=1)
        parts = [p.view(members, *shape) for p, shape in zip(pieces, self.shapes, strict=True)]
        rows = torch.arange(members, device=tokens.device)[:, None, None]
        places = parts[1][:, None, begin : begin + length]
        x = (parts[0][rows, tokens] + places).reshape(members, count * length, self.width)
        ago = torch.arange(begin + length, device=tokens.device)
        hidden = ago[None] > ago[begin:, None]  # (L, begin + L), the future of each place
        with self.precision():
            for i in range(self.layers):
                norm1, qkv, qkv0, out, out0, norm2, up, up0, down, down0 = parts[
                    2 + 10 * i : 12 + 10 * i
                ]
                mixed = torch.baddbmm(qkv0, self._normed(x, norm1), qkv)
                split = mixed.view(members, count, length, 3, self.width // HEAD, HEAD)
                query, key, value = split.permute(3, 0, 1, 4, 2, 5)
                if cache is not None:
                    both = cache[i]
                    both[0, :, :, :, begin : begin + length] = key
                    both[1, :, :, :, begin : begin + length] = value
                    key, value = both[:, :, :, :, : begin + length].unbind(0)
                scores = (query @ key.transpose(-1, -2)).float() / math.sqrt(HEAD)
                shares = torch.softmax(scores.masked_fill(hidden, -math.inf), dim=-1)
                seen = (shares.to(value.dtype) @ value).transpose(2, 3)
                x = x + torch.baddbmm(out0, seen.reshape(members, -1, self.width), out)
                inner = gelu(torch.baddbmm(up0, self._normed(x, norm2), up))
                x = x + torch.baddbmm(down0, inner, down)
            made = torch.baddbmm(parts[-1], self._normed(x, parts[-3]), parts[-2])
        return made.float().view(members, count, length, -1)

    @staticmethod
    def _normed(x: Tensor, both: Tensor) -> Tensor:
        plain = layer_norm(x.float(), x.shape[-1:])
        return plain * both[:, :1] + both[:, 1:]

    def precision(self) -> contextlib.AbstractContextManager[object]:
        """bfloat16 products on CUDA. No cache of casted weights: a captured graph would keep it."""
        if not self.device.startswith("cuda"):
            return contextlib.nullcontext()
        return torch.autocast("cuda", torch.bfloat16, cache_enabled=False)

    def chosen(self, tokens: Tensor) -> Tensor:
        """log pi of the answer of each turn, (E, N, H); tokens : (E, N, 1 + 4 H)."""
        logits = self.logits(tokens[..., :-1])
        turns = torch.arange(self.words.game.horizon, device=tokens.device) * 4
        kinds = torch.log_softmax(logits[:, :, turns + 2, :2], dim=-1)
        contents = torch.log_softmax(logits[:, :, turns + 3, 2:], dim=-1)
        kind = tokens[..., turns + 3] - self.words.type
        content = tokens[..., turns + 4] - self.words.content
        parts = (kinds.gather(3, kind[..., None]), contents.gather(3, content[..., None]))
        return (parts[0] + parts[1])[..., 0]

    def step(self, loss: Tensor, rate: Tensor) -> None:
        """One step of Adam on the sum of the members' losses; rate : a tensor of one number."""
        gradient = torch.autograd.grad(loss, self.flat)[0]
        with torch.no_grad():
            self.count += 1
            self.first.lerp_(gradient, 1 - BETA1)
            self.second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            scale = (self.second / (1 - BETA2**self.count)).sqrt_().add_(TINY)
            self.flat.sub_(rate / (1 - BETA1**self.count) * self.first / scale)


class CapturedStep:
    """A step with inputs, each of one shape: they are copied to where the step reads them, so that
    on CUDA it can be captured as a graph and replayed (`compute.Captured`)."""

    def __init__(self, function: Callable[..., None], device: str) -> None:
        self.inputs: tuple[Tensor, ...] = ()
        self.step = compute.Captured(lambda: function(*self.inputs), device)

    def __call__(self, *inputs: Tensor) -> None:
        """The next step, on these inputs."""
        if not self.inputs:
            self.inputs = tuple(each.clone() for each in inputs)
        else:
            for mine, given in zip(self.inputs, inputs, strict=True):
                mine.copy_(given)
        self.step()
