"""`scb transfer`: fine-tuning from a correlated task against training from scratch.

The pretraining P is built at an exact correlation rho with the target's (theorem on transfer).
Fine-tuning starts at V = theta V_pre + (1 - theta) mu 1^T with uniform attention; scratch starts
from a stage one of n1 samples, which count. Same target, batches and stop rule for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core import memory
from toolbox.core.run import Run

from . import data, model, theory
from .cli import Transfer
from .common import check_lengths, correlations, draw_task, quiet_numerics
from .data import Floats, Sampler, Task
from .model import Attention, Steps

CORR_A, ERR_V, SUSTAINED = 0.85, 0.02, 3
LAM_FACTOR = {True: (0.02, 0.04, 0.06), False: (0.01, 0.02, 0.04)}
ETA_FACTOR = {True: (0.2, 0.4, 0.8), False: (0.1, 0.2, 0.4)}
LARGE_BATCH = 128

Key = tuple[str, float, int]


@dataclass(frozen=True)
class Start:
    """Where a run begins and what it has cost: `rho`, `theta` of a transfer, `n1` of a scratch."""

    init: str
    rho: float
    theta: float
    n1: int
    value: Floats

    @property
    def key(self) -> Key:
        """What a cost is of: theta is a tuning of transfer, n1 a start of its own."""
        return self.init, self.rho if self.init == "transfer" else np.inf, self.n1


def transfer(run: Run, p: Transfer) -> None:
    """Per replicate and T: samples to the target for every start and tuning, and the best.

    Errors: `ParameterError` for Q > T or a single T; `Diverged` where no tuning is left.
    """
    # Large batches first: they are cheaper per sample, and what they reach bounds the small ones.
    batches = sorted(set(p.batches), reverse=True)
    Ts = check_lengths(p, p.Ts)
    count = len(p.rhos) * len(p.thetas) + len(p.n1_ratios)
    size = 3 * 4.0 * p.N * 9 * count * max(Ts)
    memory.need(size, f"the attentions of {count} starts under 9 tunings", "Ts", max(Ts))
    with quiet_numerics():
        for repeat in run.replicates():
            for T in run.cells(Ts, "context lengths"):
                # One P for all T of a replicate: the stream of the task does not depend on T.
                task = draw_task(run, repeat, p, T)
                starts = make_starts(run, repeat, task, p)
                done: list[dict[Any, Any]] = run.kept([])
                for B in run.cells(batches, "batches"):
                    limits = cheapest([pd.DataFrame(rows) for rows in done], starts, p.cap)
                    search = Search(
                        task, starts, B, p.eta_v, limits, run.rng(repeat, "samples", T, B)
                    )
                    for _ in run.steps(None, search):
                        if search.over:
                            break
                        search.step()
                    done.append(search.rows().to_dict("list"))
                tunings = pd.concat([pd.DataFrame(rows) for rows in done])
                run.write("tunings", tunings, repeat)
                if tunings["diverged"].all():
                    run.check_finite(
                        math.nan, f"the value of every tuning at T = {T}", search.step_count
                    )
                best = best_tunings(tunings)
                run.write("best", best, repeat)
                run.write("against", against(best), repeat)
                run.write("break_even", break_even(best), repeat)


def make_starts(run: Run, repeat: int, task: Task, p: Transfer) -> list[Start]:
    """The starts to compare; pretraining is perfect, V_pre is the pretraining P itself."""
    starts = []
    for rho in p.rhos:
        rng = run.rng(repeat, "pretraining", f"{rho:g}")
        pre = data.correlated_transition(rng, task, rho)
        starts += [
            Start("transfer", rho, theta, 0, theta * pre + (1 - theta) * task.U)
            for theta in p.thetas
        ]
    for n1 in dict.fromkeys(max(1, round(ratio * task.T)) for ratio in p.n1_ratios):
        rng = run.rng(repeat, "stage one", task.T, n1)
        value = data.stage_one_value(task, n1, *data.stage_one_counts(rng, task, n1))[0]
        starts.append(Start("scratch", np.nan, np.nan, n1, value))
    return starts


def cheapest(done: list[pd.DataFrame], starts: list[Start], cap: int) -> dict[Key, int]:
    """Phase-2 samples within which each start met the goal in finished searches, else the cap."""
    limits = {start.key: cap for start in starts}
    for frame in done:
        met = frame[frame["reached"]]
        columns = (met[name] for name in ("init", "rho", "stage1_samples", "samples"))
        for init, rho, n1, samples in zip(*columns, strict=True):
            key = (init, rho if init == "transfer" else np.inf, n1)
            limits[key] = min(limits[key], samples - n1)
    return limits


class Search:
    """Phase 2 from every start under every tuning on the same batches, until the goal or the limit.

    The goal is corr_A > 0.85 and |V - P|_mu^2 < 0.02 on three checks in a row; the first counts.
    A tuning is given up as soon as it cannot undercut the cheapest of its start, which is all that
    counts: `limits` has the samples to undercut.
    """

    def __init__(
        self, task: Task, starts: list[Start], B: int, eta_v: float, limits: dict[Key, int],
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.task, self.starts, self.B, self.rng = task, starts, B, rng
        large = B >= LARGE_BATCH
        self.cells = [
            (start, eta, lam)
            for start in range(len(starts))
            for eta in ETA_FACTOR[large]
            for lam in LAM_FACTOR[large]
        ]
        self.sizes = Steps.of(
            eta_v, [eta for _, eta, _ in self.cells], [lam for _, _, lam in self.cells]
        )
        C = len(self.cells)
        keys = {key: index for index, key in enumerate(limits)}
        self.group = np.array([keys[starts[index].key] for index, _, _ in self.cells])
        self.limits = np.array(list(limits.values()))
        self.V = np.stack([starts[index].value for index, _, _ in self.cells])
        self.A: Attention = model.start(task, C, np.float32)[1]
        self.sampler = Sampler(task, rng)
        self.samples = 0
        self.alive = np.arange(C)
        """Configurations still computed; V, A and held are theirs alone."""
        self.held, self.met = np.zeros(C, dtype=int), np.full(C, -1)
        self.lost = np.zeros(C, dtype=bool)
        """Configurations given up because their value is not finite."""

    @property
    def step_count(self) -> int:
        """Steps so far."""
        return self.samples // self.B

    @property
    def over(self) -> bool:
        """No configuration can undercut its limit any more."""
        return not self.alive.size

    def step(self) -> None:
        """One step of every configuration and a look at the goal."""
        task, alive = self.task, self.alive
        sizes = Steps(*(getattr(self.sizes, f.name)[alive] for f in fields(Steps)))
        model.step(self.V, self.A, self.sampler.batch(self.B), task.mu, sizes)
        self.samples += self.B
        size = task.mu @ (task.q**2).sum(axis=1)
        own = task.mu @ np.stack([np.einsum("ct,ct->c", a, a) for a in self.A])
        corr = task.mu @ theory.overlaps(task, self.A) / np.sqrt(own * size)
        error = ((self.V - task.P) ** 2 @ task.mu).sum(axis=1)
        self.held = np.where((corr > CORR_A) & (error < ERR_V), self.held + 1, 0)
        now = alive[self.held == SUSTAINED]
        self.met[now] = self.samples - (SUSTAINED - 1) * self.B
        np.minimum.at(self.limits, self.group[now], self.met[now])
        earliest = self.samples + (1 - self.held) * self.B  # at which it can still meet the goal
        lost = ~np.isfinite(error)
        self.lost[alive[lost]] = True
        kept = (self.met[alive] < 0) & (earliest < self.limits[self.group[alive]]) & ~lost
        if not kept.all():
            self.alive, self.held, self.V = alive[kept], self.held[kept], self.V[kept]
            self.A = self.A[:, kept]

    def rows(self) -> pd.DataFrame:
        """One row per start and tuning; one that missed the goal has its limit as samples."""
        chosen = [self.starts[index] for index, _, _ in self.cells]
        reached = self.met >= 0
        stage_one = np.array([start.n1 for start in chosen])
        overlaps = correlations(self.task, np.stack([start.value for start in chosen]))
        return pd.DataFrame(
            {
                "T": self.task.T,
                "init": [start.init for start in chosen],
                "rho": [start.rho for start in chosen],
                "theta": [start.theta for start in chosen],
                "stage1_samples": stage_one,
                "batch": self.B,
                "eta_a": self.sizes.eta_a,
                "lam": self.sizes.lam,
                "start_corr_v": overlaps,
                "samples": stage_one + np.where(reached, self.met, self.limits[self.group]),
                "reached": reached,
                "diverged": self.lost,
            }
        )

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "V": self.V, "A": self.A, "samples": self.samples, "held": self.held, "met": self.met,
            "alive": self.alive, "lost": self.lost, "limits": self.limits,
            "rng": self.rng.bit_generator.state,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.V, self.A, self.samples = state["V"], state["A"], state["samples"]
        self.held, self.met, self.alive = state["held"], state["met"], state["alive"]
        self.limits, self.lost = state["limits"], state["lost"]
        self.rng.bit_generator.state = state["rng"]


def best_tunings(tunings: pd.DataFrame) -> pd.DataFrame:
    """The least samples of every start over tunings (and theta), reached ones first."""
    key = ["T", "init", "rho", "stage1_samples"]
    ranked = tunings.sort_values(["reached", "samples"], ascending=[False, True], kind="stable")
    best = ranked.groupby(key, sort=False, dropna=False).head(1)
    return best.sort_values(["init", "rho", "stage1_samples"], kind="stable")


def against(best: pd.DataFrame) -> pd.DataFrame:
    """The cost of transfer at every correlation beside that of scratch at its best."""
    columns = ["T", "init", "rho", "samples"]
    ours = best.loc[best["init"] == "transfer", columns]
    scratch = ours.assign(init="scratch", samples=int(cheapest_scratch(best)["samples"]))
    return pd.concat([ours, scratch], ignore_index=True)


def cheapest_scratch(best: pd.DataFrame) -> pd.Series:
    """The row of the cheapest start from scratch, one that arrived if any did."""
    reached = best[(best["init"] == "scratch") & best["reached"]]
    scratch = reached if len(reached) else best[best["init"] == "scratch"]
    row: pd.Series = scratch.sort_values("samples", kind="stable").iloc[0]
    return row


def break_even(best: pd.DataFrame) -> pd.DataFrame:
    """The correlation at which transfer costs what scratch costs at its best n1; one row.

    Linear in rho between the grid's points, from the log of the costs. Outside the grid the answer
    is its edge and `bracketed` is false: at the top when transfer never wins, at the bottom when
    it always does.
    """
    ours = best[best["init"] == "transfer"].sort_values("rho", ascending=False)
    cheapest = cheapest_scratch(best)
    gap = np.log(ours["samples"].to_numpy(float) / float(cheapest["samples"]))
    rho = ours["rho"].to_numpy(float)
    losing = np.flatnonzero(gap > 0)
    if losing.size and losing[0] > 0:
        i = losing[0]
        value = rho[i - 1] + (rho[i] - rho[i - 1]) * -gap[i - 1] / (gap[i] - gap[i - 1])
    else:
        value = rho[0] if losing.size else rho[-1]
    return pd.DataFrame(
        {
            "T": [int(cheapest["T"])],
            "scratch_samples": [int(cheapest["samples"])],
            "scratch_n1": [int(cheapest["stage1_samples"])],
            "break_even": [float(value)],
            "bracketed": [bool(losing.size and losing[0] > 0)],
        }
    )
