"""The pictures of a report: declared figures, and a small one for each interval."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from toolbox.commands import render
from toolbox.core.errors import ToolboxError

if TYPE_CHECKING:
    from toolbox.core.claims import Verdict
    from toolbox.core.figure import FigureSpec
    from toolbox.core.pools import Pool

_SPAN = (20.0, 80.0)
"""Where the smallest and the largest number of an interval's picture stand, in per cent."""
_WIDE = 200.0
"""From this ratio on, positive numbers stand on a logarithmic scale."""


@dataclass(frozen=True)
class Picture:
    """One declared figure of a pool."""

    name: str
    title: str
    caption: str
    notes: list[str]
    """What the lines and bands are, and what was left out."""
    claim: str
    svg: str = ""
    """An `<svg>` element without title and caption; empty where the figure cannot be drawn."""
    width: float = 0.0
    height: float = 0.0
    """In points."""
    error: str = ""

    @property
    def label(self) -> str:
        """What a screen reader says."""
        return ". ".join(part.rstrip(".") for part in (self.title, self.caption) if part)


def pictures(pool: Pool) -> list[Picture]:
    """The figures of a pool for an HTML page; an error is told in the place of its figure."""
    return [_picture(pool, name, spec) for name, spec in pool.spec.figures.items()]


def _picture(pool: Pool, name: str, spec: FigureSpec) -> Picture:
    bare = spec.model_copy(update={"title": "", "caption": ""})
    title, caption = render.in_words(spec.title), render.in_words(spec.caption)
    empty = Picture(name, title or name, caption, [], spec.claim or "")
    columns = pool.spec.tables[spec.table].all_columns
    try:
        figure, notes = render.render(pool.read(spec.table), bare, columns)
    except ToolboxError as caught:
        return replace(empty, error=str(caught))
    prefix = f"f{zlib.crc32(f'{pool.id} {name}'.encode()):x}"
    drawn = render.inline(figure, prefix, empty.label)
    # On a phone a wide figure is moved sideways rather than made too small to read.
    style = f"min-width: {0.8 * drawn.width:.0f}px; max-width: {1.3 * drawn.width:.0f}px"
    svg = drawn.markup.replace("<svg ", f'<svg style="{style}" ', 1)
    return replace(
        empty, notes=[*map(render.in_words, notes)], svg=svg, width=drawn.width, height=drawn.height
    )


@dataclass(frozen=True)
class Span:
    """A verdict on a line from 0 to 100: where the pass region, the interval and the values lie."""

    region: tuple[float, float]
    interval: tuple[float, float] | None
    open_low: bool
    open_high: bool
    """An end of the interval that is not finite."""
    measured: float | None
    paper: float | None
    edges: list[tuple[float, str, str]]
    """Place, text and side of each edge of the region."""
    label: str
    """What a screen reader says."""


def span(verdict: Verdict) -> Span | None:
    """The picture of a verdict's interval; None where nothing was measured."""
    if verdict.measured is None:
        return None
    bottom, top = verdict.region
    paper = _number(verdict.paper)
    numbers = [n for n in (bottom, top, verdict.measured, verdict.low, verdict.high, paper)
               if n is not None]  # fmt: skip
    place = _scale(numbers)
    exact = verdict.low == verdict.high == verdict.measured
    several = verdict.replicates > 1 and not exact
    low = 0.0 if verdict.low is None else place(verdict.low)
    high = 100.0 if verdict.high is None else place(verdict.high)
    edges = [(place(edge), f"{edge:g}", side)
             for edge, side in ((bottom, "end"), (top, "start")) if edge is not None]  # fmt: skip
    return Span(
        region=(0.0 if bottom is None else place(bottom), 100.0 if top is None else place(top)),
        interval=(low, high) if several else None,
        open_low=several and verdict.low is None,
        open_high=several and verdict.high is None,
        measured=place(verdict.measured),
        paper=None if paper is None else place(paper),
        edges=edges,
        label=_sentence(verdict, several),
    )


def _sentence(verdict: Verdict, several: bool) -> str:
    from toolbox.core.show import region_text

    said = f"{verdict.claim}: measured {verdict.measured:.4g}"
    if several:
        ends = ["no bound" if end is None else f"{end:.3g}" for end in (verdict.low, verdict.high)]
        said += f", 95 % interval from {ends[0]} to {ends[1]}"
    return f"{said}; pass region {region_text(verdict.region)}; {verdict.verdict}"


def _scale(numbers: list[float]) -> Callable[[float], float]:
    low, high = min(numbers), max(numbers)
    start, end = _SPAN
    if low > 0 and high / low > _WIDE:
        bottom, width = math.log(low), math.log(high / low)
        return lambda number: start + (end - start) * (math.log(number) - bottom) / width
    if low == high:
        return lambda number: (start + end) / 2
    return lambda number: start + (end - start) * (number - low) / (high - low)


def _number(text: str) -> float | None:
    """The paper's value where it is a number and nothing else."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
