"""The folder that `--out` names. Nothing heavy is imported: the front page needs it."""

from __future__ import annotations

import stat
from pathlib import Path

from toolbox.core.errors import UsageError


def out_folder(value: str | Path) -> Path:
    """The value of `--out`.

    Errors: `UsageError` for an empty name, one that no system takes, and one of a file.
    """
    if not str(value):
        raise UsageError("--out '': name a folder, or leave it out for outputs/")
    path = Path(value)
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            raise UsageError(f"--out {value}: it is a file; name a folder")
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        shown = str(value) if len(str(value)) <= 200 else f"{str(value)[:200]}..."
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"--out {shown}: {why}; name another folder") from None
    return path
