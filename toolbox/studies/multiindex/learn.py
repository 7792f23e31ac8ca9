"""The two ways to train: until every step size has arrived, and through two stages of a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from toolbox.core.run import Run

from . import data, theory
from .cli import TwoStages, UntilArrival
from .data import Stream
from .link import Link
from .model import Learner, Reduced, Shared
from .on_device import Steps

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """Target, size and start of a training."""

    link: Link
    d: int
    P: int
    m: int
    sigma: float = 0.0
    rotate: bool = False
    reduced: bool = False

    @property
    def numbers(self) -> int:
        """Random numbers of a sample."""
        return self.P + self.m if self.reduced else self.d


def prepare(
    run: Run, repeat: int, problem: Problem, etas: Floats, batch: int, name: str
) -> tuple[Learner, Stream]:
    """The neurons of a replicate, S step sizes per batch beside each other, and their stream.

    Links, step sizes, and as far as can be dimensions, are compared from equal starts.
    """
    link, d, P, m = problem.link, problem.d, problem.P, problem.m
    v = data.coupled_starts(run, repeat, m, d, P)
    frame = data.haar_frame(run.rng(repeat, "frame", d, P), d, P) if problem.rotate else None

    def tensor(values: Floats) -> torch.Tensor:
        return torch.from_numpy(values).to(dtype=torch.float32, device=run.device)

    if problem.reduced:
        u = v[:, :P]
        r = np.sqrt(np.maximum(0.0, 1 - (u**2).sum(axis=1))) if d > P else np.zeros(m)
        rng = run.rng(repeat, name, "lengths", link.name, d, P)
        learner: Learner = Reduced(link, tensor(u), tensor(r), d, etas, rng)
        return learner, data.reduced(run, repeat, link, d, P, problem.sigma, m, batch, name)
    turned = None if frame is None else torch.from_numpy(frame).to(dtype=torch.float32)
    on_device = None if turned is None else turned.to(run.device)
    learner = Shared(link, tensor(v), P, etas, on_device)
    stream = data.shared(run, repeat, link, d, P, problem.sigma, turned, batch, name)
    return learner, stream


def overlaps(learner: Learner, run: Run, what: str) -> Floats:
    """u_k as float64, (S, m, P).

    Errors: `Diverged` when they are not finite.
    """
    u: Floats = learner.overlaps().double().cpu().numpy()
    run.check_finite(float(u.sum()), f"the overlap of the neurons {what}")
    return u


# ------------------------------------------------------------------------------------ arrival


@dataclass
class Arrival:
    """Samples until the median neuron arrives, (S,), NaN when it had not; and samples seen."""

    subspace: Floats
    direction: Floats
    seen: Floats


@dataclass
class Standing:
    """Where a race stands.

    alive : step sizes that have not arrived;  n : samples so far
    due, limit : samples at which to look next, and at which the others are given up
    """

    alive: NDArray[np.int64]
    limit: int
    n: int = 0
    due: int = 0


def race(run: Run, p: UntilArrival, problem: Problem, learner: Learner, stream: Stream) -> Arrival:
    """Train all step sizes on one stream until each has arrived.

    One that has not arrived after `p.patience` times the samples of the first, or `p.max_samples`,
    is given up: its time is censored. Links without an order above 2 arrive with the subspace.
    Looked at every per cent of the samples.

    Errors: `Diverged` when an overlap is not finite.
    """
    S = len(learner.etas)
    arrival = Arrival(np.full(S, np.nan), np.full(S, np.nan), np.zeros(S))
    at = Standing(np.arange(S), p.max_samples)
    steps = Steps(learner, stream)
    for _ in run.steps(None, learner, stream, arrival, at):
        if not len(at.alive) or at.n >= at.limit:
            break
        steps.advance()
        at.n += stream.batch
        arrival.seen[at.alive] = at.n
        if at.n < at.due and at.n < at.limit:
            continue
        at.due = at.n + at.n // 100
        square = overlaps(learner, run, f"after {at.n} samples") ** 2
        mass = np.median(square.sum(axis=2), axis=1)
        best = np.median(square.max(axis=2), axis=1)
        for times, value in ((arrival.subspace, mass), (arrival.direction, best)):
            fresh = at.alive[(value >= p.level) & np.isnan(times[at.alive])]
            times[fresh] = at.n
        goal = arrival.direction if problem.link.names_directions else arrival.subspace
        arrived = ~np.isnan(goal[at.alive])
        if arrived.any():
            at.limit = min(at.limit, int(p.patience * np.nanmin(goal)))
            at.alive = at.alive[~arrived]
            if len(at.alive):
                learner.keep(~arrived)
    return arrival


# ------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class Plan:
    """Steps per sample, batches and samples of the two stages: learning, and annealing."""

    etas: tuple[float, float]
    batches: tuple[int, int]
    samples: tuple[int, int]

    @property
    def steps(self) -> tuple[int, int]:
        """Batches per stage."""
        first, second = (-(-n // b) for n, b in zip(self.samples, self.batches, strict=True))
        return first, second

    @property
    def flow_time(self) -> float:
        """Samples times step size, over both stages."""
        return sum(eta * n for eta, n in zip(self.etas, self.samples, strict=True))


def plan(problem: Problem, p: TwoStages) -> Plan:
    """The stages of one problem.

    Values of 0 are taken from the theory: three times the flow time of a typical start, five
    relaxation times of 1 - u^2, and the largest batch that follows the flow.
    """
    link, P, d = problem.link, problem.P, problem.d
    first = p.eta * theory.step_unit(link, P, d, problem.sigma, settle=True)
    second = p.anneal * first
    samples = p.samples or int(3 * theory.typical_time(link, P, d) / first)
    anneal_samples = p.anneal_samples
    if p.anneal == 0:
        anneal_samples, second = 0, first
    elif not anneal_samples:
        anneal_samples = int(2.5 / theory.settling_rate(link) / second)
    batches = tuple(theory.batch_size(link, each, p.batch, d) for each in (first, second))
    return Plan((first, second), (batches[0], batches[1]), (samples, anneal_samples))


def warn(run: Run, eta: float) -> None:
    """Say so when a step is too large to settle: it looks like a bug otherwise."""
    if eta > 2:
        run.say(
            f"--eta {eta:g}: above twice the theory's unit the gradient's noise keeps 1 - u^2 "
            "above 0.4, and the neurons may never find a direction; take less"
        )


def stages(
    run: Run, repeat: int, problem: Problem, plan: Plan,
    record: Callable[[int, int, Floats], None] | None = None,
) -> Learner:  # fmt: skip
    """Train through both stages; record(stage, samples, u) is called every 2 % of the samples.

    Errors: `Diverged` when an overlap is not finite.
    """
    learner: Learner | None = None
    seen, due = 0, {"samples": 0}
    for stage, name in enumerate(("learn", "anneal")):
        total, batch = plan.steps[stage], plan.batches[stage]
        if total == 0:
            continue
        etas = np.array([plan.etas[stage] * batch])
        fresh, stream = prepare(run, repeat, problem, etas, batch, name)
        if learner is not None:  # the second stage goes on from the first
            fresh.load_state_dict({**learner.state_dict(), "etas": etas})
        learner = fresh
        steps = Steps(learner, stream)
        try:
            for step in run.steps(total, learner, stream, due, label=f"steps to {name}"):
                steps.advance()
                n = seen + (step + 1) * batch
                if record is not None and (n >= due["samples"] or step + 1 == total):
                    due["samples"] = n + n // 50
                    record(stage, n, overlaps(learner, run, f"after {n} samples")[0])
        finally:
            stream.close()
        seen += total * batch
    assert learner is not None
    overlaps(learner, run, "at the end")
    return learner
