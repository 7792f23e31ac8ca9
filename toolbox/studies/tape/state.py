"""The update of TAPE's positional state, in the fast exact form and in the literal one.

The state of a token is, for each of H heads and F = D / 2 frequencies, a pair (c, s) that starts as
RoPE's cos and sin. Z holds c in its first F columns and s in the others: (B, H, N, 2 F).
"""

from __future__ import annotations

import torch
import torch.nn.functional as fn
from torch import Tensor, nn

FULL, ATTENTION, MLP = "tape", "tape-a", "tape-m"
WITHOUT_EQUIVARIANCE, SPLIT = "tape-woeq", "tape-split"
YARN_START = "tape-yarn"
KINDS = (FULL, ATTENTION, MLP, WITHOUT_EQUIVARIANCE, SPLIT, YARN_START)
INIT = 0.02


class Update(nn.Module):
    """c <- c + W_a c^, then c <- c + W_d (psi * (W_u c)), psi = silu(W_x m); s likewise.

    c^ is the state averaged by the attention of the layer, m the output of its MLP. W_a (H, H),
    W_u (P, H) and W_d (H, P) mix heads and are the same for c and s, which makes the update
    equivariant under rotations. W_a = W_u = 0 at the start: the state stays RoPE's.

    kind : tape-a leaves out the second step, tape-m the first; tape-woeq lets W_u and W_d mix
           frequencies too, tape-split has matrices of their own for s, which both break the
           equivariance
    """

    def __init__(self, dim: int, heads: int, position_size: int, kind: str = FULL) -> None:
        super().__init__()
        self.kind, self.heads = kind, heads
        across = dim // 2 if kind == WITHOUT_EQUIVARIANCE else heads
        parts = (2,) if kind == SPLIT else ()
        self.w_a = nn.Parameter(torch.zeros(*parts, heads, heads)) if kind != MLP else None
        if kind == ATTENTION:
            self.w_u = self.w_d = self.w_x = None
            return
        self.w_u = nn.Parameter(torch.zeros(*parts, position_size, across))
        self.w_d = nn.Parameter(torch.zeros(*parts, across, position_size))
        self.w_x = nn.Parameter(torch.zeros(position_size, dim))

    def reset(self, generator: torch.Generator | None, scale: float = INIT) -> None:
        """W_d and W_x are N(0, scale^2); W_a and W_u stay zero."""
        for weight in (self.w_d, self.w_x):
            if weight is not None:
                weight.data.normal_(0, scale, generator=generator)

    def forward(self, Z: Tensor, attended: Tensor, m: Tensor) -> Tensor:
        """The next state, in the fast form: the per-token matrix W_d diag(psi) W_u, H x H, is
        formed and applied, so that no tensor has both P and N D entries.

        Z (B or 1, H or 1, N, 2 F), attended (B, H, N, 2 F), m (B, N, C) -> (B, H, N, 2 F)
        """
        if self.kind in (WITHOUT_EQUIVARIANCE, SPLIT):
            return self.literal(Z, attended, m)
        Z = Z.expand_as(attended)
        if self.w_a is not None:
            Z = mix_heads(self.w_a, attended, Z)
        if self.w_u is None or self.w_d is None or self.w_x is None:
            return Z
        B, H, N, _ = Z.shape
        psi = fn.silu(m @ self.w_x.T)
        outer = (self.w_d.T[:, :, None] * self.w_u[:, None, :]).flatten(1)
        A = (psi.reshape(B * N, -1) @ outer).view(B * N, H, H)
        rows = Z.transpose(1, 2).reshape(B * N, H, -1)
        return torch.baddbmm(rows, A, rows).view(B, N, H, -1).transpose(1, 2)

    def literal(self, Z: Tensor, attended: Tensor, m: Tensor) -> Tensor:
        """The next state, step by step as the method is written; for all kinds."""
        half = Z.shape[-1] // 2
        Z = Z.expand_as(attended)
        parts = [
            self._one(Z[..., part], attended[..., part], m, index)
            for index, part in enumerate((slice(0, half), slice(half, None)))
        ]
        return torch.cat(parts, dim=-1)

    def _one(self, c: Tensor, attended: Tensor, m: Tensor, index: int) -> Tensor:
        def own(w: Tensor) -> Tensor:
            return w[index] if self.kind == SPLIT else w

        if self.w_a is not None:
            c = c + torch.einsum("gh,bhnf->bgnf", own(self.w_a), attended)
        if self.w_u is None or self.w_d is None or self.w_x is None:
            return c
        psi = fn.silu(m @ self.w_x.T)
        if self.kind == WITHOUT_EQUIVARIANCE:
            flat = c.transpose(1, 2).flatten(2)
            flat = flat + (psi * (flat @ self.w_u.T)) @ self.w_d.T
            return flat.view(*flat.shape[:2], self.heads, -1).transpose(1, 2)
        mixed = torch.einsum("ph,bhnf->bpnf", own(self.w_u), c)
        mixed = psi.transpose(1, 2)[..., None] * mixed
        return c + torch.einsum("hp,bpnf->bhnf", own(self.w_d), mixed)


def mix_heads(w: Tensor, attended: Tensor, Z: Tensor) -> Tensor:
    """Z + W attended, W (H, H) over the heads; (B, H, N, D)."""
    B, H = attended.shape[:2]
    flat = attended.reshape(B, H, -1)
    return torch.baddbmm(Z.reshape(B, H, -1), w.expand(B, H, H), flat).view_as(attended)


def count(dim: int, heads: int, position_size: int, kind: str = FULL) -> int:
    """New parameters of a layer: 2 H P + C P + H^2 for the whole method."""
    across = dim // 2 if kind == WITHOUT_EQUIVARIANCE else heads
    parts = 2 if kind == SPLIT else 1
    attention = 0 if kind == MLP else parts * heads**2
    mlp = 0 if kind == ATTENTION else parts * 2 * across * position_size + dim * position_size
    return attention + mlp
