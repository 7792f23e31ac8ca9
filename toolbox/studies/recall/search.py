"""Capacity: the largest size that training still learns, by the paper's binary search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

RESOLUTION = 1.01


@dataclass
class Search:
    """A bracket [low, high): `low` counts as learnt, `high` as not; neither was tried at first."""

    low: int
    high: int
    first_low: int
    first_high: int
    trials: int = 0

    @classmethod
    def between(cls, low: int, high: int) -> Search:
        """A search that has tried nothing yet."""
        return cls(low, high, low, high)

    def ask(self) -> int | None:
        """The next size to try, or None when the bracket is within 1 % or one."""
        if self.high / self.low > RESOLUTION and self.high - self.low > 1:
            return (self.low + self.high) // 2
        return None

    def tell(self, size: int, learnt: bool) -> None:
        """The outcome of a trial."""
        self.trials += 1
        if learnt:
            self.low = size
        else:
            self.high = size

    @property
    def censored(self) -> str:
        """below: nothing was learnt, the capacity is at most `low`; above: everything was."""
        if self.low == self.first_low:
            return "below"
        return "above" if self.high == self.first_high else "no"


def next_trial(searches: Sequence[Search]) -> tuple[int, list[int]] | None:
    """The smallest size that one of the searches asks for, and which of them ask for it: these
    train as one ensemble. None when all have ended."""
    asked = [search.ask() for search in searches]
    open_sizes = [size for size in asked if size is not None]
    if not open_sizes:
        return None
    size = min(open_sizes)
    return size, [number for number, each in enumerate(asked) if each == size]
