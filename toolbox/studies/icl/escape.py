"""Plateaus as they are left: running means of a task's losses, escape and completion.

Steps count from 0, as in the official logger. The running window starts filled with infinity, so no
task escapes before step `window` - 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEVER = -1


def running_mean(before: Array, new: Array) -> Array:
    """Mean over the last W rows at every row of `new`.

    before : (W - 1, K), the rows just before; new : (S, K). Returns (S, K).
    """
    window = len(before) + 1
    rows: Array = sliding_window_view(np.concatenate([before, new]), window, axis=0).mean(axis=-1)
    return rows


def first(hit: NDArray[np.bool_], start: int) -> NDArray[np.int64]:
    """Step of the first True of each column of `hit : (S, K)`, which begins at step `start`."""
    return np.where(hit.any(axis=0), start + hit.argmax(axis=0), NEVER)


class Track:
    """What is kept of the K tasks of one member while it trains."""

    def __init__(
        self, window: int, threshold: float, every: int, boolean: NDArray[np.bool_], finish: Array
    ) -> None:
        """Finish : (K,), the last-position loss below which a continuous task is complete."""
        self.threshold, self.every, self.boolean, self.finish = threshold, every, boolean, finish
        k = len(boolean)
        self.steps = 0
        self.escape = np.full(k, NEVER)
        self.complete = np.full(k, NEVER)
        self.tail = np.full((window - 1, k), np.inf)
        self.last_tail = np.full((window - 1, k), np.inf)
        self.pending = np.empty((0, 3, k))
        self.rows = np.empty((0, 4, k))
        """(recorded, [step, loss, last loss, last accuracy], K)."""

    def add(self, loss: Array, last: Array, accuracy: Array) -> None:
        """S more steps, (S, K) each: normalised loss, the same at the last position, and the share
        of right signs there."""
        goal = np.where(self.boolean, -accuracy, last)
        limit = np.where(self.boolean, -0.95, self.finish)
        for found, tail, new, bound in (
            (self.escape, self.tail, loss, self.threshold),
            (self.complete, self.last_tail, goal, limit),
        ):
            now = first(running_mean(tail, new) < bound, self.steps)
            found[found == NEVER] = now[found == NEVER]
        self.tail = np.concatenate([self.tail, loss])[len(loss) :]
        self.last_tail = np.concatenate([self.last_tail, goal])[len(goal) :]
        self.steps += len(loss)
        self.pending = np.concatenate([self.pending, np.stack([loss, last, accuracy], axis=1)])
        while len(self.pending) >= self.every:
            self._record(self.every)

    def _record(self, count: int) -> None:
        step = self.steps - len(self.pending) + count - 1
        mean = self.pending[:count].mean(axis=0)
        row = np.concatenate([np.full((1, mean.shape[1]), step), mean])
        self.rows = np.concatenate([self.rows, row[None]])
        self.pending = self.pending[count:]

    def close(self) -> None:
        """Record the rest of the last interval."""
        if len(self.pending):
            self._record(len(self.pending))

    _KEPT = ("steps", "escape", "complete", "tail", "last_tail", "pending", "rows")

    def state(self) -> dict[str, Any]:
        """All that changes."""
        return {name: np.copy(getattr(self, name)) for name in self._KEPT}

    def load(self, state: Any) -> None:
        """Go on from what `state` returned."""
        for name in self._KEPT:
            setattr(self, name, np.copy(state[name]))
        self.steps = int(state["steps"])
