"""Parameters and FLOPs of a decoder by formula, for the whole method and as the program runs it.

Two FLOPs per multiply-add; products, not element-wise work; attention counted for all pairs of
positions, as is usual, although the mask needs half of them.
"""

from __future__ import annotations

from . import encodings as en
from .model import Shape
from .names import is_tape
from .state import ATTENTION, MLP, SPLIT, WITHOUT_EQUIVARIANCE
from .state import count as state_count


def extra_parameters(s: Shape) -> int:
    """Parameters of the encoding alone, over all layers. TAPE: L (2 H P + C P + H^2)."""
    if is_tape(s.pe):
        return s.layers * state_count(s.dim, s.heads, s.P, s.pe)
    return s.layers * {
        "fire": 2 + 2 * en.FIRE_WIDTH + en.FIRE_WIDTH * s.heads + s.heads,
        "t5": en.T5_BUCKETS * s.heads,
        "cope": s.head * max(2, s.trained),
    }.get(s.pe, 0)


def parameters(s: Shape) -> int:
    """2 V C + L (4 C^2 + 3 C I + 2 C) + C, and the encoding's own."""
    C = s.dim
    return 2 * s.vocab * C + s.layers * (4 * C**2 + 3 * C * s.ffn + 2 * C) + C + extra_parameters(s)


def base_flops(s: Shape, N: int) -> int:
    """RoPE's forward pass on N tokens: 2 N (L (4 C^2 + 3 C I) + V C) + 4 L N^2 C."""
    C, L = s.dim, s.layers
    return 2 * N * (L * (4 * C**2 + 3 * C * s.ffn) + s.vocab * C) + 4 * L * N**2 * C


def extra_flops(s: Shape, N: int, fast: bool = True, updating: int | None = None) -> int:
    """What the encoding adds to a forward pass.

    TAPE, literal form: L' (4 N^2 C + N (8 H P D + 2 P C + 4 H^2 D + 4 P D)); fast form:
    L' (2 N^2 C + N (2 P C + 2 P H^2 + 4 H^2 D)), with L' layers that update the state.

    fast : the form of TAPE;  updating : L', default all layers as in the paper's count; the state
           behind the last layer is not used, so that L - 1 are computed
    """
    C, H, D, P = s.dim, s.heads, s.head, s.P
    L = s.layers if updating is None else updating
    if not is_tape(s.pe):
        return s.layers * {
            "fire": 2 * en.FIRE_WIDTH * (1 + H) * N**2,
            "cope": 2 * N * C * max(2, s.trained),
        }.get(s.pe, 0)
    copies = 1 if fast else 2  # the literal form stores, averages and mixes cos and sin twice
    attention = copies * (2 * N**2 * C + 2 * N * H**2 * D)
    if s.pe == WITHOUT_EQUIVARIANCE:
        mlp = N * (2 * P * C + 4 * P * C)
    elif fast and s.pe != SPLIT:
        mlp = N * (2 * P * C + 2 * P * H**2 + 2 * H**2 * D)
    else:
        mlp = N * (8 * H * P * D + 2 * P * C + 4 * P * D)
    return L * ((0 if s.pe == MLP else attention) + (0 if s.pe == ATTENTION else mlp))
