"""A network, a loss and data as one function of all parameters, w : (n,) -> L(w)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .landscape import Objective

Criterion = Callable[[Tensor, Tensor], Tensor]
"""outputs, targets -> scalar, three times differentiable."""

MASKED = -1
"""Label of a position that does not count."""


def mse(outputs: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to one-hot targets, summed over classes, the mean over examples.

    outputs : (N, ..., classes);  labels : (N, ...) integers, `MASKED` where there is none
    """
    kept = labels != MASKED
    hot = torch.nn.functional.one_hot(labels.clamp_min(0), outputs.shape[-1]).to(outputs.dtype)
    squares = (outputs - hot).square().sum(-1)
    return 0.5 * (squares * kept).sum() / kept.sum()


def cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, the mean over examples. Shapes as in `mse`."""
    kept = labels != MASKED
    logs = outputs.log_softmax(-1).gather(-1, labels.clamp_min(0)[..., None])[..., 0]
    return -(logs * kept).sum() / kept.sum()


CRITERIA: dict[str, Criterion] = {"mse": mse, "ce": cross_entropy}


def flat(module: torch.nn.Module) -> Tensor:
    """All parameters that are trained, one after another, (n,)."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


def objective(
    module: torch.nn.Module, criterion: Criterion, inputs: Tensor, targets: Tensor
) -> Objective:
    """L(w) of a module on fixed data; w in the order of `flat`. The module is not changed.

    criterion : (outputs, targets) -> scalar, the mean over the examples
    """
    trained = [(name, p.shape) for name, p in module.named_parameters() if p.requires_grad]
    sizes = [shape.numel() for _, shape in trained]

    def loss(w: Tensor) -> Tensor:
        parts = zip(trained, w.split(sizes), strict=True)
        parameters = {name: part.view(shape) for (name, shape), part in parts}
        return criterion(torch.func.functional_call(module, parameters, (inputs,)), targets)

    return loss
