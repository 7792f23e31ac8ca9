"""`scb compare`: the proximal method against SGD, each side at its own best step size (Fig. 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from toolbox.core import memory
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data, metrics, model, theory
from .cli import Compare
from .common import check_task, draw_task, quiet_numerics, recorded_steps
from .data import Floats, Sampler, Task
from .model import Attention, Steps

BLOWN_UP = 10.0
"""A configuration counts as diverged when its excess loss is not finite or exceeds the trivial
predictor's by this factor."""

# Plain SGD also moves the sum of each column, whose curvature grows with T: it needs far smaller
# steps, and is given them.
PLAIN_SHRINK = (1.0, 2.0**-7)
PLAIN_VALUE_STEPS = (0.05, 0.2)


@dataclass(frozen=True)
class Grid:
    """Every configuration: algorithm and decay by name, step sizes and penalty by number, (C,)."""

    alg: NDArray[np.str_]
    decay: NDArray[np.str_]
    sizes: Steps

    def factor(self, step: int, steps: int) -> Floats:
        """Scale of the step sizes of each configuration at one step, (C,)."""
        return np.where(self.decay == "linear", 1.0 - step / steps, 1.0)

    def columns(self, chosen: Any = slice(None)) -> dict[str, Any]:
        """The configuration's columns of a table."""
        return {
            "alg": self.alg[chosen],
            "decay": self.decay[chosen],
            "eta_a": self.sizes.eta_a[chosen],
            "eta_v": self.sizes.eta_v[chosen],
            "lam": self.sizes.lam[chosen],
        }


def make_grid(p: Compare) -> Grid:
    """prox: eta_A x lam with eta_V = eta_A / 2; sgd and sgd-raw: eta_A x two eta_V.

    sgd is preconditioned and projected with lam = 0; sgd-raw is plain SGD.
    """
    rows = [("prox", eta, eta / 2, lam) for eta in p.prox_etas for lam in p.lams]
    rows += [("sgd", eta, v, 0.0) for eta in p.sgd_etas for v in sorted({eta / 2, 0.05})]
    plain = [eta * shrink for eta in p.sgd_etas[::2] for shrink in PLAIN_SHRINK]
    rows += [("sgd-raw", eta, v, 0.0) for eta in sorted(set(plain)) for v in PLAIN_VALUE_STEPS]
    every = [(decay, *row) for row in rows for decay in p.decays]
    decay, alg, eta_a, eta_v, lam = (np.array(column) for column in zip(*every, strict=True))
    return Grid(alg, decay, Steps.of(eta_v, eta_a, lam, alg == "sgd-raw"))


def compare(run: Run, p: Compare) -> None:
    """Per replicate: every configuration's iterates, and the curve of each side's best.

    Errors: `ParameterError` for Q > T or an unknown decay; `Diverged` where no configuration is
    left.
    """
    check_task(p, p.T)
    for decay in p.decays:
        if decay not in ("linear", "none"):
            raise ParameterError("decays", decay, "expected linear, none or both")
    grid = make_grid(p)
    size = 5 * 4.0 * p.N * grid.alg.size * p.T
    memory.need(size, f"the attentions of {grid.alg.size} configurations", "T", p.T)
    recorded = sorted(recorded_steps(p.steps, 30))
    n1 = max(1, int(np.ceil(p.n1_ratio * p.T)))
    with quiet_numerics():
        for repeat in run.replicates():
            task = draw_task(run, repeat, p, p.T)
            rng = run.rng(repeat, "samples")
            sampler = Sampler(task, rng)
            V, A = model.start(task, grid.alg.size, np.float32)
            counts = data.stage_one_counts(run.rng(repeat, "one"), task, n1)
            V[:] = data.stage_one_value(task, n1, *counts)[0]
            sum_V, sum_A = np.zeros_like(V), np.zeros_like(A)
            curve: list[dict[str, Floats]] = run.kept([])
            for step in run.steps(p.steps, V, A, sum_V, sum_A, rng):
                sizes = grid.sizes.times(grid.factor(step, p.steps))
                model.step(V, A, sampler.batch(p.batch), task.mu, sizes)
                if step >= p.steps // 2:  # the last half of the iterates is averaged
                    sum_V += V
                    sum_A += A
                if step + 1 in recorded:
                    curve.append(theory.measures(task, V, A))
            half = p.steps - p.steps // 2
            iterates = {
                "raw": (V, A),
                "averaged": (sum_V / half, sum_A / np.float32(half)),
                "rounded": (V, model.rounded(A, p.Q)),
            }
            refit = V.copy()
            for step in run.steps(p.refit_steps, refit, rng, label="steps of the refit"):
                refit_step(
                    refit, iterates["rounded"][1], sampler, p.refit_batch, step / p.refit_steps
                )
            iterates["refitted"] = refit, iterates["rounded"][1]
            samples = n1 + p.batch * p.steps
            final = _final(task, grid, iterates, samples, p.refit_steps * p.refit_batch)
            run.write("final", final, repeat)
            least = final["excess"][final["iterate"] == "raw"].min()
            run.check_finite(least, "the excess loss of every configuration", p.steps)
            run.write("curve", _best_curves(task, grid, curve, recorded, n1, p.batch), repeat)
            best = metrics.best_of_each_side(final)
            run.write("ratios", best, repeat)
            run.say(f"replicate {repeat}: {metrics.comparison_sentence(best)}")


def refit_step(V: Floats, A: Attention, sampler: Sampler, batch: int, share: float) -> None:
    """Train the value with the attention held; the step decays from 0.2 to 0.

    share : of the refit that is done
    """
    sizes = Steps.of(np.full(V.shape[0], 0.2 * (1.0 - share)), 0.0, 0.0)
    model.value_step(V, A, sampler.batch(batch), sampler.task.mu, sizes)


def _final(
    task: Task, grid: Grid, iterates: dict[str, tuple[Floats, Attention]], samples: int, extra: int
) -> pd.DataFrame:
    parts = []
    for name, (V, A) in iterates.items():
        measured = theory.measures(task, V, A)
        relative = measured["excess"] / theory.trivial_excess(task)
        part = pd.DataFrame({**grid.columns(), **measured})
        part.insert(5, "iterate", name)
        part["samples"] = samples + (extra if name == "refitted" else 0)
        part["relative_excess"] = relative
        part["misplaced"] = pd.array(measured["misplaced"]).astype("Int64")
        part["diverged"] = ~(relative <= BLOWN_UP)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _best_curves(
    task: Task, grid: Grid, curve: list[dict[str, Floats]], recorded: list[int], n1: int, batch: int
) -> pd.DataFrame:
    """The curve of the configuration with the lowest final excess, per algorithm and decay."""
    last = np.where(np.isfinite(curve[-1]["excess"]), curve[-1]["excess"], np.inf)
    parts = []
    for alg in dict.fromkeys(grid.alg):
        for decay in dict.fromkeys(grid.decay):
            mine = np.flatnonzero((grid.alg == alg) & (grid.decay == decay))
            best = mine[[np.argmin(last[mine])]]
            if not np.isfinite(last[best[0]]):
                continue
            for step, measured in zip(recorded, curve, strict=True):
                values = {
                    name: value[best] for name, value in measured.items() if name != "misplaced"
                }
                samples = {"step": step, "samples": n1 + batch * step}
                relative = values["excess"] / theory.trivial_excess(task)
                part = {**grid.columns(best), **samples, **values, "relative_excess": relative}
                parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
