"""`refuel pairs`: what REFUEL's pairs look like, and whether held-out ones agree with the fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from toolbox.core.crew import Worker
from toolbox.core.run import Run

from . import methods as m
from . import values
from .cli import Pairs
from .common import check_chances, setting_of
from .data import Floats, Game, cumulative, draw_maps
from .learn import Job, PairGroup, members_of, require_memory, supervised
from .methods import METHODS

RECORDS = 10
"""Times in an iteration at which loss and signs are noted."""


@dataclass(frozen=True)
class Task:
    """A replicate, and how many pairs are held out in each iteration."""

    job: Job
    held_out: int


def pairs(run: Run, p: Pairs) -> None:
    """Tables of turns, of the last iteration's held-out pairs, and of the training.

    Errors: `ParameterError` for chances that sum to 1.
    """
    check_chances(p)
    setting = setting_of(p, p.horizon, p.bonus)
    require_memory(run, setting, [METHODS["REFUEL"]])
    tasks = [Task(Job(setting, ("REFUEL",), repeat), p.held_out) for repeat in range(run.repeats)]
    with run.crew(None if p.iters * p.steps * run.repeats > 4000 else 1) as crew:
        for task, seen in crew.map(watch, tasks, "replicates", replicate=lambda t: t.job.repeat):
            repeat = task.job.repeat
            for t, each in enumerate(seen["pairs"]):
                run.write("turns", turns(setting.game, p.judge, each, t), repeat)
            last = {name: each[0] for name, each in seen["pairs"][-1].items()}
            run.write("pair", {"pair": np.arange(p.held_out), **last}, repeat)
            run.write("training", pd.DataFrame(seen["training"]), repeat)


def watch(worker: Worker, task: Task) -> dict[str, Any]:
    """Train REFUEL; compare what it fits with pairs that it does not learn from."""
    s, repeat = task.job.setting, task.job.repeat
    maps = draw_maps(worker.rng(repeat, "maps"), s.game)
    start = supervised(worker, s, maps, repeat)
    base = start.probabilities()[0]
    members = members_of(("REFUEL",), s.strengths)
    group = PairGroup(members, s)
    group.policies.start(start.flat.detach().expand(len(members), -1))
    seen: dict[str, list[Any]] = {"pairs": [], "training": []}
    recorded = set(np.linspace(0, s.steps - 1, RECORDS + 1)[:-1].astype(int).tolist())
    for t in worker.cells(range(s.iterations), "iterations", *group.changing, seen):
        held = Held(worker, group, task, maps, base, t)
        for _ in worker.steps(1, *group.changing, label="collections"):
            group.collect(worker, repeat, t, maps, base)
        rng = worker.rng(repeat, "batches", t)
        uniform = torch.from_numpy(rng.random((s.steps, s.batch), dtype=np.float32))
        for step in worker.steps(s.steps, *group.changing, seen):
            if step == 0:
                group.policies.reset()
            if step in recorded:
                seen["training"] += held.notes(group, t, step)
            group.step(uniform[step], s.rate * (1.0 - step / s.steps))
        seen["training"] += held.notes(group, t, s.steps)
        seen["pairs"].append(held.columns(group))
    return seen


class Held:
    """Held-out pairs of one iteration, by the policies at its start; arrays (M, N)."""

    def __init__(
        self, worker: Worker, group: PairGroup, task: Task, maps: Any, base: Floats, t: int
    ) -> None:
        s = task.job.setting
        self.found = m.collect_pairs(
            worker.rng(task.job.repeat, "held out", t), s.game, maps,
            [method for method, _ in group.members], cumulative(group.policies.probabilities()),
            cumulative(base), task.held_out, s.judge, s.noise,
        )  # fmt: skip
        wide = self.found.state.astype(np.int64) * s.game.answers
        self.first = torch.from_numpy(wide + self.found.first)
        self.second = torch.from_numpy(wide + self.found.second)
        self.apart = torch.from_numpy(self.found.reward[0] - self.found.reward[1])
        self.old = self.ratio(group)

    @torch.no_grad()
    def ratio(self, group: PairGroup) -> Tensor:
        """log pi(y) - log pi(y') of each pair, (M, N)."""
        table: Tensor = group.policies.logits().flatten(1).double()
        return table.gather(1, self.first) - table.gather(1, self.second)

    def notes(self, group: PairGroup, t: int, step: int) -> list[dict[str, Any]]:
        """Loss and agreement of signs at one step, for each strength."""
        delta = self.ratio(group) - self.old
        differ = self.first != self.second
        decided = differ & (self.apart != 0)
        agree = (delta.sign() == self.apart.sign()) & decided
        loss = (delta - group.strength * self.apart).square()
        return [
            {
                "strength": strength, "iteration": t + 1, "step": step,
                "loss": float(loss[i][differ[i]].mean()),
                "agreement": float(100 * agree[i].sum() / decided[i].sum()),
            }
            for i, (_, strength) in enumerate(group.members)
        ]  # fmt: skip

    def columns(self, group: PairGroup) -> dict[str, Floats]:
        """The pairs as columns, (M, N) each."""
        return {
            "turn": self.found.turn + 1, "judged": self.found.judged + 1,
            "reward_difference": self.apart.numpy(), "before": self.old.numpy(),
            "after": self.ratio(group).numpy(), "same": (self.first == self.second).numpy(),
        }  # fmt: skip


def turns(game: Game, judge: str, columns: dict[str, Floats], t: int) -> pd.DataFrame:
    """Share of the pairs with each (learned turn, judged turn), beside its exact chance."""
    u = values.turn_weights(game, judge)
    rows = []
    for n in range(1, game.horizon + 1):
        for h in range(1, n + 1):
            chosen = (columns["turn"][0] == h) & (columns["judged"][0] == n)
            apart = columns["reward_difference"][0][chosen]
            rows.append({
                "iteration": t + 1, "turn": h, "judged": n, "share": 100 * chosen.mean(),
                "chance": 100 * u[n - 1], "same": 100 * _mean(columns["same"][0][chosen]),
                "spread": float(np.sqrt(_mean(apart**2))),
            })  # fmt: skip
    return pd.DataFrame(rows)


def _mean(numbers: Floats) -> float:
    return float(numbers.mean()) if numbers.size else 0.0
