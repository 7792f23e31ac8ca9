"""The sums of `moments` as matrix products of torch, for a GPU; samples are drawn on the CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

from . import basis

Floats = NDArray[np.floating]
NUMBERS = 1 << 28
"""Entries of phi at a time: 1 GiB."""


def phi(x: Tensor) -> Tensor:
    """`basis.phi` of points x (d, B): (D, B)."""
    d = len(x)
    first, second = torch.triu_indices(d, d, 1, device=x.device)
    contrasts = torch.from_numpy(linalg.helmert(d) * basis.scale(d)).to(x)
    crossed = x[first] * x[second] * (math.sqrt(2) * basis.scale(d))
    return torch.cat([crossed, contrasts @ x.square()])


def window_sum(
    drawn: Iterable[tuple[Floats, Floats]], centre: float, device: str
) -> tuple[Floats, float]:
    """Sum of (y - centre) phi phi' over all samples, (D, D), and of y.

    drawn : blocks x (d, n), y (n,), each summed in float32 and added in float64
    """
    total: Tensor | None = None
    labels = 0.0
    for x, y in drawn:
        D = basis.size(len(x))
        points = torch.from_numpy(x).to(device)
        weights = torch.from_numpy((y - centre).astype(np.float32)).to(device)
        C = torch.zeros(D, D, device=device)
        most = max(1, NUMBERS // D)
        for part, weight in zip(
            torch.split(points, most, dim=1), torch.split(weights, most), strict=True
        ):
            features = phi(part)
            C.addmm_(features * weight, features.T)
        total = C.double() if total is None else total.add_(C)
        labels += float(y.sum())
    assert total is not None
    return total.cpu().numpy(), labels
