"""The network of `model` with its gradient written out, for a CPU.

A step of a small model on a CPU is bound by the number of calls and of passes over memory, and
torch's tanh-GELU and its attention over a few dozen tokens cost more than all matrix products.
Here GELU's slope is computed beside its value, heads are views and never copied, a norm's scale and
shift act on the weights behind it instead of on every token, and there is no graph: every part
returns its value and its pullback, a function that takes the gradient of the value, writes those of
the part's parameters and returns that of its input (benchmarks/icl.py measures what that brings).

Everything is stacked, E models of an ensemble in the first dimension. `p` has the parameters, `g`
the tensors that their gradients are written to, of the same names.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .model import EPSILON

if TYPE_CHECKING:
    from .model import Sizes

Parameters = Mapping[str, Tensor]
Pullback = Callable[[Tensor], Tensor]

GELU = 2 * math.sqrt(2 / math.pi), 0.044715
"""c and a of the tanh-GELU, h sigmoid(c h (1 + a h^2))."""


def forward(
    params: Parameters, grads: Parameters, tokens: Tensor, sizes: Sizes, read: range
) -> tuple[Tensor, Callable[[Tensor], None]]:
    """What `model.forward` returns, and a function that takes its gradient and fills `grads`."""
    E, B, T, _ = tokens.shape
    flat = tokens.reshape(E, B * T, -1)
    x = torch.baddbmm(params["in.b"], flat, params["in.w"])
    x.view(E, B, T, -1).add_(params["positions"][:, None])
    pulls: list[Pullback] = []
    for i in range(sizes.layers):
        # Nothing reads the other positions of the last layer.
        positions = read if i == sizes.layers - 1 else range(T)
        x, pull = attention(x, params, grads, f"{i}", sizes.heads, T, positions)
        pulls.append(pull)
        x, pull = mlp(x, params, grads, f"{i}")
        pulls.append(pull)
    out, pull = read_out(x, params, grads)
    pulls.append(pull)

    def back(d: Tensor) -> None:
        d = d.reshape(E, -1, 1)
        for pull in reversed(pulls):
            d = pull(d)
        torch.bmm(flat.mT, d, out=grads["in.w"])
        torch.sum(d.view(E, B, T, -1), dim=1, out=grads["positions"])
        torch.sum(grads["positions"], dim=1, keepdim=True, out=grads["in.b"])

    return out.view(E, B, len(read)), back


def attention(
    x: Tensor, p: Parameters, g: Parameters, layer: str, heads: int, T: int, read: range
) -> tuple[Tensor, Pullback]:
    """x + attention(norm(x)) at the R positions `read`: (E, B T, e) -> (E, B R, e).

    For a head, P = softmax(Q K^T / sqrt(h)) and O = P V. With D = dO V^T the gradient of the scores
    is S = P (D - row sums of P D); dQ = S K, dK = S^T Q and dV = P^T dO.
    """
    (E, _, e), R = x.shape, len(read)
    root = (e // heads) ** -0.5
    unseen = mask(T, read, x.dtype)
    n, pull_norm = norm(x)
    w, b, pull_fold = fold(p, g, f"{layer}.norm1", f"{layer}.qkv")
    asking = at(n, T, read).reshape(E, -1, e)
    q = torch.baddbmm(b[..., :e], asking, w[..., :e]).view(-1, R, e)
    kv = torch.baddbmm(b[..., e:], n, w[..., e:]).view(-1, T, 2 * e)
    shares, parts = [], []
    for Q, K, V in by_head(heads, q, kv[..., :e], kv[..., e:]):
        P = torch.baddbmm(unseen, Q, K.mT, alpha=root)
        shares.append(torch.softmax(P, dim=2, out=P))
        parts.append(torch.bmm(P, V))
    o = torch.cat(parts, dim=2).view(E, -1, e)
    y = torch.baddbmm(p[f"{layer}.mix.b"], o, p[f"{layer}.mix.w"])
    y.view(E, -1, R, e).add_(at(x, T, read))

    def pull(dy: Tensor) -> Tensor:
        torch.bmm(o.mT, dy, out=g[f"{layer}.mix.w"])
        torch.sum(dy, dim=1, keepdim=True, out=g[f"{layer}.mix.b"])
        do = torch.bmm(dy, p[f"{layer}.mix.w"].mT).view(-1, R, e)
        of_q, of_k, of_v = [], [], []
        for P, (Q, K, V, dO) in zip(
            shares, by_head(heads, q, kv[..., :e], kv[..., e:], do), strict=True
        ):
            S = torch.bmm(dO, V.mT)
            torch._softmax_backward_data(S, P, 2, P.dtype, grad_input=S)
            of_q.append(torch.bmm(S, K))
            of_k.append(torch.bmm(S.mT, Q))
            of_v.append(torch.bmm(P.mT, dO))
        dq = torch.cat(of_q, dim=2).view(E, -1, e).mul_(root)
        dkv = torch.cat(of_k + of_v, dim=2).view(E, -1, 2 * e)
        dkv[..., :e].mul_(root)
        pull_fold(
            torch.cat([torch.bmm(asking.mT, dq), torch.bmm(n.mT, dkv)], dim=2),
            torch.cat([total(dq), total(dkv)], dim=2),
        )
        dn = torch.bmm(dkv, w[..., e:].mT)
        at(dn, T, read).add_(torch.bmm(dq, w[..., :e].mT).view(E, -1, R, e))
        dx = pull_norm(dn)
        at(dx, T, read).add_(dy.view(E, -1, R, e))
        return dx

    return y, pull


def mlp(x: Tensor, p: Parameters, g: Parameters, layer: str) -> tuple[Tensor, Pullback]:
    """x + MLP(norm(x)), (E, N, e)."""
    n, pull_norm = norm(x)
    w, b, pull_fold = fold(p, g, f"{layer}.norm2", f"{layer}.up")
    hidden, slope = gelu(torch.baddbmm(b, n, w))
    y = torch.baddbmm(p[f"{layer}.down.b"], hidden, p[f"{layer}.down.w"]).add_(x)

    def pull(dy: Tensor) -> Tensor:
        torch.bmm(hidden.mT, dy, out=g[f"{layer}.down.w"])
        torch.sum(dy, dim=1, keepdim=True, out=g[f"{layer}.down.b"])
        dh = torch.bmm(dy, p[f"{layer}.down.w"].mT).mul_(slope)
        pull_fold(torch.bmm(n.mT, dh), total(dh))
        return pull_norm(torch.bmm(dh, w.mT)).add_(dy)

    return y, pull


def read_out(x: Tensor, p: Parameters, g: Parameters) -> tuple[Tensor, Pullback]:
    """A linear function of norm(x), (E, N, 1)."""
    n, pull_norm = norm(x)
    w, b, pull_fold = fold(p, g, "norm", "out")

    def pull(dy: Tensor) -> Tensor:
        pull_fold(torch.bmm(n.mT, dy), total(dy))
        return pull_norm(torch.bmm(dy, w.mT))

    return torch.baddbmm(b, n, w), pull


def norm(x: Tensor) -> tuple[Tensor, Pullback]:
    """Layer norm without scale and shift."""
    # With a scale and a shift, of one and zero, it takes half as long as without.
    n, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], *unit(x.shape[-1], x.dtype), EPSILON)

    def pull(dn: Tensor) -> Tensor:
        dx: Tensor = torch.ops.aten.native_layer_norm_backward(
            dn, x, x.shape[-1:], mean, rstd, None, None, [True, False, False]
        )[0]
        return dx

    return n, pull


def fold(
    p: Parameters, g: Parameters, norm: str, linear: str
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], None]]:
    """Weights and bias behind a norm as they act on the bare norm, and their pull.

    With scale s and shift r of the norm they are W' = diag(s) W and c' = r W + c, and from the
    gradients of these follow dW = diag(s) dW' + r^T dc', dc = dc', ds = row sums of W * dW' and
    dr = dc' W^T.
    """
    scale, shift, w, b = (p[f"{name}.{kind}"] for name in (norm, linear) for kind in "wb")

    def pull(dw: Tensor, db: Tensor) -> None:
        torch.sum((dw * w).mT, dim=1, keepdim=True, out=g[f"{norm}.w"])
        torch.bmm(db, w.mT, out=g[f"{norm}.b"])
        torch.baddbmm(scale.mT * dw, shift.mT, db, out=g[f"{linear}.w"])
        g[f"{linear}.b"].copy_(db)

    return scale.mT * w, torch.baddbmm(b, shift, w), pull


def gelu(h: Tensor) -> tuple[Tensor, Tensor]:
    """The tanh-GELU of h and its slope, which takes the place of h.

    With t = sigmoid(c h (1 + a h^2)) the value is y = h t, the slope t + y (1 - t) c (1 + 3 a h^2).
    torch's own takes four times as long as its tanh.
    """
    c, a = GELU
    constant = torch.tensor(c, dtype=h.dtype)
    t = torch.addcmul(constant, h, h, value=c * a).mul_(h).sigmoid_()
    y = h * t
    torch.addcmul(constant, h, h, value=3 * c * a, out=h).mul_(y)
    return y, h.addcmul_(h, t, value=-1).add_(t)


def total(x: Tensor) -> Tensor:
    """Over the rows: (E, N, m) -> (E, 1, m)."""
    return x.sum(dim=1, keepdim=True)


def at(x: Tensor, length: int, read: range) -> Tensor:
    """(E, B length, e) -> the view (E, B, positions `read`, e)."""
    rows = x.view(x.shape[0], -1, length, x.shape[2])
    return rows[:, :, read.start : read.stop : read.step]


def by_head(heads: int, *each: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of one head after another, (B, length, h) of every tensor (B, length, heads h)."""
    return zip(*(x.view(*x.shape[:2], heads, -1).unbind(2) for x in each), strict=True)


@functools.cache
def mask(T: int, read: range, dtype: torch.dtype) -> Tensor:
    """(R, T), minus infinity where a position of `read` does not see one of the T, else 0."""
    return torch.full((len(read), T), -math.inf, dtype=dtype).where(
        torch.arange(T) > torch.tensor(read)[:, None], 0.0
    )


@functools.cache
def unit(width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The scale and shift that change nothing."""
    return torch.ones(width, dtype=dtype), torch.zeros(width, dtype=dtype)
