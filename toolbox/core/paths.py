"""The layout of `outputs/`, and how a finished run gets its final name.

    outputs/<study>/<command>/<id>/                a complete or diverged run: run.json, <table>.csv
    outputs/<study>/<command>/<id>.checkpoint      an interrupted run; the same line resumes it
    outputs/<study>/<command>/<id>.failed.json     what a failed run said
    outputs/<study>/<command>/.tmp-<id>-...        a run at work, or what a killed one left
    outputs/<study>/<command>/figures/<pool>/      what `plot` drew

A folder named by an id was renamed into place whole, so readers need no lock.
"""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from toolbox.core import atomic, manifest
from toolbox.core.errors import TableError, ToolboxError


def is_id(name: str) -> bool:
    """Whether a folder of this name is a run's, whatever is in it."""
    return bool(re.fullmatch(r"[0-9a-f]{12}", name))


def is_empty(path: Path) -> bool:
    """Whether a folder holds nothing: Snakemake makes those in which it expects outputs."""
    try:
        return not any(path.iterdir())
    except OSError:
        return False


@dataclass(frozen=True)
class RunPaths:
    """The names of one run's files and folders."""

    command_folder: Path
    id: str

    @property
    def final(self) -> Path:
        """The folder of the finished run."""
        return self.command_folder / self.id

    @property
    def checkpoint(self) -> Path:
        """The file from which an interrupted run goes on."""
        return self.command_folder / f"{self.id}.checkpoint"

    @property
    def failure(self) -> Path:
        """The manifest of a failed run."""
        return self.command_folder / f"{self.id}.failed.json"

    def new_temporary(self) -> Path:
        """Make the folder that this process alone writes to.

        Errors: `ToolboxError` when the folder cannot be written, before any computation.
        """
        folder = atomic.temporary_sibling(self.final)
        try:
            self.command_folder.mkdir(parents=True, exist_ok=True)
            self._remove_stale()
            folder.mkdir()
        except OSError as error:
            raise atomic.refused(self.final, error) from None
        return folder

    def damage(self) -> str:
        """What is wrong with the result that is there, if it is not a whole one.

        An empty folder is no result.
        """
        while (seen := self._inode()) is not None and not is_empty(self.final):
            try:
                manifest.finished(self.final)
            except manifest.BadManifest as error:
                if self._inode() == seen:
                    return str(error)
                continue  # another process was replacing it just now
            break
        return ""

    def publish(self, temporary: Path, replace: bool) -> bool:
        """Rename a finished temporary folder to its final name.

        Returns False when another process published the same run first (the results are the
        same, so this one's are dropped), unless `replace`.
        """
        atomic.sync_folder(temporary)
        while True:
            try:
                temporary.rename(self.final)
            except OSError as error:
                # Not by looking at the final name: another process may be replacing it just now.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if not replace:
                    if wrong := self.damage():
                        raise self.refuse(wrong) from None
                    if manifest.read(self.final) is None:
                        continue  # another process is replacing it just now
                    shutil.rmtree(temporary)
                    return False
                self._set_aside()
                continue
            atomic.sync_folder(self.command_folder)
            self._remove_set_aside()
            return True

    def refuse(self, wrong: str) -> ToolboxError:
        """The one sentence for a result that is damaged: the user says what becomes of it."""
        return TableError(
            f"{self.final} is damaged ({wrong}); --again makes it anew, toolbox clean removes it"
        )

    def recover(self) -> None:
        """Undo a replacement that was killed between its two renames, or finish it after them."""
        left = sorted(self.command_folder.glob(f".old-{self.id}-*"))
        if not left:
            return
        if self.final.exists():
            if not self.damage():
                self._remove_set_aside()
            return
        for old in left:
            with contextlib.suppress(OSError):
                old.rename(self.final)
                return

    def _remove_stale(self) -> None:
        """What killed attempts at this run left."""
        for left in self.command_folder.glob(f".tmp-{self.id}*"):
            if atomic.is_stale(left):
                with contextlib.suppress(OSError):  # another process may be at it
                    atomic.remove(left)

    def _inode(self) -> int | None:
        """Which folder has the final name now."""
        try:
            return self.final.lstat().st_ino
        except OSError:  # there is none, or the folder above it says why when it is written to
            return None

    def _set_aside(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            self.final.rename(self.command_folder / f".old-{self.id}-{secrets.token_hex(4)}")

    def _remove_set_aside(self) -> None:
        for old in self.command_folder.glob(f".old-{self.id}-*"):
            shutil.rmtree(old, ignore_errors=True)
