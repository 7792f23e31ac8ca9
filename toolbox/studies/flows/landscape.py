"""Derivatives of a loss at one point: gradient, Hessian times vectors, and third derivatives.

The graph of the gradient is built once per point; every product with the Hessian at that point goes
backwards through it, several vectors at a time. The loss of a network has a recorder, with which
the derivatives that are asked for often are replayed without a graph: see `replay`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .replay import Recorder

Objective = Callable[[Tensor], Tensor]
"""A loss as a function of all parameters: w : (n,) -> scalar, three times differentiable.

It may have an attribute `recorder`, a `Recorder`: then it does the same operations at every w.
"""

COLUMNS = 128


class Point:
    """The loss L and its derivatives at w.

    w : (n,)

    After `Point(objective, w)`: `loss` is L(w), `gradient` is the gradient, (n,).
    """

    def __init__(self, objective: Objective, w: Tensor) -> None:
        self._objective, self._w = objective, w.detach()
        value, self.gradient = self._derived(_gradient)
        self.loss = float(value)

    @cached_property
    def _graphs(self) -> Graphs:
        return graphs(self._objective, self._w)

    def _derived(self, derivative: Derivative, *rows: Tensor) -> tuple[Tensor, ...]:
        found = replayed(self._objective, derivative, self._w, *rows)
        return derivative(self._graphs, *rows) if found is None else found

    def hessian_times(self, vectors: Tensor) -> Tensor:
        """H V. vectors : V, (n, m); returns (n, m)."""
        return self._derived(_products, vectors.T.contiguous())[0].T

    def third(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of u_i^T H(w) u_j in w, at fixed directions, and H U.

        vectors : U, (n, k)

        Returns T, (k, k, n), symmetric in its first two axes, and H U, (n, k).
        """
        k = vectors.shape[1]
        pairs, products = self._derived(_thirds, vectors.T.contiguous())
        i, j = torch.triu_indices(k, k)
        place = torch.zeros(k, k, dtype=torch.long)
        place[i, j] = place[j, i] = torch.arange(len(pairs))
        return pairs[place.to(pairs.device)], products.T

    def hessian(self) -> Tensor:
        """H, (n, n), a block of columns at a time."""
        blocks = torch.eye(len(self._w)).to(self._w)
        return torch.cat(
            [self.hessian_times(block) for block in torch.split(blocks, COLUMNS, 1)], dim=1
        )

    def curvature_gradient(self, vectors: Tensor) -> Tensor:
        """The gradient of sum_k u_k^T H(w) u_k at fixed u_k, (n,). vectors : U, (n, k)"""
        return self._derived(_curvature, vectors.T.contiguous())[0]


def gradient(objective: Objective, w: Tensor) -> Tensor:
    """The gradient alone, (n,). w : (n,)"""
    found = replayed(objective, _gradient, w.detach())
    if found is not None:
        return found[1]
    w = w.detach().requires_grad_()
    return torch.autograd.grad(objective(w), w)[0]


# ------------------------------------------------------------------- from graphs to derivatives

Graphs = tuple[Tensor, Tensor, Tensor]
"""w, the loss and the gradient at w, the last two with their graphs."""
Derivative = Callable[..., tuple[Tensor, ...]]
"""(graphs, rows) -> derivatives without graphs. rows : directions, (m, n)"""


def graphs(objective: Objective, w: Tensor) -> Graphs:
    """What all derivatives at one point go backwards through. w : (n,)"""
    w = w.detach().requires_grad_()
    value = objective(w)
    (slope,) = torch.autograd.grad(value, w, create_graph=True)
    return w, value, slope


def replayed(
    objective: Objective, derivative: Derivative, w: Tensor, *rows: Tensor
) -> tuple[Tensor, ...] | None:
    """A derivative by replay, or None where it is not replayed."""
    recorder: Recorder | None = getattr(objective, "recorder", None)
    if recorder is None:
        return None

    def whole(w: Tensor, *rows: Tensor) -> tuple[Tensor, ...]:
        return derivative(graphs(objective, w), *rows)

    return recorder.run(derivative.__name__, whole, w, *rows)


def _gradient(of: Graphs) -> tuple[Tensor, Tensor]:
    return of[1].detach(), of[2].detach()


def _products(of: Graphs, rows: Tensor) -> tuple[Tensor]:
    return (_backwards(of[2], of[0], rows),)


def _thirds(of: Graphs, rows: Tensor) -> tuple[Tensor, Tensor]:
    """T_ij for i <= j, row after row, (m, n), and (H U)^T, (k, n)."""
    w, _, slope = of
    if not slope.requires_grad:  # a linear loss
        return rows.new_zeros(len(rows) * (len(rows) + 1) // 2, len(w)), torch.zeros_like(rows)
    products = [torch.autograd.grad(slope, w, row, create_graph=True)[0] for row in rows]
    # Backwards through each product for itself: one graph of all at once was slower.
    pairs = [_backwards(product, w, rows[i:]) for i, product in enumerate(products)]
    return torch.cat(pairs), torch.stack([product.detach() for product in products])


def _curvature(of: Graphs, rows: Tensor) -> tuple[Tensor]:
    w, _, slope = of
    products = [torch.autograd.grad(slope, w, row, create_graph=True)[0] for row in rows]
    total = torch.stack([product @ row for product, row in zip(products, rows, strict=True)]).sum()
    return (_backwards(total.reshape(1), w, total.new_ones(1, 1))[0],)


def _backwards(outputs: Tensor, w: Tensor, rows: Tensor) -> Tensor:
    """Vector-Jacobian products V J of outputs(w). rows : V, (m, outputs); returns (m, n)."""
    if not outputs.requires_grad:
        return rows.new_zeros(len(rows), len(w))
    many = len(rows) > 1  # one is faster without batching
    (result,) = torch.autograd.grad(
        outputs, w, rows if many else rows[0],
        retain_graph=True, is_grads_batched=many, materialize_grads=True,
    )  # fmt: skip
    return result if many else result[None]
