"""`flows sweep`: sharpness at equal loss against the step size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from toolbox.core.crew import Worker
from toolbox.core.run import Run

from . import common
from .cli import Sweep
from .comparison import Comparison, Ended, Watch
from .rule import Rule

PROCESSES = ("midpoint", "central")


@dataclass(frozen=True)
class Cell:
    """One step size of one replicate."""

    repeat: int
    eta: float
    p: Sweep


def sweep(run: Run, p: Sweep) -> None:
    """One row per replicate, step size, process and target.

    The loss of the optimiser is taken at its midpoints, so without its oscillation.

    Errors: `ParameterError` for flags that do not fit together.
    """
    common.check(run, p)
    common.check_numerics(p)
    cells = [Cell(repeat, eta, p) for repeat in range(run.repeats) for eta in p.etas]
    with run.crew() as crew:
        for cell, seen in crew.map(train, cells, "step sizes"):
            for row in seen["rows"]:
                run.write("sweep", row, cell.repeat)
            if seen["ended"]:
                run.diverged(
                    cell.repeat, f"{seen['ended']} at step {seen['step']}", seen["step"],
                    cell=f"eta {cell.eta:g}", cells=len(p.etas),
                )  # fmt: skip


def train(worker: Worker, cell: Cell) -> dict[str, Any]:
    """Train until both processes are below the lowest target."""
    p = cell.p
    rule = Rule(p.opt, cell.eta, p.beta2, p.eps)
    loss, w = common.build(p, worker, cell.repeat)
    w, nu = common.warmed(loss, rule, w, p.warm)
    generator = worker.torch_generator(cell.repeat, "directions", device="cpu")
    watch = Watch(("discrete", *PROCESSES), p.eig_every, p.kick, raw=p.opt == "rmsprop")
    sides = Comparison(loss, rule, w, nu, common.setting_of(p), watch, generator)
    ended = ""
    for _ in worker.steps(p.steps, sides, generator):
        try:
            sides.step()
        except Ended as error:
            ended = str(error)
            break
        here = {row["process"]: row["loss"] for row in sides.trajectory[-3:]}
        if all(here.get(name, 1e300) <= min(p.targets) for name in PROCESSES):
            break
    rows = []
    trajectory = pd.DataFrame(sides.trajectory)
    for name in PROCESSES:
        path = trajectory[trajectory["process"] == name].set_index("step")
        for target in p.targets:
            rows.append(reached(path, target) | {"process": name, "eta": cell.eta})
    return {"rows": rows, "ended": ended, "step": sides.time}


def reached(path: pd.DataFrame, target: float) -> dict[str, Any]:
    """Where a path first comes to a loss. The sharpness is that of the last look before or at it.

    path : trajectory of one process by step
    """
    row: dict[str, Any] = {"target": target, "steps": None, "sharpness": None, "edge": None}
    below = path.index[path["loss"] <= target]
    if len(below):
        looked = path.loc[: below[0]].dropna(subset=["raw_sharpness"])
        if len(looked):
            last = looked.iloc[-1]
            row |= {"sharpness": float(last["raw_sharpness"]), "edge": float(last["sharpness"])}
        row["steps"] = int(below[0])
    return row
