"""The optimisers as one rule: w <- w - P^-1 grad L, with a diagonal P that the gradient may set.

GD: P = 1/eta. Scalar RMSProp and RMSProp: P = (sqrt(nu) + eps)/eta with nu an average of the
squared gradient, of all coordinates together or of each; nu is updated before the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LOWEST_NU = 1e-30
"""Below this the average of squared gradients counts as this, so that its root has a slope."""

Name = Literal["gd", "scalar-rmsprop", "rmsprop"]


@dataclass(frozen=True)
class Rule:
    """An optimiser. nu below is (0,), (1,) or (n,): nothing, one average, or one a coordinate."""

    name: Name
    eta: float
    beta2: float = 0.99
    eps: float = 0.0

    def start(self, gradient: Tensor) -> Tensor:
        """nu when the average begins at the first squared gradient. gradient : (n,)."""
        return self.squared(gradient)

    def squared(self, gradient: Tensor) -> Tensor:
        """What nu averages: nothing, |g|^2, or g*g. gradient : (n,)."""
        if self.name == "gd":
            return gradient.new_zeros(0)
        square = gradient * gradient
        return square if self.name == "rmsprop" else square.sum().reshape(1)

    def average(self, nu: Tensor, gradient: Tensor) -> Tensor:
        """nu after one step."""
        return self.beta2 * nu + (1 - self.beta2) * self.squared(gradient)

    @property
    def speed(self) -> float:
        """c = (1 - beta2)/beta2: dnu/dt = c (g^2 - nu), as nu_t contains g_t already."""
        return (1 - self.beta2) / self.beta2

    def P(self, nu: Tensor) -> Tensor:
        """The diagonal of P, (1,) or (n,)."""
        if self.name == "gd":
            return torch.full((1,), 1 / self.eta, dtype=nu.dtype, device=nu.device)
        return (nu.sqrt() + self.eps) / self.eta

    def slope(self, nu: Tensor) -> Tensor:
        """dP/dnu, the shape of nu."""
        return 0.5 / (self.eta * nu.clamp_min(LOWEST_NU).sqrt())

    def oscillation(self, left: Tensor, right: Tensor) -> Tensor:
        """What oscillations add to the squared gradient per unit of X_ij: (H u_i)*(H u_j).

        left, right : H u_i and H u_j, (n,); returns the shape of nu
        """
        if self.name == "gd":
            return left.new_zeros(0)
        product = left * right
        return product if self.name == "rmsprop" else product.sum().reshape(1)
