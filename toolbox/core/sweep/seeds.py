"""The seed of a cell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from toolbox.core.params import canonical_json

_MAX_SEED = 10**15


def cell_seed(
    root: int, study: str, command: str, params: Mapping[str, Any], replicate: int = 0
) -> int:
    """The seed of a cell: 0 to 10^15, from the root seed, the cell's parameters and the number of
    the run at this point of the grid.

    SeedSequence(root, spawn_key=(replicate, the eight 32-bit words of the SHA-256 of the canonical
    JSON of study, command and parameters without `seed` and `repeats`)). So it depends neither on
    the cell's index, nor on which other cells the sweep has, nor on how the parameters are written;
    and raising `repeats` or `seeds` keeps the replicates that are there.
    """
    import numpy as np

    shared = {name: value for name, value in params.items() if name not in ("seed", "repeats")}
    text = canonical_json({"study": study, "command": command, "params": shared})
    digest = hashlib.sha256(text.encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "big") for i in range(0, 32, 4)]
    sequence = np.random.SeedSequence(root, spawn_key=(replicate, *words))
    return int(sequence.generate_state(1, "uint64")[0]) % (_MAX_SEED + 1)
