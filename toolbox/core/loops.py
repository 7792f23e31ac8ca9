"""The loops of a run: where it is, what its state is, and how it comes back there.

A checkpoint holds the place of every loop under way, and of every loop that ended in the same
cells, with their states. A resumed run is the same code once more: outer loops go on at their saved
cell, whose first lines run again without writing; loops that had ended are passed over with the
states that they left; and the innermost loop goes on at its saved step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

from toolbox.core import signals, states
from toolbox.core.loop_progress import LoopProgress
from toolbox.core.states import StateMismatch

END = object()
"""What `Loop.fetch` returns when there is nothing more."""


@dataclass(eq=False)
class Loop:
    """One loop that has begun."""

    label: str
    holds: list[Any]
    """The objects that are its state: those given, and what is kept for the run so far."""
    fetch: Callable[[int], Any]
    """Index -> the item of that cell or step, or `END`."""
    total: int | None
    steps: bool = False
    """Steps are counted alone; a cell may have loops of its own, and so remembers its start."""
    replicate: Callable[[Any], int] | None = None
    """Item -> the replicate that it belongs to, when one that diverges ends alone."""
    cells_of: Callable[[int], int] = lambda repeat: 1
    """Replicate -> how many cells of it this loop has."""
    ahead: Callable[[], float] = lambda: 0.0
    """Cells that are done beyond `index`, for progress: others may be at work on them."""
    index: int = 0
    item: Any = None
    ended: bool = False
    early: bool = False
    begun: Any = None
    """The states at the start of the cell under way."""
    final: Any = None
    """The states when it ended."""
    cell: Scope | None = None
    """What the cell under way has seen; None between two cells."""


@dataclass(eq=False)
class Scope:
    """The loops and the kept objects of one cell, or of the whole run."""

    saved: list[Any] = field(default_factory=list)
    """Trees of the loops that a resumed run has still to come by."""
    loops: list[Loop] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)


class Loops:
    """All loops of a run.

    boundary : called between two steps when a stop is asked for or `due` has come
    """

    def __init__(
        self, folder: Path, boundary: Callable[[Signals | None], None], progress: LoopProgress
    ) -> None:
        self.folder, self.boundary, self.progress = folder, boundary, progress
        self.root = Scope()
        self.scopes = [self.root]
        self.active: list[Loop] = []
        self.due = 0.0
        """The time at which `boundary` has something to do even if no stop is asked for."""
        self.arrived: Callable[[], None] | None = None
        """Called when a resumed run is back where it was; until then nothing is written."""
        self.unwinding = False
        """An exception is on its way out, so that loops are left but have not ended."""

    @property
    def replaying(self) -> bool:
        """Whether a resumed run is still on its way to where it was."""
        return self.arrived is not None

    def resume(self, saved: list[Any], arrived: Callable[[], None]) -> None:
        """Start again from trees that `tree` returned."""
        self.root = Scope(saved)
        self.scopes, self.active = [self.root], []
        self.arrived, self.unwinding = arrived, False

    def keep(self, value: Any) -> Any:
        """Save an object with every loop from here on, in this cell or in the whole run."""
        self._check([value])
        self._not_in_steps("run.kept")
        self.scopes[-1].kept.append(value)
        return value

    def run(self, loop: Loop) -> Iterator[Any]:
        """Yield the items of a loop."""
        self._check(loop.holds)
        self._not_in_steps(loop.label)
        loop.holds = [*loop.holds, *(kept for scope in self.scopes for kept in scope.kept)]
        scope, depth = self.scopes[-1], len(self.scopes)
        scope.loops.append(loop)
        self.unwinding = False
        inside = self._take_up(loop, scope)
        if loop.ended:
            return
        self.active.append(loop)
        try:
            while True:
                if inside is None:
                    stop = signals.asked()
                    if stop is not None or time.monotonic() >= self.due:
                        self.boundary(stop)
                    item = loop.fetch(loop.index)
                    if item is END:
                        break
                    if not loop.steps:
                        loop.begun = states.frozen(loop.holds, self.folder)
                else:
                    item = loop.fetch(loop.index)
                loop.item = item
                if not loop.steps:
                    loop.cell = Scope(inside or [])
                    self.scopes.append(loop.cell)
                    inside = None
                yield item
                if not loop.steps:
                    del self.scopes[depth:]
                    loop.cell = None
                loop.index += 1
        except BaseException as error:
            if loop not in self.active:  # left behind by an exception, and closed only now
                raise
            del self.scopes[depth:], self.active[self.active.index(loop) :]
            # A break, or an exception on its way out: then no loop has ended.
            self.unwinding |= not isinstance(error, GeneratorExit)
            if not self.unwinding:
                loop.early = True
                self._end(loop)
            raise
        self.active.pop()
        self._end(loop)

    def _take_up(self, loop: Loop, scope: Scope) -> list[Any] | None:
        """Bring a loop to where it was saved, if it was; returns the loops of its cell, or None
        when it was saved between two cells."""
        if not self.replaying:
            return None
        if not scope.saved:
            raise StateMismatch(f"the checkpoint knows no loop '{loop.label}' at this place")
        saved = scope.saved.pop(0)
        if saved["label"] != loop.label or len(saved["states"]) != len(loop.holds):
            raise StateMismatch(
                f"the checkpoint has the loop '{saved['label']}' where '{loop.label}' stands now"
            )
        for value, tree in zip(loop.holds, saved["states"], strict=True):
            states.put_back(value, tree)
        loop.index, loop.ended, loop.early = saved["index"], saved["ended"], saved["early"]
        if loop.ended:
            loop.final = saved["states"]
            return None
        if saved["inner"]:
            loop.begun = saved["states"]
            inside: list[Any] = saved["inner"]
            return inside
        arrived, self.arrived = self.arrived, None
        assert arrived is not None
        arrived()
        return None

    def _end(self, loop: Loop) -> None:
        loop.cell, loop.ended, loop.begun = None, True, None
        loop.final = states.frozen(loop.holds, self.folder)
        self.progress.ended(loop, self.active)

    def step(self) -> int | None:
        """The steps begun of the loop of steps under way."""
        last = self.active[-1] if self.active else None
        return last.index + 1 if last is not None and last.steps else None

    def unwind(self) -> list[Loop]:
        """The loops under way, for an exception that is about to leave them."""
        self.unwinding = True
        return list(self.active)

    def _check(self, values: list[Any]) -> None:
        for value in values:
            if not states.is_stateful(value):
                raise TypeError(
                    f"a {type(value).__name__} cannot be brought back in place; keep it in a dict, "
                    "a list or a dataclass, or give its class state_dict() and load_state_dict()"
                )

    def _not_in_steps(self, what: str) -> None:
        if self.active and self.active[-1].steps:
            raise TypeError(
                f"'{what}' stands inside run.steps '{self.active[-1].label}'; make the outer loop "
                "run.cells or run.search, which remember the state at the start of a cell"
            )

    def tree(self, path: list[Loop] | None = None, cut: Loop | None = None) -> list[Any]:
        """Where the run is, for `resume`.

        path : the loops under way, by default those of this moment
        cut : one of them, which is to go on with its next cell
        """
        return _tree(self.root, self.active if path is None else path, cut)


def _tree(scope: Scope, path: list[Loop], cut: Loop | None) -> list[Any]:
    loop = path[0]
    before = [_ended(each) for each in scope.loops if each is not loop]
    if loop is not cut and loop.cell is not None and len(path) > 1:
        inside = _tree(loop.cell, path[1:], cut)
        return [*before, _under_way(loop, loop.index, loop.begun, inside)]
    now = [states.encode(value) for value in loop.holds]
    return [*before, _under_way(loop, loop.index + (loop is cut), now, [])]


def _under_way(loop: Loop, index: int, held: list[Any], inside: list[Any]) -> dict[str, Any]:
    return {"label": loop.label, "index": index, "ended": False, "early": False, "states": held,
            "inner": inside}  # fmt: skip


def _ended(loop: Loop) -> dict[str, Any]:
    return {"label": loop.label, "index": loop.index, "ended": True, "early": loop.early,
            "states": loop.final, "inner": []}  # fmt: skip
