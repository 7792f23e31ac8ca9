"""Tables for people: 80 columns wide where the words allow it, plain in a pipe, never cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    lengths = [max(map(_length, [columns[k], *(row[k] for row in cells)])) for k in kept]
    taken = sum(lengths[:-1]) + 2 * (len(kept) - 1)
    console = Console(
        file=io.StringIO(),
        force_terminal=text.coloured(stream),
        color_system="standard" if text.coloured(stream) else None,
        width=max(text.width(), taken + min(24, lengths[-1]) + 3),
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
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def verdict_table(
    verdicts: Sequence[Verdict], stream: IO[str], title: str = "", statements: bool = False
) -> str:
    """claim | paper | measured [95 % CI] | region | seeds | verdict, the paper's claims first.

    Below the table: why a verdict is inconclusive and what would settle it, with `statements` also
    what each claim says and where it stands; one line for each claim that is not tested; and how
    many claims of each origin are supported.
    """
    from toolbox.core.claims import ORIGIN_NAMES, summaries

    tested = {
        origin: [v for v in verdicts if v.origin == origin and v.verdict != "not tested"]
        for origin in ORIGIN_NAMES
    }
    shown = [verdict for group in tested.values() for verdict in group]
    parts = []
    if shown:
        parts.append(_numbers(tested, stream, title))
    elif title:
        parts.append(title)
    notes = [note for verdict in shown for note in _notes(verdict, statements)]
    if notes:
        notes = ["", *notes]
    not_tested = [verdict for verdict in verdicts if verdict.verdict == "not tested"]
    if not_tested:
        notes.append("\nNot tested with these parameters; what would test it:")
        notes += [text.wrapped(_how_to_test(verdict), "  ", "      ") for verdict in not_tested]
    return "\n".join([*parts, *notes, "", *summaries(verdicts)])


def _numbers(tested: Mapping[str, Sequence[Verdict]], stream: IO[str], title: str) -> str:
    """The table itself; each origin has a line of its own above its claims."""
    from toolbox.core.claims import ORIGIN_NAMES

    head = ("claim", "paper", "measured [95 % CI]", "region", "seeds", "verdict")
    rows: list[tuple[str, ...]] = []
    styles = []
    for origin, group in tested.items():
        if group:
            rows.append((ORIGIN_NAMES[origin], *[""] * 5))
            styles.append("")
        for verdict in group:
            seeds = str(verdict.replicates)
            if verdict.diverged:
                seeds += f"\n{verdict.diverged} diverged"
            region = region_text(verdict.region)
            measured = measured_text(verdict)
            name = f" {verdict.claim}"
            rows.append((name, verdict.paper, measured, region, seeds, verdict.verdict))
            styles.append(COLOURS[verdict.verdict])
    if _width(head, rows) > text.width():  # the paper's value also stands with the statement
        rows = [(row[0], "", *row[2:]) for row in rows]
    if _width(head, rows) > text.width():
        head = (*head[:2], "measured\n[95 % CI]", *head[3:])
        rows = [
            (*row[:2], row[2].replace(" [", "\n["), row[3].replace(" to ", " to\n"), *row[4:])
            for row in rows
        ]
    return draw(head, rows, stream, title, styles)


def _width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How wide `draw` makes a table; a column without a word is left out there."""
    kept = [k for k, _ in enumerate(columns) if any(row[k] not in ("", "-") for row in rows)]
    return sum(2 + max(map(_length, [columns[k], *(row[k] for row in rows)])) for k in kept)


def _length(cell: str) -> int:
    return max(map(len, cell.split("\n")))


def _notes(verdict: Verdict, statement: bool) -> list[str]:
    """What stands below the table of one claim that was tested, wrapped at words."""
    notes = []
    if statement:
        paper = f"; the paper's value: {verdict.paper}" if verdict.paper != "-" else ""
        said = f"{verdict.claim}: {verdict.statement} [{verdict.reference}{paper}]"
        notes.append(text.wrapped(said, rest="    "))
        if verdict.scaled_down:
            notes.append(text.wrapped(f"At this scale: {verdict.scaled_down}", "    ", "    "))
    if verdict.verdict == "inconclusive":
        said = f"inconclusive: {verdict.reason}"
        if verdict.remedy:
            said += f"; to settle it: {text.unbroken_flags(verdict.remedy)}"
        name = "" if statement else f"{verdict.claim} "
        notes.append(text.wrapped(name + said, "    " if statement else "", "    "))
    return notes


def _how_to_test(verdict: Verdict) -> str:
    return f"{verdict.claim}: {text.unbroken_flags(verdict.remedy) or verdict.reason}"


def measured_text(verdict: Verdict) -> str:
    """What was measured with its interval: '1.13 [1.12, 1.14]', '0.349 (exact)', or '-'."""
    if verdict.measured is None:
        return "-"
    if verdict.low == verdict.high == verdict.measured:
        return f"{verdict.measured:.5g} (exact)"
    if verdict.replicates == 1:
        return f"{verdict.measured:.4g} (1 seed)"
    if verdict.low is None and verdict.high is None:
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
