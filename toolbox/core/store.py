"""What can be read from `outputs/`: runs of every status, and pools of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core import checkpoint, files
from toolbox.core import manifest as manifests
from toolbox.core.atomic import is_stale
from toolbox.core.errors import TableError
from toolbox.core.spec import CommandSpec
from toolbox.core.status import Status
from toolbox.core.table import read_table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RunRecord:
    """One run found in `outputs/`, whatever its status (`running` is no outcome but a state)."""

    study: str
    command: str
    id: str
    status: Status | None
    path: Path
    manifest: dict[str, Any]

    @property
    def state(self) -> str:
        """The status, or 'running' while there is none."""
        return str(self.status) if self.status else "running"

    @property
    def params(self) -> dict[str, Any]:
        """Every parameter that shaped the numbers, seed and repeats included."""
        return {name: entry["value"] for name, entry in self.manifest["params"].items()}

    def read(self, table: str, spec: CommandSpec) -> pd.DataFrame:
        """One verified table.

        Errors: `TableError` naming the file.
        """
        path, described = self.path / f"{table}.csv", self.manifest["tables"].get(table)
        if described is None:
            raise TableError(f"{path}: the run wrote no such table; make it again with --again")
        return read_table(path, spec.tables[table].all_columns, described)

    def file(self, name: str) -> Path:
        """The verified path of a file that the run published (`Run.file`).

        Errors: `TableError` naming the file.
        """
        return files.checked(self.path, self.manifest, name)


def runs(out: Path, study: str | None = None, command: str | None = None) -> Iterator[RunRecord]:
    """Every run under `out`, in a stable order, running and interrupted ones included."""
    for folder in sorted(out.glob(f"{study or '*'}/{command or '*'}")):
        if folder.is_dir():
            yield from _runs_in(folder)


def _runs_in(folder: Path) -> Iterator[RunRecord]:
    study, command = folder.parent.name, folder.name
    for path in sorted(folder.iterdir()):
        name, manifest, status = path.name, None, None
        if path.name.startswith(".tmp-") and path.is_dir():
            name = path.name.split("-")[1]
            if not is_stale(path):
                with contextlib.suppress(OSError, ValueError):
                    manifest = json.loads((path / "run.json").read_text(encoding="utf-8"))
        elif path.name.endswith(".checkpoint"):
            name, status = path.stem, Status.INTERRUPTED
            with contextlib.suppress(checkpoint.BadCheckpoint):
                manifest = checkpoint.read_manifest(path)
        elif path.name.endswith(".failed.json"):
            name, status = path.name.removesuffix(".failed.json"), Status.FAILED
            with contextlib.suppress(OSError, ValueError):
                manifest = json.loads(path.read_text(encoding="utf-8"))
        elif not name.startswith(".") and path.is_dir() and (manifest := manifests.read(path)):
            status = Status(manifest["status"])
        # A stranger's run.json must not hide every run beside it.
        if isinstance(manifest, dict) and {"params", "started"} <= manifest.keys():
            yield RunRecord(study, command, name, status, path, manifest)
