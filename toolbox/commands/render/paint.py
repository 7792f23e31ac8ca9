"""Draw a `Plot` with matplotlib's object interface (no pyplot, no window, no global state)."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from toolbox.core.atomic import refused, replacing
from toolbox.core.errors import UsageError

from . import FORMATS
from .guides import draw_guides
from .heat import draw_cells
from .panels import Curve, Panel, Plot
from .statistics import Array, thin
from .style import GREY, SEQUENTIAL, STYLE, Slot, slot

MANY = 20_000  # points of a scatter beyond which it goes into vector files as a bitmap
ROUGH = 100  # changes of direction from which a line is drawn thin
FEW = 30  # points of a line up to which each of them gets a marker
HATCHES = ("", "//", "\\\\", "--", "xx", "||", "++", "///")


def paint(plot: Plot) -> Figure:
    """The matplotlib figure of a plot."""
    with matplotlib.rc_context(STYLE):
        return _Painter(plot).figure


def write(
    figure: Figure, stem: Path, formats: Sequence[str], provenance: Mapping[str, Any]
) -> list[Path]:
    """See `toolbox.commands.render.save`."""
    for name in formats:
        if name not in FORMATS:
            raise UsageError(f"Unknown figure format {name!r}: choose from {', '.join(FORMATS)}.")
    title = str(provenance.get("title", ""))
    facts = json.dumps(dict(provenance), sort_keys=True, default=str)
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Title": title, "Description": facts, "Software": "toolbox"},
        "svg": {"Title": title, "Description": facts, "Creator": "toolbox", "Date": None},
        "pdf": {"Title": title, "Subject": facts, "Creator": "toolbox", "CreationDate": None},
    }
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(stem.parent, error) from None
    paths = []
    for name in dict.fromkeys(formats):
        path = stem.with_name(f"{stem.name}.{name}")  # with_suffix would cut "T=0.5"
        with matplotlib.rc_context(STYLE), replacing(path) as handle:
            figure.savefig(handle, format=name, metadata=metadata[name])
        paths.append(path)
    return paths


class _Painter:
    """Draws panel after panel; holds what they share: axes, limits, colours, legend."""

    def __init__(self, plot: Plot) -> None:
        self.plot, self.spec = plot, plot.spec
        self.norm: Normalize | None = None
        if plot.continuous:
            levels = [float(label) for label in plot.hues]
            wide = min(levels) > 0 and max(levels) > 50 * min(levels)
            self.norm = (LogNorm if wide else Normalize)(min(levels), max(levels))
        self.handles = self._handles()
        self.figure, axes = self._canvas()
        self.axes = [(ax, panel) for ax, panel in zip(axes, plot.panels, strict=False)]
        for ax in axes[len(plot.panels) :]:
            ax.set_visible(False)
        if self.spec.kind == "heatmap":
            draw_cells(plot, self.figure, self.axes)
        else:
            for ax, panel in self.axes:
                self._panel(ax, panel)
            self._limits()
            draw_guides(self.spec, self.axes)
        self._words()

    def _canvas(self) -> tuple[Figure, list[Axes]]:
        rows, cols = self.plot.shape
        single = rows * cols == 1
        width, height = (6.4, 4.2) if single else (3.1 * cols + 0.7, 2.6 * rows + 0.9)
        if not single and width < 6.4:
            width = 6.4
        bars = len(self.plot.categories or ()) * max(1, len(self.plot.hues))
        if single and self.spec.kind == "bar":
            width = min(max(width, 0.32 * bars), 14)
        if self.handles:
            longest = max(len(str(handle.get_label())) for handle in self.handles)
            width += 0.75 + 0.075 * min(longest, 40)
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
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
                x, y, s=110, marker="*", color=self._colour(hue), edgecolor="black",
                linewidth=0.8, zorder=5,
            )  # fmt: skip
        categories = self.plot.categories
        if categories is not None:
            ax.set_xticks(range(len(categories)), [self.plot.text(key) for key in categories])
            if sum(len(self.plot.text(key)) + 2 for key in categories) > 60 * ax_share(self.plot):
                ax.tick_params(axis="x", rotation=30)
                for label in ax.get_xticklabels():
                    label.set(ha="right", rotation_mode="anchor")
            ax.grid(False, axis="x")
        for axis, log in ((ax.xaxis, spec.logx), (ax.yaxis, spec.logy)):
            if log:
                axis.grid(True, which="minor", color="#F3F3F3", linewidth=0.5)

    def _colour(self, hue: str | None) -> Any:
        if hue is None:
            return slot(0).colour
        if self.norm is not None:
            return matplotlib.colormaps[SEQUENTIAL](self.norm(float(hue)))
        return slot(self.plot.hues[hue]).colour

    def _look(self, hue: str | None, style: str | None) -> Slot:
        """Colour from the hue; dash and marker from the style where there is one."""
        if style is not None:
            shape = slot(self.plot.styles[style])
        else:
            shape = slot(0 if hue is None or self.norm else self.plot.hues[hue])
        return Slot(self._colour(hue), shape.dash, shape.marker)

    def _lines(self, ax: Axes, curve: Curve) -> None:
        look, log = self._look(curve.hue, curve.style), self.spec.logx
        draw = {"color": look.colour, "linestyle": look.dash}
        if self.spec.kind == "step":
            draw["drawstyle"] = "steps-post"
        for x, y in curve.members:
            kept = thin(x, [y], log)
            faint = 0.35 if curve.line is not None else 0.9
            ax.plot(x[kept], y[kept], linewidth=1.1, alpha=faint, **draw)
        if curve.line is None:
            return
        x, y = curve.line
        band = [] if curve.low is None or curve.high is None else [curve.low, curve.high]
        kept = thin(x, [y, *band], log)
        if band:
            ax.fill_between(
                x[kept], band[0][kept], band[1][kept], color=look.colour, alpha=0.18, linewidth=0,
                step="post" if self.spec.kind == "step" else None,
            )  # fmt: skip
        marker = look.marker if x.size <= FEW and self.spec.kind == "line" else None
        if _is_rough(y):  # spikes drawn thick, or dashed, become a solid wall
            draw |= {"linestyle": "-", "linewidth": 1.0}
        ax.plot(x[kept], y[kept], marker=marker, **draw)

    def _points(self, ax: Axes, curve: Curve) -> None:
        look = self._look(curve.hue, curve.style)
        assert curve.line is not None
        x, y = curve.line
        size = float(np.clip(36 - 6 * np.log10(max(x.size, 1)), 8, 30))
        ax.scatter(
            x, y, s=size, marker=look.marker, color=look.colour, linewidth=0,
            alpha=0.85 if x.size < 500 else 0.45, rasterized=x.size > MANY,
        )  # fmt: skip

    def _bars(self, ax: Axes, curve: Curve) -> None:
        pairs = [(hue, style) for hue in self.plot.hues or [None] for style in self._styles()]
        width = 0.8 / len(pairs)
        offset = (pairs.index((curve.hue, curve.style)) - (len(pairs) - 1) / 2) * width
        look = self._look(curve.hue, curve.style)
        lines = curve.lines
        places = np.unique(np.concatenate([x for x, _ in lines]))
        heights = np.array([_mean_at(lines, place) for place in places])
        ax.bar(
            places + offset, heights, width * 0.92, color=look.colour, alpha=0.88,
            hatch=self._hatch(curve.hue, curve.style), edgecolor="white", linewidth=0.6,
        )  # fmt: skip
        for x, y in curve.members:  # too few for an interval: show them all
            ax.plot(
                x + offset, y, linestyle="none", marker="o", markersize=4, color="#222222",
                markerfacecolor="white", zorder=4,
            )  # fmt: skip
        if curve.low is not None and curve.high is not None and curve.line is not None:
            x, y = curve.line
            ax.errorbar(
                x + offset, y, yerr=[y - curve.low, curve.high - y], fmt="none", color="#222222",
                elinewidth=1.2, capsize=3,
            )  # fmt: skip

    def _styles(self) -> list[str | None]:
        return list(self.plot.styles) or [None]

    def _hatch(self, hue: str | None, style: str | None) -> str:
        index = self.plot.styles[style] if style is not None else self.plot.hues.get(hue or "", 0)
        return HATCHES[index % len(HATCHES)]

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
        for axis, log in ((first.xaxis, spec.logx), (first.yaxis, spec.logy)):
            low, high = axis.get_view_interval()
            if log and high < 60 * low and low >= 1e-3 and high <= 1e5:
                # Under two decades the powers of ten are too few: 20, 50, 100 read better.
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.set_minor_formatter(NullFormatter())

    def _handles(self) -> list[Any]:
        """Legend entries: hues, styles (under their names when there are both), the highlight."""
        plot, spec, handles = self.plot, self.spec, []
        both = bool(plot.hues and plot.styles) and spec.hue != spec.style
        if plot.hues and self.norm is None:
            if both:
                handles.append(_heading(plot.column(spec.hue or "")))
            same = spec.hue == spec.style
            handles += [
                self._handle(hue, hue if same else None, plot.text(hue)) for hue in plot.hues
            ]
        if plot.styles and spec.hue != spec.style:
            if both:
                handles.append(_heading(plot.column(spec.style or "")))
            handles += [
                self._handle(None, style, plot.text(style), GREY if plot.hues else None)
                for style in plot.styles
            ]
        if spec.highlight and any(panel.marks for panel in plot.panels):
            handles.append(
                Line2D([], [], linestyle="none", marker="*", markersize=11, color="white",
                       markeredgecolor="black", label=spec.highlight.label)
            )  # fmt: skip
        return handles

    def _handle(self, hue: str | None, style: str | None, text: str, colour: Any = None) -> Any:
        look, kind = self._look(hue, style), self.spec.kind
        colour = colour or look.colour
        if kind == "bar":
            return Patch(facecolor=colour, edgecolor="white", label=text,
                         hatch=self._hatch(hue, style))  # fmt: skip
        plain = self.plot.styles and style is None  # colour alone: dash and marker mean the style
        few = kind == "scatter" or (kind == "line" and _most_points(self.plot) <= FEW)
        return Line2D(
            [], [], color=colour, label=text, marker=look.marker if few else None,
            linestyle="none" if kind == "scatter" else ("-" if plain else look.dash),
        )  # fmt: skip

    def _words(self) -> None:
        plot, spec = self.plot, self.spec
        single = len(plot.panels) == 1
        _, cols = plot.shape
        for index, (ax, panel) in enumerate(self.axes):
            facets = ((spec.row, panel.row), (spec.col, panel.col))
            names = [
                plot.spec.labels.get(label, f"{spec.labels.get(name, name)} = {plot.text(label)}")
                for name, label in facets
                if name is not None and label is not None
            ]
            title = ", ".join(names)
            if single and spec.title:
                title = textwrap.fill(spec.title, 62) + (f"\n{title}" if title else "")
            ax.set_title(title, fontsize=12 if single else 11)
            last = index + cols >= len(plot.panels)  # nothing below, also in an unfilled grid
            ax.tick_params(labelbottom=last, labelleft=index % cols == 0)
            if last:
                ax.set_xlabel(plot.xlabel)
            if index % cols == 0:
                ax.set_ylabel(plot.ylabel)
        if not single and spec.title:
            self.figure.suptitle(textwrap.fill(spec.title, 40 + 30 * cols), x=0.01, ha="left")
        if self.norm is not None:
            scale = ScalarMappable(self.norm, matplotlib.colormaps[SEQUENTIAL])
            self.figure.colorbar(
                scale, ax=[ax for ax, _ in self.axes], label=plot.column(spec.hue or "")
            )
        if self.handles:
            both = bool(plot.hues and plot.styles) and spec.hue != spec.style
            named = None if both else spec.hue or spec.style
            heading = plot.column(named) if named else None
            legend = self.figure.legend(
                handles=self.handles, title=heading, loc="outside right upper", alignment="left"
            )
            for text, handle in zip(legend.get_texts(), self.handles, strict=True):
                if handle.get_gid() == "heading":
                    text.set_fontweight("bold")


def ax_share(plot: Plot) -> float:
    """Width of one panel relative to a single one, for judging what fits under it."""
    return 1.0 if plot.shape[1] == 1 else 0.45


def _mean_at(lines: list[tuple[Array, Array]], place: float) -> float:
    values = np.concatenate([y[x == place] for x, y in lines])
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def _is_rough(y: Array) -> bool:
    """Whether a line goes up and down too often for a thick stroke."""
    steps = np.sign(np.diff(y[~np.isnan(y)]))
    return int(np.count_nonzero(np.diff(steps[steps != 0]))) > ROUGH


def _most_points(plot: Plot) -> int:
    sizes = (c.line[0].size for panel in plot.panels for c in panel.curves if c.line is not None)
    return max(sizes, default=FEW + 1)


def _heading(text: str) -> Any:
    return Line2D([], [], linestyle="none", label=text, gid="heading")
