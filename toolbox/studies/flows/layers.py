"""The layers of the networks, of operations whose third derivatives PyTorch gets right.

The fused LayerNorm and GroupNorm of PyTorch give wrong third derivatives, and ReLU and max-pooling
have none: here are normalisations written out, average pooling, and smooth activations only.

Weights are drawn in float64 from a given generator by PyTorch's default schemes, so that a seed
alone decides them, on any device and in any number format.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

ACTIVATIONS = ("tanh", "gelu")

M = TypeVar("M", bound=nn.Module)


class Activation(nn.Module):
    """tanh, or GELU in its exact form with the error function."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, the shape of x."""
        return torch.tanh(x) if self._name == "tanh" else nn.functional.gelu(x)


def drawn(layer: M, fan_in: int, generator: torch.Generator) -> M:
    """A layer made on the device "meta", with all its parameters uniform in +-1/sqrt(fan_in)."""
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return layer


def linear(inputs: int, outputs: int, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer; weights and biases are uniform in +-1/sqrt(inputs)."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=torch.float64)
    return drawn(layer, inputs, generator)


def readout(
    inputs: int, outputs: int, generator: torch.Generator, scale: float, bias: bool = True
) -> nn.Linear:
    """The last layer, with weights `scale` times those of `linear`: the paper's are small or 0."""
    layer = linear(inputs, outputs, generator, bias)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(scale)
    return layer


def convolution(
    inputs: int, outputs: int, generator: torch.Generator, stride: int = 1
) -> nn.Conv2d:
    """A 3 x 3 convolution without bias that keeps the size, or halves it at stride 2."""
    layer = nn.Conv2d(
        inputs, outputs, 3, stride, padding=1, bias=False, device="meta", dtype=torch.float64
    )
    return drawn(layer, 9 * inputs, generator)


class Norm(nn.Module):
    """LayerNorm over the last axis, written out; scale 1 and shift 0 at the start.

    features : length of the last axis
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(features, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """x : (..., features)"""
        return standardised(x) * self.weight + self.bias


class GroupNorm(nn.Module):
    """GroupNorm, written out: over all positions and the channels of a group.

    channels : a multiple of `groups`;  scale : initial value of the weights
    """

    def __init__(self, channels: int, groups: int, scale: float = 1.0) -> None:
        super().__init__()
        self._groups = groups
        self.weight = nn.Parameter(torch.full((channels, 1, 1), scale, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, channels, height, width)"""
        grouped = x.reshape(x.shape[0], self._groups, -1)
        return standardised(grouped).reshape(x.shape) * self.weight + self.bias


def standardised(x: Tensor, eps: float = 1e-5) -> Tensor:
    """x with mean 0 and variance 1 over its last axis, the shape of x."""
    centred = x - x.mean(-1, keepdim=True)
    return centred * ((centred * centred).mean(-1, keepdim=True) + eps).rsqrt()


def pooled(x: Tensor, size: int = 2) -> Tensor:
    """Averages over size x size blocks; what does not fill a block is left out.

    x : (n, channels, height, width)
    """
    if size == 1:
        return x
    n, channels, height, width = x.shape
    height, width = height // size, width // size
    blocks = x[:, :, : height * size, : width * size]
    return blocks.reshape(n, channels, height, size, width, size).mean((3, 5))


class Attention(nn.Module):
    """Self-attention after a norm, of plain products: the fused kernels lack second derivatives.

    width : features of a token;  heads : how many;  size : features of a head
    causal : a token attends to itself and those before it, else to all
    """

    def __init__(
        self, width: int, heads: int, size: int, causal: bool, generator: torch.Generator
    ) -> None:
        super().__init__()
        self._heads, self._size, self._causal = heads, size, causal
        self.norm = Norm(width)
        self.queries = linear(width, heads * size, generator, bias=False)
        self.keys = linear(width, heads * size, generator, bias=False)
        self.values = linear(width, heads * size, generator, bias=False)
        self.out = linear(heads * size, width, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, tokens, width)"""
        n, tokens, _ = x.shape
        x = self.norm(x)
        q, k, v = (
            layer(x).reshape(n, tokens, self._heads, self._size).transpose(1, 2)
            for layer in (self.queries, self.keys, self.values)
        )
        scores = q @ k.transpose(2, 3) * self._size**-0.5  # (n, heads, tokens, tokens)
        if self._causal:
            later = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, float("-inf"))
        mixed = (torch.softmax(scores, -1) @ v).transpose(1, 2).reshape(n, tokens, -1)
        out: Tensor = self.out(mixed)
        return out


class Feedforward(nn.Sequential):
    """Norm - 4 width - activation - width, for each token."""

    def __init__(self, width: int, act: str, generator: torch.Generator) -> None:
        super().__init__(
            Norm(width),
            linear(width, 4 * width, generator),
            Activation(act),
            linear(4 * width, width, generator),
        )


class LSTMLayer(nn.Module):
    """One layer of an LSTM, in plain operations; all weights are uniform in +-1/sqrt(width).

    The activation replaces the tanh of the candidate and of the output; the gates are sigmoids.
    """

    def __init__(self, inputs: int, width: int, act: str, generator: torch.Generator) -> None:
        super().__init__()
        self.act = Activation(act)
        layer = nn.Linear(inputs, 4 * width, device="meta", dtype=torch.float64)
        self.inputs = drawn(layer, width, generator)
        layer = nn.Linear(width, 4 * width, device="meta", dtype=torch.float64)
        self.recurrent = drawn(layer, width, generator)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, tokens, inputs) -> (n, tokens, width)"""
        driven = self.inputs(x)
        h = x.new_zeros(len(x), self.recurrent.in_features)
        c = h
        outputs = []
        for t in range(x.shape[1]):
            gates = driven[:, t] + self.recurrent(h)
            enter, forget, candidate, leave = gates.chunk(4, dim=1)
            c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * self.act(candidate)
            h = torch.sigmoid(leave) * self.act(c)
            outputs.append(h)
        return torch.stack(outputs, 1)


class MambaLayer(nn.Module):
    """A Mamba block after a norm (Gu and Dao, arXiv:2312.00752), token by token.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,  y_t = C_t . h_t + D u_t, where the step delta,
    B and C follow from the token u_t: channels are twice the width, each with `STATES` states.
    The activation stands in the place of SiLU.
    """

    STATES = 16
    TAPS = 4

    def __init__(self, width: int, act: str, generator: torch.Generator) -> None:
        super().__init__()
        channels, self._rank = 2 * width, -(-width // 16)
        self.act = Activation(act)
        self.norm = Norm(width)
        self.enter = linear(width, 2 * channels, generator, bias=False)
        taps = nn.Linear(self.TAPS, channels, device="meta", dtype=torch.float64)
        self.taps = drawn(taps, self.TAPS, generator)  # a causal convolution of each channel
        self.select = linear(channels, self._rank + 2 * self.STATES, generator, bias=False)
        self.step = linear(self._rank, channels, generator)
        with torch.no_grad():  # steps between 0.001 and 0.1, as softplus of the bias
            share = torch.rand(channels, dtype=torch.float64, generator=generator)
            self.step.bias.copy_((0.001 * 100**share).expm1().log())
        states = torch.arange(1, self.STATES + 1, dtype=torch.float64)
        self.log_decay = nn.Parameter(states.log().repeat(channels, 1))
        self.skip = nn.Parameter(torch.ones(channels, dtype=torch.float64))
        self.leave = linear(channels, width, generator, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, tokens, width)"""
        u, gate = self.enter(self.norm(x)).chunk(2, dim=-1)  # (n, tokens, channels) each
        padded = torch.cat([u.new_zeros(len(u), self.TAPS - 1, u.shape[2]), u], 1)
        windows = torch.stack([padded[:, i : i + u.shape[1]] for i in range(self.TAPS)], -1)
        u = self.act((windows * self.taps.weight).sum(-1) + self.taps.bias)
        step, B, C = self.select(u).split([self._rank, self.STATES, self.STATES], -1)
        delta = nn.functional.softplus(self.step(step))
        decay = torch.exp(delta[..., None] * -self.log_decay.exp())  # (n, tokens, channels, states)
        driven = (delta * u)[..., None] * B[:, :, None]
        h = driven[:, 0]
        states = [h]
        for t in range(1, x.shape[1]):
            h = decay[:, t] * h + driven[:, t]
            states.append(h)
        y = (torch.stack(states, 1) * C[:, :, None]).sum(-1) + self.skip * u
        out: Tensor = self.leave(y * self.act(gate))
        return out
