"""`scb train`: the three stages from the saddle to the truth (paper, Algorithm 1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolbox.core.run import Run

from . import data, model, theory
from .common import check_task, decay_factor, draw_task, quiet_numerics, recorded_steps
from .data import Floats, Sampler, Task
from .model import Attention, Steps

STAGE_ONE_POINTS = 12


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
    sizes = Steps.of(eta_v, eta_a, lam if alg == "prox" else 0.0, alg == "sgd-raw")
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
            sampler = Sampler(task, rng)
            done = state["step"] if repeat == state["repeat"] else 0

            def record(
                stage: str, step: int, samples: int, V: Floats, A: Attention, of: int = repeat,
                task: Task = task,
            ) -> None:  # fmt: skip
                _record(run, of, task, alg, stage, step, samples, V, A)

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
                    V, A = model.start(task)
                    record("start", 0, 0, V, A)
                    for point, (n, V) in enumerate(stage_one(run.rng(repeat, "one"), task, n1)):
                        record("value", point + 1, n, V, A)
                fresh = sampler.batch(batch)
                if step < steps:
                    factor = decay_factor(decay, step, steps)
                    model.step(V, A, fresh, task.mu, sizes.times(factor))
                    if step + 1 in recorded:
                        record("both", step + 1, n1 + batch * (step + 1), V, A)
                else:
                    factor = decay_factor(decay, step - steps, refit_steps)
                    model.value_step(V, A, fresh, task.mu, refit.times(factor))
                    if step + 1 - steps in refitted:
                        record("refit", step + 1 - steps, n1 + batch * (step + 1), V, A)
                if round and step + 1 == steps:
                    A = model.rounded(A, Q)
                    record("rounded", steps, n1 + batch * steps, V, A)
                bar.update(1)


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
    run: Run, repeat: int, task: Task, alg: str, stage: str, step: int, samples: int,
    V: Floats, A: Attention,
) -> None:  # fmt: skip
    found = {name: float(value[0]) for name, value in theory.measures(task, V, A).items()}
    run.check_finite(found["excess"], f"the excess loss of stage {stage} at step {step}")
    found["misplaced"] = int(found["misplaced"])
    trivial = theory.trivial_excess(task)
    where = {"alg": alg, "stage": stage, "step": step, "samples": samples}
    run.write("curve", {**where, **found, "relative_excess": found["excess"] / trivial}, repeat)
