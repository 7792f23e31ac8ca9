"""Capacity: the largest size that training still learns, by the paper's binary search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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


Trial = Callable[[int, Sequence[int], Callable[[Callable[[], Any]], None], Any], dict[int, bool]]
"""(size, replicates, tick, saved) -> which replicates learnt it."""


def search_together(
    searches: list[Search],
    trial: Trial,
    tick: Callable[[Callable[[], Any]], None],
    saved: Any,
) -> None:
    """Run the searches of all replicates; those that ask for one size train as one ensemble.

    tick : called with a function that returns the state; saved : that state, to go on
    """
    inner = None
    if saved is not None:
        searches[:] = [Search(**one) for one in saved["searches"]]
        inner = saved["trial"]

    def ticking(state: Callable[[], Any]) -> None:
        tick(lambda: {"searches": [asdict(one) for one in searches], "trial": state()})

    while True:
        asked = [one.ask() for one in searches]
        sizes = [size for size in asked if size is not None]
        if not sizes:
            return
        size = min(sizes)
        who = [repeat for repeat, each in enumerate(asked) if each == size]
        learnt = trial(size, who, ticking, inner)
        inner = None
        for repeat in who:
            searches[repeat].tell(size, learnt[repeat])
