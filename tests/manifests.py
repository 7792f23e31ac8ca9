"""Whole manifests for tests, as a run writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolbox.core import manifest
from toolbox.core.params import run_id


def manifest_of(
    status: str | None = "complete",
    ended: str = "2026-01-01",
    study: str = "coin",
    command: str = "train",
    **params: Any,
) -> dict[str, Any]:
    """A sealed manifest; without a status that of a run at work."""
    values = {"seed": 0, "repeats": 1, **params}
    begun = {
        "schema": 1,
        "id": run_id(study, command, values),
        "study": study,
        "command": command,
        "preset": "small",
        "params": {name: {"value": v, "origin": "flag"} for name, v in values.items()},
        "toolbox": "0.1.0",
        "git": {"commit": "abc", "dirty": False},
        "argv": ["toolbox", study, command],
        "seed_derivation": "-",
        "started": "2026-01-01T00:00:00",
        "machine": {
            "host": "h", "pid": 1, "system": "Linux", "cpu": "c", "cores_allowed": 2, "threads": 1,
            "environment": {},
        },
        "scheduler": None,
        "resumed": [],
    }  # fmt: skip
    if status is None:
        return manifest.sealed(begun)
    if status == "interrupted":
        return {**begun, "rows": {}, "saved": "2026-01-01", "again": False}
    end = {
        "status": status,
        "message": "",
        "ended": ended,
        "wall_seconds": 1.0,
        "cpu_seconds": 1.0,
        "peak_memory_bytes": 1,
        "versions": {"python": "3"},
        "device": "cpu",
        "tables": {},
    }
    return manifest.sealed({**begun, **end})


def resealed(path: Path, **changes: Any) -> None:
    """Change a manifest in a file as a run would have written it."""
    document = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps(manifest.sealed(document)))
