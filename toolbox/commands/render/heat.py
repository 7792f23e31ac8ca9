"""Heat maps: evenly spaced cells, one colour scale for all panels, numbers in small grids."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from toolbox.core.errors import UsageError

from .plotdata import Cells, Panel, Plot
from .style import DIVERGING, SEQUENTIAL
from .words import drawn

MAX_NUMBERS = 144  # cells that are written out
MAX_TICKS = 12


def draw_cells(plot: Plot, figure: Figure, axes: list[tuple[Axes, Panel]]) -> None:
    """Colour the cells of every panel on one scale and add the colour bar."""
    spec = plot.spec
    norm = colour_norm(plot)
    colours = matplotlib.colormaps[DIVERGING if is_signed(norm) else SEQUENTIAL]
    mesh = None
    for ax, panel in axes:
        cells = panel.cells
        assert cells is not None
        wide, tall = len(cells.xs), len(cells.ys)
        mesh = ax.pcolormesh(
            np.arange(wide + 1) - 0.5,
            np.arange(tall + 1) - 0.5,
            np.ma.masked_invalid(cells.values),
            norm=norm,
            cmap=colours,
            rasterized=wide * tall > 1000,
            edgecolor="white",
            # Lines between many thin cells would wash their colours out.
            linewidth=0.5 if wide * tall <= 400 and max(wide, tall) <= 40 else 0,
        )
        ax.grid(False)
        ax.set_facecolor("#EDEDED")  # empty cells
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        _ticks(ax, plot, cells)
        if wide * tall <= MAX_NUMBERS and wide <= 12 and len(axes) <= 4:
            _numbers(ax, cells, norm, colours)
        if spec.contours and wide > 1 and tall > 1:
            lines = ax.contour(
                cells.values, levels=sorted(spec.contours), colors="white", linewidths=1.8
            )
            lines.set_path_effects([withStroke(linewidth=3.2, foreground="#222222")])
            if wide * tall > MAX_NUMBERS:  # among written numbers a label only confuses
                ax.clabel(lines, fontsize=9, fmt="%g")
    if mesh is not None:
        label = drawn(plot.column(spec.measured))
        figure.colorbar(mesh, ax=[ax for ax, _ in axes], label=label, pad=0.02)


def colour_norm(plot: Plot) -> Normalize:
    """The colour scale over all panels, within `vlim` where it is given."""
    values = np.concatenate([p.cells.values.ravel() for p in plot.panels if p.cells is not None])
    values = values[~np.isnan(values)]
    if not values.size:
        raise UsageError(f"Column {plot.spec.measured!r} has no value that its colours can show.")
    low, high = plot.spec.vlim
    least, most = float(values.min()), float(values.max())
    if not plot.spec.logvalue and (low, high) == (None, None) and signed(least, most):
        low, high = -max(-least, most), max(-least, most)  # white is zero
    low, high = least if low is None else low, most if high is None else high
    if signed(low, high) and low != -high:
        return TwoSlopeNorm(0.0, low, high)
    return (LogNorm if plot.spec.logvalue else Normalize)(low, high)


def signed(low: float, high: float) -> bool:
    """Whether values lie on both sides of zero, by more than rounding."""
    return low < 0 < high and min(-low, high) > 0.01 * max(-low, high)


def is_signed(norm: Normalize) -> bool:
    """Whether a colour scale has zero inside it and takes a diverging map."""
    return norm.vmin is not None and norm.vmax is not None and signed(norm.vmin, norm.vmax)


def _ticks(ax: Axes, plot: Plot, cells: Cells) -> None:
    share = 1.0 if plot.shape[1] == 1 else 0.45
    for axis, keys in ((ax.xaxis, cells.xs), (ax.yaxis, cells.ys)):
        longest = max(len(plot.text(key)) for key in keys)
        across = min(MAX_TICKS, max(2, int(56 * share / (longest + 2))))
        room = across if axis is ax.xaxis else 20 if share == 1 else MAX_TICKS
        step = -(-len(keys) // room)
        places = list(range(0, len(keys), step))
        axis.set_ticks(places, labels=[drawn(plot.text(keys[place])) for place in places])


def _numbers(ax: Axes, cells: Cells, norm: Normalize, colours: Colormap) -> None:
    """Write every value into its cell: two decimals for shares, else what the range needs."""
    sizes = np.abs(cells.values[~np.isnan(cells.values) & (cells.values != 0)])
    top, bottom = sizes.max(initial=0.0), sizes.min(initial=1.0)
    if not sizes.size:
        form = "g"
    elif top >= 1e4 or top < 0.1 or (isinstance(norm, LogNorm) and bottom < 0.01):
        form = ".1e"
    else:
        form = ".2f" if top < 10 else ".3g" if top < 1000 else ".0f"
    for (i, j), value in np.ndenumerate(cells.values):
        if np.isnan(value):
            continue
        cell = colours(norm(value))
        dark = 0.299 * cell[0] + 0.587 * cell[1] + 0.114 * cell[2] < 0.55
        text = ax.text(j, i, f"{value:{form}}", ha="center", va="center", fontsize=9, zorder=4)
        text.set_color("white" if dark else "#222222")
        text.set_path_effects([withStroke(linewidth=2.5, foreground=cell)])  # above contours
