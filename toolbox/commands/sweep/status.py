"""`toolbox sweep status`: what has become of each cell."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep.options import File, Json, Out
from toolbox.core.show import draw

if TYPE_CHECKING:
    from toolbox.core.sweep.cells import Sweep
    from toolbox.core.sweep.state import CellState

_STYLES = {"complete": "green", "running": "cyan", "interrupted": "yellow", "missing": ""}


def command(
    file: File,
    every: Annotated[
        bool, typer.Option("--all", help="List the complete cells too, not only the others.")
    ] = False,
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Tell each cell's state: complete, running, interrupted, diverged, failed, corrupt, missing.

    Exits 1 until all are complete, so that a dependent job can test it.

    Example: toolbox sweep status FILE.yaml
    """
    from toolbox.core.sweep.grid import load_sweep
    from toolbox.core.sweep.state import COMPLETE, count, states

    sweep = load_sweep(file)
    cell_states = _with_memory(sweep, out, states(sweep, out))
    done = all(one.state == COMPLETE for one in cell_states)
    if as_json:
        cells = [
            {"index": s.cell.index, "run": s.cell.id, "state": s.state, "message": s.message}
            for s in cell_states
        ]
        print(json.dumps({"complete": done, "cells": cells}))
    else:
        shown = [one for one in cell_states if every or one.state != COMPLETE]
        if shown:
            rows = [
                (
                    str(one.cell.index),
                    one.cell.id,
                    sweep.label(one.cell),
                    one.state + (f": {one.message}" if one.message else ""),
                )
                for one in shown
            ]
            styles = [_STYLES.get(one.state, "red") for one in shown]
            columns = ("cell", "run", "differs in", "state")
            print(draw(columns, rows, sys.stdout, styles=styles))
        print(f"{len(cell_states)} cells: {count(cell_states)}")
    if not done:
        raise typer.Exit(1)


def _with_memory(sweep: Sweep, out: Path, cell_states: list[CellState]) -> list[CellState]:
    """The states, telling also which cells Slurm killed for memory."""
    from toolbox.core.sweep.needs import out_of_memory
    from toolbox.core.sweep.state import TO_DO

    killed = out_of_memory(sweep, out, [one.cell for one in cell_states if one.state in TO_DO])
    said = {
        run: f"killed for memory in job {attempt.job}"
        + (f" with {attempt.megabytes} MB" if attempt.megabytes else "")
        for run, attempt in killed.items()
    }
    return [
        replace(one, message=said[one.cell.id]) if one.cell.id in said else one
        for one in cell_states
    ]
