"""`flows toy`: a valley in which everything about the edge of stability is known in closed form.

The loss has three parameters for each oscillating direction,

    L(x, y, z) = sum_i e^(y_i + z_i) x_i^2 / 2 + a/2 [(y_i - m_i)^2 + (z_i - m_i)^2],

a valley along x = 0 with walls of curvature e^(y + z). Its floor falls towards y = z = m, where the
walls are too steep: 2 m = log(2/eta) + gap, so that their curvature there is e^gap times 2/eta.

Gradient descent. The gradient flow goes to the end of the valley, y + z = 2 m, at the rate a eta
per step. The central flow does so too until the edge of stability, y + z = log(2/eta), and stays
there: across the edge the floor has the slope a gap/sqrt(2), an oscillation of variance sigma^2
adds the curvature penalty sigma^2 e^(y+z)/sqrt(2), and they cancel when sigma^2 = a gap eta/2.
Along the edge it goes on, y - z -> 0. The optimiser ends in a cycle of two steps, x = +-sigma at
y = z on the edge, so the prediction is exact. Linearised at the cycle, a step multiplies areas in
x and y + z by 1 - a eta (1 - 3 gap): the cycle attracts when gap < 1/3.

Scalar RMSProp. At the edge the step size is 2 over the curvature. In its cycle of two steps the
gradient is e^(y+z) x alone, so nu = e^(2y+2z) |x|^2 and |x| = eta/2, whatever the loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from toolbox.core.compute import one_thread
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import common
from .cli import Toy
from .comparison import Comparison, Ended, Watch, tables
from .replay import Recorder
from .rule import Rule

Floats = npt.NDArray[np.float64]

PROCESSES = ("discrete", "midpoint", "central", "stable")
START = math.log(0.5)
"""Where y + z begins, below the edge: at half its sharpness."""


@dataclass(frozen=True)
class Valley:
    """The loss, and what is known about it.

    eta : step size of gradient descent
    rate : a eta, the share of the way to the end of the valley that is covered in a step
    gaps : (k,) log of the sharpness at the end of each valley, over 2/eta
    recorder : see `landscape`
    """

    eta: float
    rate: float
    gaps: tuple[float, ...]
    recorder: Recorder = field(default_factory=Recorder, compare=False, repr=False)

    @property
    def pull(self) -> float:
        """a, the curvature of the valley's floor."""
        return self.rate / self.eta

    @property
    def edge(self) -> float:
        """y + z at the edge of stability of gradient descent."""
        return math.log(2 / self.eta)

    @property
    def variances(self) -> Floats:
        """sigma_i^2 = a eta gap_i/2 at the edge, and x_i^2 in the cycle of two steps, (k,)."""
        return self.rate * np.array(self.gaps) / 2

    @property
    def scalar_eta(self) -> float:
        """The eta at which scalar RMSProp ends at the same place, with the step size of `eta`."""
        return 2 * math.sqrt(float(self.variances.sum()))

    def __call__(self, w: Tensor) -> Tensor:
        """L(w). w : x, y and z one after another, (3k,)."""
        x, y, z = w.view(3, -1)
        ends = (self.edge + w.new_tensor(self.gaps)) / 2
        floor = (y - ends) ** 2 + (z - ends) ** 2
        value: Tensor = (torch.exp(y + z) * x**2 / 2 + self.pull / 2 * floor).sum()
        return value

    def start(self, across: Floats) -> Tensor:
        """Where all begin: x = 0, y + z below the edge, y - z = across, (k,)."""
        total = self.edge + START
        y, z = (total + across) / 2, (total - across) / 2
        return torch.from_numpy(np.concatenate([np.zeros_like(across), y, z]))

    def cycle(self) -> Tensor:
        """One of the two points between which gradient descent ends, (3k,); the other has -x."""
        half = np.full(len(self.gaps), self.edge / 2)
        return torch.from_numpy(np.concatenate([np.sqrt(self.variances), half, half]))

    def central_flow(self, across: Floats, step: Floats) -> tuple[Floats, Floats]:
        """The central flow of gradient descent from `start(across)`, in closed form.

        step : (T,) times

        Returns x, y and z, (T, 3, k), and the predicted variances of x, (T, k).
        """
        gaps = np.array(self.gaps)
        left = np.exp(-self.rate * step)[:, None]
        free = gaps + (START - gaps) * left  # y + z beyond the edge, were there none
        total, apart = self.edge + np.minimum(free, 0.0), across * left
        w = np.stack([np.zeros_like(free), (total + apart) / 2, (total - apart) / 2], 1)
        return w, (free > 0) * self.variances


def toy(run: Run, p: Toy) -> None:
    """Tables `trajectory` and `path`.

    Errors: `ParameterError` for a gap at which the cycle of two steps does not attract.
    """
    common.check_numerics(p)
    for gap in p.gaps:
        if gap >= 1 / 3:
            raise ParameterError(
                "gaps", gap, "is 1/3 or more, where the cycle of two steps does not attract",
                "use less",
            )  # fmt: skip
    valley = Valley(p.eta, p.rate, p.gaps)
    gd = p.opt == "gd"
    rule = Rule("gd", p.eta) if gd else Rule("scalar-rmsprop", valley.scalar_eta, p.beta2)
    with one_thread():  # matrices this small are slower on two
        for repeat in run.replicates():
            rng = run.rng(repeat, "start")
            across = rng.standard_normal(len(p.gaps))
            kick = p.kick * rng.uniform(0.5, 1, len(p.gaps)) * rng.choice([-1, 1], len(p.gaps))
            w, nu = common.warmed(valley, rule, valley.start(across), 0)
            generator = run.torch_generator(repeat, "directions", device="cpu")
            sides = Comparison(
                valley, rule, w, nu, common.setting_of(p), Watch(PROCESSES), generator
            )
            path: list[dict[str, Any]] = run.kept([])
            kicked = np.zeros(len(kick), dtype=bool)
            for _ in run.steps(p.steps, sides, generator, path, kicked):
                total = sides.w.view(3, -1)[1:].sum(0)
                over = (total.exp() / rule.P(sides.nu) > 2).numpy() & ~kicked
                sides.w[: len(kick)] += torch.from_numpy(kick * over)
                kicked |= over
                path += _places(sides.time, "discrete", sides.w.numpy())
                for name, flow in sides.flows.items():
                    path += _places(sides.time, name, flow.w.numpy())
                try:
                    sides.step()
                except Ended as error:
                    run.diverged(repeat, f"{error} at step {sides.time}", sides.time)
                    break
            common.write(run, {"trajectory": tables(sides)["trajectory"]}, repeat)
            path += _formula(valley, across, p, sides.time)
            run.write("path", pd.DataFrame(path), repeat)


def _places(step: int, process: str, place: Floats) -> list[dict[str, Any]]:
    """Rows of the table `path`. place : (3k,) or (3, k)"""
    rows: list[dict[str, Any]] = []
    for i, (x, y, z) in enumerate(place.reshape(3, -1).T.tolist()):
        here = {"process": process, "step": step, "direction": i}
        rows.append({**here, "x": x, "total": y + z, "across": y - z})
    return rows


def _formula(valley: Valley, across: Floats, p: Toy, steps: int) -> list[dict[str, Any]]:
    """The closed form: of the central flow of gradient descent; of scalar RMSProp, its end."""
    step = np.arange(steps, dtype=float)
    if p.opt == "scalar-rmsprop":
        step = np.array([math.inf])
    rows: list[dict[str, Any]] = []
    for i, (place, variances) in enumerate(zip(*valley.central_flow(across, step), strict=True)):
        new = _places(i if p.opt == "gd" else steps - 1, "formula", place)
        rows += [{**row, "variance": float(v)} for row, v in zip(new, variances, strict=True)]
    return rows
