"""What can be read from `outputs/`: runs of every status, and pools of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core import checkpoint, files, table
from toolbox.core import manifest as manifests
from toolbox.core.atomic import is_stale, run_of
from toolbox.core.errors import TableError
from toolbox.core.manifest import BadManifest
from toolbox.core.paths import is_empty, is_id
from toolbox.core.spec import CommandSpec
from toolbox.core.status import Status
from toolbox.core.where import compile_where

if TYPE_CHECKING:
    import pandas as pd

DAMAGED = "damaged"


@dataclass(frozen=True)
class RunRecord:
    """One run found in `outputs/`, whatever its status (`running` is no outcome but a state)."""

    study: str
    command: str
    id: str
    status: Status | None
    path: Path
    manifest: dict[str, Any]
    """Whole, as `toolbox.core.manifest` checked it; empty where it is damaged."""
    damage: str = ""
    """What is wrong with a run that cannot be used."""

    @property
    def state(self) -> str:
        """The status, 'running' while there is none, or 'damaged'."""
        if self.damage:
            return DAMAGED
        return str(self.status) if self.status else "running"

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter that shaped the numbers, seed and repeats included."""
        entries = self.manifest.get("params", {})
        return {name: entry["value"] for name, entry in entries.items()}

    @property
    def message(self) -> str:
        """The first line of what a failed or diverged run said, or of what is wrong with it."""
        return self.damage or str(self.manifest.get("message", "")).partition("\n")[0]

    def checked(self) -> RunRecord:
        """The same record, damaged if a table or file of a finished run is not what it wrote.

        Tables are read whole; other files, which may be large, are compared by their size, and
        whole when they are used.
        """
        if self.damage or self.status not in (Status.COMPLETE, Status.DIVERGED):
            return self
        for name, described in self.manifest["tables"].items():
            if wrong := table.difference(self.path / f"{name}.csv", described):
                return replace(self, damage=wrong)
        for name, described in self.manifest.get("files", {}).items():
            if wrong := table.difference(self.path / name, described, whole=False):
                return replace(self, damage=wrong)
        return self

    def mismatch(self, spec: CommandSpec) -> str:
        """Why a sound run is not one of this command as this version declares it, or nothing."""
        if (whose := (self.manifest["study"], self.manifest["command"])) != (
            self.study,
            self.command,
        ):
            return f"{self.path} is a run of {' '.join(whose)}"
        for name, declared in spec.tables.items():
            path = self.path / f"{name}.csv"
            if name not in self.manifest["tables"]:
                return f"{path} was not written; the run was made by another version"
            if wrong := table.header_difference(path, declared.all_columns):
                return wrong
        conditions = [compile_where(c.requires) for c in spec.claims.values() if c.requires]
        for name in dict.fromkeys([*spec.pool_over, *(n for c in conditions for n in c.names)]):
            if name not in self.params:
                return f"{self.path} has no parameter {name}; it was made by another version"
        try:
            for condition in conditions:
                condition.test(self.params)
        except Exception as error:  # whatever a value of another type does to a comparison
            return f"{self.path} has a parameter of another type ({error}); another version made it"
        return ""

    def read(self, name: str, spec: CommandSpec) -> pd.DataFrame:
        """One verified table.

        Errors: `TableError` naming the file.
        """
        path, described = self.path / f"{name}.csv", self.manifest["tables"].get(name)
        if described is None:
            raise TableError(f"{path}: the run wrote no such table; make it again with --again")
        return table.read_table(path, spec.tables[name].all_columns, described)

    def file(self, name: str) -> Path:
        """The verified path of a file that the run published (`Run.file`).

        Errors: `TableError` naming the file.
        """
        return files.checked(self.path, self.manifest, name)


def runs(out: Path, study: str | None = None, command: str | None = None) -> Iterator[RunRecord]:
    """Every run under `out`, in a stable order: running, interrupted and damaged ones included."""
    for folder in sorted(out.glob(f"{study or '*'}/{command or '*'}")):
        if folder.is_dir():
            yield from _runs_in(folder)


def _runs_in(folder: Path) -> Iterator[RunRecord]:
    study, command = folder.parent.name, folder.name
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        why = f"the folder cannot be read ({error.strerror})"
        yield RunRecord(study, command, "", None, folder, {}, why)
        return
    for path in paths:
        if (kind := _kind_of(path)) is None:
            continue
        name, status, read = kind
        try:
            manifest = read()
        except (BadManifest, checkpoint.BadCheckpoint) as error:
            if not path.name.startswith(".tmp-"):  # not written yet, or just renamed
                yield RunRecord(study, command, name, status, path, {}, str(error))
            continue
        yield RunRecord(study, command, name, status or _status(manifest), path, manifest)


def _status(manifest: dict[str, Any]) -> Status | None:
    return Status(manifest["status"]) if "status" in manifest else None


Kind = tuple[str, Status | None, Callable[[], dict[str, Any]]]
"""Id, status where the name tells it, and what reads the manifest."""


def _kind_of(path: Path) -> Kind | None:
    """What a name in a command's folder stands for, or None where it is none of ours."""
    name = path.name
    if name.startswith(".tmp-"):
        if is_stale(path) or not path.is_dir():
            return None
        return run_of(path), None, lambda: manifests.load(path / manifests.NAME, manifests.Begun)
    if name.startswith("."):
        return None
    if name.endswith(".checkpoint"):
        return path.stem, Status.INTERRUPTED, lambda: checkpoint.read_manifest(path)
    if name.endswith(".failed.json"):
        run = name.removesuffix(".failed.json")
        return run, Status.FAILED, lambda: manifests.load(path, manifests.Failed)
    if (is_id(name) and not is_empty(path)) or os.path.lexists(path / manifests.NAME):
        return name, None, lambda: manifests.finished(path)
    return None
