"""Draw a `Plot` with matplotlib's object interface (no pyplot, no window, no global state)."""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from .guides import draw_guides
from .heat import draw_cells
from .legend import Legend
from .looks import FEW, PAIR, Looks, is_rough
from .plotdata import Curve, Panel, Plot
from .statistics import Array, thin
from .style import GREY, SEQUENTIAL, STYLE
from .ticks import set_ticks
from .words import drawn, lines, wrapped

MANY = 20_000  # points of a scatter beyond which it goes into vector files as a bitmap
FOOT = 7.5  # size of the letters under a figure


def paint(plot: Plot, footer: Sequence[str] = ()) -> Figure:
    """The matplotlib figure of a plot, with a few lines under it on what it shows."""
    with matplotlib.rc_context(STYLE):
        return _Painter(plot, footer).figure


class Drawing(Figure):
    """A figure that a notebook shows although no pyplot knows of it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


class _Painter:
    """Draws panel after panel; holds what they share: axes, limits, colours, legend."""

    def __init__(self, plot: Plot, footer: Sequence[str]) -> None:
        self.plot, self.spec = plot, plot.spec
        self.norm: Normalize | None = None
        if plot.continuous:
            levels = [float(label) for label in plot.hues]
            wide = min(levels) > 0 and max(levels) > 50 * min(levels)
            self.norm = (LogNorm if wide else Normalize)(min(levels), max(levels))
        self.looks = Looks(plot, self.norm)
        self.legend = Legend(plot, self.looks)
        self.standing = _standing(plot) if self.spec.kind == "bar" else {}
        self.figure, axes = self._canvas(footer)
        self.axes = [(ax, panel) for ax, panel in zip(axes, plot.panels, strict=False)]
        for ax in axes[len(plot.panels) :]:
            ax.set_visible(False)
        if self.spec.kind == "heatmap":
            draw_cells(plot, self.figure, self.axes)
        else:
            for ax, panel in self.axes:
                self._panel(ax, panel)
            self._limits()
            self.legend.of_guides(draw_guides(plot, self.axes))
        self._words()

    def _canvas(self, footer: Sequence[str]) -> tuple[Figure, list[Axes]]:
        rows, cols = self.plot.shape
        single = rows * cols == 1
        width, height = (6.4, 4.2) if single else (3.1 * cols + 0.7, 2.6 * rows + 0.9)
        if not single and width < 6.4:
            width = 6.4
        bars = len(self.plot.categories or ()) * max(1, len(self.plot.hues))
        if single and self.spec.kind == "bar":
            width = min(max(width, 0.32 * bars), 14)
        self.legend.fit(height)
        width += self.legend.width
        below = [part for line in footer for part in lines(line, int(17 * width))]
        figure = Drawing(figsize=(width, height + (0.15 * len(below) + 0.1 if below else 0)))
        FigureCanvasAgg(figure)
        if below:
            text = "\n".join(drawn(line) for line in below)
            figure.supxlabel(text, x=0.01, ha="left", fontsize=FOOT, color=GREY, linespacing=1.3)
        axes = figure.subplots(rows, cols, sharex=True, sharey=True, squeeze=False)
        return figure, list(axes.flat)

    # -- one panel ---------------------------------------------------------------------------

    def _panel(self, ax: Axes, panel: Panel) -> None:
        spec = self.spec
        if spec.logx:
            ax.set_xscale("log")
        if spec.logy:
            ax.set_yscale("log")
        draw = {"bar": self._bars, "scatter": self._points}.get(spec.kind, self._lines)
        for curve in reversed(panel.curves):  # the first in `order` lies on top
            draw(ax, curve)
        for hue, x, y in panel.marks:
            ax.scatter(
                x, y, s=110, marker="*", color=self.looks.colour(hue), edgecolor="black",
                linewidth=0.8, zorder=5,
            )  # fmt: skip
        for axis, log in ((ax.xaxis, spec.logx), (ax.yaxis, spec.logy)):
            if log:
                axis.grid(True, which="minor", color="#F3F3F3", linewidth=0.5)

    def _lines(self, ax: Axes, curve: Curve) -> None:
        look, log = self.looks.of(curve.hue, curve.style), self.spec.logx
        draw: dict[str, Any] = {"color": look.colour}
        if self.spec.kind == "step":
            draw["drawstyle"] = "steps-post"
        below = curve.line is not None
        many = len(curve.members) > PAIR
        for x, y in curve.members:
            kept = thin(x, [y], log)
            ax.plot(
                x[kept], y[kept], linestyle="-" if below or many else look.dash,
                linewidth=0.7 if below or many else 1.1,
                alpha=0.35 if below else 0.6 if many else 0.9, **draw,
            )  # fmt: skip
        if curve.line is None:
            return
        draw["linestyle"] = look.dash
        x, y = curve.line
        band = [] if curve.low is None or curve.high is None else [curve.low, curve.high]
        # Under a stroke of two pixels nobody sees more.
        few = {"buckets": 600} if (curve.hue, curve.style) in self.looks.rough else {}
        kept = thin(x, [y, *band], log, **few)
        if band:
            ax.fill_between(
                x[kept], band[0][kept], band[1][kept], color=look.colour, alpha=0.18, linewidth=0,
                step="post" if self.spec.kind == "step" else None,
            )  # fmt: skip
            if (alone := _alone(y)).any():  # a band around one point has no width
                ax.errorbar(
                    x[alone], y[alone], yerr=_reach(curve, y)[:, alone], fmt="none",
                    color=look.colour, elinewidth=1.2, capsize=3, alpha=0.6,
                )  # fmt: skip
        if curve.spikes is not None and curve.spikes[0].size:
            at, feet, tips = curve.spikes
            ax.vlines(at, feet, tips, color=look.colour, linewidth=0.4, alpha=0.25)
            ax.plot(at, tips, linestyle="none", marker=".", markersize=2, color=look.colour)
        marker = look.marker if x.size <= FEW and self.spec.kind == "line" else None
        if (curve.hue, curve.style) in self.looks.rough:
            draw["linewidth"] = 1.0 if self.spec.kind != "envelope" or is_rough(y) else 1.6
        elif curve.members and self.spec.band == "replicates":
            draw["linewidth"] = 2.4
        ax.plot(x[kept], y[kept], marker=marker, **draw)

    def _points(self, ax: Axes, curve: Curve) -> None:
        look = self.looks.of(curve.hue, curve.style)
        assert curve.line is not None
        x, y = curve.line
        size = float(np.clip(36 - 6 * np.log10(max(x.size, 1)), 8, 30))
        ax.scatter(
            x, y, s=size, marker=look.marker, color=look.colour, linewidth=0,
            alpha=0.85 if x.size < 500 else 0.45, rasterized=x.size > MANY,
        )  # fmt: skip

    def _beside(self, curve: Curve, width: float, places: Array) -> Array:
        """Where the bars of a curve stand: those of one category share out its middle."""
        pair, shifts = (curve.hue, curve.style), []
        for x in places:
            pairs = self.standing.get(x, [])
            shifts.append(pairs.index(pair) - (len(pairs) - 1) / 2 if pair in pairs else 0.0)
        return places + width * np.array(shifts)

    def _bars(self, ax: Axes, curve: Curve) -> None:
        look = self.looks.of(curve.hue, curve.style)
        lines = curve.lines
        places = np.unique(np.concatenate([x[~np.isnan(y)] for x, y in lines]))
        heights = np.array([_mean_at(lines, position) for position in places])
        width = 0.8 / max(len(pairs) for pairs in self.standing.values())
        beside = functools.partial(self._beside, curve, width)
        ax.bar(
            beside(places), heights, width * 0.92, color=look.colour, alpha=0.88,
            hatch=self.looks.hatch(curve.hue, curve.style), edgecolor="white", linewidth=0.6,
        )  # fmt: skip
        for x, y in curve.members:  # too few for an interval: show them all
            ax.plot(
                beside(x), y, linestyle="none", marker="o", markersize=4, color="#222222",
                markerfacecolor="white", zorder=4,
            )  # fmt: skip
        if curve.low is not None and curve.high is not None and curve.line is not None:
            x, y = curve.line
            ax.errorbar(
                beside(x), y, yerr=_reach(curve, y), fmt="none", color="#222222",
                elinewidth=1.2, capsize=3,
            )  # fmt: skip

    # -- what all panels share ---------------------------------------------------------------

    def _limits(self) -> None:
        spec, (first, _) = self.spec, self.axes[0]
        for ax, _ in self.axes:  # horizontal and vertical guides belong into view, slopes do not
            for each in spec.references:
                if each.y is not None and (each.y > 0 or not spec.logy):
                    ax.update_datalim([(0, each.y)], updatex=False)
                if each.x is not None and (each.x > 0 or not spec.logx):
                    ax.update_datalim([(each.x, 0)], updatey=False)
            ax.autoscale_view()
        if spec.logy:
            # An interval may reach down to zero, which no log axis shows: the lines decide.
            drawn = [y[y > 0] for _, panel in self.axes for c in panel.curves for _, y in c.lines]
            drawn += [np.array([r.y]) for r in spec.references if r.y is not None and r.y > 0]
            lowest = min((float(y.min()) for y in drawn if y.size), default=0.0)
            if lowest > 0:
                first.set_ylim(bottom=max(first.get_ylim()[0], lowest / 2.5))
        if spec.kind == "bar" and not spec.logy and first.get_ylim()[0] >= 0:
            first.set_ylim(bottom=0)
        first.set_xlim(*spec.xlim)
        first.set_ylim(*spec.ylim)
        set_ticks(self.plot, [ax for ax, _ in self.axes])

    def _words(self) -> None:
        plot, spec = self.plot, self.spec
        single = len(plot.panels) == 1
        _, cols = plot.shape
        for index, (ax, panel) in enumerate(self.axes):
            title = wrapped(plot.heading(panel), 62 if single else 34)
            if single and spec.title:
                title = wrapped(spec.title, 62) + (f"\n{title}" if title else "")
            ax.set_title(title, fontsize=12 if single else 11)
            last = index + cols >= len(plot.panels)  # nothing below, also in an unfilled grid
            ax.tick_params(labelbottom=last, labelleft=index % cols == 0)
            if last:
                ax.set_xlabel(drawn(plot.xlabel))
            if index % cols == 0:
                ax.set_ylabel(wrapped(plot.ylabel, 42))
        if not single and spec.title:
            room = int(10.5 * (self.figure.get_figwidth() - self.legend.width))
            self.figure.suptitle(wrapped(spec.title, room), x=0.01, ha="left")
        if self.norm is not None:
            scale = ScalarMappable(self.norm, matplotlib.colormaps[SEQUENTIAL])
            self.figure.colorbar(
                scale, ax=[ax for ax, _ in self.axes], label=drawn(plot.column(spec.hue or ""))
            )
        self.legend.draw(self.figure)


def _reach(curve: Curve, y: Array) -> Array:
    """How far the interval reaches below and above `y : (P,)`: (2, P)."""
    assert curve.low is not None
    assert curve.high is not None
    # Equal replicates have an interval of no width, which rounding may put beside their mean.
    return np.maximum(np.stack([y - curve.low, curve.high - y]), 0.0)


def _alone(y: Array) -> Array:
    """Which points of a line have no neighbour that it could be drawn to."""
    gap = np.isnan(np.concatenate([[np.nan], y, [np.nan]]))
    return np.asarray(~gap[1:-1] & gap[:-2] & gap[2:])


def _standing(plot: Plot) -> dict[float, list[tuple[str | None, str | None]]]:
    """Place of a category -> the bars that stand there in some panel, from left to right."""
    pairs_at: dict[float, set[tuple[str | None, str | None]]] = {}
    for panel in plot.panels:
        for curve in panel.curves:
            for x, y in curve.lines:
                for position in x[~np.isnan(y)].tolist():
                    pairs_at.setdefault(position, set()).add((curve.hue, curve.style))
    order = plot.combinations()
    return {
        position: [pair for pair in order if pair in pairs] for position, pairs in pairs_at.items()
    }


def _mean_at(lines: list[tuple[Array, Array]], position: float) -> float:
    values = np.concatenate([y[x == position] for x, y in lines])
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
