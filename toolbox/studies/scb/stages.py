"""`scb stages`: samples of each phase against the context length (the paper's Theorem on training).

Phase 1 has uniform attention and lifts the value from the trivial one; phase 2 starts from
V = (P + mu 1^T) / 2 and finds the positions while the value goes on learning.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data, model, theory
from .cli import Stages
from .common import check_lengths, correlations, draw_task, quiet_numerics
from .data import Floats, Sampler, Task
from .model import Steps
from .oneshot import crossing, one_shot

ETA_V = 0.1
SUSTAINED = 3
"""A goal counts as reached at the first of this many steps in a row that meet it."""

LARGEST_BATCH = 10**6
"""Samples; a penalty that asks for more, beyond the cap, is refused."""


def stages(run: Run, p: Stages) -> None:
    """Phase 1 per T and number of samples, phase 2 per T and arm, and one-shot recovery per T.

    One replicate has one transition matrix for all T.

    Errors: `ParameterError` for Q > T or a single T.
    """
    Ts = check_lengths(p, p.Ts)
    searches = [(arm, T) for arm in make_arms(p.margins, p.fixed_batch) for T in Ts]
    with quiet_numerics():
        for repeat in run.replicates():
            base = draw_task(run, repeat, p, max(Ts))
            for T in run.cells(Ts, "lengths in phase 1"):
                phase_one(run, repeat, replace(base, T=T), p)
            for arm, T in run.cells(searches, "searches in phase 2"):
                task = with_length(base, T, run.rng(repeat, "positions", T))
                rng = run.rng(repeat, "phase 2", arm.name, f"{arm.margin:g}", T)
                search = Search(task, rng, arm, p)
                for _ in run.steps(None, search):
                    if search.over:
                        break
                    search.step()
                run.write("phase2", search.rows(), repeat)
            for T in run.cells(Ts, "lengths in one-shot recovery"):
                task = with_length(base, T, run.rng(repeat, "positions", T))
                one_shot(run, repeat, task, p.trials, run.rng(repeat, "one shot", T))


def with_length(task: Task, T: int, rng: np.random.Generator) -> Task:
    """The same transition matrix with fresh positions in a context of length T."""
    positions = np.stack(
        [np.sort(rng.choice(T, size=task.Q, replace=False)) for _ in range(task.N)]
    )
    return replace(task, T=T, positions=positions)


# ------------------------------------------------------------------------------------- phase one


def phase_one(run: Run, repeat: int, task: Task, p: Stages) -> None:
    """Mean corr_V over draws for every n, beside the law; samples to the target, likewise."""
    T = task.T
    c = theory.noise_constant(task)
    samples = np.unique([max(1, round(ratio * T)) for ratio in p.ratios])
    drawn = np.stack(
        [draw_corr(run.rng(repeat, "phase 1", T, int(n)), task, int(n), p.draws) for n in samples]
    )  # (ratios, draws)
    law = theory.mean_corr(c, task.N, samples / T)
    mean, error = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / math.sqrt(p.draws)
    common = {"T": T, "n": samples, "ratio": samples / T, "law": law}
    run.write(
        "phase1",
        {**common, "source": "measured", "corr_v": mean, "standard_error": error},
        repeat,
    )
    run.write("phase1", {**common, "source": "law", "corr_v": law, "standard_error": 0.0}, repeat)
    need = {
        "measured": crossing(samples, mean, p.target),
        "law": theory.samples_to_corr(c, task.N, T, p.target),
        "mean field": c * T * p.target**2 / (1 - p.target**2),
    }
    run.write("need", {"T": T, "source": list(need), "samples": list(need.values())}, repeat)


def draw_corr(rng: np.random.Generator, task: Task, n: int, draws: int) -> Floats:
    """corr_V of stage one after n samples in `draws` independent draws, (draws,)."""
    values = data.stage_one_value(task, n, *data.stage_one_counts(rng, task, n, draws))
    return correlations(task, values)


# ------------------------------------------------------------------------------------- phase two


@dataclass(frozen=True)
class Arm:
    """How the batch follows T: `above` and `below` take margin times the threshold batch, which
    grows with log(N T); `fixed` takes one batch at every T."""

    name: str
    margin: float
    batch: int

    @property
    def rule(self) -> str:
        """The arm in words, for tables and legends."""
        return f"B = {self.batch}" if self.batch else f"B = {self.margin:g} x threshold"


def make_arms(margins: tuple[float, ...], fixed_batch: int) -> list[Arm]:
    """The largest margin is the arm `above`, the others are `below`; then the fixed batch."""
    highest = max(margins)
    named = [Arm("above" if m == highest else "below", m, 0) for m in sorted(margins)[::-1]]
    return [*named, Arm("fixed", 0.0, fixed_batch)]


class Search:
    """Phase 2 of one task: proximal steps until both goals are met or the samples run out.

    lam = lam_share * K_VP / Q and eta_A = gain / K_P, so that one tuning serves every task. Goals:
    `correlation` is corr_A > 0.85, `support` is that rounding gives exactly the true positions.
    """

    def __init__(self, task: Task, rng: np.random.Generator, arm: Arm, p: Stages) -> None:
        V = (task.P + task.U) / 2
        self.task, self.rng, self.arm, self.cap = task, rng, arm, p.cap
        self.lam = p.lam_share * theory.signal_per_entry(task, V)
        self.threshold = theory.threshold_batch(task, V, self.lam)
        self.batch = arm.batch or max(1, math.ceil(arm.margin * self.threshold))
        if self.batch > max(p.cap, LARGEST_BATCH):
            raise ParameterError(
                "lam_share",
                p.lam_share,
                f"needs batches of {self.batch} samples",
                "raise it",
            )
        self.eta_a = p.gain / task.K_P
        self.sizes = Steps.of(ETA_V, self.eta_a, self.lam)
        self.V, self.A = V[None], model.start(task)[1]
        self.sampler = Sampler(task, rng)
        self.samples = 0
        self.held = {"correlation": 0, "support": 0}
        self.met: dict[str, int | None] = {"correlation": None, "support": None}

    @property
    def over(self) -> bool:
        """Both goals are met, or the samples are used up."""
        return self.samples >= self.cap or None not in self.met.values()

    def step(self) -> None:
        """One proximal step and one look at both goals."""
        model.step(self.V, self.A, self.sampler.batch(self.batch), self.task.mu, self.sizes)
        self.samples += self.batch
        task, A = self.task, self.A
        truth = float(task.mu @ theory.overlaps(task, A)[:, 0])
        size = float(task.mu @ (task.q**2).sum(axis=1))
        corr = truth / math.sqrt(float(task.mu @ theory.squares(A)[:, 0]) * size)
        wrong = int(((A[:, 0] >= model.ROUNDING / task.Q) != (task.q > 0)).sum())
        for goal, holds in (("correlation", corr > 0.85), ("support", wrong == 0)):
            self.held[goal] = self.held[goal] + 1 if holds else 0
            if self.met[goal] is None and self.held[goal] == SUSTAINED:
                self.met[goal] = self.samples - (SUSTAINED - 1) * self.batch

    def rows(self) -> pd.DataFrame:
        """One row per goal; a goal not met has the cap as its samples and says so."""
        task, arm = self.task, self.arm
        return pd.DataFrame(
            {
                "arm": arm.name,
                "rule": arm.rule,
                "margin": self.batch / self.threshold if arm.name == "fixed" else arm.margin,
                "T": task.T,
                "goal": goal,
                "batch": self.batch,
                "threshold_batch": self.threshold,
                "lam": self.lam,
                "eta_a": self.eta_a,
                "samples": self.cap if met is None else met,
                "reached": met is not None,
            }
            for goal, met in self.met.items()
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "V": self.V, "A": self.A, "samples": self.samples, "held": self.held, "met": self.met,
            "rng": self.rng.bit_generator.state,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.V, self.A, self.samples = state["V"], state["A"], state["samples"]
        self.held, self.met = state["held"], state["met"]
        self.rng.bit_generator.state = state["rng"]
