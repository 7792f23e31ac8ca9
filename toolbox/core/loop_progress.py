"""How far the loops of a run are: one bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolbox.core.text import moves_its_cursor

if TYPE_CHECKING:
    from toolbox.core.loops import Loop

_LINE_SECONDS = 30.0
_SHORTEST_GAP = 3.0  # ten lines in a two-second run would be noise
_BAR_SECONDS = 0.2


class LoopProgress:
    """Shows all loops under way as one place: "replicates: 1/4, steps: 300/1200 (31 %)".

    A cell counts as much as any other. Off a terminal a line is said every 30 s or 10 %, never
    faster than one in three seconds. What has been shown once is shown at its end too.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.note = ""
        self.due = time.monotonic()
        """When `show` is to be called next."""
        self._bar: Any = None
        self._said: tuple[str, float, float] | None = None
        """Label, time and share of the last line."""

    def show(self, loops: Sequence[Loop]) -> None:
        """Show where the run is, if it is time to."""
        now = time.monotonic()
        if self.quiet or not loops:
            self.due = now + _LINE_SECONDS
            return
        share = share_of(loops)
        if _bars() is not None:
            self.due = now + _BAR_SECONDS
            self._draw(loops, share)
            return
        self.due = now + _SHORTEST_GAP
        label = loops[0].label
        if self._said is None or self._said[0] != label:
            self._said = (label, now, share)
            return
        _, then, before = self._said
        if now - then >= _LINE_SECONDS or (share - before >= 0.1 and now - then >= _SHORTEST_GAP):
            self._line(f"{place_of(loops)} ({100 * share:.0f} %) {self.note}".rstrip())
            self._said = (label, now, share)
            self._shown = label

    _shown: str | None = None

    def ended(self, loop: Loop, outer: Sequence[Loop]) -> None:
        """An outermost loop is over: the last thing said of it must not be that it is half done."""
        if outer or self.quiet:
            return
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._shown == loop.label:
            done = loop.index + (1 if loop.early else 0)
            of = "" if loop.total is None else f"/{loop.total}"
            how = "ended early" if loop.early else "100 %"
            self._line(f"{loop.label}: {done}{of} ({how})")
        self._shown = self._said = None

    def _draw(self, loops: Sequence[Loop], share: float) -> None:
        if self._bar is None:
            bar = _bars()
            form = "{desc} {percentage:3.0f} %|{bar}| {elapsed}<{remaining}{postfix}"
            self._bar = bar(total=1.0, initial=share, leave=False, dynamic_ncols=True,
                             bar_format=form)  # fmt: skip
        self._bar.set_description_str(place_of(loops), refresh=False)
        self._bar.set_postfix_str(self.note, refresh=False)
        self._bar.update(share - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _bars() -> Any:
    """tqdm's class of bars for a terminal or a notebook; None where only lines can be shown.

    A notebook shows bars through the package ipywidgets.
    """
    if moves_its_cursor(sys.stderr):
        from tqdm import tqdm

        return tqdm
    if "ipykernel" in sys.modules and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm as notebook_tqdm

        return notebook_tqdm
    return None


def place_of(loops: Sequence[Loop]) -> str:
    """ "replicates: 1/4, steps: 300/1200"."""
    return ", ".join(
        f"{loop.label}: {loop.index}" + ("" if loop.total is None else f"/{loop.total}")
        for loop in loops
    )


def share_of(loops: Sequence[Loop]) -> float:
    """The share done, every cell counting alike; loops without a known end count nothing."""
    share, part = 0.0, 1.0
    for loop in loops:
        if not loop.total:
            break
        part /= loop.total
        share += part * (loop.index + loop.ahead())
    return min(share, 1.0)
