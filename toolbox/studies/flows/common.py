"""From flags to a problem, from a problem to rows: what the commands share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from toolbox.core.crew import Worker
from toolbox.core.errors import ParameterError
from toolbox.core.figure import REPLICATE
from toolbox.core.looping import Looping
from toolbox.core.memory import need
from toolbox.core.run import Run

from . import data, networks
from .central import Setting
from .cli import Numerics, Problem
from .comparison import Comparison, Ended, Watch, tables
from .landscape import Objective, Point
from .objective import flat, objective
from .rule import Rule

MOST_PER_BLOCK = 18
"""Weights of a block over the square of its width, at most: two convolutions of a ResNet."""
HELD = 40
"""Vectors of the size of all weights that are held at once, in float64."""
SEQUENCES = ("lstm", "transformer", "mamba")


def check(run: Run, p: Problem) -> int:
    """Refuse, before any work, what a worker would stumble over. Returns the number of weights.

    Errors: `ParameterError` for flags that do not fit together, for data that are not here or too
    few, and for a network that cannot be built or held.
    """
    if p.n < p.classes:
        raise ParameterError("n", p.n, f"is below {{classes}} {p.classes}", "raise it")
    if (p.arch in SEQUENCES) != (p.dataset == "sorting"):
        fit = "sorting" if p.arch in SEQUENCES else "digits"
        raise ParameterError(
            "dataset",
            p.dataset,
            f"does not fit {{arch}} {p.arch}",
            f"use {fit}, or another network",
        )
    if p.dataset == "cifar10" and not p.data_dir:
        raise ParameterError(
            "dataset", p.dataset, "needs {data_dir}", "name the folder or .npz file that holds it"
        )
    if p.data_dir and p.dataset != "cifar10":
        raise ParameterError(
            "data_dir", p.data_dir, f"is not read by {{dataset}} {p.dataset}", "leave it out"
        )
    loaded = data.load(p.dataset, p.n, p.classes, run.rng(0, "data"), p.data_dir or None)
    inputs = math.prod(loaded.shape) + (loaded.vocabulary or 0)
    weights = inputs * p.width + MOST_PER_BLOCK * p.width**2 * p.depth
    need(8 * HELD * weights, "the directions that are followed", "width", p.width)
    generator = torch.Generator().manual_seed(0)
    module = networks.build(
        p.arch, loaded.shape, loaded.classes, p.width, p.depth, p.act, generator, loaded.vocabulary
    )
    return len(flat(module))


def check_numerics(p: Numerics) -> None:
    """Errors: `ParameterError` when a threshold is below what is tracked."""
    if p.sdcp_threshold < p.track:
        raise ParameterError(
            "sdcp_threshold", p.sdcp_threshold, f"is below {{track}} {p.track}", "lower the latter"
        )


def setting_of(p: Numerics) -> Setting:
    """How the flows are computed."""
    return Setting(substeps=p.nsub, track=p.track, critical=p.sdcp_threshold)


def build(p: Problem, loop: Looping, repeat: int) -> tuple[Objective, Tensor]:
    """The loss as a function of all parameters, and where training starts, (n,).

    The data are the same in every replicate where they are a fixed data set; the weights differ.
    """
    rng = loop.rng(repeat, "data")
    loaded = data.load(p.dataset, p.n, p.classes, rng, p.data_dir or None)
    generator = loop.torch_generator(repeat, "weights", device="cpu")
    module = networks.build(
        p.arch, loaded.shape, loaded.classes, p.width, p.depth, p.act, generator, loaded.vocabulary
    )
    dtype = getattr(torch, p.dtype)
    module = module.to(loop.device, dtype)
    loaded = loaded.to(loop.device, dtype)
    return (
        objective(module, lambda out: data.loss(p.criterion, out, loaded), loaded.inputs),
        flat(module),
    )


def warmed(loss: Objective, rule: Rule, w: Tensor, warm: int) -> tuple[Tensor, Tensor]:
    """w and nu after `warm` steps of the optimiser; nu has seen the gradient at w."""
    gradient = Point(loss, w).gradient
    nu = rule.start(gradient)
    for _ in range(warm):
        w = w - gradient / rule.P(nu)
        gradient = Point(loss, w).gradient
        nu = rule.average(nu, gradient)
    return w, nu


@dataclass(frozen=True)
class Job:
    """One replicate of one comparison, for a worker."""

    repeat: int
    problem: Problem
    rule: Rule
    setting: Setting
    processes: tuple[str, ...]
    steps: int
    eig_every: int
    kick: float
    warm: int = 0
    raw: bool = False
    coordinates: int = 0


def watch(worker: Worker, job: Job) -> dict[str, Any]:
    """Rows of the tables of one replicate, and why it ended early, if it did."""
    loss, w = build(job.problem, worker, job.repeat)
    w, nu = warmed(loss, job.rule, w, job.warm)
    generator = worker.torch_generator(job.repeat, "directions", device="cpu")
    looked = Watch(job.processes, job.eig_every, job.kick, job.raw, chosen(nu, job.coordinates))
    sides = Comparison(loss, job.rule, w, nu, job.setting, looked, generator)
    ended = ""
    for _ in worker.steps(job.steps, sides, generator):
        try:
            sides.step()
        except Ended as error:
            ended = str(error)
            break
    found = {name: table.to_dict("list") for name, table in tables(sides).items()}
    return {"tables": found, "ended": ended, "step": sides.time}


def chosen(nu: Tensor, count: int) -> tuple[int, ...]:
    """Indices of parameters whose nu is above zero, spread over its sizes, the largest first."""
    order = torch.argsort(nu, descending=True, stable=True)
    order = order[: int((nu > 0).sum())]
    places = torch.linspace(0, len(order) - 1, count + 2)[1:-1].round().long()
    return tuple(order[places].tolist()) if len(order) else ()


def compare(run: Run, jobs: list[Job]) -> None:
    """Work through the replicates, and write what each has seen.

    Errors: `Diverged` when no replicate came to its end.
    """
    with run.crew() as crew:
        for job, seen in crew.map(watch, jobs, "replicates"):
            write(run, seen["tables"], job.repeat)
            if seen["ended"]:
                message = f"{seen['ended']} at step {seen['step']}; the rows before it are kept"
                run.diverged(job.repeat, message, seen["step"])


def write(run: Run, tables: dict[str, Any], repeat: int) -> None:
    """Write the tables of one replicate that the command declares."""
    for name, columns in tables.items():
        if name in run.spec.tables:
            declared = [c for c in run.spec.tables[name].columns if c not in REPLICATE]
            run.write(name, pd.DataFrame(columns).reindex(columns=declared), repeat)
