"""A network, a loss and data as one function of all parameters, w : (n,) -> L(w)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .replay import Recorder


def flat(module: torch.nn.Module) -> Tensor:
    """All parameters that are trained, one after another, (n,)."""
    return torch.cat([p.detach().reshape(-1) for p in module.parameters() if p.requires_grad])


class NetworkLoss:
    """The loss of a module on fixed data as a function of all parameters, w : (n,) -> scalar.

    recorder : replays the derivatives that are asked for often, see `landscape.Point`
    """

    def __init__(
        self, module: torch.nn.Module, loss: Callable[[Tensor], Tensor], inputs: Tensor
    ) -> None:
        self._module, self._loss, self._inputs = module, loss, inputs
        self._trained = [
            (name, p.shape) for name, p in module.named_parameters() if p.requires_grad
        ]
        self._sizes = [shape.numel() for _, shape in self._trained]
        self.recorder = Recorder()

    def __call__(self, w: Tensor) -> Tensor:
        """L(w)."""
        parts = zip(self._trained, torch.split(w, self._sizes), strict=True)
        parameters = {name: part.view(shape) for (name, shape), part in parts}
        return self._loss(torch.func.functional_call(self._module, parameters, (self._inputs,)))


def objective(
    module: torch.nn.Module, loss: Callable[[Tensor], Tensor], inputs: Tensor
) -> NetworkLoss:
    """L(w) of a module on fixed data; w in the order of `flat`. The module is not changed.

    loss : outputs -> scalar, the mean over the examples, three times differentiable
    """
    return NetworkLoss(module, loss, inputs)
