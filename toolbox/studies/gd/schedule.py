"""`gd schedule`: the stepsizes themselves, for someone's own code."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolbox.core.run import Run

from . import metrics, model
from .anytime import check_schedules
from .cli import Schedule

CHUNK = 100_000


def schedule(run: Run, p: Schedule) -> None:
    """One row per step; deterministic.

    Errors: `ParameterError` for an unknown schedule.
    """
    name, T, c = p.name, p.T, p.c
    check_schedules((name,), T, allow_divergent=True, field="name")
    h = model.schedule(name, T, c)
    level, endpoint = model.structure(name, T, c)
    blocks = model.schedule_blocks(name, T, c)
    for first in run.cells(range(0, T, CHUNK), "chunks"):
        rows = slice(first, first + CHUNK)
        step = np.arange(first + 1, min(first + CHUNK, T) + 1)
        growth = step ** metrics.growth_exponent(c) / 36.0
        run.write(
            "steps",
            {
                "schedule": name,
                "step": step,
                "h": h[rows],
                "cum_sum": model.cum_sums(blocks, step),
                "level": level[rows],
                "endpoint": endpoint[rows],
                "lemma7": growth if name == "anytime" else np.full(step.size, np.nan),
            },
        )


def show(folder: Path, form: str) -> None:
    """Print the run's folder, or its stepsizes as text that reads back to the same floats.

    form : folder, lines or csv
    """
    import sys

    table = folder / "steps.csv"
    if form == "folder":
        sys.stdout.write(f"{folder}\n")
    elif form == "csv":
        sys.stdout.write(table.read_text(encoding="utf-8"))
    else:
        lines = table.read_text(encoding="utf-8").splitlines()
        column = lines[0].split(",").index("h")
        sys.stdout.writelines(f"{line.split(',')[column]}\n" for line in lines[1:])
