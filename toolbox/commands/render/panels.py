"""From rows to what is drawn: panels of curves, bars or cells, and notes on whatever was not drawn.

All decisions on data are taken here, before any drawing library is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.errors import UsageError
from toolbox.core.figure import REPLICATE, FigureSpec
from toolbox.core.where import compile_where, unknown

from .repeats import average_repeats, entry
from .statistics import ENOUGH, Array, align, ends, estimate
from .style import MAX_LABELS, assign_slots, key_of, rank_of, text_of
from .tally import Tally, counted

MAX_PANELS = 48
WRAP = 3  # panels in a row when `col` alone has several values

Line = tuple[Array, Array]


@dataclass
class Curve:
    """One hue and style in one panel. Bars use it too: x is then the place of the category."""

    hue: str | None
    style: str | None
    line: Line | None
    """The estimate, or the only replicate; None where two replicates stand for themselves."""
    low: Array | None = None
    high: Array | None = None
    members: list[Line] = field(default_factory=list)
    """Replicates that are drawn one by one."""
    count: int = 1
    """How many replicates it stands for."""

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
    styles: dict[str, int]
    continuous: bool
    categories: list[str] | None
    notes: list[str]

    def text(self, key: str) -> str:
        """A label as shown."""
        return self.spec.labels.get(key, text_of(key))

    def column(self, name: str) -> str:
        """A column as shown on an axis or a legend: `meaning [unit]`."""
        if name in self.spec.labels:
            return self.spec.labels[name]
        meaning, unit = entry(self.columns, name, "meaning"), entry(self.columns, name, "unit")
        # A meaning that is a sentence explains the column in the tables but fits no axis.
        shown = meaning if meaning and len(meaning) <= 42 else name
        return f"{shown} [{unit}]" if unit not in ("", "1") else shown

    @property
    def xlabel(self) -> str:
        """The text under the x axis."""
        return self.spec.xlabel if self.spec.xlabel is not None else self.column(self.spec.x)

    @property
    def ylabel(self) -> str:
        """The text beside the y axis."""
        return self.spec.ylabel if self.spec.ylabel is not None else self.column(self.spec.y)


def arrange(frame: pd.DataFrame, spec: FigureSpec, columns: Mapping[str, Any]) -> Plot:
    """Choose rows, name the labels, split into panels and take the statistics."""
    for name in spec.columns:
        if name not in frame.columns:
            raise UsageError(unknown(name, frame.columns))
    notes: list[str] = []
    frame = frame.reset_index(drop=True)  # tables pooled by concat repeat their index
    order = [key_of(label) for label in spec.order]
    # Slots are given before rows are chosen: a filter must not repaint what it leaves.
    hues = assign_slots(_keys(frame, spec.hue).dropna().unique(), order) if spec.hue else {}
    styles = _by_rank(frame, spec.style)
    rows = frame
    if spec.where:
        rows = frame[compile_where(spec.where).mask(frame)]
    if rows.empty:
        raise UsageError(
            f"No row is left to draw: {len(frame)} rows, filter {spec.where!r}. Widen it."
            if spec.where
            else "The table has no rows to draw."
        )
    if spec.caveat and compile_where(spec.caveat.where).mask(rows).any():
        spec = spec.model_copy(update={"title": f"{spec.title} ({spec.caveat.label})".strip()})
    data, categories = _tidy(rows, spec, notes)
    present = set(data["hue"].dropna())
    shown = [label for label in order if label in present]
    shown += sorted(present - set(order), key=rank_of)
    continuous = len(shown) > MAX_LABELS and all(rank_of(label)[0] == 0 for label in shown)
    if len(shown) > MAX_LABELS:
        how = "a continuous colour scale replaces the legend" if continuous else "colours repeat"
        notes.append(f"{len(shown)} labels of {spec.hue!r}: {how}")
    panels, shape = _facets(data, spec)
    plot = Plot(
        spec, columns, panels, shape, {label: hues[label] for label in shown},
        {label: styles[label] for label in sorted(set(data["style"].dropna()), key=rank_of)},
        continuous, categories, notes,
    )  # fmt: skip
    data = average_repeats(data, rows, spec, columns, notes)
    _fill(plot, data)
    return plot


def _keys(frame: pd.DataFrame, name: str | None) -> pd.Series:
    """The labels of a column as text, missing where the column is missing or not given."""
    if name is None:
        return pd.Series(np.nan, index=frame.index, dtype=object)
    column = frame[name]
    names = {value: key_of(value) for value in column.dropna().unique()}
    return column.map(names).astype(object)


def _by_rank(frame: pd.DataFrame, name: str | None) -> dict[str, int]:
    labels = _keys(frame, name).dropna().unique()
    return {label: index for index, label in enumerate(sorted(labels, key=rank_of))}


def _numbers(column: pd.Series) -> Array:
    if column.dtype.kind not in "iufb":
        sample = column.dropna()
        value = sample.iloc[0] if len(sample) else "nothing"
        raise UsageError(f"Column {column.name!r} must hold numbers to be drawn, not {value!r}.")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _tidy(
    rows: pd.DataFrame, spec: FigureSpec, notes: list[str]
) -> tuple[pd.DataFrame, list[str] | None]:
    """Rows with the columns x, y (the measured value), hue, style, row, col, replicate, mark.

    Rows that cannot stand anywhere leave here and are counted; missing y stay as gaps.
    """
    data = pd.DataFrame(
        {"hue": _keys(rows, spec.hue), "style": _keys(rows, spec.style)}, index=rows.index
    )
    data["row"], data["col"] = _keys(rows, spec.row), _keys(rows, spec.col)
    categories = None
    cells = spec.kind == "heatmap"
    if cells or spec.kind == "bar" or rows[spec.x].dtype.kind not in "iuf":
        keys = _keys(rows, spec.x)
        first = [] if spec.hue else [key_of(label) for label in spec.order]
        categories = sorted(
            keys.dropna().unique(),
            key=lambda label: (
                first.index(label) if label in first else len(first),
                rank_of(label),
            ),
        )
        place = {label: index for index, label in enumerate(categories)}
        data["x"] = keys.map(place).astype(float)
        if spec.logx:
            raise UsageError(f"Column {spec.x!r} holds no numbers: a log axis cannot show it.")
    else:
        data["x"] = _numbers(rows[spec.x])
    data["y"] = _numbers(rows[spec.measured])
    data["cell"] = _keys(rows, spec.y) if cells else np.nan
    own = [name for name in REPLICATE if name in rows.columns and name not in spec.columns]
    data["replicate"] = rows.groupby(own, dropna=False).ngroup() if own else 0
    data["mark"] = compile_where(spec.highlight.where).mask(rows) if spec.highlight else False

    infinite = np.isinf(data["y"])
    for bad, what in ((data["y"].isna(), "missing"), (infinite, "infinite")):
        if bad.any():
            notes.append(f"left out {counted(bad.sum(), what, 'value')} of {spec.measured!r}")
    data.loc[infinite, "y"] = np.nan
    bad = ~np.isfinite(data["x"])
    for name in ("hue", "style", "row", "col"):
        if getattr(spec, name):
            bad |= data[name].isna()
    if cells:
        bad |= data["cell"].isna()
    if bad.any():
        notes.append(f"left out {counted(bad.sum(), '', 'row')} without x, facet or label")
        data = data[~bad]
    if spec.logx and (bad := data["x"] <= 0).any():
        what = counted(bad.sum(), "non-positive", "value")
        notes.append(f"masked {what} of {spec.x!r} on the log axis")
        data = data[~bad]
    if data["y"].isna().all():
        raise UsageError(f"Column {spec.measured!r} has no finite value in the rows to be drawn.")
    return data, categories


def _facets(data: pd.DataFrame, spec: FigureSpec) -> tuple[list[Panel], tuple[int, int]]:
    rows = sorted(data["row"].dropna().unique(), key=rank_of) or [None]
    cols = sorted(data["col"].dropna().unique(), key=rank_of) or [None]
    if len(rows) * len(cols) > MAX_PANELS:
        raise UsageError(
            f"{len(rows) * len(cols)} panels are too many (at most {MAX_PANELS}): "
            "choose rows by where, or give one of the columns to hue."
        )
    panels = [Panel(row, col) for row in rows for col in cols]
    if len(rows) == 1 and len(cols) > WRAP:
        width = next((w for w in (WRAP, WRAP - 1) if len(cols) % w == 0), WRAP)
        return panels, (-(-len(cols) // width), width)
    return panels, (len(rows), len(cols))


def _fill(plot: Plot, data: pd.DataFrame) -> None:
    """Give every panel its curves or cells."""
    spec, tally = plot.spec, Tally(plot.spec)
    for panel in plot.panels:
        mine = data
        for name, label in (("row", panel.row), ("col", panel.col)):
            if label is not None:
                mine = mine[mine[name] == label]
        marked = mine[mine["mark"].astype(bool) & mine["y"].notna()]
        if spec.logy:
            marked = marked[marked["y"] > 0]
        for hue, part in marked.groupby("hue", dropna=False):
            label = hue if isinstance(hue, str) else None
            panel.marks.append((label, part["x"].to_numpy(), part["y"].to_numpy()))
        mine = mine[mine["replicate"] >= 0]
        if spec.kind == "heatmap":
            panel.cells = _cells(plot, mine, data, tally)
        else:
            panel.curves = list(_curves(plot, mine, tally))
    plot.notes += tally.notes()


def _curves(plot: Plot, data: pd.DataFrame, tally: Tally) -> Iterator[Curve]:
    spec = plot.spec
    groups = {
        (hue if isinstance(hue, str) else None, style if isinstance(style, str) else None): part
        for (hue, style), part in data.groupby(["hue", "style"], dropna=False, sort=False)
    }
    # A parameter is not a time: the value at 10 says nothing about the missing one at 100.
    fill = plot.categories is None and entry(plot.columns, spec.x, "role") != "parameter"
    for hue in plot.hues or [None]:
        for style in plot.styles or [None]:
            part = groups.get((hue, style))
            if part is None:
                continue
            raw = int((part["y"] <= 0).sum()) if spec.logy else 0
            if spec.kind == "scatter":
                curve = Curve(hue, style, (part["x"].to_numpy(), part["y"].to_numpy()))
            else:
                curve = _curve(hue, style, part, fill, spec, tally)
            hidden = _mask(curve) if spec.logy else 0
            tally.masked(raw, hidden, pooled=curve.count >= ENOUGH)
            yield curve


def _curve(
    hue: str | None, style: str | None, part: pd.DataFrame, fill: bool, spec: FigureSpec,
    tally: Tally,
) -> Curve:  # fmt: skip
    """Individual replicates when there are one or two, an estimate with its interval from three."""
    part = part.sort_values("x", kind="stable")
    replicates = [
        (one["x"].to_numpy(), one["y"].to_numpy()) for _, one in part.groupby("replicate")
    ]
    tally.replicates(len(replicates))
    name = " ".join(label for label in (hue, style) if label is not None)
    if len(replicates) > 1 and (early := ends(replicates)) and fill:
        tally.shorter.append(
            f"replicates differ in length{f' for {name!r}' if name else ''}: {early.early} of "
            f"{early.total} end before {spec.x} = {early.last:g} (the first at {early.first:g}); "
            "beyond its end a replicate counts no more"
        )
    if len(replicates) == 1:
        return Curve(hue, style, replicates[0])
    if len(replicates) < ENOUGH:
        return Curve(hue, style, None, members=replicates, count=len(replicates))
    if fill and any(not np.array_equal(x, replicates[0][0]) for x, _ in replicates[1:]):
        tally.filled += 1
    x, values = align(replicates, fill)
    centre, low, high = estimate(values, spec.estimate)
    if spec.band == "none":
        return Curve(hue, style, (x, centre), count=len(replicates))
    if np.isnan(low).all():
        tally.too_few = True
        return Curve(hue, style, (x, centre), members=replicates, count=len(replicates))
    return Curve(hue, style, (x, centre), low, high, count=len(replicates))


def _mask(curve: Curve) -> int:
    """Hide what a log axis cannot show; counts the hidden points of the curve's own lines."""
    hidden = 0
    for index, (x, y) in enumerate(curve.members):
        hidden += int((y <= 0).sum()) if curve.line is None else 0
        curve.members[index] = (x, np.where(y > 0, y, np.nan))
    if curve.line is not None:
        x, y = curve.line
        hidden += int((y <= 0).sum())
        curve.line = (x, np.where(y > 0, y, np.nan))
    return hidden


def _cells(plot: Plot, mine: pd.DataFrame, data: pd.DataFrame, tally: Tally) -> Cells:
    spec = plot.spec
    ys = sorted(data["cell"].dropna().unique(), key=rank_of)  # all panels share their axes
    xs = plot.categories or []
    values = np.full((len(ys), len(xs)), np.nan)
    at = {label: index for index, label in enumerate(ys)}
    centres = mine.groupby(["cell", "x"], as_index=False)["y"].agg(spec.estimate)
    rows = centres["cell"].map(at).to_numpy(dtype=int)
    values[rows, centres["x"].to_numpy(dtype=int)] = centres["y"]
    counts = mine[mine["y"].notna()].groupby(["cell", "x"])["replicate"].nunique()
    for count in counts.unique():
        tally.replicates(int(count))
    if spec.logvalue:
        bad = values <= 0
        tally.masked(int(bad.sum()), int(bad.sum()), pooled=False)
        values[bad] = np.nan
    tally.empty += int(np.isnan(values).sum())
    return Cells(xs, ys, values)
