"""The networks: the paper's architectures at any width and depth, three times differentiable.

Images: MLP, CNN, ResNet, ViT. Tokens, with a prediction at each position: LSTM, Transformer, Mamba.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from toolbox.core.errors import ParameterError

from . import layers
from .layers import Activation, convolution, linear, pooled, readout

OF_IMAGES = ("mlp", "cnn", "resnet", "vit")
OF_TOKENS = ("lstm", "transformer", "mamba")
ARCHITECTURES = OF_IMAGES + OF_TOKENS


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
    """A network in float64 that maps (n, *shape) to (n, classes), or (n, positions, classes).

    shape : of one example, (channels, height, width), or (positions,) of tokens
    width, depth : see the class of each architecture
    act : tanh or gelu
    vocabulary : number of different tokens, for the networks that read tokens

    Errors: `ParameterError` for an unknown architecture or activation, one that does not read this
    kind of data, and images too small for the depth.
    """
    if arch not in ARCHITECTURES:
        raise ParameterError("arch", arch, "is no architecture", f"use {', '.join(ARCHITECTURES)}")
    if act not in layers.ACTIVATIONS:
        words = " or ".join(layers.ACTIVATIONS)
        raise ParameterError("act", act, "is no smooth activation", f"use {words}")
    if arch in OF_TOKENS:
        if vocabulary is None:
            raise ParameterError(
                "arch", arch, "reads tokens, and these data are none", f"use {', '.join(OF_IMAGES)}"
            )
        if arch == "lstm":
            return LSTM(vocabulary, classes, width, depth, act, generator)
        if arch == "transformer":
            return Transformer(vocabulary, classes, width, depth, act, generator)
        return Mamba(vocabulary, classes, width, depth, act, generator)
    if vocabulary is not None:
        raise ParameterError(
            "arch",
            arch,
            "reads no tokens, and these data are tokens",
            f"use {', '.join(OF_TOKENS)}",
        )
    if arch == "mlp":
        return MLP(math.prod(shape), classes, width, depth, act, generator)
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ParameterError("arch", arch, f"reads square images, and these are {shape}", "use mlp")
    if arch == "cnn":
        return CNN(shape, classes, width, depth, act, generator)
    if arch == "resnet":
        return ResNet(shape, classes, width, depth, act, generator)
    return ViT(shape, classes, width, depth, act, generator)


class MLP(nn.Sequential):
    """inputs - width - ... - width - classes, with biases. The paper's: width 256, depth 2."""

    def __init__(
        self, inputs: int, classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        sizes = [inputs] + [width] * depth
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            hidden += [linear(before, after, generator), Activation(act)]
        super().__init__(nn.Flatten(), *hidden, linear(sizes[-1], classes, generator))


class Pool(nn.Module):
    """Averages over blocks of 2 x 2."""

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, channels, height, width)"""
        return pooled(x)


class CNN(nn.Sequential):
    """depth times convolution - activation - average pool, then 4 width neurons, then the classes.

    The channels are width, 2 width, 4 width, ...; only the last layer has biases. The paper's:
    width 32, depth 2.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        channels, size = shape[0], shape[1]
        if size >> depth == 0:
            raise ParameterError(
                "depth", depth, f"halves images of {size} x {size} pixels to nothing", "lower it"
            )
        modules: list[nn.Module] = []
        for i in range(depth):
            after = width << i
            modules += [convolution(channels, after, generator), Activation(act), Pool()]
            channels, size = after, size // 2
        modules += [
            nn.Flatten(),
            linear(channels * size * size, 4 * width, generator, bias=False),
            Activation(act),
            linear(4 * width, classes, generator),
        ]
        super().__init__(*modules)


class Block(nn.Module):
    """shortcut + share times (convolution - norm - activation - convolution - norm).

    The last norm's weights start at 0, and so does the branch. At stride 2 the shortcut is a
    convolution and a norm.
    """

    def __init__(
        self, before: int, after: int, groups: int, stride: int, share: float, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        self._share = share
        self.branch = nn.Sequential(
            convolution(before, after, generator, stride),
            layers.GroupNorm(after, groups),
            Activation(act),
            convolution(after, after, generator),
            layers.GroupNorm(after, groups, scale=0.0),
        )
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(convolution(before, after, generator, stride))
            self.shortcut.append(layers.GroupNorm(after, groups))

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, before, height, width) -> (n, after, height/stride, width/stride)"""
        out: Tensor = self.shortcut(x) + self._share * self.branch(x)
        return out


class ResNet(nn.Module):
    """Three stages of depth blocks: width, 2 width and 4 width channels, half the size each time.

    GroupNorm of width groups; the branches are scaled by 1/sqrt(number of blocks). The last map is
    averaged to 2 x 2 pixels, and the last layer starts at 0. The paper's: width 16, depth 3.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        size = (shape[1] + 3) // 4
        share = (3 * depth) ** -0.5
        blocks, channels = [], width
        for stage, block in itertools.product(range(3), range(depth)):
            stride = 2 if stage and not block else 1
            after = width << stage
            blocks.append(Block(channels, after, width, stride, share, act, generator))
            channels = after
        self.first = nn.Sequential(convolution(shape[0], width, generator), Activation(act))
        self.blocks = nn.Sequential(*blocks)
        self._pool = max(1, size // 2)
        self.out = readout(channels * (size // self._pool) ** 2, classes, generator, scale=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, channels, height, width) -> (n, classes)"""
        last = pooled(self.blocks(self.first(x)), self._pool)
        outputs: Tensor = self.out(last.flatten(1))
        return outputs


class ViT(nn.Module):
    """A SimpleViT: patches of 4 x 4 pixels (2 x 2 below 16 pixels), mean over the tokens.

    depth blocks of attention (width/8 heads of width features each) and a feedforward part; fixed
    sine and cosine positions; the last layer starts at 0. The paper's: width 64, depth 4.
    """

    positions: Tensor

    def __init__(
        self, shape: tuple[int, ...], classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__()
        channels, size = shape[0], shape[1]
        patch = self._patch = 4 if size >= 16 else 2
        if size % patch:
            raise ParameterError(
                "arch", "vit", f"cuts images into patches of {patch} x {patch}, and {size} pixels "
                "are no multiple", "use cnn or resnet",
            )  # fmt: skip
        if width % 4:
            raise ParameterError("width", width, "is no multiple of 4, as a ViT's must be", "")
        pixels = channels * patch * patch
        self.embed = nn.Sequential(
            layers.Norm(pixels), linear(pixels, width, generator), layers.Norm(width)
        )
        rows = waves(size // patch, width // 2)  # (patches in a row, width/2)
        grid = torch.cat(
            [rows[:, None].expand(-1, len(rows), -1), rows[None].expand(len(rows), -1, -1)], -1
        )
        self.register_buffer("positions", grid.reshape(-1, width))
        heads = max(1, width // 8)
        self.blocks = blocks(width, heads, width, depth, act, generator, causal=False)
        self.norm = layers.Norm(width)
        self.out = readout(width, classes, generator, scale=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, channels, height, width) -> (n, classes)"""
        n, channels, height, width = x.shape
        p = self._patch
        cut = x.reshape(n, channels, height // p, p, width // p, p).permute(0, 2, 4, 3, 5, 1)
        tokens = self.embed(cut.reshape(n, height // p * (width // p), -1)) + self.positions
        for block in self.blocks:
            tokens = tokens + block(tokens)
        outputs: Tensor = self.out(self.norm(tokens).mean(1))
        return outputs


def blocks(
    width: int, heads: int, size: int, depth: int, act: str, generator: torch.Generator,
    causal: bool,
) -> nn.ModuleList:  # fmt: skip
    """Attention and feedforward in turn, depth of each; their outputs are added to their inputs."""
    modules: list[nn.Module] = []
    for _ in range(depth):
        modules.append(layers.Attention(width, heads, size, causal, generator))
        modules.append(layers.Feedforward(width, act, generator))
    return nn.ModuleList(modules)


def waves(count: int, width: int) -> Tensor:
    """Sines and cosines of the positions 0, 1, ... at falling frequencies, (count, width)."""
    frequencies = 10_000 ** -(torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = torch.arange(count, dtype=torch.float64)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class OnTokens(nn.Module):
    """Embedding - blocks - linear layer at every position. Embeddings are standard normal."""

    blocks: nn.ModuleList

    def __init__(self, vocabulary: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        drawn = torch.randn(vocabulary, width, dtype=torch.float64, generator=generator)
        self.embedding = nn.Parameter(drawn)

    def embedded(self, x: Tensor) -> Tensor:
        """x : (n, positions), int64 -> (n, positions, width)"""
        return self.embedding[x]


class LSTM(OnTokens):
    """depth layers of an LSTM. The paper's: width 48, depth 2."""

    def __init__(
        self, vocabulary: int, classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__(vocabulary, width, generator)
        self.blocks = nn.ModuleList(
            [layers.LSTMLayer(width, width, act, generator) for _ in range(depth)]
        )
        self.out = linear(width, classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, positions) -> (n, positions, classes)"""
        h = self.embedded(x)
        for block in self.blocks:
            h = block(h)
        outputs: Tensor = self.out(h)
        return outputs


class Transformer(OnTokens):
    """depth causal blocks of attention (width/8 heads) and a feedforward part, a norm before each.

    Fixed sine and cosine positions; the last layer starts at 0. The paper's: width 32, depth 4.
    """

    def __init__(
        self, vocabulary: int, classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__(vocabulary, width, generator)
        heads = max(1, width // 8)
        if width % (2 * heads):
            raise ParameterError(
                "width", width, "is no multiple of 8 (or even, below 8)", "use 4, 8, 16 or 32"
            )
        self.blocks = blocks(width, heads, width // heads, depth, act, generator, causal=True)
        self.norm = layers.Norm(width)
        self.out = readout(width, classes, generator, scale=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, positions) -> (n, positions, classes)"""
        h = self.embedded(x)
        h = h + waves(h.shape[1], h.shape[2]).to(h)
        for block in self.blocks:
            h = h + block(h)
        outputs: Tensor = self.out(self.norm(h))
        return outputs


class Mamba(OnTokens):
    """depth Mamba blocks; the last layer has a tenth of the usual weights.

    The paper's: width 64, depth 2.
    """

    def __init__(
        self, vocabulary: int, classes: int, width: int, depth: int, act: str,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        super().__init__(vocabulary, width, generator)
        self.blocks = nn.ModuleList(
            [layers.MambaLayer(width, act, generator) for _ in range(depth)]
        )
        self.norm = layers.Norm(width)
        self.out = readout(width, classes, generator, scale=0.1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """x : (n, positions) -> (n, positions, classes)"""
        h = self.embedded(x)
        for block in self.blocks:
            h = h + block(h)
        outputs: Tensor = self.out(self.norm(h))
        return outputs
