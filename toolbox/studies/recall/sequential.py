"""`recall sequential`: linear attention learns the relation, waits, then learns the subject."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from scipy import special

from toolbox.core import memory
from toolbox.core.run import Run

from . import data, theory
from .cli import Sequential
from .ensemble import threads_for
from .linear_attention import LinearAttention, flow, mean_counts, split_losses
from .tasks import make_task

LOSSES = {"total": "loss_total", "relation": "loss_relation", "subject": "loss_subject"}


def sequential(run: Run, p: Sequential) -> None:
    """Rows of `curve` for SGD and for the gradient flow, their losses in long form beside the
    predicted staircase, and the escape times of both against theory (Section 5, Figure 5)."""
    task = make_task(p.subjects, p.relations, p.answers, p.noise, p.length, p.facts)
    size = 3 * 4.0 * run.repeats * task.facts * p.contexts * task.vocabulary
    memory.need(size, "the test prompts of all facts and contexts", "contexts", p.contexts)
    attention = p.init * math.sqrt(task.outputs + 1) if p.scheme == "theory" else p.init
    tables = [
        data.structured_facts(task)
        if p.facts == "structured"
        else data.random_facts(task, run.rng(repeat, "facts"))
        for repeat in range(run.repeats)
    ]
    recorded = np.unique(np.append(np.arange(0, p.steps + 1, p.every), p.steps))
    sgd = _Sgd(run, task, tables, attention, p)
    looks: list[dict[str, np.ndarray]] = run.kept([])
    going = run.kept(np.ones(run.repeats, dtype=bool))

    def look(step: int) -> None:
        found = sgd.look()
        going[:] &= run.finite(found["loss_total"], f"the loss at step {step}", step)
        looks.append(found)
        sound = {name: values[going] for name, values in found.items()}
        repeats = np.flatnonzero(going)
        run.write("curve", {"step": step, "source": "sgd", **sound, "repeat": repeats})

    look(0)
    with threads_for(p.batch * max(task.vocabulary, task.outputs)):
        for step in run.steps(p.steps, sgd, label="steps of SGD"):
            sgd.step()
            if (step + 1) % p.every == 0 or step + 1 == p.steps:
                look(step + 1)
    for repeat in run.cells(range(run.repeats), "gradient flows"):
        table = tables[repeat]
        a, value = flow(task, table, attention, p.init, recorded * p.lr)
        C = mean_counts(task)
        logits = np.einsum("fv,nv,nva->nfa", C, a, value, optimize=True)
        log_p = logits - np.logaddexp.reduce(logits, axis=2)[..., None]
        labels = np.broadcast_to(table.ravel(), log_p.shape[:2])
        of_flow = split_losses(log_p, labels, p.answers)
        drift = np.abs(a**2 - (value**2).sum(axis=2) - (attention**2 - task.outputs * p.init**2))
        of_flow.update(_attention(task, a), conservation=drift.max(axis=1))
        finite = np.array([np.isfinite(each["loss_total"][repeat]) for each in looks])
        of_sgd = {name: np.array([each[name][repeat] for each in looks]) for name in looks[0]}
        of_sgd = {name: values[finite] for name, values in of_sgd.items()}
        rates = rates_of(task, table)
        escapes = [theory.escape_step(rate, p.lr, attention) for rate in rates]
        run.write("curve", {"step": recorded, "source": "flow", **of_flow}, repeat)
        for source, steps, found in (
            ("sgd", recorded[finite], of_sgd),
            ("flow", recorded, of_flow),
        ):
            _write_losses(run, repeat, source, steps, found)
            _write_escapes(run, repeat, source, task, steps, found, rates, escapes)
        _write_losses(run, repeat, "theory", recorded, staircase(task, table, recorded, *escapes))


class _Sgd:
    """All replicates at once, each on its own stream of prompts."""

    def __init__(
        self, run: Run, task: data.Task, tables: list[np.ndarray], attention: float, p: Sequential
    ) -> None:
        """attention : value of the initial attention weights"""
        self.task, self.lr, self.batch, self.device = task, p.lr, p.batch, run.device
        self.streams = [run.torch_generator(r, "prompts", device="cpu") for r in range(run.repeats)]
        self.answers = [torch.from_numpy(table).flatten() for table in tables]
        self.model = LinearAttention(task, run.repeats, attention, p.init, self.device)
        self.conserved = attention**2 - task.outputs * p.init**2
        queries = data.all_queries(task, p.contexts, "cpu")
        tests = [run.torch_generator(r, "test", device="cpu") for r in range(run.repeats)]
        self.test = self._prompts([queries] * run.repeats, tests)

    def _prompts(
        self, queries: list[Any], streams: list[torch.Generator]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Counts (E, n, V) and labels (E, n)."""
        counts, labels = [], []
        for (s, r), stream, answers in zip(queries, streams, self.answers, strict=True):
            counts.append(data.counts(data.prompts(self.task, s, r, stream), self.task.vocabulary))
            labels.append(answers[s * self.task.relations + r])
        return torch.stack(counts).to(self.device), torch.stack(labels).to(self.device)

    def step(self) -> None:
        """One step of plain SGD on fresh prompts."""
        queries = [data.random_queries(self.task, self.batch, stream) for stream in self.streams]
        self.model.step(*self._prompts(queries, self.streams), self.lr)

    def state_dict(self) -> dict[str, Any]:
        """The weights, and where the streams of prompts stand."""
        streams = [stream.get_state() for stream in self.streams]
        return {"a": self.model.a, "value": self.model.value, "streams": streams}

    def load_state_dict(self, state: Any) -> None:
        """Go on from what `state_dict` returned."""
        self.model.a, self.model.value = state["a"].clone(), state["value"].clone()
        for stream, position in zip(self.streams, state["streams"], strict=True):
            stream.set_state(position)

    def look(self) -> dict[str, np.ndarray]:
        """Losses, attention and the conserved quantity of every replicate, (repeats,) each."""
        found = self.model.losses(*self.test, self.task.answers)
        a = self.model.a.double().cpu().numpy()
        norms = (self.model.value.double() ** 2).sum(dim=2).cpu().numpy()
        drift = np.abs(a**2 - norms - self.conserved).max(axis=1)
        return {**found, **_attention(self.task, a), "conservation": drift}


def _attention(task: data.Task, a: np.ndarray) -> dict[str, np.ndarray]:
    """Attention to the three kinds of tokens, (n,) each; a : (n, V)."""
    S, R = task.subjects, task.relations
    return {
        "a_relation_mean": a[:, S : S + R].mean(axis=1),
        "a_subject_mean": a[:, :S].mean(axis=1),
        "a_noise_max": np.abs(a[:, S + R : -1]).max(axis=1),
    }


def rates_of(task: data.Task, table: np.ndarray) -> tuple[float, float]:
    """(relation, subject) growth rates at zero for the given facts: mean norms of
    E[c_v (onehot(y) - uniform)]. For structured facts these are `theory.growth_rates`."""
    target = np.eye(task.outputs)[table] - 1 / task.outputs  # (S, R, R D)
    relation = np.linalg.norm(target.mean(axis=0), axis=1) / task.relations
    subject = np.linalg.norm(target.mean(axis=1), axis=1) / task.subjects
    return float(relation.mean()), float(subject.mean())


def answer_entropy(task: data.Task, table: np.ndarray) -> float:
    """Loss of a model that knows the relation alone: entropy of p(answer | relation), in nats.

    table : (S, R). At most log D, which balanced structured facts attain.
    """
    shares = np.eye(task.outputs)[table].mean(axis=0)  # (R, R D)
    return float(special.entr(shares).sum(axis=1).mean())


def staircase(
    task: data.Task, table: np.ndarray, steps: np.ndarray, relation: float, subject: float
) -> dict[str, np.ndarray]:
    """The theory's picture: each part of the loss is whole until its escape, then nothing; a known
    relation leaves the entropy of its answers."""
    whole = np.where(steps < relation, math.log(task.relations), 0.0)
    left = np.where(steps < relation, math.log(task.answers), answer_entropy(task, table))
    of_subject = np.where(steps < subject, left, 0.0)
    return {"loss_total": whole + of_subject, "loss_relation": whole, "loss_subject": of_subject}


def _write_losses(
    run: Run, repeat: int, source: str, steps: np.ndarray, found: Mapping[str, np.ndarray]
) -> None:
    for name, column in LOSSES.items():
        run.write(
            "losses",
            {"step": steps, "source": source, "kind": name, "loss": found[column]},
            repeat,
        )


def first_below(steps: np.ndarray, values: np.ndarray, level: float) -> float:
    """Where a curve first falls below a level, linear between the recorded steps; NaN if never."""
    below = np.flatnonzero(values < level)
    if not below.size:
        return math.nan
    at = int(below[0])
    if at == 0:
        return float(steps[0])
    share = (values[at - 1] - level) / (values[at - 1] - values[at])
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))


def _write_escapes(
    run: Run, repeat: int, source: str, task: data.Task, steps: np.ndarray,
    found: Mapping[str, np.ndarray], rates: tuple[float, float], predicted: list[float],
) -> None:  # fmt: skip
    """Escape of the relation: its loss has halved. Of the subject: the rest of the loss has."""
    rest = found["loss_total"] - found["loss_relation"]
    curves = (found["loss_relation"], rest)
    halves = (0.5 * math.log(task.relations), 0.5 * math.log(task.answers))
    measured = [first_below(steps, c, h) for c, h in zip(curves, halves, strict=True)]
    run.write(
        "escapes",
        {
            "source": source,
            "what": ["relation", "subject"],
            "rate": rates,
            "predicted": [p if math.isfinite(p) else math.nan for p in predicted],
            "measured": measured,
        },
        repeat,
    )
