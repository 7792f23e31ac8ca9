"""The manifest of a run as it is read back from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolbox.core.status import Status


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished run's folder, or None when there is no whole one."""
    try:
        manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        known = isinstance(manifest, dict) and manifest.get("status") in list(Status)
        return manifest if known else None
    except (OSError, ValueError):
        return None
