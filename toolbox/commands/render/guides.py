"""Reference lines: slopes, levels and thresholds, each labelled where it stands."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation
from numpy.typing import ArrayLike

from toolbox.core.figure import FigureSpec, Reference

from .panels import Panel
from .style import GREY

_TEXT: dict[str, Any] = {
    "fontsize": 9.5,
    "color": "#444444",
    "zorder": 6,
    "bbox": {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.0},
}
_LINE: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1.5}


REACH = 0.16  # half the length of a guide with an anchor, as a share of the axis


def draw_guides(spec: FigureSpec, axes: list[tuple[Axes, Panel]]) -> None:
    """Draw every reference into every panel without moving the limits; label the first panel."""
    for index, (ax, panel) in enumerate(axes):
        xlim, ylim = ax.get_xlim(), ax.get_ylim()
        for each in spec.references:
            label = each.label if index == 0 else ""
            if each.y is not None:
                ax.axhline(each.y, **_LINE)
                if label:
                    ax.annotate(
                        label, (1.0, each.y), (-3, 3), xycoords=("axes fraction", "data"),
                        textcoords="offset points", ha="right", va="bottom", **_TEXT,
                    )  # fmt: skip
            elif each.x is not None:
                ax.axvline(each.x, **_LINE)
                if label:
                    ax.annotate(
                        label, (each.x, 1.0), (3, -3), xycoords=("data", "axes fraction"),
                        textcoords="offset points", ha="left", va="top", **_TEXT,
                    )  # fmt: skip
            else:
                _slope(ax, each, label, spec, panel)
        ax.set_xlim(xlim)
        ax.set_ylim(ylim)


def lowest_end(spec: FigureSpec, panel: Panel) -> tuple[float, float] | None:
    """The last point of the panel's lowest curve, where a slope is anchored by default."""
    found: list[tuple[float, float]] = []
    for curve in panel.curves:
        for x, y in curve.lines:
            drawn = np.flatnonzero(~np.isnan(y) & ((y > 0) | (not spec.logy)))
            if drawn.size:
                at = drawn[np.argmax(x[drawn])]  # a scatter's rows come in any order
                found.append((float(x[at]), float(y[at])))
    return min(found, key=lambda point: point[1]) if found else None


def slope_line(
    slope: float, through: tuple[float, float], x: ArrayLike, logx: bool, logy: bool
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The guide's y at `x`: straight on the axes as drawn, through the anchor."""
    u = np.log10(x) if logx else np.asarray(x, dtype=float)
    u0 = np.log10(through[0]) if logx else through[0]
    if not logy:
        return np.asarray(through[1] + slope * (u - u0))
    with np.errstate(over="ignore"):
        return np.asarray(10 ** (np.log10(through[1]) + slope * (u - u0)))


def _slope(ax: Axes, each: Reference, label: str, spec: FigureSpec, panel: Panel) -> None:
    through = each.through or lowest_end(spec, panel)
    if through is None or each.slope is None:
        return
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    if each.through is not None:  # a short guide beside the curves, labelled at its left
        middle = _share(through[0], (left, right), spec.logx)
        left, right = _at(middle + np.array([-REACH, REACH]), (left, right), spec.logx)
    points = (np.geomspace if spec.logx else np.linspace)(left, right, 400)
    y = slope_line(each.slope, through, points, spec.logx, spec.logy)
    inside = np.flatnonzero((y >= bottom) & (y <= top))
    if inside.size < 2:
        return
    x, y = points[inside], y[inside]
    ax.plot(x[[0, -1]], y[[0, -1]], gid="slope guide", **_LINE)
    if label:
        if each.through is not None:
            ax.annotate(
                label, (x[0], y[0]), (-4, 0), textcoords="offset points", ha="right",
                va="center", **_TEXT,
            )  # fmt: skip
            return
        at, above = _free_place(ax, panel, spec, x, y, len(label))
        ax.annotate(
            label, (x[at], y[at]), (0, 7 if above else -7), textcoords="offset points",
            ha="center", va="bottom" if above else "top", **_TEXT,
        )  # fmt: skip


def _free_place(
    ax: Axes, panel: Panel, spec: FigureSpec, x: np.ndarray, y: np.ndarray, length: int
) -> tuple[int, bool]:
    """Where on the guide `x, y : (P,)` its label is farthest from curves and other labels."""

    def unit(px: ArrayLike, py: ArrayLike) -> np.ndarray:
        """Places in fractions of the axes: (N, 2)."""
        return np.stack(
            [_share(px, ax.get_xlim(), spec.logx), _share(py, ax.get_ylim(), spec.logy)], axis=-1
        )

    labels = [text for text in ax.texts if isinstance(text, Annotation) and text.xycoords == "data"]
    crowd = [text.xy for text in labels]
    near = [unit(*np.array(crowd, dtype=float).T)] if crowd else []
    for curve in panel.curves:
        for px, py in curve.lines:
            good = ~np.isnan(py)
            if good.sum() > 1:  # along the lines, not only at their points
                places = unit(px[good], py[good])
                places = places[:: max(1, len(places) // 400)]
                steps = np.linspace(0, 1, 400) * (len(places) - 1)
                index = np.arange(len(places))
                near.append(np.stack([np.interp(steps, index, p) for p in places.T], axis=-1))
    crowded = np.concatenate(near) if near else np.empty((0, 2))
    half = 0.5 * min(0.016 * length, 0.4)  # of the label, as a share of the width of the axes
    candidates = [(at, above) for at in range(0, x.size, 8) for above in (True, False)]
    scores = []
    for at, above in candidates:
        middle = unit(x[at], y[at]) + np.array([0.0, 0.045 if above else -0.045])
        inside = half + 0.01 < middle[0] < 0.99 - half and 0.04 < middle[1] < 0.96
        reach = np.maximum(np.abs(crowded - middle) - (half, 0.03), 0)
        clear = np.hypot(*reach.T).min(initial=1.0)
        # Beyond a little clearance more is no better: then stay at the left end of the guide.
        scores.append((inside, min(round(float(clear), 3), 0.08), -at))
    return candidates[scores.index(max(scores))]


def _at(share: np.ndarray, limits: tuple[float, float], log: bool) -> tuple[float, float]:
    """The inverse of `_share`."""
    low, high = np.log10(limits) if log else limits
    values = low + share * (high - low)
    first, last = 10**values if log else values
    return float(first), float(last)


def _share(values: ArrayLike, limits: tuple[float, float], log: bool) -> np.ndarray:
    low, high = np.log10(limits) if log else limits
    return np.asarray(((np.log10(values) if log else np.asarray(values)) - low) / (high - low))
