"""`toolbox sweep status`: what has become of each cell."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep.options import File, Json, Out
from toolbox.core.show import draw

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
    found = states(sweep, out)
    done = all(one.state == COMPLETE for one in found)
    if as_json:
        cells = [
            {"index": s.cell.index, "run": s.cell.id, "state": s.state, "message": s.message}
            for s in found
        ]
        print(json.dumps({"complete": done, "cells": cells}))
    else:
        shown = [one for one in found if every or one.state != COMPLETE]
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
        print(f"{len(found)} cells: {count(found)}")
    if not done:
        raise typer.Exit(1)
