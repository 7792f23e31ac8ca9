"""`scb train`: the three stages from the saddle to the truth (paper, Algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from toolbox.core.run import Run

from . import data, model, theory
from .cli import Train
from .common import check_task, decay_factor, draw_task, quiet_numerics, recorded_steps
from .data import Floats, Sampler, Task
from .model import Attention, Steps

STAGE_ONE_POINTS = 12
LAM_SHARE, GAIN, MARGIN = 0.3, 0.36, 0.3
"""Penalty in units of K_V / Q, attention step in units of 1 / K_V, batch in units of the threshold
condition's: decaying steps bear a batch below it. Chosen on other tasks, at T = 400 to 5000."""
NOISE = 0.05
"""Without a penalty, the squared length that the noise of all T entries may have."""
TOKENS = 2**28  # in a batch at most: a byte each


@dataclass(frozen=True)
class Tuning:
    """Samples per step, l1 penalty and attention step size of stages two and three."""

    batch: int
    lam: float
    eta_a: float


def tuned(task: Task, V: Floats, alg: str, batch: int, lam: float, eta_a: float) -> Tuning:
    """What is 0 chosen by the threshold condition, from stage one's value V (N, N) and mu alone.

    An entry of A on the support drifts by about K_V / Q per unit of step, the others fluctuate by
    sigma / sqrt(B mu_k). A penalty between the two keeps the noise out at a batch that grows as
    log(N T), and then the step size need not follow T. Without a penalty the noise of T entries
    adds up to T eta sigma^2 / (2 K_V B mu), so that eta falls as B / T; plain SGD also moves the
    sum of each column, of curvature T |mu|^2 mu_k.
    """
    K, low = data.signal(V, V, task.mu), float(task.mu.min())
    lam = lam or LAM_SHARE * K / task.Q
    wanted = math.ceil(MARGIN * theory.threshold_batch(task, V, lam))
    batch = batch or max(1, min(wanted, TOKENS // task.T))
    if not eta_a:
        eta_a = GAIN / K
        if alg != "prox":
            noise = theory.gradient_noise(task, V) * task.T / (2 * K * batch * low)
            eta_a = min(eta_a, NOISE / noise)
        if alg == "sgd-raw":
            curvature = task.T * float(task.mu @ task.mu) * float(task.mu.max())
            eta_a = min(eta_a / low, 1 / curvature)
    return Tuning(batch, lam if alg == "prox" else 0.0, eta_a)


def train(run: Run, p: Train) -> None:
    """One row per replicate, stage and recorded step.

    Errors: `ParameterError` for Q > T; `Diverged` at the first excess loss that is not finite.
    """
    check_task(p, p.T)
    refit = Steps.of(p.eta_refit, 0.0, 0.0)
    recorded, refitted = recorded_steps(p.steps, 40), recorded_steps(p.refit_steps, 12)
    n1 = max(1, int(np.ceil(p.n1_ratio * p.T)))
    with quiet_numerics():
        for repeat in run.replicates():
            task = draw_task(run, repeat, p, p.T)
            rng = run.rng(repeat, "samples")
            values = stage_one(run.rng(repeat, "one"), task, n1)
            tuning = tuned(task, values[-1][1][0], p.alg, p.batch, p.lam, p.eta_a)
            advise(run, repeat, task, values[-1][1][0], tuning)
            where = Recorder(run, repeat, task, p.alg, tuning)
            V, A = model.start(task, dtype=np.float32)
            where.record("start", 0, 0, V, A)
            for point, (n, value) in enumerate(values):
                where.record("value", point + 1, n, value, A)
            V = values[-1][1].copy()

            sampler, per_step = Sampler(task, rng), tuning.batch
            sizes = Steps.of(p.eta_v, tuning.eta_a, tuning.lam, p.alg == "sgd-raw")
            for step in run.steps(p.steps, V, A, rng, label="steps on value and attention"):
                factor = decay_factor(p.decay, step, p.steps)
                model.step(V, A, sampler.batch(per_step), task.mu, sizes.times(factor))
                if step + 1 in recorded:
                    where.record("both", step + 1, n1 + per_step * (step + 1), V, A)
            if not p.round:
                continue

            A = model.rounded(A, p.Q)
            seen = n1 + per_step * p.steps
            where.record("rounded", p.steps, seen, V, A)
            narrow, narrow_A = narrowed(task, A)
            sampler = Sampler(narrow, rng)
            for step in run.steps(p.refit_steps, V, rng, label="steps on the value"):
                factor = decay_factor(p.decay, step, p.refit_steps)
                batch = sampler.batch(per_step)
                model.value_step(V, narrow_A, batch, task.mu, refit.times(factor))
                if step + 1 in refitted:
                    where.record("refit", step + 1, seen + per_step * (step + 1), V, A)


def advise(run: Run, repeat: int, task: Task, V: Floats, tuning: Tuning) -> None:
    """Say what stage two runs with, and when its batch is far below the threshold condition's."""
    chosen = f"batch {tuning.batch}, lam {tuning.lam:.3g}, eta_a {tuning.eta_a:.3g}"
    if tuning.lam == 0:
        said = "no penalty holds the noise back"
    else:
        said = f"threshold condition: {theory.threshold_batch(task, V, tuning.lam):.0f} samples"
        if tuning.lam >= theory.signal_per_entry(task, V):
            said += "; the penalty is above the signal: nothing will be found, take a smaller one"
        elif tuning.batch < 0.1 * theory.threshold_batch(task, V, tuning.lam):
            said += (
                "; a batch this far below lets noise in: raise batch or penalty, or leave both 0"
            )
    run.say(f"replicate {repeat}: {chosen} ({said})")


def narrowed(task: Task, A: Attention) -> tuple[Task, Attention]:
    """The task and the attention on the positions that either uses; the others have no part.

    The law of V X a^(k) and of the output is the same, and far cheaper to draw from.
    """
    used = np.union1d(task.positions, np.flatnonzero((A != 0).any(axis=(0, 1))))
    position = np.searchsorted(used, task.positions)
    return replace(task, T=used.size, positions=position), np.ascontiguousarray(A[:, :, used])


def stage_one(rng: np.random.Generator, task: Task, n1: int) -> list[tuple[int, Floats]]:
    """(n, V (1, N, N)) after growing, nested numbers n of samples under uniform attention."""
    totals = np.unique(np.geomspace(max(1, n1 // 256), n1, STAGE_ONE_POINTS).round().astype(int))
    outputs, pairs = np.zeros((1, task.N), np.int64), np.zeros((1, task.N, task.N), np.int64)
    values, before = [], 0
    for n in totals:
        more_outputs, more_pairs = data.stage_one_counts(rng, task, int(n) - before)
        outputs, pairs, before = outputs + more_outputs, pairs + more_pairs, int(n)
        values.append((before, data.stage_one_value(task, before, outputs, pairs)))
    return values


@dataclass(frozen=True)
class Recorder:
    """Writes the measures of one replicate's iterates."""

    run: Run
    repeat: int
    task: Task
    alg: str
    tuning: Tuning

    def record(self, stage: str, step: int, samples: int, V: Floats, A: Attention) -> None:
        """One row of the table `curve`.

        Errors: `Diverged` when the excess loss is not finite.
        """
        measured = {name: float(each[0]) for name, each in theory.measures(self.task, V, A).items()}
        self.run.check_finite(
            measured["excess"], f"the excess loss of stage {stage} at step {step}"
        )
        measured["misplaced"] = int(measured["misplaced"])
        relative = measured["excess"] / theory.trivial_excess(self.task)
        where = {"alg": self.alg, "stage": stage, "step": step, "samples": samples}
        row = {**where, **asdict(self.tuning), **measured, "relative_excess": relative}
        self.run.write("curve", row, self.repeat)
