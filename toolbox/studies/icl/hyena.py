"""Hyena in place of attention, as pure functions on stacked parameters (Poli et al., 2302.10866).

An operator of order N = 2 (Definition 3.1) has three projections of its input, v, x^1 and x^2, each
behind a short causal convolution, and alternates long convolutions with gates:

    z^1 = v,    z^{n+1}_t = x^n_t (h^n * z^n)_t,    y = z^{N+1} W.

The long filters are implicit (Section 3.3): h_t = window(t) FFN(positions(t)), with sines as
activations and a window that decays at another rate in every channel, and a weight D for the
present. Convolutions go by FFT over 2 T entries, so that nothing wraps around. The block around
the operator is that of the transformer, whose attention it replaces; there are no positions added
to the tokens. The numbers of features, of hidden units and the decays are our choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from .model import Sizes

ORDER = 2
TAPS = 3
"""Of the short convolutions."""
WAVES = 8
"""Sines and as many cosines that a position is told by, beside the position itself."""
HIDDEN = 32
"""Units of a hidden layer of the filters' network."""
FREQUENCY = 10.0
"""Of its sines: sin(FREQUENCY x)."""
DECAY = (3.0, 15.0)
"""exp(-a t / T): a of the slowest and of the fastest channel."""
EPSILON = 1e-5


def init(sizes: Sizes, std: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The parameters of one model, without the leading dimension, on the CPU.

    std : of the matrices of blocks, as in `model.init`; filters, read-in and read-out are uniform
          in +-1/sqrt(fan in), as torch has them.
    """
    e, deep = sizes.embd, std / math.sqrt(2 * sizes.layers)

    def normal(spread: float, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * spread

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)

    p = {"in.w": uniform(sizes.inputs, sizes.inputs, e), "in.b": uniform(sizes.inputs, 1, e)}
    told, wide = 1 + 2 * WAVES, (ORDER + 1) * e
    for i in range(sizes.layers):
        p |= {
            f"{i}.norm1.w": torch.ones(1, e),
            f"{i}.norm1.b": torch.zeros(1, e),
            f"{i}.project.w": normal(std, e, wide),
            f"{i}.project.b": torch.zeros(1, wide),
            f"{i}.short.w": uniform(TAPS, wide, TAPS),
            f"{i}.short.b": torch.zeros(wide, 1),
            f"{i}.filter1.w": uniform(told, told, HIDDEN),
            f"{i}.filter1.b": uniform(told, 1, HIDDEN),
            f"{i}.filter2.w": uniform(HIDDEN, HIDDEN, HIDDEN),
            f"{i}.filter2.b": uniform(HIDDEN, 1, HIDDEN),
            f"{i}.filter3.w": uniform(HIDDEN, HIDDEN, ORDER * e),
            f"{i}.present": torch.ones(ORDER, e, 1),
            f"{i}.mix.w": normal(deep, e, e),
            f"{i}.mix.b": torch.zeros(1, e),
            f"{i}.norm2.w": torch.ones(1, e),
            f"{i}.norm2.b": torch.zeros(1, e),
            f"{i}.up.w": normal(std, e, 4 * e),
            f"{i}.up.b": torch.zeros(1, 4 * e),
            f"{i}.down.w": normal(deep, 4 * e, e),
            f"{i}.down.b": torch.zeros(1, e),
        }
    p |= {"norm.w": torch.ones(1, e), "norm.b": torch.zeros(1, e)}
    return p | {"out.w": uniform(e, e, 1), "out.b": uniform(e, 1, 1)}


def forward(params: Mapping[str, Tensor], tokens: Tensor, sizes: Sizes, read: range) -> Tensor:
    """Predictions at the positions `read`, from the tokens up to and including each of them.

    params : name -> (E, ...);  tokens : (E, B, T, inputs).  Returns (E, B, len(read)).
    """
    E, B, T, _ = tokens.shape
    e = sizes.embd

    def linear(x: Tensor, name: str) -> Tensor:
        return torch.baddbmm(params[f"{name}.b"], x, params[f"{name}.w"])

    def norm(x: Tensor, name: str) -> Tensor:
        return torch.addcmul(
            params[f"{name}.b"], F.layer_norm(x, (e,), eps=EPSILON), params[f"{name}.w"]
        )

    x = linear(tokens.reshape(E, B * T, -1), "in")
    for i in range(sizes.layers):
        layer = {name[len(f"{i}.") :]: p for name, p in params.items() if name.startswith(f"{i}.")}
        projected = linear(norm(x, f"{i}.norm1"), f"{i}.project").view(E, B, T, -1).mT
        mixed = operator(projected, filters(layer, T), layer)
        x = x + linear(mixed.mT.reshape(E, B * T, e), f"{i}.mix")
        hidden = F.gelu(linear(norm(x, f"{i}.norm2"), f"{i}.up"), approximate="tanh")
        x = x + linear(hidden, f"{i}.down")
    x = x.view(E, B, T, e)[:, :, read.start : read.stop : read.step].reshape(E, -1, e)
    return linear(norm(x, "norm"), "out").view(E, B, len(read))


def operator(u: Tensor, h: Tensor, layer: Mapping[str, Tensor]) -> Tensor:
    """y before its last matrix: (E, B, e, T).

    u : (E, B, (N + 1) e, T), the projections;  h : (E, N, e, T), the filters
    """
    u = short(u, layer["short.w"], layer["short.b"])
    *gates, z = u.chunk(ORDER + 1, dim=2)
    for n, gate in enumerate(gates):
        z = gate * (convolve(z, h[:, n]) + layer["present"][:, n, None] * z)
    return z


def short(u: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Causal convolution of every channel with its own taps; the last tap meets the present.

    u : (E, B, c, T), w : (E, c, TAPS), b : (E, c, 1)
    """
    T, taps = u.shape[3], w.shape[2]
    padded = F.pad(u, (taps - 1, 0))
    y = b[:, None].expand_as(u)
    for j in range(taps):
        y = torch.addcmul(y, padded[..., j : j + T], w[:, None, :, j : j + 1])
    return y


def filters(layer: Mapping[str, Tensor], T: int) -> Tensor:
    """h^n_t of every channel at t = 0 .. T - 1: (E, N, e, T)."""
    like = layer["filter1.w"]
    t = torch.arange(T, dtype=like.dtype, device=like.device) / T
    waves = 2 * math.pi * t[:, None] * torch.arange(WAVES, dtype=like.dtype, device=like.device)
    told = torch.cat([t[:, None], waves.sin(), waves.cos()], dim=1)
    hidden = told.expand(len(like), -1, -1)
    for name in ("filter1", "filter2"):
        linear = torch.baddbmm(layer[f"{name}.b"], hidden, layer[f"{name}.w"])
        hidden = torch.sin(FREQUENCY * linear)
    h = torch.bmm(hidden, layer["filter3.w"]).mT
    e = h.shape[1] // ORDER
    decay = torch.linspace(*DECAY, e, dtype=like.dtype, device=like.device)
    return h.reshape(len(h), ORDER, e, T) * torch.exp(-decay[:, None] * t)


def convolve(z: Tensor, h: Tensor) -> Tensor:
    """(h * z)_t = sum over s <= t of h_{t-s} z_s, by FFT; z : (E, B, e, T), h : (E, e, T)."""
    T = z.shape[3]
    if z.dtype == torch.bfloat16:  # there is no FFT in it
        z = z.float()
    of_h = torch.fft.rfft(h.to(z.dtype), 2 * T)
    y: Tensor = torch.fft.irfft(torch.fft.rfft(z, 2 * T) * of_h[:, None], 2 * T)[..., :T]
    return y
