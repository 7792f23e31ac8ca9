"""The flows of any network: `central_flow(module, loss, inputs, targets, eta=...)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from toolbox.core.errors import ParameterError

from .central import Setting
from .common import chosen, warmed
from .comparison import PROCESSES, Comparison, Ended, Watch, tables
from .landscape import Objective, Point
from .objective import flat, objective
from .rule import Name, Rule

KINKED = (
    torch.nn.ReLU,
    torch.nn.ReLU6,
    torch.nn.LeakyReLU,
    torch.nn.MaxPool1d,
    torch.nn.MaxPool2d,
)
FUSED = (torch.nn.LayerNorm, torch.nn.GroupNorm, torch.nn.MultiheadAttention)
"""Their fused kernels have wrong third derivatives, or none."""


def central_flow(
    module: torch.nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    eta: float,
    steps: int,
    optimizer: Name = "gd",
    beta2: float = 0.99,
    eps: float = 0.0,
    warm: int = 0,
    processes: Iterable[str] = ("discrete", "midpoint", "central", "stable"),
    nsub: int = 4,
    track: float = 1.8,
    sdcp_threshold: float = 1.95,
    kick: float = 0.0,
    eig_every: int = 1,
    coordinates: int = 0,
    seed: int = 0,
    progress: Callable[[range], Iterable[int]] | None = None,
) -> dict[str, pd.DataFrame]:
    """An optimiser on your own network, beside its central flow and its stable flow.

    Cohen, Damian, Talwalkar, Kolter, Lee, arXiv:2410.24206.

    module : any network of smooth parts; it is not changed. In float64 the numbers are exact; put
             it into `eval()` where dropout or batch statistics would be random
    loss : (module(inputs), targets) -> scalar, the mean over the examples
    inputs, targets : all the data; they are one full batch
    eta, steps : step size and steps of the optimiser; a unit of the flows' time is a step
    optimizer : "gd", "scalar-rmsprop" or "rmsprop", the last two with `beta2` and `eps`
    warm : steps of the optimiser before the flows start
    processes : some of discrete, midpoint, central, ablated, stable
    nsub : Euler substeps of the central flow in a step
    track, sdcp_threshold : effective eigenvalues are followed down to the first; above the second a
                            direction may oscillate
    kick : the optimiser is moved once by this length when its effective sharpness first passes 2;
           in float64 its oscillation would otherwise have to grow from rounding
    eig_every : steps between two looks at the sharpness of the optimiser and the stable flow
    coordinates : how many parameters have their own rows (rmsprop)
    progress : wraps the range of steps, `tqdm.tqdm` for example

    Returns tables by name, with the columns of `toolbox flows gd`: `trajectory` (one row per
    process and step), `spectrum` (eigenvalues and variances by direction), `coordinates` where
    asked for. In `trajectory.attrs["ended"]` stands why the processes ended before `steps`, or "".

    Errors: `ParameterError` for a number out of range, and for a network whose third derivatives
    are zero or wrong (ReLU, maximum pooling, a fused LayerNorm).

    Source: the algorithm of the paper's public code; `toolbox.studies.flows.central` states it.
    """
    for name, part in module.named_modules():
        if isinstance(part, FUSED):
            raise ParameterError(
                "module", f"{name} ({type(part).__name__})",
                "has a fused kernel without right third derivatives",
                "write it in plain tensor operations, as toolbox.studies.flows.layers does",
            )  # fmt: skip
        if isinstance(part, KINKED):
            raise ParameterError(
                "module", f"{name} ({type(part).__name__})",
                "has no third derivatives, which the central flow needs",
                "use a smooth activation such as GELU or tanh, and average pooling",
            )  # fmt: skip
    if unknown := sorted(set(processes) - set(PROCESSES)):
        raise ParameterError("processes", unknown, "are not known", f"use {', '.join(PROCESSES)}")
    for field, value, fits, wanted in (
        ("eta", eta, eta > 0, "above 0"),
        ("steps", steps, steps >= 1, "of 1 or more"),
        ("beta2", beta2, 0 < beta2 < 1, "between 0 and 1"),
        ("nsub", nsub, nsub >= 1, "of 1 or more"),
        ("eig_every", eig_every, eig_every >= 1, "of 1 or more"),
        ("sdcp_threshold", sdcp_threshold, track <= sdcp_threshold < 2, "from track to below 2"),
    ):
        if not fits:
            raise ParameterError(field, value, "is out of range", f"give a number {wanted}")
    of = objective(module, lambda outputs: loss(outputs, targets), inputs)
    w = flat(module)
    generator = torch.Generator().manual_seed(seed)
    check_third(of, w, generator)
    rule = Rule(optimizer, eta, beta2, eps)
    w, nu = warmed(of, rule, w, warm)
    watch = Watch(tuple(processes), eig_every, kick, coordinates=chosen(nu, coordinates))
    setting = Setting(substeps=nsub, track=track, critical=sdcp_threshold)
    sides = Comparison(of, rule, w, nu, setting, watch, generator)
    ended = ""
    for _ in progress(range(steps)) if progress else range(steps):
        try:
            sides.step()
        except Ended as error:
            ended = f"{error} at step {sides.time}"
            break
    found: dict[str, Any] = tables(sides)
    found["trajectory"].attrs["ended"] = ended
    return found


def check_third(of: Objective, w: Tensor, generator: torch.Generator) -> None:
    """Compare a third derivative with a central difference of second ones.

    Errors: `ParameterError` when they differ: fused layers give wrong ones without a word.
    """
    u, v = (torch.randn(len(w), 1, dtype=torch.float64, generator=generator).to(w) for _ in "uv")
    u, v = u / u.norm(), v / v.norm()
    single = w.dtype == torch.float32
    length = w.norm().clamp_min(1.0) * (1e-2 if single else 1e-4)
    exact = float(Point(of, w).third(u)[0][0, 0] @ v[:, 0])

    def curvature(at: Tensor) -> float:
        return float(u[:, 0] @ Point(of, at).hessian_times(u)[:, 0])

    ends = [curvature(w + sign * length * v[:, 0]) for sign in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * float(length))
    scale = max(abs(difference), abs(ends[0]) * (0.1 if single else 1e-3))
    if abs(exact - difference) > (0.2 if single else 1e-2) * scale:
        raise ParameterError(
            "module", f"third derivative {exact:.3g}",
            f"differs from its difference {difference:.3g}",
            "replace fused layers (LayerNorm, attention) by plain tensor operations",
        )  # fmt: skip
