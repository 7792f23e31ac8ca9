"""What tests of command lines start with: the folder of toy studies, and a forked process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from contract.warm import Warm

TOYS = Path(__file__).parent / "toys"


def fork(*arguments: Any, cwd: Path, **environment: str) -> Warm:
    """Begin a command line in a forked process."""
    environment = {**os.environ, "TERM": "dumb", **environment}
    return Warm([str(each) for each in arguments], cwd, environment)
