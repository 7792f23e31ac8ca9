"""`tape check`: what holds exactly, for any weights, and what must not hold without a part."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from toolbox.core import compute, memory
from toolbox.core.run import Run

from . import encodings as en
from .faults import TransposedLayer
from .flags import Check
from .model import Cache, Decoder, Shape
from .state import SPLIT, WITHOUT_EQUIVARIANCE

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FACT = 1e-5
"""Largest difference in float32 that rounding explains, relative to the largest entry."""
ROUNDINGS = 4.0
"""The same in bfloat16, in units of what rounding does to this model: its difference from float32.
Two roundings of one number differ by twice that at most, in a maximum over other entries more."""
BROKEN = 1e-3
"""Least difference, in float32, of what must not hold."""


def check(run: Run, p: Check) -> None:
    """One row per fact, variant, number format and shift."""
    shape = Shape(p.vocab, p.dim, p.layers, p.heads, p.ffn, "tape", p.position_size)
    pairs = 12 * p.batch * p.heads * p.length**2
    update = 12 * p.batch * p.length * (p.dim * shape.P + p.heads * p.heads + 4 * p.dim)
    weights = 12 * p.layers * (4 * p.dim**2 + 3 * p.dim * p.ffn) + 24 * p.vocab * p.dim
    weights += 12 * p.layers * shape.P * (p.dim + p.heads**2)
    memory.need(pairs + update + weights, "the models and their attention", "dim", p.dim)
    for repeat in run.replicates():
        tokens = torch.randint(
            p.vocab, (p.batch, p.length), generator=run.torch_generator(repeat, "tokens")
        )
        cases = [(d, name) for d in DTYPES for name in _FACTS]
        with compute.one_thread(), torch.no_grad():
            for dtype, name in run.cells(cases, "facts"):
                made = Made(run, p, shape, repeat, dtype)
                rounding = made.rounding(tokens)
                for variant, shift, value in _FACTS[name](made, tokens):
                    row = {"check": name, "variant": variant, "dtype": dtype, "shift": shift}
                    holds = variant in ("tape", "states")
                    limit = BROKEN
                    if holds:
                        limit = ROUNDINGS * rounding if rounding else FACT
                    row |= {"value": value, "limit": limit, "must": "hold" if holds else "break"}
                    passed = value <= limit if holds else value > limit
                    run.write("checks", {**row, "passed": passed}, repeat)


class Made:
    """Makes models of one replicate and number format, always with the same weights."""

    def __init__(self, run: Run, p: Check, shape: Shape, repeat: int, dtype: str) -> None:
        self.run, self.p, self.shape, self.repeat, self.dtype = run, p, shape, repeat, dtype

    def __call__(self, pe: str = "tape", any_weights: bool = True) -> Decoder:
        """any_weights : all of TAPE's matrices random; else as they start"""
        generator = self.run.torch_generator(self.repeat, "weights")
        model = Decoder(replace(self.shape, pe=pe), generator)
        theirs = self.run.torch_generator(self.repeat, "matrices")
        for layer in model.stack:
            layer.q.weight.mul_(self.p.sharpness)
            layer.k.weight.mul_(self.p.sharpness)
            if any_weights and layer.update is not None:
                for weight in layer.update.parameters():
                    weight.normal_(0, self.p.spread, generator=theirs)
        return model.to(DTYPES[self.dtype])

    def rounding(self, tokens: Tensor) -> float:
        """What rounding to 16 bits does to the logits; 0 in float32."""
        if self.dtype == "float32":
            return 0.0
        exact = Made(self.run, self.p, self.shape, self.repeat, "float32")
        return _relative(self()(tokens), exact()(tokens))


def _relative(a: Tensor, b: Tensor) -> float:
    """Largest difference over the largest entry."""
    return float((a - b).double().abs().max() / b.double().abs().max())


def _start(made: Made, tokens: Tensor) -> list[tuple[str, int, float]]:
    """A TAPE model as it starts is the RoPE model with the same weights."""
    rope = made("rope")(tokens)
    differences = [("tape", 0, _relative(made(any_weights=False)(tokens), rope))]
    if made.dtype == "float32":
        differences.append(("moved", 0, _relative(made()(tokens), rope)))
    return differences


def _shift(made: Made, tokens: Tensor) -> list[tuple[str, int, float]]:
    """A shift of all positions changes no layer's output, and turns the states."""
    differences = []
    at = torch.arange(tokens.shape[1])
    for shift in made.p.shifts:
        model = made()
        before, after = trace(model, tokens, at), trace(model, tokens, at + shift)
        moved = max(_relative(b, a) for (a, _), (b, _) in zip(before, after, strict=True))
        differences.append(("tape", shift, moved))
        turn = en.rotation(torch.tensor([shift]), en.frequencies(model.shape.head))
        turn = turn.to(DTYPES[made.dtype])
        turned = [
            _relative(b, en.rotate(a, turn))
            for (_, a), (_, b) in zip(before[:-1], after[:-1], strict=True)
        ]
        differences.append(("states", shift, max(turned)))
        if made.dtype == "float32":
            for pe in (WITHOUT_EQUIVARIANCE, SPLIT):
                model = made(pe)
                differences.append(
                    (pe, shift, _relative(model(tokens, at + shift), model(tokens, at)))
                )
    return differences


def trace(model: Decoder, tokens: Tensor, positions: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Output and state behind every layer; the last layer leaves the state as it is."""
    x = model.embed(tokens)
    state, grown = model.encoding(positions, len(positions))
    layers = []
    for index, layer in enumerate(model.stack):
        last = index + 1 == len(model.layers)
        x, state, _ = layer(x, state, grown, None, last, model.fast, 0)
        layers.append((x, state))
    return layers


def _causality(made: Made, tokens: Tensor) -> list[tuple[str, int, float]]:
    """What the second half of the tokens says does not reach the first."""
    half = tokens.shape[1] // 2
    other = tokens.clone()
    other[:, half:] = (other[:, half:] + 1) % made.p.vocab
    differences = []
    for variant in ("tape", "transposed"):
        model = made()
        if variant == "transposed":
            for layer in model.stack:
                layer.__class__ = TransposedLayer
        differences.append((variant, 0, _relative(model(other)[:, :half], model(tokens)[:, :half])))
        if made.dtype != "float32":
            break
    return differences


def _literal(made: Made, tokens: Tensor) -> list[tuple[str, int, float]]:
    """One widened attention and per-token H x H matrices compute what the method's steps do."""
    fast = made()(tokens)
    model = made()
    model.fast = False
    differences = [("tape", 0, _relative(model(tokens), fast))]
    if made.dtype == "float32":
        for layer in model.stack:
            if layer.update is not None and layer.update.w_a is not None:
                layer.update.w_a.copy_(layer.update.w_a.T.clone())
        differences.append(("transposed", 0, _relative(model(tokens), fast)))
    return differences


def _cache(made: Made, tokens: Tensor) -> list[tuple[str, int, float]]:
    """Decoding token by token with cached keys, values and states is the full pass."""
    model = made()
    full = model(tokens)
    differences = [("tape", 0, _relative(decode(model, tokens), full))]
    if made.dtype == "float32":
        differences.append(("stale", 0, _relative(decode(model, tokens, stale=True), full)))
    return differences


def decode(model: Decoder, tokens: Tensor, stale: bool = False) -> Tensor:
    """The logits, one token at a time. stale : later layers get the first layer's cached states"""
    cache: Cache = []
    logits = []
    for n in range(tokens.shape[1]):
        logits.append(model(tokens[:, n : n + 1], cache=cache))
        if stale:
            for index in range(1, len(cache) - 1):
                k, v = cache[index]
                half = v.shape[-1] // 2
                cache[index] = k, torch.cat([v[..., :half], cache[0][1][..., half:]], dim=-1)
    return torch.cat(logits, dim=1)


_FACTS = {
    "start": _start,
    "shift": _shift,
    "causality": _causality,
    "literal": _literal,
    "cache": _cache,
}
