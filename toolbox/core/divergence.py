"""Which replicates of a run diverged, as its manifest notes it.

`diverged: [{"repeat": 1, "step": 400, "message": "the loss at step 400 is nan", "cells": 1}]`

`cells` is how many cells the replicate has; where it has several, `cell` says which one diverged
and the others are sound. A run has the status diverged when nothing of any replicate is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolbox.core.errors import Diverged
    from toolbox.core.loops import Loop


def lost(manifest: Mapping[str, Any]) -> set[int]:
    """The replicates of which nothing is left: diverged as a whole, or in each of their cells."""
    cells_lost: dict[int, list[int]] = {}
    for each in manifest.get("diverged", ()):
        cells_lost.setdefault(each["repeat"], []).append(each["cells"])
    return {repeat for repeat, cells in cells_lost.items() if len(cells) >= min(cells)}


def note(
    manifest: dict[str, Any], repeat: int, step: int | None, message: str, cells: int = 1,
    cell: str = "",
) -> None:  # fmt: skip
    """Add one entry, once for each replicate or cell."""
    entry = {"repeat": repeat, "step": step, "message": message, "cells": cells}
    entries = manifest.setdefault("diverged", [])
    known = {(each["repeat"], each.get("cell", "")) for each in entries}
    if (repeat, cell) not in known:
        manifest["diverged"] = [*entries, entry | ({"cell": cell} if cell else {})]


def note_end(manifest: dict[str, Any], error: Diverged, repeats: int) -> Loop | None:
    """Note what an error ended; the loop that can go on with its next cell, or None for the run."""
    for loop in reversed(error.path):
        if loop.replicate is not None:
            repeat = loop.replicate(loop.item)
            cells = loop.cells_of(repeat)
            cell = str(loop.item) if cells > 1 else ""
            note(manifest, repeat, error.step, str(error), cells, cell)
            diverged_loop: Loop = loop
            return diverged_loop
    for repeat in sorted(set(range(repeats)) - lost(manifest)):
        note(manifest, repeat, error.step, str(error))
    return None


def not_finite(value: Any) -> float | None:
    """The first NaN or infinity of a number, an array or a tensor, if there is one."""
    if isinstance(value, float | int):
        return None if math.isfinite(value) else value
    import numpy as np

    numbers = np.asarray(_on_cpu(value), dtype=float)
    bad = numbers[~np.isfinite(numbers)]
    return float(bad.flat[0]) if bad.size else None


def finite_rows(values: Any) -> dict[int, float | None]:
    """Row -> its first number that is not finite, or None; values : (R, ...)."""
    return {row: not_finite(each) for row, each in enumerate(_on_cpu(values))}


def _on_cpu(value: Any) -> Any:
    return value.detach().double().cpu().numpy() if hasattr(value, "detach") else value


def lines(manifest: Mapping[str, Any]) -> list[str]:
    """One line for each replicate or cell of a run that diverged beside sound ones."""
    repeats = manifest["params"]["repeats"]["value"]
    return [
        f"diverged: replicate {each['repeat']} of {repeats}"
        + (f", cell {each['cell']}" if "cell" in each else "")
        + f": {each['message']}"
        for each in manifest.get("diverged", ())
    ]
