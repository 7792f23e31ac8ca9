"""What a drawing needs, with all decisions on data taken: panels of curves, bars or cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolbox.core.figure import FigureSpec

from .repeats import entry
from .statistics import Array
from .style import text_of

Line = tuple[Array, Array]
LONG = 42
"""A meaning of more characters explains the column in its tables but fits no axis."""
LONGEST = 48
"""Characters of a label; more of them leave no room for the curves."""


@dataclass
class Curve:
    """One hue and style in one panel. Bars use it too: x is then the place of the category."""

    hue: str | None
    style: str | None
    line: Line | None
    """The estimate, or the only replicate; None where replicates stand for themselves."""
    low: Array | None = None
    high: Array | None = None
    members: list[Line] = field(default_factory=list)
    """Replicates, or parts of them, that are drawn one by one."""
    count: int = 1
    """How many replicates it stands for."""
    spikes: tuple[Array, Array, Array] | None = None
    """Of an envelope: places, the line below them, and the values that stand out of it."""

    @property
    def lines(self) -> list[Line]:
        """The lines that carry the message."""
        return [self.line] if self.line is not None else self.members


@dataclass
class Cells:
    """A heat map: labels of the columns `xs : (W,)` and rows `ys : (H,)`, `values : (H, W)`."""

    xs: list[str]
    ys: list[str]
    values: Array


@dataclass
class Panel:
    """One pair of axes; `row` and `col` are the facet's labels."""

    row: str | None
    col: str | None
    curves: list[Curve] = field(default_factory=list)
    cells: Cells | None = None
    marks: list[tuple[str | None, Array, Array]] = field(default_factory=list)


@dataclass
class Plot:
    """Everything a drawing needs: spec, panels in reading order and the looks of labels."""

    spec: FigureSpec
    columns: Mapping[str, Any]
    panels: list[Panel]
    shape: tuple[int, int]
    hues: dict[str, int]
    """Labels that are drawn, in the order of the legend, with the slot of each."""
    ramp: dict[str, float]
    """Of hues that are numbers: the place of each on the colour scale, 0 to 1."""
    styles: dict[str, int]
    continuous: bool
    categories: list[str] | None
    dates: bool
    notes: list[str]
    summary: str = ""
    """What the curves are: `mean of 5 replicates; band: ...`."""

    def text(self, key: str) -> str:
        """A label as shown; a very long one, as that of a path, by its beginning and its end."""
        if key in self.spec.labels:
            return self.spec.labels[key]
        text = text_of(key)
        if len(text) <= LONGEST or "$" in text:
            return text
        return f"{text[: LONGEST // 2]}…{text[-(LONGEST // 2) + 1 :]}"

    def column(self, name: str) -> str:
        """A column as shown on an axis or a legend: `meaning [unit]`."""
        if name in self.spec.labels:
            return self.spec.labels[name]
        unit = entry(self.columns, name, "unit")
        return f"{self.word(name)} [{unit}]" if unit not in ("", "1") else self.word(name)

    def word(self, name: str) -> str:
        """A column in words: its label, its meaning where that is short, else its name."""
        if name in self.spec.labels:
            return self.spec.labels[name]
        meaning = entry(self.columns, name, "meaning")
        return meaning if meaning and len(meaning) <= LONG else name

    def heading(self, panel: Panel) -> str:
        """What tells a panel from the others: `dimension d = 8`."""
        labels = {name: {getattr(each, name) for each in self.panels} for name in ("row", "col")}
        # What all panels share tells none from another; a single one shows what it is of.
        several = len(self.panels) > 1
        alike = {getattr(self.spec, name) for name in labels if several and len(labels[name]) == 1}
        facets = ((self.spec.row, panel.row), (self.spec.col, panel.col))
        return ", ".join(
            self.spec.labels.get(label) or f"{self.word(name)} = {self.text(label)}"
            for name, label in facets
            if name is not None and label is not None and name not in alike
        )

    def combinations(self) -> list[tuple[str | None, str | None]]:
        """The pairs of hue and style that some panel draws, in the order of the legend."""
        drawn = {(curve.hue, curve.style) for panel in self.panels for curve in panel.curves}
        return [
            (hue, style)
            for hue in self.hues or [None]
            for style in self.styles or [None]
            if (hue, style) in drawn
        ]

    @property
    def xlabel(self) -> str:
        """The text under the x axis."""
        return self.spec.xlabel if self.spec.xlabel is not None else self.column(self.spec.x)

    @property
    def ylabel(self) -> str:
        """The text beside the y axis."""
        return self.spec.ylabel if self.spec.ylabel is not None else self.column(self.spec.y)
