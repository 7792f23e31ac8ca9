"""Random streams. Every one derives from `SeedSequence(seed, spawn_key)`, never from `seed + i`:
sums collide (seed 0, repeat 1 is seed 1, repeat 0) and neighbouring seeds correlate.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

DERIVATION = "SeedSequence(seed, spawn_key=(repeat, crc32(stream name)...)) -> PCG64"


def seed_sequence(seed: int, repeat: int, *stream: str | int) -> np.random.SeedSequence:
    """The seed sequence of one named stream of one replicate.

    The stream's name makes data and initialisation independent, and leaves each unchanged when
    another stream draws more numbers; arms that use the same name share common random numbers.
    """
    import numpy as np

    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in stream]
    return np.random.SeedSequence(seed, spawn_key=(repeat, *words))
