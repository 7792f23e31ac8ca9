"""What an experiment is given: its seeds, its tables, its progress, its checkpoints."""

from __future__ import annotations

import functools
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core import atomic, checkpoint, machine, signals
from toolbox.core.errors import Diverged, Interrupted, ToolboxError
from toolbox.core.progress import Progress
from toolbox.core.seeds import seed_sequence
from toolbox.core.table import TableWriter

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch

    from toolbox.core.spec import CommandSpec

CHECKPOINT_SECONDS = 60.0


@dataclass
class Run:
    """One execution of a command. An experiment sees only this and its own parameters."""

    study: str
    command: str
    spec: CommandSpec
    seed: int
    repeats: int
    asked_device: str
    force: bool
    quiet: bool
    folder: Path
    """The temporary folder that becomes the run's."""
    checkpoint_path: Path
    manifest: dict[str, Any]
    say: Callable[[str], None]
    """Tell the user one line (on stderr, silent under --quiet)."""
    _writers: dict[str, TableWriter] = field(default_factory=dict)
    _saved: float = field(default_factory=time.monotonic)

    @functools.cached_property
    def device(self) -> str:
        """The torch device to compute on, resolved when first asked for.

        Errors: `UsageError` when `--device` names one that is not there.
        """
        name = machine.torch_device(self.asked_device)
        self.manifest["torch_device"] = name
        return name

    def rng(self, repeat: int, *stream: str | int) -> np.random.Generator:
        """A numpy generator for one named stream of one replicate: `run.rng(repeat, 'data')`."""
        import numpy as np

        return np.random.Generator(np.random.PCG64(seed_sequence(self.seed, repeat, *stream)))

    def torch_generator(self, repeat: int, *stream: str | int) -> torch.Generator:
        """A torch generator for one named stream of one replicate, on the run's device."""
        import torch

        state = seed_sequence(self.seed, repeat, *stream).generate_state(2, "uint32")
        generator = torch.Generator(device=self.device)
        return generator.manual_seed(int(state[0]) << 32 | int(state[1]))

    def write(
        self, table: str, rows: pd.DataFrame | Mapping[str, Any], repeat: int | None = None
    ) -> None:
        """Append rows to a declared table.

        rows : a frame or columns by name, scalars repeated; with a `repeat` column when several
               replicates were computed together
        repeat : the replicate of all these rows, when it is one
        """
        if table not in self._writers:
            spec = self.spec.tables[table]
            self._writers[table] = TableWriter(self.folder / f"{table}.csv", spec)
        same = {"seed": self.seed}
        if "repeat" not in rows:
            if repeat is None and self.repeats > 1:
                raise ValueError(f"{table}: say which repeat these rows are of")
            same["repeat"] = repeat or 0
        self._guarded(lambda: self._writers[table].write(rows, **same))

    def progress(self, total: int, label: str, start: int = 0) -> Progress:
        """Progress over `total` steps, to be used in a `with` block."""
        return Progress(total, label, start, self.quiet)

    def restore(self) -> Any:
        """The state that the last checkpoint of this run saved, or None to start afresh.

        A damaged checkpoint is put aside as `*.bad` and said so. The tables written until then
        are back in place, and so are the states of the global random generators: seed those
        before, not after.

        Errors: `ToolboxError` for a checkpoint that is whole but cannot be used here and now.
        """
        if self.force or not self.checkpoint_path.exists():
            return None
        if not os.access(self.checkpoint_path, os.R_OK):
            raise ToolboxError(f"{self.checkpoint_path} may not be read; change its permissions")
        try:
            # Before anything is loaded: loading sets the global random generators.
            saved = checkpoint.read_manifest(self.checkpoint_path)
            if saved.get("toolbox") != self.manifest["toolbox"]:
                raise checkpoint.BadCheckpoint(
                    f"{self.checkpoint_path} is of toolbox {saved.get('toolbox')}"
                )
            device = saved.get("torch_device")
            if device is not None and device != self.device:
                raise ToolboxError(
                    f"{self.checkpoint_path} was made on --device {device}, this is {self.device}; "
                    "resume it there, or start again here with --force"
                )
            manifest, state = checkpoint.load(self.checkpoint_path, self.folder)
        except checkpoint.BadCheckpoint as error:
            for path in self.folder.glob("*.csv"):
                path.unlink()
            bad = self.checkpoint_path.with_suffix(".bad")
            self.checkpoint_path.rename(bad)
            self.say(f"{error}; starting afresh, the file is kept as {bad.name}")
            return None
        for name, rows in manifest["rows"].items():
            spec = self.spec.tables[name]
            self._writers[name] = TableWriter(self.folder / f"{name}.csv", spec, rows)
        self.manifest["resumed"] = [*manifest["resumed"], manifest["saved"]]
        self.say(f"resuming from {self.checkpoint_path.name}")
        return state

    def checkpoint(self, state: Callable[[], Any]) -> None:
        """The step boundary: call it once per step, with a function that returns the state.

        It saves when a minute has passed, and saves and stops when a stop was asked for; otherwise
        it costs two comparisons. The state must be all that the loop needs to go on byte for byte;
        global random generators are added by themselves.

        Errors: `Interrupted`, which the experiment lets pass.
        """
        stop = signals.asked()
        if stop is None and time.monotonic() - self._saved < CHECKPOINT_SECONDS:
            return
        try:
            self._save(state())
        except ToolboxError as error:
            # A run that can finish must not die of a checkpoint that cannot be written.
            if stop is not None:
                raise
            self.say(f"no checkpoint: {error}")
        self._saved = time.monotonic()
        if stop is not None:
            code = signals.CTRL_C if stop == signal.SIGINT else signals.RESUMABLE
            raise Interrupted(
                f"stopped by {stop.name} at a step boundary; the same line resumes it", code
            )

    def check_finite(self, value: float, what: str) -> None:
        """End the run as diverged at the first value that is not finite.

        Errors: `Diverged`, which the experiment lets pass.
        """
        if not math.isfinite(value):
            raise Diverged(f"{what} is {value}; the rows before it are kept")

    def _save(self, state: Any) -> None:
        from toolbox.core.provenance import now

        for writer in self._writers.values():
            self._guarded(writer.flush)
        rows = {name: writer.rows for name, writer in self._writers.items()}
        manifest = {**self.manifest, "rows": rows, "saved": now()}
        with atomic.replacing(self.checkpoint_path) as handle:
            paths = [writer.path for writer in self._writers.values()]
            checkpoint.save(handle, manifest, state, paths)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:
            raise atomic.refused(self.folder, error) from None

    def close_tables(self) -> dict[str, Any]:
        """Close every table and describe it; a declared table without a row gets its header."""
        for name, spec in self.spec.tables.items():
            if name not in self._writers:
                self._writers[name] = TableWriter(self.folder / f"{name}.csv", spec)
        described: dict[str, Any] = {}

        def close(name: str) -> None:
            described[name] = self._writers[name].close()

        for name in self.spec.tables:
            self._guarded(functools.partial(close, name))
        return described

    def abandon_tables(self) -> None:
        """Let go of the files of a run that will not be published."""
        for writer in self._writers.values():
            writer.abandon()
