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
        products = _backwards(self._graph, self._w, vectors, create_graph=True)
        if not products.requires_grad:  # a quadratic loss
            return table, products
        forms = vectors.T @ products  # u_i^T H(w) u_j, still a function of w
        upper = torch.triu_indices(k, k)
        pairs = forms[upper[0], upper[1]]
        slopes = _backwards(pairs, self._w, torch.eye(len(pairs), dtype=vectors.dtype,
                                                      device=vectors.device)).T  # fmt: skip
        table[upper[0], upper[1]] = slopes
        table[upper[1], upper[0]] = slopes
        return table, products.detach()


def _backwards(outputs: Tensor, w: Tensor, vectors: Tensor, create_graph: bool = False) -> Tensor:
    """Vector-Jacobian products J^T V of outputs(w). vectors : (outputs, m); returns (n, m)."""
    if not outputs.requires_grad:
        return vectors.new_zeros(len(w), vectors.shape[1])
    keep = {"retain_graph": True, "create_graph": create_graph, "materialize_grads": True}
    if vectors.shape[1] == 1:  # without the cost of batching
        return torch.autograd.grad(outputs, w, vectors[:, 0], **keep)[0][:, None]
    return torch.autograd.grad(outputs, w, vectors.T, is_grads_batched=True, **keep)[0].T
