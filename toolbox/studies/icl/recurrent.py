"""LSTM, GRU and Mamba as pure functions on stacked parameters, beside the transformer of `model`.

Inside, a sequence is (E, T, B, width): E models of an ensemble, T tokens, B prompts, so that a step
of the recurrence is a batched product over the models. LSTM and GRU are those of the official code
(torch's, without residuals or norms, with torch's initialisation). Mamba is the selective state
space block of Gu and Dao, arXiv:2312.00752, Algorithm 2 and Section 3.4, with their initialisation,
in plain torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from .selective_scan import selective_scan

if TYPE_CHECKING:
    from .model import Sizes

KINDS = ("lstm", "gru", "mamba")
GATES = {"lstm": 4, "gru": 3}
STATE = 16
"""N, the states of a channel of Mamba."""
EXPAND = 2
WIDTH = 4
"""Taps of Mamba's convolution."""
DELTA = (1e-3, 1e-1)
"""Range of Mamba's step sizes at the start."""
EPSILON = 1e-5


def init(kind: str, sizes: Sizes, std: float, generator: torch.Generator) -> dict[str, Tensor]:
    """The parameters of one model, without the leading dimension, on the CPU.

    std : unused; every kind has the initialisation of its own source
    Errors: `ValueError` for an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind} is none of {', '.join(KINDS)}")
    e = sizes.embd

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)

    p = {"in.w": uniform(sizes.inputs, sizes.inputs, e), "in.b": uniform(sizes.inputs, 1, e)}
    for i in range(sizes.layers):
        if kind == "mamba":
            p |= {f"{i}.{name}": value for name, value in _mamba_init(sizes, generator).items()}
            continue
        gates = GATES[kind] * e
        p |= {
            f"{i}.in.w": uniform(e, e, gates),
            f"{i}.in.b": uniform(e, 1, gates),
            f"{i}.state.w": uniform(e, e, gates),
            f"{i}.state.b": uniform(e, 1, gates),
        }
    if kind == "mamba":
        p["norm.w"] = torch.ones(1, e)
    return p | {"out.w": uniform(e, e, 1), "out.b": uniform(e, 1, 1)}


def _mamba_init(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """One block: matrices as torch's linear layers, what is added to the stream by 1/sqrt(layers)
    smaller; A = -(1 .. N) for every channel; step sizes log-uniform in DELTA."""
    e, channels, rank = sizes.embd, EXPAND * sizes.embd, -(-sizes.embd // 16)

    def uniform(fan_in: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / math.sqrt(fan_in)

    low, high = (math.log(edge) for edge in DELTA)
    delta = torch.exp(low + (high - low) * torch.rand(1, channels, generator=generator))
    return {
        "norm.w": torch.ones(1, e),
        "in.w": uniform(e, e, 2 * channels),
        "conv.w": uniform(WIDTH, WIDTH, channels),
        "conv.b": uniform(WIDTH, 1, channels),
        "select.w": uniform(channels, channels, rank + 2 * STATE),
        "delta.w": uniform(rank, rank, channels),
        "delta.b": delta + torch.log(-torch.expm1(-delta)),  # the inverse of softplus
        "A": torch.log(torch.arange(1.0, STATE + 1))[:, None].expand(STATE, channels).clone(),
        "D": torch.ones(1, channels),
        "out.w": uniform(channels, channels, e) / math.sqrt(sizes.layers),
    }


def forward(
    kind: str,
    params: Mapping[str, Tensor],
    tokens: Tensor,
    sizes: Sizes,
    read: Sequence[int] | Tensor,
) -> Tensor:
    """Predictions at the positions `read`, from the tokens up to and including each of them.

    params : name -> (E, ...)
    tokens : (E, B, T, inputs)
    Returns (E, B, len(read)).
    """
    # Nobody reads what comes after the last position.
    x = tokens[:, :, : int(max(read)) + 1].transpose(1, 2)
    x = linear(x, params["in.w"], params["in.b"])
    for i in range(sizes.layers):
        layer = {name[len(f"{i}.") :]: p for name, p in params.items() if name.startswith(f"{i}.")}
        if kind == "mamba":
            x = x + mamba(rms_norm(x, layer["norm.w"]), layer)
        else:
            x = {"lstm": lstm, "gru": gru}[kind](x, layer)
    if isinstance(read, range):  # a slice: an index would be copied from the host in every step
        x = x[:, read.start : read.stop : read.step].contiguous()
    else:
        x = x[:, torch.as_tensor(read, device=x.device)]
    if kind == "mamba":
        x = rms_norm(x, params["norm.w"])
    return linear(x, params["out.w"], params["out.b"])[..., 0].transpose(1, 2)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """x : (E, T, B, k), w : (E, k, m), b : (E, 1, m). Returns (E, T, B, m)."""
    flat = x.flatten(1, 2)
    y = torch.bmm(flat, w) if b is None else torch.baddbmm(b, flat, w)
    return torch.unflatten(y, 1, x.shape[1:3])


def lstm(x: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """One layer as `torch.nn.LSTM` has it, gates in the order i, f, g, o; x : (E, T, B, e)."""
    driven = linear(x, p["in.w"], p["in.b"] + p["state.b"])
    h = c = torch.zeros_like(x[:, 0])
    states = []
    for own in driven.unbind(1):
        i, f, g, o = torch.baddbmm(own, h, p["state.w"]).chunk(4, dim=2)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        states.append(h)
    return torch.stack(states, dim=1)


def gru(x: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """One layer as `torch.nn.GRU` has it, gates in the order r, z, n; x : (E, T, B, e)."""
    e = x.shape[3]
    driven = linear(x, p["in.w"], p["in.b"])
    h = torch.zeros_like(x[:, 0])
    states = []
    for own in driven.unbind(1):
        past = torch.baddbmm(p["state.b"], h, p["state.w"])
        r, z = torch.sigmoid(own[..., : 2 * e] + past[..., : 2 * e]).chunk(2, dim=2)
        new = torch.tanh(torch.addcmul(own[..., 2 * e :], r, past[..., 2 * e :]))
        h = torch.lerp(new, h, z)
        states.append(h)
    return torch.stack(states, dim=1)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """x : (E, T, B, e), weight : (E, 1, e)."""
    return F.rms_norm(x, (x.shape[3],), eps=EPSILON) * weight[:, None]


def mamba(x: Tensor, p: Mapping[str, Tensor]) -> Tensor:
    """One selective state space block; x : (E, T, B, e), already normed. Returns the same shape.

    Per channel c with N states: h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and
    y_t = C_t . h_t + D u_t, where u is the convolved input and delta, B, C depend on it (eqs. 1-4
    with Section 3.2; A by the zero-order hold, B by Euler's rule, as in their code).
    """
    channels = p["D"].shape[2]
    u, gate = torch.split(linear(x, p["in.w"]), channels, dim=3)
    u = F.silu(convolve(u, p["conv.w"], p["conv.b"]))
    rank = p["delta.w"].shape[1]
    small, B, C = torch.split(linear(u, p["select.w"]), [rank, STATE, STATE], dim=3)
    delta = F.softplus(linear(small, p["delta.w"], p["delta.b"]))
    y = selective_scan(delta, u, -torch.exp(p["A"]), B, C)
    y = torch.addcmul(y, u, p["D"][:, None])
    return linear(y * F.silu(gate), p["out.w"])


def convolve(u: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Causal convolution of every channel with its own taps; the last tap meets the present.

    u : (E, T, B, inner), w : (E, WIDTH, inner), b : (E, 1, inner)
    """
    T, taps = u.shape[1], w.shape[1]
    padded = F.pad(u, (0, 0, 0, 0, taps - 1, 0))
    y = b[:, None].expand_as(u)
    for j in range(taps):
        y = torch.addcmul(y, padded[:, j : j + T], w[:, None, j : j + 1])
    return y
