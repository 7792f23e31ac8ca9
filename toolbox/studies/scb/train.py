"""`scb train`: the three stages from the saddle to the truth (paper, Algorithm 1)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from toolbox.core.run import Run

from . import data, model, theory
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


def train(
    run: Run,
    *,
    N: int,
    T: int,
    Q: int,
    alg: str,
    batch: int,
    n1_ratio: float,
    steps: int,
    refit_steps: int,
    lam: float,
    eta_v: float,
    eta_a: float,
    eta_refit: float,
    decay: str,
    round: bool,
) -> None:
    """One row per replicate, stage and recorded step.

    Errors: `UsageError` for Q > T; `Diverged` at the first excess loss that is not finite.
    """
    check_task(N, T, Q)
    refit = Steps.of(eta_refit, 0.0, 0.0)
    recorded, refitted = recorded_steps(steps, 40), recorded_steps(refit_steps, 12)
    total = steps + (refit_steps if round else 0)
    n1 = max(1, int(np.ceil(n1_ratio * T)))
    state: dict[str, Any] = run.restore() or {"repeat": 0, "step": 0}
    with (
        quiet_numerics(),
        run.progress(run.repeats * total, "steps", state["repeat"] * total) as bar,
    ):
        for repeat in range(state["repeat"], run.repeats):
            task = draw_task(run, repeat, N, T, Q)
            rng = run.rng(repeat, "samples")
            values = stage_one(run.rng(repeat, "one"), task, n1)
            tuning = tuned(task, values[-1][1][0], alg, batch, lam, eta_a)
            advise(run, repeat, task, values[-1][1][0], tuning)
            sizes = Steps.of(eta_v, tuning.eta_a, tuning.lam, alg == "sgd-raw")
            B = tuning.batch
            sampler = Sampler(task, rng)
            narrow: tuple[Task, Attention] | None = None
            done = state["step"] if repeat == state["repeat"] else 0

            def record(
                stage: str, step: int, samples: int, V: Floats, A: Attention, of: int = repeat,
                task: Task = task, tuning: Tuning = tuning,
            ) -> None:  # fmt: skip
                _record(run, of, task, alg, tuning, stage, step, samples, V, A)

            if done:
                V, A = state["V"], state["A"]
                rng.bit_generator.state = state["rng"]
            for step in range(done, total):
                run.checkpoint(
                    lambda: (
                        {"repeat": repeat, "step": step}
                        | ({"V": V, "A": A, "rng": rng.bit_generator.state} if step else {})
                    )
                )
                if step == 0:
                    V, A = model.start(task, dtype=np.float32)
                    record("start", 0, 0, V, A)
                    for point, (n, V) in enumerate(values):
                        record("value", point + 1, n, V, A)
                    V = V.copy()
                if step < steps:
                    factor = decay_factor(decay, step, steps)
                    model.step(V, A, sampler.batch(B), task.mu, sizes.times(factor))
                    if step + 1 in recorded:
                        record("both", step + 1, n1 + B * (step + 1), V, A)
                else:
                    if narrow is None:
                        narrow = narrowed(task, A)
                        sampler = Sampler(narrow[0], rng)
                    factor = decay_factor(decay, step - steps, refit_steps)
                    model.value_step(V, narrow[1], sampler.batch(B), task.mu, refit.times(factor))
                    if step + 1 - steps in refitted:
                        record("refit", step + 1 - steps, n1 + B * (step + 1), V, A)
                if round and step + 1 == steps:
                    A = model.rounded(A, Q)
                    record("rounded", steps, n1 + B * steps, V, A)
                bar.update(1)


def advise(run: Run, repeat: int, task: Task, V: Floats, tuning: Tuning) -> None:
    """Say what stage two runs with, and when its batch is far below the threshold condition's."""
    chosen = f"batch {tuning.batch}, lam {tuning.lam:.3g}, eta_a {tuning.eta_a:.3g}"
    if tuning.lam == 0:
        said = "no penalty holds the noise back"
    else:
        said = f"threshold condition: {theory.threshold_batch(task, V, tuning.lam):.0f} samples"
        if tuning.lam >= theory.signal_per_entry(task, V):
            said += "; the penalty is above the signal: nothing will be found, lower --lam"
        elif tuning.batch < 0.1 * theory.threshold_batch(task, V, tuning.lam):
            said += (
                "; a batch this far below lets noise in: raise --batch or --lam, or leave both 0"
            )
    run.say(f"replicate {repeat}: {chosen} ({said})")


def narrowed(task: Task, A: Attention) -> tuple[Task, Attention]:
    """The task and the attention on the positions that either uses; the others have no part.

    The law of V X a^(k) and of the output is the same, and far cheaper to draw from.
    """
    used = np.union1d(task.positions, np.flatnonzero((A != 0).any(axis=(0, 1))))
    place = np.searchsorted(used, task.positions)
    return replace(task, T=used.size, positions=place), np.ascontiguousarray(A[:, :, used])


def stage_one(rng: np.random.Generator, task: Task, n1: int) -> list[tuple[int, Floats]]:
    """(n, V (1, N, N)) after growing, nested numbers n of samples under uniform attention."""
    totals = np.unique(np.geomspace(max(1, n1 // 256), n1, STAGE_ONE_POINTS).round().astype(int))
    outputs, pairs = np.zeros((1, task.N), np.int64), np.zeros((1, task.N, task.N), np.int64)
    found, before = [], 0
    for n in totals:
        more_outputs, more_pairs = data.stage_one_counts(rng, task, int(n) - before)
        outputs, pairs, before = outputs + more_outputs, pairs + more_pairs, int(n)
        found.append((before, data.stage_one_value(task, before, outputs, pairs)))
    return found


def _record(
    run: Run, repeat: int, task: Task, alg: str, tuning: Tuning, stage: str, step: int,
    samples: int, V: Floats, A: Attention,
) -> None:  # fmt: skip
    found = {name: float(value[0]) for name, value in theory.measures(task, V, A).items()}
    run.check_finite(found["excess"], f"the excess loss of stage {stage} at step {step}")
    found["misplaced"] = int(found["misplaced"])
    trivial = theory.trivial_excess(task)
    where = {"alg": alg, "stage": stage, "step": step, "samples": samples, **asdict(tuning)}
    run.write("curve", {**where, **found, "relative_excess": found["excess"] / trivial}, repeat)
