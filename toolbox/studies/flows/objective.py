"""A network, a loss and data as one function of all parameters, w : (n,) -> L(w)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .landscape import Objective


def flat(module: torch.nn.Module) -> Tensor:
    """All parameters that are trained, one after another, (n,)."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


def objective(
    module: torch.nn.Module, loss: Callable[[Tensor], Tensor], inputs: Tensor
) -> Objective:
    """L(w) of a module on fixed data; w in the order of `flat`. The module is not changed.

    loss : outputs -> scalar, the mean over the examples, three times differentiable
    """
    trained = [(name, p.shape) for name, p in module.named_parameters() if p.requires_grad]
    sizes = [shape.numel() for _, shape in trained]

    def of(w: Tensor) -> Tensor:
        parts = zip(trained, torch.split(w, sizes), strict=True)
        parameters = {name: part.view(shape) for (name, shape), part in parts}
        return loss(torch.func.functional_call(module, parameters, (inputs,)))

    return of
