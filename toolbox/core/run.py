"""What an experiment is given: its seeds, its tables, its progress, its checkpoints."""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core import atomic, checkpoint, compute, divergence, files, machine, signals
from toolbox.core.errors import Diverged, StudyError
from toolbox.core.loop_progress import LoopProgress
from toolbox.core.looping import Looping
from toolbox.core.loops import Loop, Loops
from toolbox.core.saving import Saver
from toolbox.core.states import StateMismatch
from toolbox.core.suggest import did_you_mean
from toolbox.core.table import TableWriter

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from toolbox.core.crew import Crew
    from toolbox.core.spec import CommandSpec


@dataclass
class Run(Looping):
    """One execution of a command. An experiment sees only this and its own parameters."""

    study: str
    command: str
    spec: CommandSpec
    seed: int
    repeats: int
    asked_device: str
    again: bool
    """`--again`: the run is made once more although it is there."""
    allow_costly: bool
    """`--allow-costly`: guards against long times and large memory are lifted."""
    quiet: bool
    folder: Path
    """The temporary folder that becomes the run's."""
    checkpoint_path: Path
    manifest: dict[str, Any]
    say: Callable[[str], None]
    """Tell the user one line (on stderr, silent under --quiet)."""
    threads: int = 1
    """Cores that this run may use."""
    _writers: dict[str, TableWriter] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._shown = LoopProgress(self.quiet)
        self._loops = Loops(self.folder, self._boundary, self._shown)
        self._saver = Saver(self)
        self._told_before = False
        tell = self.say
        # After a divergence the lines before the loop run again; what they say was said.
        self.say = lambda line: None if self._told_before else tell(line)

    @functools.cached_property
    def device(self) -> str:
        """The torch device to compute on, resolved when first asked for.

        Errors: `UsageError` when `--device` names one that is not there.
        """
        name = machine.torch_device(self.asked_device)
        self.manifest["torch_device"] = name
        compute.set_policy(name)
        return name

    def write(
        self, table: str, rows: pd.DataFrame | Mapping[str, Any], repeat: int | None = None
    ) -> None:
        """Append rows to a declared table.

        rows : a frame or columns by name, scalars repeated; with a `repeat` column when several
               replicates were computed together
        repeat : the replicate of all these rows, when it is one

        On a resume the first lines of a cell run again; what they write is in the table already.

        Errors: `StudyError`, with the line of the experiment, where rows and declaration differ.
        """
        if self._loops.replaying:
            return
        try:
            self._write(table, rows, repeat)
        except (ValueError, TypeError) as error:
            from toolbox.core.authoring import caller

            raise StudyError(f"{caller()}: run.write({table!r}): {error}") from error

    def _write(
        self, table: str, rows: pd.DataFrame | Mapping[str, Any], repeat: int | None
    ) -> None:
        if table not in self.spec.tables:
            hint = did_you_mean(table, self.spec.tables)
            raise ValueError(f"{self.study} {self.command} declares no such table{hint}")
        if table not in self._writers:
            spec = self.spec.tables[table]
            self._writers[table] = TableWriter(self.folder / f"{table}.csv", spec)
        same = {"seed": self.seed}
        if "repeat" not in rows:
            if repeat is None and self.repeats > 1:
                raise ValueError(
                    f"say which of the {self.repeats} replicates these rows are of, by "
                    "run.write(table, rows, repeat) or by a column repeat"
                )
            same["repeat"] = repeat or 0
        self._guarded(lambda: self._writers[table].write(rows, **same))

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """Publish a file with the tables: `with run.file("model.safetensors") as path: save(path)`.

        name : letters, digits, dots, dashes and underscores; not that of a table

        The block writes to `path`. The file is hashed into the manifest's `files`, kept in later
        checkpoints, and read back by `RunRecord.file(name)`. Written again, the last one counts.

        Errors: `ValueError` for a name that cannot be used; `ToolboxError` when the disk refuses.
        """
        if not files.is_name(name) or name.removesuffix(".csv") in self.spec.tables:
            raise ValueError(f"{name!r} cannot be the name of a file of a run")
        # Its ending stays: programs write what it says.
        part = self.folder / f"{files.PART}{name}"
        try:
            yield part
            # On a resume a cell's first lines run again; its file is there as it was.
            if not self._loops.replaying:
                described = files.published(part, self.folder / name)
                self.manifest["files"] = {**self.manifest.get("files", {}), name: described}
        except OSError as error:
            if not atomic.concerns(error, self.folder):
                raise
            raise atomic.refused(self.folder / name, error) from None
        finally:
            part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def crew(self, processes: int | None = None, denormals: bool = True) -> Iterator[Crew]:
        """Workers for jobs that do not need each other: `for job, outcome in crew.map(f, jobs)`.

        processes : at most so many; by default one for each of `run.threads`. One, or a device that
                    is no CPU: the jobs are done here. The numbers are the same
        denormals : False counts numbers below 1e-38 as zero, which is faster where they abound
        """
        from toolbox.core.crew import Crew

        most = self.threads if processes is None else processes
        crew = Crew(self, most if self.device == "cpu" else 1, denormals)
        try:
            yield crew
        finally:
            crew.close()

    def _boundary(self, stop: signal.Signals | None) -> None:
        self._saver.boundary(self._loops.tree, stop)
        if time.monotonic() >= self._shown.due:
            self._shown.show(self._loops.active)
        self._loops.due = min(self._saver.due, self._shown.due)

    def loop(self, loop: Loop) -> Iterator[Any]:
        """Run a loop that `toolbox.core` has made."""
        return self._loops.run(loop)

    def look_around(self, stop: signal.Signals | None = None) -> float:
        """The boundary for one who waits; returns when it has something to do next."""
        stop = stop or signals.asked()
        if stop is not None or time.monotonic() >= self._loops.due:
            self._boundary(stop)
        return self._loops.due

    def check_job(self, message: str, step: int | None) -> None:
        """Errors: `Diverged`, for a job of the crew that did."""
        self._end_diverged(message, step)

    def open_checkpoint(self) -> None:
        """Go on from a checkpoint, if there is one.

        Errors: `ToolboxError` for a checkpoint that is whole but cannot be used here and now.
        """
        if (loaded := self._saver.load()) is not None:
            rng = loaded.rng
            self._loops.resume(loaded.state, lambda: checkpoint.set_rng_states(rng))

    def came_back(self) -> None:
        """Errors: `StateMismatch` when a resumed experiment ended without coming to its place."""
        if self._loops.replaying:
            raise StateMismatch("the experiment ended before it came to where it was stopped")

    def flushed(self) -> tuple[dict[str, int], list[Path]]:
        """Hand all rows to their files; rows by table, and the files."""
        for writer in self._writers.values():
            self._guarded(writer.flush)
        rows = {name: writer.rows for name, writer in self._writers.items()}
        return rows, [writer.path for writer in self._writers.values()]

    def reopen(self, saved: Mapping[str, Any]) -> None:
        """Go on with the tables, the files and the notes of a checkpoint's manifest."""
        for name, rows in saved["rows"].items():
            path = self.folder / f"{name}.csv"
            self._writers[name] = TableWriter(path, self.spec.tables[name], rows)
        self.manifest["resumed"] = [*saved["resumed"], saved["saved"]]
        self.manifest |= {name: saved[name] for name in ("diverged", "files") if name in saved}

    # -------------------------------------------------------------------------------- divergence

    def check_finite(self, value: Any, what: str, step: int | None = None) -> None:
        """End a replicate as diverged at the first value that is not finite.

        value : a number, an array or a tensor;  what : what it is ("the loss at step 3")
        step : the step for the manifest, by default that of the loop under way

        In the cells of `run.replicates()`, or of `run.cells(..., replicate=...)`, that cell ends
        and the loop goes on with the next; elsewhere the run ends.

        Errors: `Diverged`, which the experiment lets pass.
        """
        bad = divergence.not_finite(value)
        if bad is not None:
            self._end_diverged(f"{what} is {bad}; the rows before it are kept", step)

    def diverged(
        self,
        repeat: int,
        message: str,
        step: int | None = None,
        cell: str = "",
        cells: int = 1,
    ) -> None:
        """Note that one replicate of an ensemble has diverged; the experiment goes on without it.

        cell, cells : for one cell of a grid, its name and how many cells a replicate has

        Errors: `Diverged` once no replicate is left. With `cell` the experiment goes on to its end.
        """
        step = self._loops.step() if step is None else step
        divergence.note(self.manifest, repeat, step, message, cells, cell)
        if not cell and divergence.lost(self.manifest) >= set(range(self.repeats)):
            self._end_diverged(message, step)

    def finite(self, values: Any, what: str, step: int | None = None) -> np.ndarray:
        """Which replicates of an ensemble are finite, (R,) booleans; others are noted as diverged.

        values : (R, ...) array or tensor;  what : what they are ("the loss at step 3")

        Errors: `Diverged` once no replicate is left.
        """
        sound = divergence.finite_rows(values)
        for repeat, bad in sound.items():
            if bad is not None:
                self.diverged(repeat, f"{what} is {bad}; the rows before it are kept", step)
        import numpy as np

        return np.array([bad is None for bad in sound.values()])

    def _end_diverged(self, message: str, step: int | None) -> None:
        error = Diverged(message)
        error.step = self._loops.step() if step is None else step
        error.path = self._loops.unwind()
        raise error

    def absorb(self, error: Diverged) -> bool:
        """Note a divergence and prepare to go on with the next cell; False when the run ends.

        The experiment is then to be called again: it comes back to that cell as after a stop.
        """
        cut = divergence.note_end(self.manifest, error, self.repeats)
        if cut is None:
            return False
        self._loops.resume(self._loops.tree(list(error.path), cut), self._back)
        self._told_before = True
        return True

    def _back(self) -> None:
        self._told_before = False

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
