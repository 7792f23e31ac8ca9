"""The legend: what is drawn and nothing else; curves of one condition share a line of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .guides import LINE
from .looks import Looks
from .plotdata import Plot
from .style import GREY
from .words import drawn, length

LINE_HEIGHT = 0.205  # inches of a line of the legend
COLUMNS = 2
ABREAST = 3  # handles in one line


@dataclass
class Entry:
    """One line: a handle, or a tuple of them side by side, and its text."""

    handle: Any
    text: str
    heading: bool = False


class Legend:
    """Entries for hues, styles (under their names when there are both) and the highlight."""

    def __init__(self, plot: Plot, looks: Looks) -> None:
        self.plot, self.looks = plot, looks
        self.pairs = plot.combinations()
        spec = plot.spec
        self.both = bool(plot.hues and plot.styles) and spec.hue != spec.style
        self.entries = self._entries() if spec.kind != "heatmap" else []
        self.columns = 1

    @property
    def width(self) -> float:
        """Inches that it takes beside the panels."""
        if not self.entries:
            return 0.0
        longest = max(length(entry.text) for entry in self.entries)
        return self.columns * (0.75 + 0.075 * min(longest, 40) + 0.3 * (self._abreast() - 1))

    def fit(self, height: float) -> None:
        """Take a second column, and cut, where a figure of this height has no room; says so."""
        room = int((height - 0.4) / LINE_HEIGHT)
        if len(self.entries) <= room:
            return
        self.columns = COLUMNS
        room *= COLUMNS
        if len(self.entries) > room:
            cut = len(self.entries) - room + 1
            self.entries = self.entries[: room - 1]
            self.entries.append(Entry(_nothing(), f"... and {cut} more"))
            self.plot.notes.append(
                f"the legend is cut: {cut} of its {cut + room - 1} labels do not fit"
            )

    def of_guides(self, labels: Sequence[str]) -> None:
        """Name the guides whose labels find no room in a panel."""
        self.entries += [Entry(Line2D([], [], **LINE), label) for label in labels]

    def draw(self, figure: Figure) -> None:
        """Put it to the right of the panels."""
        if not self.entries:
            return
        spec = self.plot.spec
        named = None if self.both else spec.hue or spec.style
        heading = self.plot.column(named) if named and (self.plot.hues or self.plot.styles) else ""
        legend = figure.legend(
            handles=[entry.handle for entry in self.entries],
            labels=[drawn(entry.text) for entry in self.entries],
            title=drawn(heading) or None,
            loc="outside right upper",
            alignment="left",
            ncols=self.columns,
            handlelength=2.4 if self._abreast() == 1 else 2.0 * self._abreast(),
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0.6)},
        )
        for text, entry in zip(legend.get_texts(), self.entries, strict=True):
            if entry.heading:
                text.set_fontweight("bold")

    def _abreast(self) -> int:
        tuples = [len(e.handle) for e in self.entries if isinstance(e.handle, tuple)]
        return max(tuples, default=1)

    def _entries(self) -> list[Entry]:
        plot, spec = self.plot, self.plot.spec
        entries: list[Entry] = []
        if plot.hues and self.looks.norm is None:
            if self.both:
                entries.append(Entry(_nothing(), plot.column(spec.hue or ""), heading=True))
            entries += [Entry(self._of_hue(hue), plot.text(hue)) for hue in plot.hues]
        if plot.styles and spec.hue != spec.style:
            if self.both:
                entries.append(Entry(_nothing(), plot.column(spec.style or ""), heading=True))
            grey = GREY if plot.hues else None
            entries += [
                Entry(self._handle(None, style, grey), plot.text(style)) for style in plot.styles
            ]
        if spec.highlight and any(panel.marks for panel in plot.panels):
            star = Line2D([], [], linestyle="none", marker="*", markersize=11, color="white",
                          markeredgecolor="black")  # fmt: skip
            entries.append(Entry(star, spec.highlight.label))
        return entries

    def _of_hue(self, hue: str) -> Any:
        """Every style that is drawn in this colour, side by side: theory beside its data."""
        if not self.both:
            return self._handle(hue, hue if self.plot.styles else None)
        styles = [style for other, style in self.pairs if other == hue]
        handles = tuple(self._handle(hue, style) for style in styles[:ABREAST])
        return handles if len(handles) > 1 else handles[0]

    def _handle(self, hue: str | None, style: str | None, colour: Any = None) -> Any:
        look, kind = self.looks.of(hue, style), self.plot.spec.kind
        colour = colour or look.colour
        if kind == "bar":
            return Patch(facecolor=colour, edgecolor="white", hatch=self.looks.hatch(hue, style))
        return Line2D(
            [], [], color=colour, marker=self.looks.marker(hue, style),
            linestyle="none" if kind == "scatter" else look.dash,
        )  # fmt: skip


def _nothing() -> Any:
    return Line2D([], [], linestyle="none")
