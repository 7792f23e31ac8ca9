"""Tables for people. On a terminal Rich draws them; in a pipe they are plain and never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from toolbox.core.claims import Verdict

_COLOUR = {"supported": "green", "refuted": "red", "inconclusive": "yellow"}


def draw(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    stream: IO[str],
    title: str = "",
    styles: Sequence[str] = (),
) -> str:
    """A table as text; styled when `stream` is a terminal, without any escape when it is not."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = stream.isatty()
    if terminal:
        console = Console(file=io.StringIO(), force_terminal=True, width=Console().width)
    else:
        console = Console(file=io.StringIO(), force_terminal=False, color_system=None, width=10_000)
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=not terminal, overflow="fold")
    for number, row in enumerate(rows):
        style = styles[number] if number < len(styles) else ""
        cells = [Text(cell) for cell in row]  # Text: a value like [x] is no markup
        if style:
            cells[-1].stylize(style)
        table.add_row(*cells)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def verdict_table(verdicts: Sequence[Verdict], stream: IO[str], title: str = "") -> str:
    """claim | paper | measured [95 % CI] | pass region | seeds | verdict."""
    rows = [
        (
            verdict.claim,
            verdict.paper,
            _measured(verdict),
            _region(verdict.region),
            str(verdict.replicates),
            verdict.verdict + ("" if verdict.measured is not None else f": {verdict.reason}"),
        )
        for verdict in verdicts
    ]
    styles = [_COLOUR[verdict.verdict] for verdict in verdicts]
    head = ("claim", "paper", "measured [95 % CI]", "pass region", "seeds", "verdict")
    return draw(head, rows, stream, title, styles)


def _measured(verdict: Verdict) -> str:
    if verdict.measured is None:
        return "-"
    if verdict.low == verdict.high == verdict.measured:
        return f"{verdict.measured:.5g} (exact)"
    low = "-inf" if verdict.low is None else f"{verdict.low:.4g}"
    high = "inf" if verdict.high is None else f"{verdict.high:.4g}"
    return f"{verdict.measured:.4g} [{low}, {high}]"


def _region(region: tuple[float | None, float | None]) -> str:
    low, high = region
    if low is None:
        return f"<= {high:g}"
    if high is None:
        return f">= {low:g}"
    return f"{low:g} to {high:g}"
