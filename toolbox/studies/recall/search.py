"""Capacity: the largest size that training still learns, by the paper's binary search.

The paper's bracket ends above all of its capacities. Where a memory learns everything in it, as
with few outputs, the upper end is doubled and the search goes on, up to the information bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESOLUTION = 1.01


@dataclass
class Search:
    """A bracket [low, high): `low` counts as learnt, `high` as not; neither was tried at first."""

    low: int
    high: int
    most: int
    """`high` is doubled up to this while everything is learnt."""
    learnt: bool = False
    """Whether a size was learnt."""
    failed: bool = False
    """Whether a size was not."""
    diverged: bool = False
    """Whether training diverged at every rate, which ends the search without a capacity."""
    trials: int = 0

    @classmethod
    def between(cls, low: int, high: int, most: int = 0) -> Search:
        """A search that has tried nothing yet; most : at least `high`."""
        return cls(low, high, max(high, most))

    @property
    def closed(self) -> bool:
        """Whether the bracket is within 1 % or one."""
        return self.high / self.low <= RESOLUTION or self.high - self.low <= 1

    def ask(self) -> int | None:
        """The next size to try, or None at the end."""
        return None if self.closed or self.diverged else (self.low + self.high) // 2

    def tell(self, size: int, learnt: bool) -> None:
        """The outcome of a trial."""
        self.trials += 1
        if learnt:
            self.low, self.learnt = size, True
            if self.closed and not self.failed:
                self.high = min(2 * self.high, self.most)
        else:
            self.high, self.failed = size, True

    @property
    def censored(self) -> str:
        """below: nothing was learnt, the capacity is at most `low`; above: everything was."""
        if not self.learnt:
            return "below"
        return "no" if self.failed else "above"


def next_trial(searches: Sequence[Search]) -> tuple[int, list[int]] | None:
    """The smallest size that one of the searches asks for, and which of them ask for it: these
    train as one ensemble. None when all have ended."""
    asked = [search.ask() for search in searches]
    open_sizes = [size for size in asked if size is not None]
    if not open_sizes:
        return None
    size = min(open_sizes)
    return size, [number for number, each in enumerate(asked) if each == size]
