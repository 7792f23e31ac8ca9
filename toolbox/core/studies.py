"""Which studies are there: every folder of `toolbox/studies` with a study.yaml. No registry.

Apart from `spec.py`, because help pages need the names and not the files' contents.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from toolbox.core.errors import UsageError


def study_names() -> list[str]:
    """The studies, by name."""
    return sorted({path.parent.name for d in _folders() for path in d.glob("*/study.yaml")})


def study_file(study: str) -> Path:
    """A study's `study.yaml`.

    Errors: `UsageError` listing the studies that exist.
    """
    for folder in _folders():
        if (folder / study / "study.yaml").is_file():
            return folder / study / "study.yaml"
    raise UsageError(f"no study {study!r}; the studies are {', '.join(study_names())}")


def _folders() -> list[Path]:
    """The folders that hold studies (one, unless a test adds its own)."""
    found = importlib.util.find_spec("toolbox.studies")
    locations = found.submodule_search_locations if found else None
    return [Path(folder) for folder in locations or ()]
