"""`toolbox clean`: removes what no result needs; never a finished run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from toolbox.core import atomic
from toolbox.core import manifest as manifests


def clean(yes: bool, out: Path) -> None:
    """List what no result needs; with `yes`, remove it."""
    litter = sorted(_litter(out))
    for path, reason in litter:
        print(f"{'removed' if yes else 'would remove'} {path} ({reason})")
        if yes and path.is_dir():
            shutil.rmtree(path)
        elif yes:
            path.unlink(missing_ok=True)
    if not litter:
        print(f"nothing to clean under {out}")
    elif not yes:
        print("say --yes to remove them")


def _litter(out: Path) -> Iterator[tuple[Path, str]]:
    for path in (*out.glob("*/*/*"), *out.glob("*/*/figures/*/.tmp-*")):
        name = path.name
        if name.startswith(".tmp-") and atomic.is_stale(path):
            yield path, "temporary, its process is gone"
        elif name.startswith(".old-"):
            # Put aside by --again; it is litter only when the new run is in place.
            if manifests.read(path.with_name(name.split("-")[1])):
                yield path, "replaced by --again"
        elif name.endswith(".failed.json"):
            yield path, "failed run"
        elif name.endswith(".bad"):
            yield path, "damaged checkpoint"
        elif name.endswith(".checkpoint") and manifests.read(path.with_suffix("")):
            yield path, "checkpoint of a run that is complete"
