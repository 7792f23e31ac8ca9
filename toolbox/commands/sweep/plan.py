"""`toolbox sweep plan`: the cells, before anything runs."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep.options import File, Json, Out
from toolbox.core.show import draw


def command(
    file: File,
    count: Annotated[
        bool, typer.Option("--count", help="Print the number of cells alone.")
    ] = False,
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Print the cells with their run ids, which of them are there, and how many.

    Example: toolbox sweep plan FILE.yaml
    """
    from toolbox.core.sweep.grid import load_sweep
    from toolbox.core.sweep.state import count as counted
    from toolbox.core.sweep.state import states

    sweep = load_sweep(file)
    if count:
        print(len(sweep.cells))
        return
    cell_states = states(sweep, out)
    if as_json:
        cells = [
            {
                "index": one.cell.index,
                "run": one.cell.id,
                "path": str(out / sweep.study / sweep.command / one.cell.id),
                "params": one.cell.params,
                "state": one.state,
                "memory_mb": sweep.megabytes(one.cell),
                "minutes": sweep.minutes(one.cell),
            }
            for one in cell_states
        ]
        print(json.dumps({"study": sweep.study, "command": sweep.command, "cells": cells}))
        return
    costs = {
        "MB": sweep.megabytes if sweep.memory else None,
        "minutes": sweep.minutes if sweep.time else None,
    }
    shown = {name: cost for name, cost in costs.items() if cost}
    rows = [
        (
            str(one.cell.index),
            one.cell.id,
            sweep.label(one.cell),
            str(one.cell.params["seed"]),
            *(str(cost(one.cell)) for cost in shown.values()),
            one.state,
        )
        for one in cell_states
    ]
    print(draw(("cell", "run", "differs in", "seed", *shown, "state"), rows, sys.stdout))
    left_out = f" ({sweep.excluded} left out by `exclude`)" if sweep.excluded else ""
    print(
        f"{sweep.study} {sweep.command}: {len(cell_states)} cells{left_out}, {counted(cell_states)}"
    )
