"""Tables for people: 80 columns wide where the words allow it, plain in a pipe, never cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING

from toolbox.core import text

if TYPE_CHECKING:
    from toolbox.core.claims import Verdict

COLOURS = {"supported": "green", "refuted": "red", "inconclusive": "yellow", "not tested": "dim"}


def draw(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    stream: IO[str],
    title: str = "",
    styles: Sequence[str] = (),
) -> str:
    """A table as text; styled when `stream` is a terminal, without any escape when it is not.

    Columns without a word are left out. The last column is wrapped at words where the table would
    be wider than the terminal; nothing is ever cut.
    """
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [tuple(row) for row in rows]
    kept = [k for k, _ in enumerate(columns) if any(row[k] not in ("", "-") for row in cells)]
    if not kept:
        kept = list(range(len(columns)))
    lengths = [max(len(columns[k]), *(len(row[k]) for row in cells), 0) for k in kept]
    taken = sum(lengths[:-1]) + 2 * (len(kept) - 1)
    last = max(text.width() - taken, min(24, lengths[-1]))
    console = Console(
        file=io.StringIO(),
        force_terminal=text.coloured(stream),
        color_system="standard" if text.coloured(stream) else None,
        width=taken + max(last, 1) + 4,
    )
    table = Table(
        title=title or None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
    )
    for k in kept:
        table.add_column(columns[k], no_wrap=k != kept[-1], overflow="fold")
    for number, row in enumerate(cells):
        style = styles[number] if number < len(styles) else ""
        line = [Text(row[k]) for k in kept]  # Text: a value like [x] is no markup
        if style:
            line[-1].stylize(style)
        table.add_row(*line)
    with console.capture() as capture:
        console.print(table)
    drawn = "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")
    return text.shown(drawn, stream)


def verdict_table(
    verdicts: Sequence[Verdict], stream: IO[str], title: str = "", statements: bool = False
) -> str:
    """claim | paper | measured [95 % CI] | pass region | seeds | verdict, one origin after another.

    Below the table: why a verdict is inconclusive or a claim is not tested and what would settle
    it; with `statements` also what each claim says and where it stands.
    """
    from toolbox.core.claims import ORIGINS

    ordered = sorted(verdicts, key=lambda verdict: ORIGINS.index(verdict.origin))
    tested = [verdict for verdict in ordered if verdict.verdict != "not tested"]
    rows: list[tuple[str, ...]] = [
        (
            verdict.claim,
            verdict.origin,
            verdict.paper,
            _measured(verdict),
            region_text(verdict.region),
            str(verdict.replicates) + (f" ({verdict.diverged} div.)" if verdict.diverged else ""),
            verdict.verdict,
        )
        for verdict in tested
    ]
    head = ("claim", "origin", "paper", "measured [95 % CI]", "pass region", "seeds", "verdict")
    wide = [max([len(head[k]), *(len(row[k]) for row in rows)]) + 2 for k in range(len(head))]
    # What does not fit into the terminal stands in the lines below: the paper's value, the origin.
    for k in (2, 1):
        if sum(wide) > text.width() + 2:
            rows = [tuple("" if n == k else cell for n, cell in enumerate(row)) for row in rows]
            wide[k] = 0
    parts = []
    if tested:
        styles = [COLOURS[verdict.verdict] for verdict in tested]
        parts.append(draw(head, rows, stream, title, styles))
    elif title:
        parts.append(title)
    notes = [_note(verdict, statements) for verdict in ordered]
    parts += [text.shown(note, stream) for note in notes if note]
    return "\n".join(parts)


def _note(verdict: Verdict, statement: bool) -> str:
    """What stands below the table of one claim, wrapped at words."""
    lines = []
    if statement:
        paper = f"; the paper's value: {verdict.paper}" if verdict.paper != "-" else ""
        said = f"{verdict.claim} ({verdict.origin}): {verdict.statement} "
        lines.append(text.wrapped(f"{said}[{verdict.reference}{paper}]", rest="    "))
        if verdict.scaled_down:
            lines.append(text.wrapped(f"At this scale: {verdict.scaled_down}", "    ", "    "))
    undecided = verdict.verdict in ("inconclusive", "not tested")
    if undecided or verdict.diverged:
        said = f"{verdict.verdict}, {verdict.reason}"
        if verdict.remedy:
            said += f"; {'to test it' if verdict.verdict == 'not tested' else 'to settle it'}: "
            said += verdict.remedy.replace(" ", text.NO_BREAK)
        name = "" if statement else f"{verdict.claim}: "
        lines.append(text.wrapped(name + said, "    " if statement else "", "    "))
    return "\n".join(lines)


def _measured(verdict: Verdict) -> str:
    if verdict.measured is None:
        return "-"
    if verdict.low == verdict.high == verdict.measured:
        return f"{verdict.measured:.5g} (exact)"
    if verdict.replicates == 1 or (verdict.low is None and verdict.high is None):
        return f"{verdict.measured:.4g}"
    low = "-inf" if verdict.low is None else f"{verdict.low:.3g}"
    high = "inf" if verdict.high is None else f"{verdict.high:.3g}"
    return f"{verdict.measured:.4g} [{low}, {high}]"


def region_text(region: tuple[float | None, float | None]) -> str:
    """A pass region in words: '<= 1', '0.9 to 1.1'."""
    low, high = region
    if low is None:
        return f"<= {high:g}"
    if high is None:
        return f">= {low:g}"
    return f"{low:g} to {high:g}"
