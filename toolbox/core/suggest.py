"""The nearest known name, for messages about a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[object], cutoff: float = 0.6) -> str | None:
    """The known name that is most like `name`, capitals aside; None when none is like it.

    cutoff : least likeness, 0 (anything) to 1 (the same)
    """
    folded = {str(each).casefold(): str(each) for each in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def did_you_mean(name: str, known: Iterable[object], cutoff: float = 0.6) -> str:
    """`; did you mean 'axes'?` to put behind a message, or nothing."""
    matches = nearest(name, known, cutoff)
    return f"; did you mean {matches!r}?" if matches else ""
