"""`toolbox clean`: removes what no result needs; never a whole finished run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolbox.core import atomic, store
from toolbox.core import manifest as manifests
from toolbox.core.errors import ToolboxError


def clean(yes: bool, out: Path) -> None:
    """List what no result needs; with `yes`, remove it.

    Errors: `ToolboxError` when something could not be removed, after all else was.
    """
    litter = dict(sorted({**dict(_damaged(out)), **dict(_litter(out))}.items()))
    kept = []
    for path, reason in litter.items():
        if yes:
            try:
                atomic.remove(path)
            except OSError as error:
                kept.append(f"{path} ({error.strerror})")
                continue
        print(f"{'removed' if yes else 'would remove'} {path} ({reason})")
    if not litter:
        print(f"nothing to clean under {out}")
    elif not yes:
        print("say --yes to remove them")
    if kept:
        raise ToolboxError(f"cannot remove {', '.join(kept)}; change the permissions")


def _damaged(out: Path) -> Iterator[tuple[Path, str]]:
    for each in store.runs(out):
        run = each.checked()
        if run.damage and run.id:
            yield run.path, f"damaged: {run.damage}"


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
