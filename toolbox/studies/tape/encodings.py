"""Positional encodings: the tables and biases, each after its own reference formula.

N positions, H heads of size D, F = D / 2 frequencies. Angles are computed in float64, because at
positions above 2^11 a 16-bit angle is noise.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as fn
from torch import Tensor, nn

BASE = 10_000.0
XPOS_SCALE = 512.0
"""Positions over which xPos decays by one factor zeta (Sun et al. 2022)."""
YARN_SLOW, YARN_FAST = 1.0, 32.0
"""Turns over the trained length below which YaRN interpolates and above which it does not."""
T5_BUCKETS, T5_FAR = 32, 128
FIRE_WIDTH, FIRE_LENGTH = 32, 512.0
RANDPE_STRETCH = 4
"""RandPE draws positions below so many times the training length."""


def frequencies(head: int, base: float = BASE) -> Tensor:
    """RoPE: w_f = base^(-2 f / D), float64 (F,)."""
    return base ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)


def yarn(head: int, trained: int, factor: float, base: float = BASE) -> tuple[Tensor, float]:
    """YaRN (Peng et al. 2023): frequencies for `factor` times the trained length, and the scale of
    cos and sin.

    A frequency that turns more than 32 times in the trained length stays, one that turns less than
    once is divided by the factor, those between are mixed.
    """
    w = frequencies(head, base)
    turns = trained * w / (2 * math.pi)
    stays = ((turns - YARN_SLOW) / (YARN_FAST - YARN_SLOW)).clamp(0, 1)
    return (1 - stays) * w / factor + stays * w, 0.1 * math.log(factor) + 1.0


def rotation(positions: Tensor, w: Tensor, scale: float = 1.0) -> Tensor:
    """The state of RoPE: cos in the first F columns, sin in the others; float64 (N, 2 F)."""
    angles = positions.double()[:, None] * w
    return scale * torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotate(u: Tensor, state: Tensor) -> Tensor:
    """(u1 + i u2)(c + i s), u1 and u2 the halves of the last axis (half-split layout)."""
    half = u.shape[-1] // 2
    u1, u2 = u[..., :half], u[..., half:]
    c, s = state[..., :half], state[..., half:]
    return torch.cat([u1 * c - u2 * s, u1 * s + u2 * c], dim=-1)


def xpos(positions: Tensor, head: int) -> Tensor:
    """xPos: zeta_f^t, t = position / 512, which multiplies q and divides k; float64 (N, 2 F)."""
    f = torch.arange(0, head, 2, dtype=torch.float64)
    zeta = (f + 0.4 * head) / (1.4 * head)
    grown = zeta ** (positions.double()[:, None] / XPOS_SCALE)
    return torch.cat([grown, grown], dim=-1)


def random_positions(n: int, trained: int, rng: np.random.Generator | None) -> Tensor:
    """RandPE (Ruoss et al. 2023): n sorted distinct positions below 4 times the trained length.

    Without a generator they are evenly spaced, so that an evaluation is repeatable.
    """
    longest = max(n, RANDPE_STRETCH * trained)
    if rng is None:
        return torch.linspace(0, longest - 1, n, dtype=torch.float64).floor()
    return torch.from_numpy(np.sort(rng.choice(longest, size=n, replace=False))).double()


def distances(queries: int, keys: int, device: torch.device) -> Tensor:
    """i - j for the last `queries` of `keys` positions, (queries, keys); negative in the future."""
    at = torch.arange(keys, device=device)
    return at[keys - queries :, None] - at[None, :]


def alibi_slopes(heads: int) -> Tensor:
    """ALiBi (Press et al. 2021): 2^(-8 h / H), h = 1..H.

    If H is no power of two: those of the power of two below, then every other one of the next.
    """

    def powers(n: int) -> list[float]:
        return [2.0 ** (-8.0 * h / n) for h in range(1, n + 1)]

    below = 2 ** int(math.log2(heads))
    return torch.tensor(powers(below) + powers(2 * below)[::2][: heads - below])


class Alibi(nn.Module):
    """-m_h (i - j)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.slopes: Tensor
        self.register_buffer("slopes", alibi_slopes(heads), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """The bias (H, queries, keys)."""
        return -self.slopes[:, None, None] * distance


class Fire(nn.Module):
    """FIRE (Li et al. 2023): g(log(|c (i-j)| + 1) / log(|c max(i, |L m|)| + 1)), g a small MLP."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(1, FIRE_WIDTH), nn.Linear(FIRE_WIDTH, heads)
        self.c, self.m = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(1.0))

    def forward(self, distance: Tensor) -> Tensor:
        """The bias (H, queries, keys); what it says of the future is masked by the caller."""
        i = distance[:, :1] if distance.shape[0] else distance  # i - 0, the query's position
        near = distance.clamp(min=0).to(self.c.dtype)
        threshold = (self.m * FIRE_LENGTH).abs()
        top = ((self.c * near).abs() + 1).log()
        bottom = ((self.c * torch.maximum(i.to(self.c.dtype), threshold)).abs() + 1).log() + 1e-6
        x = (top / bottom)[..., None]
        bias: Tensor = self.out(fn.relu(self.hidden(x)))
        return bias.movedim(-1, 0)


def t5_bucket(distance: Tensor) -> Tensor:
    """T5's causal buckets: 16 for the distances 0 to 15, 16 logarithmic ones up to 128."""
    exact = T5_BUCKETS // 2
    near = distance.clamp(min=0)
    log = (near.clamp(min=1).double() / exact).log() / math.log(T5_FAR / exact)
    far = (exact + (log * (T5_BUCKETS - exact)).long()).clamp(max=T5_BUCKETS - 1)
    return torch.where(near < exact, near, far)


class T5(nn.Module):
    """A learned bias for each head and bucket of distances (Raffel et al. 2020)."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.table = nn.Embedding(T5_BUCKETS, heads)

    def forward(self, distance: Tensor) -> Tensor:
        """The bias (H, queries, keys)."""
        bias: Tensor = self.table(t5_bucket(distance))
        return bias.movedim(-1, 0)


class Cope(nn.Module):
    """CoPE (Golovneva et al. 2024): positions counted by gates that depend on the content.

    p_ij = sum_(k = j..i) sigmoid(q_i k_k), clamped to the rows of a learned table; the bias is
    q_i e[p_ij], interpolated between the rows below and above.
    """

    def __init__(self, head: int, rows: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(head, rows))

    def forward(self, q: Tensor, logits: Tensor, future: Tensor) -> Tensor:
        """The bias (B, H, queries, keys).

        q : (B, H, queries, D);  logits : q k / sqrt(D);  future : bool (queries, keys)
        """
        gates = logits.sigmoid().masked_fill(future, 0.0)
        p = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=self.table.shape[1] - 1)
        below = p.floor()
        at_rows = q @ self.table
        low = at_rows.gather(-1, below.long())
        high = at_rows.gather(-1, p.ceil().long())
        return low + (p - below) * (high - low)
