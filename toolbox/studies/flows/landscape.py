"""Derivatives of a loss at one point: gradient, Hessian times vectors, and third derivatives.

The graph of the gradient is built once per point; every product with the Hessian at that point goes
backwards through it, several vectors at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], Tensor]
"""A loss as a function of all parameters: w : (n,) -> scalar, three times differentiable."""


COLUMNS = 128


class Point:
    """The loss L and its derivatives at w.

    w : (n,)

    After `Point(objective, w)`: `loss` is L(w), `gradient` is the gradient, (n,).
    """

    def __init__(self, objective: Objective, w: Tensor) -> None:
        self._w = w.detach().requires_grad_()
        value = objective(self._w)
        (self._graph,) = torch.autograd.grad(value, self._w, create_graph=True)
        self.loss = float(value.detach())
        self.gradient = self._graph.detach()

    def hessian_times(self, vectors: Tensor) -> Tensor:
        """H V. vectors : V, (n, m); returns (n, m)."""
        return _backwards(self._graph, self._w, vectors)

    def third(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of u_i^T H(w) u_j in w, at fixed directions, and H U.

        vectors : U, (n, k)

        Returns T, (k, k, n), symmetric in its first two axes, and H U, (n, k).
        """
        n, k = vectors.shape
        table = vectors.new_zeros(k, k, n)
        if not self._graph.requires_grad:  # a linear loss
            return table, torch.zeros_like(vectors)
        rows = [
            torch.autograd.grad(self._graph, self._w, vectors[:, i], create_graph=True)[0]
            for i in range(k)
        ]
        # Backwards through each row for itself: one graph of all rows at once was slower.
        for i, row in enumerate(rows):
            table[i, i:] = _backwards(row, self._w, vectors[:, i:]).T
            table[i + 1 :, i] = table[i, i + 1 :]
        return table, torch.stack([row.detach() for row in rows], dim=1)

    def hessian(self) -> Tensor:
        """H, (n, n), a block of columns at a time."""
        blocks = torch.eye(len(self._w)).to(self._w)
        return torch.cat(
            [self.hessian_times(block) for block in torch.split(blocks, COLUMNS, 1)], dim=1
        )

    def curvature_gradient(self, vectors: Tensor) -> Tensor:
        """The gradient of sum_k u_k^T H(w) u_k at fixed u_k, (n,). vectors : U, (n, k)"""
        rows = [
            torch.autograd.grad(self._graph, self._w, vectors[:, i], create_graph=True)[0]
            for i in range(vectors.shape[1])
        ]
        total = sum((row @ vectors[:, i] for i, row in enumerate(rows)), self._w.new_zeros(()))
        return _backwards(total.reshape(1), self._w, total.new_ones(1, 1))[:, 0]


def _backwards(outputs: Tensor, w: Tensor, vectors: Tensor) -> Tensor:
    """Vector-Jacobian products J^T V of outputs(w). vectors : (outputs, m); returns (n, m)."""
    if not outputs.requires_grad:
        return vectors.new_zeros(len(w), vectors.shape[1])
    many = vectors.shape[1] > 1  # one is faster without batching
    (result,) = torch.autograd.grad(
        outputs,
        w,
        vectors.T if many else vectors[:, 0],
        retain_graph=True,
        is_grads_batched=many,
        materialize_grads=True,
    )
    return result.T if many else result[:, None]
