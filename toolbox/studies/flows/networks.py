"""The networks, of operations whose third derivatives PyTorch gets right.

The fused LayerNorm and GroupNorm of PyTorch give wrong third derivatives, and ReLU and max-pooling
have none: here are normalisations written out, average pooling, and smooth activations only.

All weights are drawn in float64 by PyTorch's default schemes from a given generator, so that a seed
alone decides them, on any device and in any number format.
"""

from __future__ import annotations

import itertools
import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toolbox.core.errors import ParameterError

ARCHITECTURES = ("mlp",)
ACTIVATIONS = ("tanh", "gelu")

M = TypeVar("M", bound=nn.Module)


def build(
    arch: str,
    shape: tuple[int, ...],
    classes: int,
    width: int,
    depth: int,
    act: str,
    generator: torch.Generator,
    vocabulary: int | None = None,
) -> nn.Module:
    """A network in float64 that maps (n, *shape) to (n, classes).

    shape : of one example, (channels, height, width)
    width : neurons in a hidden layer;  depth : hidden layers

    Errors: `ParameterError` for an unknown architecture or activation.
    """
    if arch not in ARCHITECTURES:
        raise ParameterError("arch", arch, "is no architecture", f"use {', '.join(ARCHITECTURES)}")
    if act not in ACTIVATIONS:
        raise ParameterError("act", act, "is no activation", f"use {' or '.join(ACTIVATIONS)}")
    return MLP(math.prod(shape), classes, width, depth, act, generator)


class Activation(nn.Module):
    """tanh or GELU, in its exact form with the error function."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, the shape of x."""
        return torch.tanh(x) if self._name == "tanh" else F.gelu(x)


def linear(inputs: int, outputs: int, generator: torch.Generator, bias: bool = True) -> nn.Linear:
    """A linear layer; weights and biases are uniform in +-1/sqrt(inputs)."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=torch.float64)
    return _drawn(layer, inputs, generator)


def _drawn(layer: M, fan_in: int, generator: torch.Generator) -> M:
    """The layer from the device "meta", with all its parameters uniform in +-1/sqrt(fan_in)."""
    layer = layer.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
    return layer


class MLP(nn.Module):
    """inputs - width - ... - width - classes, with biases."""

    def __init__(
        self, inputs: int, classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        sizes = [inputs] + [width] * depth
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [linear(before, after, generator), Activation(act)]
        self.layers = nn.Sequential(*layers, linear(sizes[-1], classes, generator))

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, *shape) -> (n, classes)"""
        outputs: Tensor = self.layers(x)
        return outputs
