"""The recurrence of Mamba, h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t and y_t = C_t . h_t.

Two ways to the same numbers. `in_turn` goes token by token with everything of a token in cache and
keeps only the states; it does the least work and is the way of a CPU. `in_chunks` writes out all
coefficients, goes through chunks of about sqrt(T) tokens side by side and then hands the states
from chunk to chunk: more work in far fewer launches, the way of a GPU.

Shapes: delta, u (E, T, B, c) with c channels; A (E, N, c), negative; B, C (E, T, B, N).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def selective_scan(delta: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """y : (E, T, B, c), by the way that suits the device."""
    if delta.device.type == "cpu":
        return in_turn(delta, u, A, B, C)
    return in_chunks(delta, u, A, B, C, max(1, math.isqrt(delta.shape[1])))


def in_turn(delta: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Token after token."""
    y: Tensor = _InTurn.apply(delta, delta * u, A, B, C)  # type: ignore[no-untyped-call]
    return y


class _InTurn(torch.autograd.Function):
    """With v = delta u and G the gradient of h, from the last token to the first:
    G_t = C_t dy_t + a_{t+1} G_{t+1} where a_t = exp(delta_t A); then dv = B . G, dB = v . G,
    dC = h . dy, and q_t = G_t a_t h_{t-1} gives d delta = sum_N A q and dA = sum delta q."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, v: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        E, T, P, c = delta.shape
        h = delta.new_empty(E, T, P, A.shape[1], c)
        y, decay = torch.empty_like(v), torch.empty_like(h[:, 0])
        for t in range(T):
            torch.mul(v[:, t, :, None], B[:, t, ..., None], out=h[:, t])
            if t:
                torch.mul(delta[:, t, :, None], A[:, None], out=decay).exp_()
                h[:, t].addcmul_(decay, h[:, t - 1])
            y[:, t] = (C[:, t, :, None] @ h[:, t])[..., 0, :]
        ctx.save_for_backward(delta, v, A, B, C, h)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        delta, v, A, B, C, h = ctx.saved_tensors
        (dy,) = grads
        ddelta, dv, dA, dB, dC = (torch.zeros_like(x) for x in (delta, v, A, B, C))
        G, decay, q = (torch.zeros_like(h[:, 0]) for _ in range(3))
        for t in range(delta.shape[1] - 1, -1, -1):
            G.addcmul_(C[:, t, ..., None], dy[:, t, :, None])
            dC[:, t] = (h[:, t] @ dy[:, t, ..., None])[..., 0]
            dv[:, t] = (B[:, t, :, None] @ G)[..., 0, :]
            dB[:, t] = (G @ v[:, t, ..., None])[..., 0]
            if t:
                torch.mul(delta[:, t, :, None], A[:, None], out=decay).exp_()
                G.mul_(decay)  # what h_{t-1} gets, and with it q
                torch.mul(G, h[:, t - 1], out=q)
                dA += torch.mul(q, delta[:, t, :, None], out=decay).sum(dim=1)
                ddelta[:, t] = q.mul_(A[:, None]).sum(dim=2)
        return ddelta, dv, dA, dB, dC


def in_chunks(delta: Tensor, u: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int) -> Tensor:
    """All coefficients at once, `chunk` tokens of every chunk in turn."""
    a = torch.exp(delta[..., None, :] * A[:, None, None])
    b = (delta * u)[..., None, :] * B[..., None]
    h: Tensor = _Recurrence.apply(a, b, chunk)  # type: ignore[no-untyped-call]
    return (C[..., None, :] @ h)[..., 0, :]


class _Recurrence(torch.autograd.Function):
    """With g the gradient of h: G_t = g_t + a_{t+1} G_{t+1}, db = G and da_t = G_t h_{t-1}."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, chunk: int) -> Tensor:
        h = recurrence(a, b, chunk)
        ctx.save_for_backward(a, h)
        ctx.chunk = chunk
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, h = ctx.saved_tensors
        G = recurrence(a.roll(-1, 1).flip(1), grads[0].flip(1), ctx.chunk).flip(1)
        da = torch.cat([torch.zeros_like(a[:, :1]), G[:, 1:] * h[:, :-1]], dim=1)
        return da, G, None


def recurrence(a: Tensor, b: Tensor, chunk: int) -> Tensor:
    """h_t = a_t h_{t-1} + b_t along dimension 1, h = 0 before it; a, b : (E, T, ...)."""
    T = a.shape[1]
    pad = (0, 0) * (a.dim() - 2) + (0, -T % chunk)
    # (E, chunks, chunk, ...): the chunks as if each began at 0, and the products of their factors.
    h, product = (torch.unflatten(F.pad(x, pad), 1, (-1, chunk)).clone() for x in (b, a))
    for t in range(1, chunk):
        h[:, :, t].addcmul_(product[:, :, t], h[:, :, t - 1])
        product[:, :, t].mul_(product[:, :, t - 1])
    for i in range(1, h.shape[1]):
        h[:, i].addcmul_(product[:, i], h[:, i - 1, -1:])
    return h.flatten(1, 2)[:, :T]
