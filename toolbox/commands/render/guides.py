"""Reference lines: slopes, levels and thresholds, each labelled where nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike

from toolbox.core.figure import FigureSpec, Reference

from .plotdata import Panel, Plot
from .statistics import Array
from .style import GREY
from .words import drawn, plain

LINE: dict[str, Any] = {"color": GREY, "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1.5}
REACH = 0.16  # half the length of a guide with an anchor, as a share of the axis
TALL = 0.055  # height of a label, as a share of a single panel's
LETTER = 0.0145  # width of a letter, as a share of a single panel's
ENOUGH = 0.05  # more room than this around a label is no better
NEXT_TO = 0.012  # gap between a line and its label


def draw_guides(plot: Plot, axes: list[tuple[Axes, Panel]]) -> list[str]:
    """Draw every reference into every panel without moving the limits; label the first panel.

    Returns the labels for which that panel has no room beside what is drawn.
    """
    spec, homeless = plot.spec, []
    for index, (ax, panel) in enumerate(axes):
        limits = ax.get_xlim(), ax.get_ylim()
        guides = [(each, _line(each, spec, panel, *limits)) for each in spec.references]
        for each, points in guides:
            if points is not None:
                gid = "slope guide" if each.slope is not None else "level guide"
                ax.plot(points[0][[0, -1]], points[1][[0, -1]], gid=gid, **LINE)
        ax.set_xlim(limits[0])
        ax.set_ylim(limits[1])
        if index == 0:
            scale = 1.0 if len(axes) == 1 else 2.0  # letters are larger in a smaller panel
            lines = [_unit(ax, spec, *points) for _, points in guides if points is not None]
            labels = _Labels(ax, panel, spec, scale, lines)
            for each, points in guides:
                if points is not None and not labels.beside(each, *points):
                    homeless.append(each.label)
    return homeless


Points = tuple[Array, Array]


def _line(
    each: Reference, spec: FigureSpec, panel: Panel, xlim: tuple[float, float],
    ylim: tuple[float, float],
) -> Points | None:  # fmt: skip
    """Points of a guide that are in view, in data units: x and y `(P,)` each."""
    if each.y is not None:
        if not min(ylim) <= each.y <= max(ylim):
            return None
        x = _at(np.linspace(0, 1, 200), xlim, spec.logx)
        return x, np.full_like(x, each.y)
    if each.x is not None:
        if not min(xlim) <= each.x <= max(xlim):
            return None
        y = _at(np.linspace(0, 1, 200), ylim, spec.logy)
        return np.full_like(y, each.x), y
    through = each.through or lowest_end(spec, panel)
    if through is None or each.slope is None:
        return None
    start, stop = 0.0, 1.0
    if each.through is not None and not each.whole:  # a short guide beside the curves
        middle = float(_share(through[0], xlim, spec.logx))
        start, stop = middle - REACH, middle + REACH
    x = _at(np.linspace(start, stop, 400), xlim, spec.logx)
    y = slope_line(each.slope, through, x, spec.logx, spec.logy)
    inside = (y >= min(ylim)) & (y <= max(ylim)) & (x >= min(xlim)) & (x <= max(xlim))
    return (x[inside], y[inside]) if inside.sum() > 1 else None


@dataclass
class _Box:
    """Room of a label, in shares of the axes."""

    x: float
    y: float
    wide: float
    tall: float

    def distance(self, points: Array) -> float:
        """From its edge to the nearest of `points : (N, 2)`; 0 when one is inside."""
        off = np.abs(points - (self.x, self.y)) - (self.wide / 2, self.tall / 2)
        return float(np.hypot(*np.maximum(off, 0).T).min(initial=1.0))

    def grid(self) -> Array:
        """Points all over it, so that others can keep away."""
        u, v = np.linspace(-0.5, 0.5, 9), np.linspace(-0.5, 0.5, 3)
        return np.array([(self.x + a * self.wide, self.y + b * self.tall) for a in u for b in v])


class _Labels:
    """Places labels one after another where curves, marks and earlier labels leave most room."""

    def __init__(
        self, ax: Axes, panel: Panel, spec: FigureSpec, scale: float, guides: list[Array]
    ) -> None:
        self.ax, self.spec, self.scale = ax, spec, scale
        self.taken = np.concatenate([_drawn_points(ax, panel, spec), *guides])

    def beside(self, each: Reference, x: ArrayLike, y: ArrayLike) -> bool:
        """Label a guide that passes the points; whether there was room (or nothing to write)."""
        if not each.label:
            return True
        line = _unit(self.ax, self.spec, x, y)
        boxes = [box for box in self._candidates(each, line) if self._inside(box)]
        scores = [(min(b.distance(self.taken), ENOUGH), -k) for k, b in enumerate(boxes)]
        if max(scores, default=(0.0, 0))[0] <= 0:
            return False
        box = boxes[scores.index(max(scores))]
        text = self.ax.text(
            box.x, box.y, drawn(each.label), transform=self.ax.transAxes, ha="center", va="center",
            fontsize=9.5, color="#444444", zorder=6, gid="guide label",
        )  # fmt: skip
        text.set_path_effects([withStroke(linewidth=2, foreground="white")])
        self.taken = np.concatenate([self.taken, box.grid()])
        return True

    def _candidates(self, each: Reference, line: Array) -> list[_Box]:
        """Boxes along the guide; the first are the better ones where several are as free."""
        wide = LETTER * self.scale * max(2, len(plain(each.label)))
        tall = TALL * self.scale
        boxes = []
        if (
            each.slope is not None and each.through is not None and not each.whole
        ):  # at the ends of a short guide
            for (px, py), side in ((line[0], -1), (line[-1], 1)):
                boxes.append(_Box(px + side * (wide / 2 + NEXT_TO), py, wide, tall))
        steps = line[:: max(1, len(line) // 60)]
        if each.y is not None:
            steps = steps[::-1]  # from the right
        if each.x is not None:
            steps = steps[::-1]  # from the top
            sides = [(wide / 2 + NEXT_TO, 0.0), (-wide / 2 - NEXT_TO, 0.0)]
        elif each.y is not None:
            sides = [(0.0, tall / 2 + NEXT_TO), (0.0, -tall / 2 - NEXT_TO)]
        else:  # beside an inclined line, so far away that its box does not meet it
            rise = abs(line[-1, 1] - line[0, 1]) / max(abs(line[-1, 0] - line[0, 0]), 1e-9)
            off = tall / 2 + NEXT_TO + min(rise * wide / 2, 0.3)
            sides = [(0.0, off), (0.0, -off)]
        return boxes + [_Box(px + u, py + v, wide, tall) for px, py in steps for u, v in sides]

    def _inside(self, box: _Box) -> bool:
        return box.wide / 2 < box.x < 1 - box.wide / 2 and box.tall / 2 < box.y < 1 - box.tall / 2


def _drawn_points(ax: Axes, panel: Panel, spec: FigureSpec) -> Array:
    """Points along everything that is drawn in a panel, in shares of its axes: (N, 2)."""
    near = [np.empty((0, 2))]
    for curve in panel.curves:
        for x, y in [*curve.lines, *curve.members[:40]]:
            good = np.flatnonzero(~np.isnan(y))
            good = good[:: max(1, good.size // (4000 if spec.kind == "scatter" else 400))]
            if not good.size:
                continue
            places = _unit(ax, spec, x[good], y[good])
            if spec.kind == "scatter":
                near.append(places)
            else:  # along the line, not only at its points
                steps = np.linspace(0, 1, 400) * (len(places) - 1)
                index = np.arange(len(places))
                near.append(np.stack([np.interp(steps, index, p) for p in places.T], axis=-1))
        if curve.spikes is not None:
            at, feet, tips = curve.spikes
            near += [_unit(ax, spec, at, feet + share * (tips - feet)) for share in (0.3, 0.6, 1)]
        for edge in (curve.low, curve.high):
            if edge is not None and curve.line is not None and spec.kind != "bar":
                good = np.flatnonzero(~np.isnan(edge) & ((edge > 0) | (not spec.logy)))
                good = good[:: max(1, good.size // 200)]
                near.append(_unit(ax, spec, curve.line[0][good], edge[good]))
    near += [_unit(ax, spec, x, y) for _, x, y in panel.marks]
    if spec.kind == "bar":
        for patch in ax.patches:
            (left, bottom), (right, top) = patch.get_window_extent().get_points()
            corners = ax.transAxes.inverted().transform([(left, bottom), (right, top)])
            u = np.linspace(corners[0, 0], corners[1, 0], 7)
            v = np.linspace(corners[0, 1], corners[1, 1], 25)
            near.append(np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2))
    return np.concatenate(near)


def _unit(ax: Axes, spec: FigureSpec, x: ArrayLike, y: ArrayLike) -> Array:
    """Places in shares of the axes: (N, 2)."""
    return np.stack(
        [_share(x, ax.get_xlim(), spec.logx), _share(y, ax.get_ylim(), spec.logy)], axis=-1
    )


def lowest_end(spec: FigureSpec, panel: Panel) -> tuple[float, float] | None:
    """The last point of the panel's lowest curve, where a slope is anchored by default."""
    ends: list[tuple[float, float]] = []
    for curve in panel.curves:
        for x, y in curve.lines:
            drawn = np.flatnonzero(~np.isnan(y) & ((y > 0) | (not spec.logy)))
            if drawn.size:
                at = drawn[np.argmax(x[drawn])]  # a scatter's rows come in any order
                ends.append((float(x[at]), float(y[at])))
    return min(ends, key=lambda point: point[1]) if ends else None


def slope_line(
    slope: float, through: tuple[float, float], x: ArrayLike, logx: bool, logy: bool
) -> Array:
    """The guide's y at `x`: straight on the axes as drawn, through the anchor."""
    u = np.log10(x) if logx else np.asarray(x, dtype=float)
    u0 = np.log10(through[0]) if logx else through[0]
    if not logy:
        return np.asarray(through[1] + slope * (u - u0))
    with np.errstate(over="ignore"):
        return np.asarray(10 ** (np.log10(through[1]) + slope * (u - u0)))


def _at(share: np.ndarray, limits: tuple[float, float], log: bool) -> np.ndarray:
    """The inverse of `_share`."""
    low, high = np.log10(limits) if log else limits
    values = low + share * (high - low)
    return np.asarray(10**values if log else values)


def _share(values: ArrayLike, limits: tuple[float, float], log: bool) -> np.ndarray:
    low, high = np.log10(limits) if log else limits
    return np.asarray(((np.log10(values) if log else np.asarray(values)) - low) / (high - low))
