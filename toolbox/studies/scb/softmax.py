"""`scb softmax`: softmax attention trained by Adam beside linear attention (Fig. 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.run import Run

from . import data, model, theory
from .cli import Softmax
from .common import check_task, draw_task, quiet_numerics, recorded_steps
from .data import Floats, Sampler, Task
from .model import Adam, Attention, Steps

ETAS, LAMS = (0.2, 0.1, 0.05), (0.01, 0.02, 0.03)
SOFTMAX_STARTS = ("softmax", "softmax-stage1", "softmax-random")
MAPS = ("softmax", "prox", "prox-decay", "prox-rounded")
TENTH = 0.1


class Trainer:
    """Every configuration on the same batches, in one grid: softmax, then linear Adam, then prox.

    softmax has logits W = 0 and V trivial, from stage one, or random; linear-adam is linear
    attention without the proximal map; prox has constant, prox-decay linearly decaying steps.
    """

    def __init__(
        self, task: Task, one: Floats, noise: Floats, lrs: tuple[float, ...], steps: int
    ) -> None:
        self.task, self.steps = task, steps
        L, P = len(lrs), len(ETAS) * len(LAMS)
        self.S, self.L = 3 * L, L  # softmax and linear-adam configurations
        self.names = np.array(
            [name for name in (*SOFTMAX_STARTS, "linear-adam") for _ in lrs]
            + ["prox"] * P
            + ["prox-decay"] * P
        )
        eta = np.repeat(ETAS, len(LAMS))
        self.rate = np.concatenate([np.tile(lrs, 4), eta, eta])
        self.lam = np.concatenate([np.zeros(4 * L), np.tile(LAMS, 2 * len(ETAS))])
        prox = np.tile(eta, 2)
        self.sizes = Steps.of(prox / 2, prox, np.tile(LAMS, 2 * len(ETAS)))
        C = self.names.size
        self.V, A = model.start(task, C, np.float32)
        self.V[L : 2 * L] = one
        self.V[2 * L : 3 * L] = noise
        self.V[3 * L :] = one
        self.W = np.zeros((task.N, self.S, task.T), dtype=np.float32)
        self.linear = A[:, self.S :].copy()
        self.adam_V = Adam(self.V[: 4 * L].shape, np.float64)
        self.adam_W = Adam(self.W.shape, np.float32)
        self.adam_A = Adam((task.N, L, task.T), np.float32)

    @property
    def attention(self) -> Attention:
        """The attention of every configuration, (N, C, T)."""
        return np.concatenate([model.softmax(self.W), self.linear], axis=1)

    def step(self, batch: data.Batch, number: int) -> None:
        """One step of everything."""
        S, L, mu = self.S, self.L, self.task.mu
        shrink = np.where(self.names[4 * L :] == "prox", 1.0, 1.0 - number / self.steps)
        sizes = self.sizes.times(shrink)
        A = self.attention
        f = model.forward(self.V, A, batch)
        factor = np.ones((self.task.N, self.names.size))
        factor[:, 4 * L :] = sizes.eta_a / mu[:, None]
        gA = model.attention_gradient(self.V, f, batch, A.shape, factor, A.dtype)
        gV = model.value_gradient(f)
        rate = self.rate.astype(np.float32)
        self.adam_W.step(self.W, model.softmax_gradient(A[:, :S], gA[:, :S]), rate[:S, None])
        self.adam_A.step(self.linear[:, :L], gA[:, S : 4 * L], rate[S : 4 * L, None])
        for k in range(self.task.N):
            model.move_attention(self.linear[k, L:], gA[k, 4 * L :], sizes)
        self.adam_V.step(self.V[: 4 * L], gV[: 4 * L], self.rate[: 4 * L, None, None])
        model.move_value(self.V[4 * L :], gV[4 * L :], mu, sizes)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {
            "V": self.V, "W": self.W, "linear": self.linear, "adam_V": self.adam_V.state_dict(),
            "adam_W": self.adam_W.state_dict(), "adam_A": self.adam_A.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.V, self.W, self.linear = state["V"], state["W"], state["linear"]
        self.adam_V.load_state_dict(state["adam_V"])
        self.adam_W.load_state_dict(state["adam_W"])
        self.adam_A.load_state_dict(state["adam_A"])


def softmax(run: Run, p: Softmax) -> None:
    """Per replicate: the curve of each model's best step size, its last iterate, and its maps.

    Errors: `ParameterError` for Q > T.
    """
    check_task(p, p.T)
    recorded = sorted(recorded_steps(p.steps, 40))
    n1 = max(1, int(np.ceil(p.n1_ratio * p.T)))
    with quiet_numerics():
        for repeat in run.replicates():
            task = draw_task(run, repeat, p, p.T)
            counts = data.stage_one_counts(run.rng(repeat, "one"), task, n1)
            one = data.stage_one_value(task, n1, *counts)[0]
            noise = 0.1 * run.rng(repeat, "start").standard_normal((p.N, p.N))
            trainer = Trainer(task, one, noise, p.lrs, p.steps)
            rng = run.rng(repeat, "samples")
            sampler = Sampler(task, rng)
            curve = run.kept([theory.measures(task, trainer.V, trainer.attention)])
            for step in run.steps(p.steps, trainer, rng):
                trainer.step(sampler.batch(p.batch), step)
                if step + 1 in recorded:
                    curve.append(theory.measures(task, trainer.V, trainer.attention))
            _write(run, repeat, trainer, curve, [0, *recorded], p.batch, n1)


def _write(
    run: Run, repeat: int, trainer: Trainer, curve: list[dict[str, Floats]], steps: list[int],
    batch: int, n1: int,
) -> None:  # fmt: skip
    task, names = trainer.task, trainer.names
    trivial = theory.trivial_excess(task)
    relative = np.stack([measured["excess"] for measured in curve]) / trivial  # (records, C)
    last = np.where(np.isfinite(relative[-1]), relative[-1], np.inf)
    A, V = trainer.attention, trainer.V
    best = {name: _argmin(last, names == name) for name in dict.fromkeys(names)}
    final = {name: (V[[c]], A[:, [c]], c) for name, c in best.items()}
    for source in ("prox", "prox-decay"):  # the configuration that is best once rounded
        after = theory.measures(task, V, model.rounded(A, task.Q))["excess"]
        c = _argmin(np.where(np.isfinite(after), after, np.inf), names == source)
        name = "prox-rounded" if source == "prox" else "prox-decay-rounded"
        final[name] = (V[[c]], model.rounded(A[:, [c]], task.Q), c)
    reference = final["prox"][1][:, 0]
    models, maps = [], [*_map_rows("truth", task.P, task.q)]
    for name, (value, attention, c) in final.items():
        measured = {key: float(v[0]) for key, v in theory.measures(task, value, attention).items()}
        a = attention[:, 0].astype(float)
        models.append(
            {
                "model": name,
                "rate": trainer.rate[c],
                "lam": trainer.lam[c],
                **{key: v for key, v in measured.items() if key != "misplaced"},
                "relative_excess": measured["excess"] / trivial,
                "mass": float((np.abs(a) * (task.q > 0)).sum() / np.abs(a).sum()),
                "map_correlation": float(np.corrcoef(a.ravel(), reference.ravel())[0, 1]),
                "fastest_tenth": _fastest(relative[:, names == name], steps),
            }
        )
        if name in MAPS:
            maps += _map_rows(name, value[0], a)
    run.write("models", pd.DataFrame(models).astype({"fastest_tenth": "Int64"}), repeat)
    drawn = pd.concat(maps, ignore_index=True)
    run.write("maps", drawn.assign(shown=shown_rows(drawn, task)), repeat)
    for name, c in best.items():
        before = n1 if name in ("softmax-stage1", "linear-adam", "prox", "prox-decay") else 0
        columns = {"model": name, "step": steps, "samples": before + batch * np.array(steps)}
        run.write("curve", {**columns, "relative_excess": relative[:, c]}, repeat)


def shown_rows(maps: pd.DataFrame, task: Task) -> pd.Series:
    """What a picture of long maps shows: the true positions and the 12 heaviest others."""
    attention = maps["map"] == "attention"
    heaviest = maps[attention].assign(weight=maps["weight"].abs()).groupby("column")["weight"].max()
    others = heaviest.drop(np.unique(task.positions), errors="ignore")
    shown = np.union1d(task.positions, others.nlargest(12).index)
    return ~attention | maps["column"].isin(shown)


def _argmin(values: Floats, mask: np.ndarray) -> int:
    mine = np.flatnonzero(mask)
    return int(mine[np.argmin(values[mine])])


def _fastest(relative: Floats, steps: list[int]) -> int | None:
    """First recorded step at which some step size has a tenth of the trivial excess."""
    below = np.flatnonzero((relative <= TENTH).any(axis=1)) if relative.size else np.array([])
    return steps[int(below[0])] if below.size else None


def _map_rows(name: str, value: Floats, attention: Floats) -> list[pd.DataFrame]:
    parts = []
    for kind, matrix in (("attention", attention), ("value", value)):
        row, column = np.indices(matrix.shape)
        parts.append(
            pd.DataFrame(
                {
                    "model": name, "map": kind, "row": row.ravel(), "column": column.ravel(),
                    "weight": matrix.ravel(),
                }
            )
        )  # fmt: skip
    return parts
