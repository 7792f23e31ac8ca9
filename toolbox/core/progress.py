"""Progress on stderr: a bar on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from toolbox.core.text import moves_its_cursor

_LINE_SECONDS = 30.0
_SHORTEST_GAP = 3.0  # ten lines in a two-second run would be noise


class Progress:
    """Counts `total` steps. Off a terminal it says a line every 30 s or 10 %, never faster
    than one in three seconds; bars in a log file make thirty megabytes of it.
    """

    def __init__(self, total: int, label: str, start: int = 0, quiet: bool = False) -> None:
        self.total, self.label, self.done, self.quiet = total, label, start, quiet
        self._last_time, self._last_done = time.monotonic(), start
        self._bar: Any = None
        if not quiet and moves_its_cursor(sys.stderr):
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=start, desc=label, leave=False, dynamic_ncols=True
            )

    def update(self, steps: int = 1, note: str = "") -> None:
        """Count `steps` more; `note` is shown behind the count ('loss 0.31')."""
        self.done += steps
        if self.quiet:
            return
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(steps)
            return
        waited = time.monotonic() - self._last_time
        tenth = 10 * (self.done - self._last_done) >= self.total
        if waited >= _LINE_SECONDS or (tenth and waited >= _SHORTEST_GAP):
            share = 100 * self.done / max(self.total, 1)
            text = f"{self.label}: {self.done}/{self.total} ({share:.0f} %) {note}".rstrip()
            print(text, file=sys.stderr, flush=True)
            self._last_time, self._last_done = time.monotonic(), self.done

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
