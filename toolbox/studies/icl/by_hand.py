"""The network of `model` with its gradient written out, for a CPU.

A step of a small model on a CPU is bound by the number of calls and of passes over memory, and
torch's tanh-GELU and its attention over a few dozen tokens cost more than all matrix products.
Here GELU's slope is computed beside its value, all heads of all prompts are one stack of products,
a norm's scale and shift act on the weights behind it instead of on every token, and there is no
graph: every part returns its value and its pullback, a function that takes the gradient of the
value, writes those of the part's parameters and returns that of its input. A pullback is called
once: it writes over what it kept, because two processes at work do not fit the cache they share
(benchmarks/icl.py measures what all this brings).

Everything is stacked, E models of an ensemble in the first dimension. `p` has the parameters, `g`
the tensors that their gradients are written to, of the same names.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
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
        while pulls:  # the memory of one is free for the next
            d = pulls.pop()(d)
        torch.bmm(flat.mT, d, out=grads["in.w"])
        torch.sum(d.view(E, B, T, -1), dim=1, out=grads["positions"])
        torch.sum(grads["positions"], dim=1, keepdim=True, out=grads["in.b"])

    return out.view(E, B, len(read)), back


def attention(
    x: Tensor, p: Parameters, g: Parameters, layer: str, heads: int, T: int, read: range
) -> tuple[Tensor, Pullback]:
    """x + attention(norm(x)) at the R positions `read`: (E, B T, e) -> (E, B R, e).

    For a head, P = softmax(Q K^T / sqrt(h)) and O = P V. With D = dO V^T the gradient of the scores
    is S = P (D - row sums of P D); dQ = S K, dK = S^T Q and dV = P^T dO. All but P and S are kept
    transposed, (h, T): the heads of a prompt then lie one below the other and need no copy, and no
    product has rows as short as h, which takes more than twice as long on some machines.
    """
    (E, N, e), R = x.shape, len(read)
    B, h = N // T, e // heads
    root, hidden = h**-0.5, unseen(T, read, x.dtype)
    asking = slice(read.start, read.stop, read.step)
    n, pull_norm = norm(x)
    w, b, pull_fold = fold(p, g, f"{layer}.norm1", f"{layer}.qkv")
    w, b = (each(by_head(of_qkv, heads).flatten(1, 3), B) for of_qkv in (w, b))
    prompts = n.view(-1, T, e)
    qkv = torch.baddbmm(b, w, prompts.mT).view(-1, 3 * h, T)
    q, k, v = torch.split(qkv, h, dim=1)
    if R < T:
        q = q[..., asking].contiguous()
    P = torch.baddbmm(hidden, q.mT, k, alpha=root)
    torch.softmax(P, dim=2, out=P)
    o = torch.bmm(v, P.mT).view(-1, e, R)
    mix = each(p[f"{layer}.mix.w"], B)
    y = torch.baddbmm(each(p[f"{layer}.mix.b"], B), o.mT, mix).view(E, -1, e)
    at(y, R).add_(at(x, T, asking))

    def pull(dy: Tensor) -> Tensor:
        torch.sum(dy, dim=1, keepdim=True, out=g[f"{layer}.mix.b"])
        dys = dy.view(-1, R, e)
        torch.sum(torch.bmm(o, dys).view(E, B, e, e), dim=1, out=g[f"{layer}.mix.w"])
        do = torch.bmm(mix, dys.mT).view(-1, h, R)
        S = torch.baddbmm(hidden, do.mT, v, beta=0, alpha=root)  # of `hidden` the shape alone
        torch._softmax_backward_data(S, P, 2, P.dtype, grad_input=S)
        dq = torch.bmm(k, S.mT)
        if R < T:
            dq, some = dq.new_zeros(len(dq), h, T), dq
            dq[..., asking] = some
        dqkv = torch.cat([dq, torch.bmm(q, S), torch.bmm(do, P)], dim=1, out=qkv).view(-1, 3 * e, T)
        of_w = by_head(g[f"{layer}.qkv.w"], heads)
        of_w.copy_(torch.bmm(dqkv, prompts).view(E, B, -1, e).sum(dim=1).view(of_w.shape))
        of_b = by_head(g[f"{layer}.qkv.b"], heads)
        of_b.copy_(dqkv.sum(dim=2).view(E, B, -1).sum(dim=1).view(of_b.shape))
        pull_fold()
        dx = pull_norm(torch.bmm(dqkv.mT, w).view(E, N, e))
        at(dx, T, asking).add_(at(dy, R))
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
        dh = torch.bmm(dy, p[f"{layer}.down.w"].mT, out=hidden).mul_(slope)
        torch.bmm(n.mT, dh, out=g[f"{layer}.up.w"])
        torch.sum(dh, dim=1, keepdim=True, out=g[f"{layer}.up.b"])
        pull_fold()
        return pull_norm(torch.bmm(dh, w.mT)).add_(dy)

    return y, pull


def read_out(x: Tensor, p: Parameters, g: Parameters) -> tuple[Tensor, Pullback]:
    """A linear function of norm(x), (E, N, 1)."""
    n, pull_norm = norm(x)
    w, b, pull_fold = fold(p, g, "norm", "out")

    def pull(dy: Tensor) -> Tensor:
        torch.bmm(n.mT, dy, out=g["out.w"])
        torch.sum(dy, dim=1, keepdim=True, out=g["out.b"])
        pull_fold()
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
) -> tuple[Tensor, Tensor, Callable[[], None]]:
    """Weights and bias behind a norm as they act on the bare norm, and their pull.

    With scale s and shift r of the norm they are W' = diag(s) W and c' = r W + c. The pull finds
    the gradients of these where those of W and c are to be, and makes of them dW = diag(s) dW' +
    r^T dc', dc = dc', ds = row sums of W * dW' and dr = dc' W^T.
    """
    scale, shift, w, b = (p[f"{name}.{kind}"] for name in (norm, linear) for kind in "wb")
    dscale, dshift, dw, db = (g[f"{name}.{kind}"] for name in (norm, linear) for kind in "wb")

    def pull() -> None:
        torch.sum((dw * w).mT, dim=1, keepdim=True, out=dscale)
        torch.bmm(db, w.mT, out=dshift)
        dw.mul_(scale.mT).baddbmm_(shift.mT, db)

    return scale.mT * w, torch.baddbmm(b, shift, w), pull


def gelu(h: Tensor) -> tuple[Tensor, Tensor]:
    """The tanh-GELU of h, which takes the place of h, and its slope.

    With u = c h (1 + a h^2) and t = sigmoid(u) the value is h t and the slope t + t (1 - t) h u',
    where h u' = 3 u - 2 c h. torch's own takes four times as long as its tanh.
    """
    c, a = GELU
    u = torch.addcmul(scalar(c, h.dtype), h, h, value=c * a).mul_(h)
    t = torch.sigmoid(u)
    u.sub_(h, alpha=2 * c / 3)
    torch.ops.aten.sigmoid_backward.grad_input(u, t, grad_input=u)
    return h.mul_(t), t.add_(u, alpha=3)


def at(x: Tensor, length: int, places: slice = slice(None)) -> Tensor:
    """(E, B length, e) -> the view (E, B, places, e)."""
    return x.view(x.shape[0], -1, length, x.shape[2])[:, :, places]


def each(w: Tensor, B: int) -> Tensor:
    """(E, i, j) -> (E B, i, j), the weights of a model beside each of its prompts."""
    return w.unsqueeze(1).expand(-1, B, -1, -1).flatten(0, 1)


def by_head(w: Tensor, heads: int) -> Tensor:
    """(E, i, 3 e), all of Q, then K, then V -> the view (E, heads, 3, e / heads, i)."""
    return w.view(*w.shape[:2], 3, heads, -1).permute(0, 3, 2, 4, 1)


@functools.cache
def unseen(T: int, read: range, dtype: torch.dtype) -> Tensor:
    """(R, T), minus infinity where a position of `read` does not see one of the T, else 0."""
    return torch.full((len(read), T), -math.inf, dtype=dtype).where(
        torch.arange(T) > torch.tensor(read)[:, None], 0.0
    )


@functools.cache
def unit(width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The scale and shift that change nothing."""
    return torch.ones(width, dtype=dtype), torch.zeros(width, dtype=dtype)


@functools.cache
def scalar(value: float, dtype: torch.dtype) -> Tensor:
    """As torch's fused products take it."""
    return torch.tensor(value, dtype=dtype)
