"""Ticks that span the data: of logarithmic axes, of categories and of dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    LogFormatterSciNotation,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    NullLocator,
)

from .plotdata import Plot
from .statistics import Array
from .words import drawn, length

FEW_VALUES = 7  # different x up to which each of them gets its tick
APART = 0.06  # least distance of two ticks, as a share of the axis
SPAN, LEAST = 0.5, 3  # ticks reach over this share of an axis, and there are so many


def set_ticks(plot: Plot, axes: Sequence[Axes]) -> None:
    """Place the ticks of panels that share their axes, after the limits are known."""
    spec, first = plot.spec, axes[0]
    if plot.categories is not None:
        for ax in axes:
            _categories(ax, plot)
    elif plot.dates:
        locator = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        first.xaxis.set_major_locator(locator)
        first.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    elif spec.logx:
        values = _values(plot)
        if not _at_values(first.xaxis, values):
            _log(first.xaxis)
    elif _whole(plot):
        first.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 2.5, 5, 10]))
    if spec.logy:
        _log(first.yaxis)


def _categories(ax: Axes, plot: Plot) -> None:
    names = [plot.text(key) for key in plot.categories or []]
    ax.set_xticks(range(len(names)), [drawn(name) for name in names])
    room = 78 * (1.0 if plot.shape[1] == 1 else 0.45) / max(len(names), 1)  # letters for each
    if max(length(name) for name in names) + 1 > room:
        ax.tick_params(axis="x", rotation=30)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    ax.grid(False, axis="x")


def _values(plot: Plot) -> Array:
    """The different x of all curves; none where they are many."""
    values: set[float] = set()
    for panel in plot.panels:
        for curve in panel.curves:
            for x, _ in curve.lines:
                values.update(np.unique(x[: 2 * FEW_VALUES * 50]).tolist())
                if len(values) > FEW_VALUES or x.size > 2 * FEW_VALUES * 50:
                    return np.empty(0)
    return np.array(sorted(values))


def _whole(plot: Plot) -> bool:
    """Whether all x are whole numbers: nobody wants to read of iteration 0.25."""
    lines = [x for panel in plot.panels for curve in panel.curves for x, _ in curve.lines]
    return bool(lines) and all((x == np.round(x)).all() for x in lines)


def _at_values(axis: Axis, values: Array) -> bool:
    """A tick at each value, where they are few and not too near; says whether it was done."""
    low, high = np.log10(axis.get_view_interval())
    values = values[(values >= 10**low * 0.999) & (values <= 10**high * 1.001)]
    if values.size < 2 or np.diff(np.log10(values)).min() < APART * (high - low):
        return False
    if any(float(f"{value:.4g}") != value for value in values):
        return False
    axis.set_major_locator(FixedLocator(values.tolist()))
    axis.set_minor_locator(NullLocator())
    _formatted(axis, float(values[0]), float(values[-1]))
    return True


def _formatted(axis: Axis, low: float, high: float) -> None:
    if low >= 1e-3 and high <= 1e5:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axis.set_major_formatter(
            LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(np.inf, np.inf))
        )
    axis.set_minor_formatter(NullFormatter())


def _log(axis: Axis) -> None:
    """Powers of ten where they span the axis, else as many steps between them as it takes."""
    low, high = axis.get_view_interval()
    if low <= 0 or high <= low:
        return
    if _spans(LogLocator(), low, high):
        return
    locators: list[Any] = [
        LogLocator(subs=(1, 2, 5)),
        LogLocator(subs=(1, 1.5, 2, 3, 4, 6, 8)),
        MaxNLocator(5),
    ]
    chosen = next((each for each in locators if _spans(each, low, high)), locators[-1])
    axis.set_major_locator(chosen)
    _formatted(axis, low, high)


def _spans(locator: Any, low: float, high: float) -> bool:
    ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
    if len(ticks) < LEAST:
        return False
    return bool(np.log(ticks[-1] / ticks[0]) >= SPAN * np.log(high / low))
