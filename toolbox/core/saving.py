"""When a run saves itself, and whether a checkpoint that is there can be gone on from."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from toolbox.core import atomic, checkpoint, code, signals, states
from toolbox.core.errors import Interrupted, ToolboxError

if TYPE_CHECKING:
    from toolbox.core.run import Run

CHECKPOINT_SECONDS = 60.0
"""Least time between two checkpoints."""
COST = 20.0
"""A checkpoint that took t seconds is followed by none for COST * t: at most 5 % of the time."""
SLOW_DISK = 2e8
"""Bytes per second at which the cost of the first one is guessed."""


class Saver:
    """The checkpoint of one run."""

    def __init__(self, run: Run) -> None:
        self.run, self.path = run, run.checkpoint_path
        self.last = time.monotonic()
        self.pause = 0.0
        """What the cost of a checkpoint adds to the time before the next."""

    @property
    def due(self) -> float:
        """When the next checkpoint is to be made."""
        return self.last + max(CHECKPOINT_SECONDS, self.pause)

    def boundary(self, state: Callable[[], Any], stop: signal.Signals | None) -> None:
        """Save if it is time to; save and end the run if a stop was asked for.

        state : the tree to save

        Errors: `Interrupted`; `ToolboxError` when a stopped run cannot be saved.
        """
        began = time.monotonic()
        if stop is None and began < self.due:
            return
        tree = state()
        if stop is None and not self.pause:
            # The first may take long, with a large state on a slow disk: it has to wait as well.
            size = sum(blob.nbytes for blob in states.blobs_of(tree))
            self.pause = COST * size / SLOW_DISK
            if began < self.due:
                return
        try:
            self._save(tree)
        except ToolboxError as error:
            # A run that can finish must not die of a checkpoint that cannot be written.
            if stop is not None:
                raise
            self.run.say(f"no checkpoint: {error}")
        self.last = time.monotonic()
        self.pause = COST * (self.last - began)
        if stop is not None:
            raise Interrupted(
                f"stopped by {signals.cause(stop)} at a step boundary; the same line resumes it",
                signals.CTRL_C if stop == signal.SIGINT else signals.RESUMABLE,
            )

    def _save(self, tree: Any) -> None:
        from toolbox.core.provenance import now

        run = self.run
        rows, tables = run.flushed()
        about = {"rows": rows, "saved": now(), "again": run.again}
        files = [run.folder / name for name in run.manifest.get("files", ())]
        with atomic.replacing(self.path) as handle:
            checkpoint.save(handle, {**run.manifest, **about}, tree, tables, files)

    def load(self) -> checkpoint.Loaded | None:
        """The checkpoint that the run goes on from, if there is one, with its rows in their tables.

        A damaged checkpoint is put aside as `*.bad` and said so.

        Errors: `ToolboxError` for a checkpoint that is whole but cannot be used here and now.
        """
        run, path = self.run, self.path
        if not path.exists():
            return None
        if not os.access(path, os.R_OK):
            raise ToolboxError(f"{path} may not be read; change its permissions")
        try:
            saved = checkpoint.read_manifest(path)
            if not self._usable(saved):
                return None
            loaded = checkpoint.load(path, run.folder)
        except checkpoint.BadCheckpoint as error:
            for left in run.folder.iterdir():
                left.unlink()
            bad = path.with_suffix(".bad")
            path.rename(bad)
            run.say(f"{error}; starting afresh, the file is kept as {bad.name}")
            return None
        run.reopen(loaded.manifest)
        run.say(f"resuming from {path.name}")
        return loaded

    def _usable(self, saved: dict[str, Any]) -> bool:
        run = self.run
        if run.again and not saved.get("again"):
            return False  # it is of the run that is to be made anew
        changed = code.difference(saved.get("code"), run.manifest.get("code"))
        if changed != []:
            files = f" ({code.shown(changed)})" if changed else ""
            if run.again:
                run.say(f"{self.path.name} was made by other code{files}; starting afresh")
                return False
            raise ToolboxError(
                f"{self.path} was made by other code{files}, so the run cannot go on from it; "
                "--again starts anew"
            )
        device = saved.get("torch_device")
        if device is not None and device != run.device:
            raise ToolboxError(
                f"{self.path} was made on --device {device}, this is {run.device}; "
                "resume it there, or start again here with --again"
            )
        return True
