"""From rows to what is drawn: panels of curves, bars or cells, and notes on whatever was not drawn.

All decisions on data are taken here, before any drawing library is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.errors import UsageError
from toolbox.core.figure import REPLICATE, FigureSpec
from toolbox.core.where import compile_where, unknown

from .dates import LINE
from .plotdata import Cells, Curve, Line, Panel, Plot
from .repeats import average_repeats, entry
from .rows import keys, tidy
from .statistics import ENOUGH, align, common_range, ends, estimate, spikes
from .style import DASHES, MAX_LABELS, assign_slots, key_of, rank_of
from .tally import Tally

MAX_PANELS = 48
WRAP = 3  # panels in a row when `col` alone has several values


def arrange(frame: pd.DataFrame, spec: FigureSpec, columns: Mapping[str, Any]) -> Plot:
    """Choose rows, name the labels, split into panels and take the statistics."""
    for name in spec.columns:
        if name not in frame.columns:
            raise UsageError(unknown(name, frame.columns))
    notes: list[str] = []
    if frame.index.name != LINE:
        frame = frame.reset_index(drop=True)  # tables pooled by concat repeat their index
    if spec.style in REPLICATE and spec.kind in ("line", "step", "envelope"):
        # A dash pattern for each of many replicates tells nobody which is which.
        band = "ci95" if spec.kind == "envelope" else "replicates"
        spec = spec.model_copy(update={"style": None, "band": band})
    order = [key_of(label) for label in spec.order]
    # Looks are given before rows are chosen: a filter must not repaint what it leaves.
    labels = list(keys(frame, spec.hue).dropna().unique()) if spec.hue else []
    hues, ramp = _looks(labels, order)
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
    data, categories, dates = tidy(rows, spec, columns, notes)
    shown = _in_order(data["hue"], order)
    continuous = len(shown) > MAX_LABELS and all(rank_of(label)[0] == 0 for label in shown)
    if len(shown) > MAX_LABELS:
        how = "a continuous colour scale replaces the legend" if continuous else "colours repeat"
        notes.append(f"{len(shown)} labels of {spec.hue!r}: {how}")
    if len(styles) > len(DASHES):
        notes.append(f"{len(styles)} labels of {spec.style!r}: dash patterns repeat")
    panels, shape = _facets(data, spec)
    plot = Plot(
        spec, columns, panels, shape, {label: hues[label] for label in shown}, ramp,
        {label: styles[label] for label in _in_order(data["style"], [])},
        continuous, categories, dates, notes,
    )  # fmt: skip
    data = average_repeats(data, rows, spec, columns, notes)
    _fill(plot, data)
    return plot


def _looks(labels: list[str], order: list[str]) -> tuple[dict[str, int], dict[str, float]]:
    """The slot of each hue and, where all are numbers, its place on the colour scale."""
    if labels and all(rank_of(label)[0] == 0 for label in labels):
        ranked = sorted({*labels, *order}, key=rank_of)
        if all(rank_of(label)[0] == 0 for label in ranked):
            places = np.linspace(0, 1, len(ranked))
            return (
                {label: index for index, label in enumerate(ranked)},
                dict(zip(ranked, places.tolist(), strict=True)),
            )
    return assign_slots(labels, order), {}


def _in_order(column: pd.Series, order: Sequence[str]) -> list[str]:
    """The labels that are there: those of `order` first, the others by value or name."""
    present = set(column.dropna().unique())
    shown = [label for label in order if label in present]
    return shown + sorted(present - set(order), key=rank_of)


def _by_rank(frame: pd.DataFrame, name: str | None) -> dict[str, int]:
    labels = keys(frame, name).dropna().unique()
    return {label: index for index, label in enumerate(sorted(labels, key=rank_of))}


def _facets(data: pd.DataFrame, spec: FigureSpec) -> tuple[list[Panel], tuple[int, int]]:
    rows: Sequence[str | None] = _in_order(data["row"], []) or [None]
    order = [key_of(label) for label in spec.col_order]
    cols: Sequence[str | None] = _in_order(data["col"], order) or [None]
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
    plot.summary = tally.summary()


def _curves(plot: Plot, data: pd.DataFrame, tally: Tally) -> Iterator[Curve]:
    spec = plot.spec
    groups = {
        (hue if isinstance(hue, str) else None, style if isinstance(style, str) else None): part
        for hue, same in data.groupby("hue", dropna=False, sort=False)
        for style, part in same.groupby("style", dropna=False, sort=False)
    }
    # A parameter is not a time: the value at 10 says nothing about the missing one at 100.
    fill = plot.categories is None and entry(plot.columns, spec.x, "role") != "parameter"
    bounds = _bounds(data["y"], spec)
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
                tally.bounded += _stay_inside(curve, bounds)
            hidden = _mask(curve) if spec.logy else 0
            tally.masked(raw, hidden, pooled=curve.count >= ENOUGH)
            if spec.kind == "envelope" and curve.line is not None:
                curve.line, curve.spikes = spikes(*curve.line, spec.logx, spec.logy)
            yield curve


def _curve(
    hue: str | None, style: str | None, part: pd.DataFrame, fill: bool, spec: FigureSpec,
    tally: Tally,
) -> Curve:  # fmt: skip
    """Individual replicates when there are one or two, an estimate with its interval from three.

    There is no estimate where some replicate has not begun or has ended: those that are left
    there are others than those before, and their mean would move although none of them does.
    """
    if not part["x"].is_monotonic_increasing:
        part = part.sort_values("x", kind="stable")
    replicates = _replicates(part)
    tally.replicates(len(replicates))
    if len(replicates) == 1:
        return Curve(hue, style, replicates[0])
    known = common_range(replicates) if fill else (-np.inf, np.inf)
    if fill and (differ := ends(replicates)):
        name = " ".join(label for label in (hue, style) if label is not None)
        tally.shorter.append(f"{differ.text(spec.x)}{f' ({name})' if name else ''}")
    if len(replicates) < ENOUGH or known is None:
        return Curve(hue, style, None, members=replicates, count=len(replicates))
    if fill and any(not np.array_equal(x, replicates[0][0]) for x, _ in replicates[1:]):
        tally.filled += 1
    x, values = align(replicates, fill)
    values[:, (x < known[0]) | (x > known[1])] = np.nan
    centre, low, high = estimate(values, spec.estimate)
    curve = Curve(hue, style, (x, centre), count=len(replicates))
    if spec.band == "replicates":
        curve.members = replicates
    elif spec.band == "ci95" and np.isnan(low).all():
        tally.too_few, curve.members = True, replicates
    else:
        curve.members = [part for one in replicates for part in _outside(one, known)]
        if spec.band == "ci95":
            curve.low, curve.high = low, high
    return curve


def _replicates(part: pd.DataFrame) -> list[Line]:
    """The rows, sorted by x, of each replicate."""
    numbers = part["replicate"].to_numpy()
    x, y = part["x"].to_numpy(), part["y"].to_numpy()
    if (numbers == numbers[0]).all():
        return [(x, y)]
    by = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(numbers[by])) + 1
    return list(zip(np.split(x[by], cuts), np.split(y[by], cuts), strict=True))


def _outside(line: Line, known: tuple[float, float]) -> list[Line]:
    """The parts of a replicate before and behind what all have, joined to the first point of it."""
    x, y = line
    first, last = np.searchsorted(x, known[0], "left"), np.searchsorted(x, known[1], "right")
    parts = ((x[: first + 1], y[: first + 1]), (x[max(last - 1, 0) :], y[max(last - 1, 0) :]))
    return [part for part in parts if part[0].size > 1]


def _bounds(values: pd.Series, spec: FigureSpec) -> tuple[float | None, float | None]:
    """What the drawn quantity cannot leave: as declared, or [0, 1] where every value is there."""
    if spec.bounds != (None, None):
        return spec.bounds
    low, high = values.min(), values.max()
    return (0.0, 1.0) if low >= 0 and high <= 1 else (None, None)


def _stay_inside(curve: Curve, bounds: tuple[float | None, float | None]) -> bool:
    """Cut the interval at the bounds of its quantity; whether there was anything to cut."""
    if curve.low is None or curve.high is None or bounds == (None, None):
        return False
    low, high = np.clip(curve.low, *bounds), np.clip(curve.high, *bounds)
    cut = bool(np.nansum(low != curve.low) - np.isnan(low).sum() > 0)
    cut |= bool(np.nansum(high != curve.high) - np.isnan(high).sum() > 0)
    curve.low, curve.high = low, high
    return cut


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
