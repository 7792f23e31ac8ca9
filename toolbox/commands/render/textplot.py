"""Figures in a terminal: the only module that knows plotext, whose interface is new since 6."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.colors import Normalize

from toolbox.core.errors import UsageError

from .heat import colour_norm, is_signed
from .looks import Looks
from .plotdata import Cells, Curve, Panel, Plot
from .statistics import Array, thin
from .style import slot
from .words import plain

MIN_WIDTH, MIN_HEIGHT = 40, 10
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis
_SIGNED = ((33, 102, 172), (146, 197, 222), (150, 150, 150), (244, 165, 130), (178, 24, 43))
SIGNS = "ox+*#@%&sdv^AVHNZKEB"
MAX_LEGEND = 24

RGB = tuple[int, int, int]


def draw(plot: Plot, width: int, height: int, colour: bool, braille: bool = True) -> str:
    """All panels on top of each other.

    braille : whether finer dots than letters may be used
    """
    width = max(width, MIN_WIDTH)
    height = max(height, MIN_HEIGHT) if len(plot.panels) == 1 else max(height * 2 // 3, MIN_HEIGHT)
    parts = [plot.spec.title] if plot.spec.title else []
    for panel in plot.panels:
        title = plot.heading(panel)
        if plot.spec.kind == "heatmap":
            text = _cells(plot, panel, width, colour)
        elif plot.spec.kind == "bar":
            text = _bars(plot, panel, width, colour)
        else:
            text = _curves(plot, panel, width, height, colour, braille)
        parts.append(f"{title}\n{text}" if title else text)
    return "\n".join(plain(line).rstrip() for line in "\n".join(parts).splitlines())


def _paint(text: str, rgb: RGB, colour: bool) -> str:
    return f"\x1b[38;2;{rgb[0]};{rgb[1]};{rgb[2]}m{text}\x1b[0m" if colour else text


def _rgb(plot: Plot, curve: Curve) -> RGB:
    if curve.hue is None and curve.style is not None:
        colour = slot(plot.styles[curve.style]).colour
    else:
        colour = Looks(plot).colour(curve.hue)
    code = colour.lstrip("#")
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def _name(plot: Plot, curve: Curve) -> str:
    return " ".join(plot.text(key) for key in (curve.hue, curve.style) if key is not None)


# -- lines, steps, points ------------------------------------------------------------------------


def _curves(plot: Plot, panel: Panel, width: int, height: int, colour: bool, braille: bool) -> str:
    """plotext draws on plain axes; logarithms and their ticks are ours, its own show 0.0000000."""
    spec = plot.spec
    lines: list[tuple[Curve, Array, Array, bool]] = []
    for curve in panel.curves:
        for x, y in curve.lines:
            kept = thin(x, [y], spec.logx, buckets=2 * width) if spec.kind != "scatter" else ...
            u, v = _scaled(x[kept], spec.logx), _scaled(y[kept], spec.logy)
            gaps = np.flatnonzero(np.isnan(v))  # a gap stays a gap: nothing is drawn across it
            for part in np.split(np.arange(v.size), gaps):
                part = part[~np.isnan(v[part])]
                lines.append((curve, u[part], v[part], spec.kind != "scatter"))
        if curve.spikes is not None:
            at, _, tips = curve.spikes
            lines.append((curve, _scaled(at, spec.logx), _scaled(tips, spec.logy), False))
    known = [(u, v) for _, u, v, _ in lines if u.size]
    if not known:
        return "(nothing to draw)"
    frame = _Axes(width, height, colour)
    u, v = (np.concatenate([pair[axis] for pair in known]) for axis in (0, 1))
    levels = [each.y for each in spec.references if each.y is not None]
    levels = [_scaled(np.array([y]), spec.logy)[0] for y in levels if y > 0 or not spec.logy]
    frame.limits("x", u, spec.logx, spec.xlim, plot.categories, plot.dates)
    frame.limits("y", np.append(v, levels), spec.logy, spec.ylim, None)
    for level in levels:
        frame.level(float(level))
    # A sign of its own for each curve, the same in every panel, on a coloured terminal too.
    pairs = plot.combinations()
    legend: dict[str, tuple[str, RGB]] = {}
    for curve, u, v, joined in lines:
        number, rgb = pairs.index((curve.hue, curve.style)), _rgb(plot, curve)
        symbol = "braille" if braille and len(pairs) == 1 else SIGNS[number % len(SIGNS)]
        if spec.kind == "step" and u.size > 1:
            u, v = np.repeat(u, 2)[1:], np.repeat(v, 2)[:-1]
        frame.signal(u, v, symbol, rgb, joined=joined)
        if name := _name(plot, curve):
            legend[name] = ("━━" if symbol == "braille" else symbol, rgb)
    star = "★" if braille else "*"
    for _, x, y in panel.marks:
        frame.signal(_scaled(x, spec.logx), _scaled(y, spec.logy), star, (0, 0, 0), joined=False)
    text = frame.build(plain(plot.xlabel))
    shown = [f"{_paint(sign, rgb, colour)} {plain(name)}" for name, (sign, rgb) in legend.items()]
    if len(shown) > MAX_LEGEND:
        shown[MAX_LEGEND - 1 :] = [f"... and {len(shown) - MAX_LEGEND + 1} more"]
    if spec.highlight and panel.marks:
        shown.append(f"{star} {spec.highlight.label}")
    rows = [plot.ylabel, text]
    if shown:
        rows += _wrap(shown, width)
    return "\n".join(rows)


def _wrap(entries: list[str], width: int) -> list[str]:
    rows = [""]
    length = 0
    for each in entries:
        visible = len(each.split("m", 1)[1].replace("\x1b[0m", "")) if "\x1b" in each else len(each)
        if length and length + visible + 3 > width:
            rows.append("")
            length = 0
        rows[-1] += ("   " if length else "  ") + each
        length += visible + 3
    return rows


def _scaled(values: Array, log: bool) -> Array:
    return np.log10(values) if log else values


class _Axes:
    """The adapter: one plot of plotext >= 6, whose only figure is global and cleared around it."""

    def __init__(self, width: int, height: int, colour: bool) -> None:
        try:
            import plotext
        except ImportError:
            raise UsageError(
                "Plots in the terminal need plotext: pip install 'plotext>=6,<7'."
            ) from None
        if not hasattr(plotext, "figure"):
            raise UsageError("Plots in the terminal need plotext 6: pip install 'plotext>=6,<7'.")
        self.plotext, self.figure, self.colour = plotext, plotext.figure, colour
        self.figure.clear()
        plotext.terminal.size()
        self.figure.plot_size(width, height)

    def limits(
        self, axis: str, values: Array, log: bool, wanted: Any, categories: list[str] | None,
        dates: bool = False,
    ) -> None:  # fmt: skip
        low, high = float(values.min()), float(values.max())
        if wanted[0] is not None:
            low = math.log10(wanted[0]) if log else wanted[0]
        if wanted[1] is not None:
            high = math.log10(wanted[1]) if log else wanted[1]
        if low >= high:
            low, high = low - 0.5, high + 0.5
        ruler = self.figure.ruler(axis)
        ruler.lim(low, high)
        places = list(range(len(categories))) if categories else ticks(low, high, log)
        if dates:
            names = [_date(tick, high - low) for tick in places]
        else:
            names = categories or [f"{10**tick if log else tick:g}" for tick in places]
        ruler.ticks(places, names)

    def signal(
        self, u: Array, v: Array, symbol: str, rgb: tuple[int, int, int], joined: bool
    ) -> None:
        marker = self.plotext.marker(symbol, rgb) if self.colour else symbol
        signal = self.figure.signal(u.tolist(), v.tolist(), marker=marker)
        if joined:
            signal.lines()
        self.figure.draw(signal)

    def level(self, value: float) -> None:
        self.figure.line(value, orientation="horizontal", style="dotted")

    def build(self, xlabel: str) -> str:
        self.figure.label(xlabel, axis="x")
        text = str(self.figure.build().string(colorless=not self.colour))
        self.figure.clear()
        return text.strip("\n")


def ticks(low: float, high: float, log: bool, wanted: int = 6) -> list[float]:
    """Round tick places inside [low, high]; on a log axis in decades, or 1-2-5 within few."""
    if log and high - low >= 2:
        step = float(max(1, round((high - low) / wanted)))
    elif log:
        digits = [
            math.log10(d * 10.0**e)
            for e in range(math.floor(low), math.ceil(high) + 1)
            for d in (1, 2, 5)
        ]
        return [tick for tick in digits if low - 1e-9 <= tick <= high + 1e-9] or [low, high]
    else:
        raw = (high - low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) if abs(step) > 1e-9 else index * step
            for index in range(first, last + 1)]  # fmt: skip


def _date(days: float, span: float) -> str:
    """A day since 1970 as text, with the time where all is within a few days."""
    import datetime

    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(days=days)
    return moment.strftime("%Y-%m-%d" if span > 5 else "%m-%d %H:%M")


# -- bars and cells ------------------------------------------------------------------------------


def _bars(plot: Plot, panel: Panel, width: int, colour: bool) -> str:
    rows: list[tuple[str, float, str, RGB]] = []
    for position, key in enumerate(plot.categories or []):
        for curve in panel.curves:
            heights = [y[x == position] for x, y in curve.lines]
            values = np.concatenate(heights) if heights else np.empty(0)
            values = values[~np.isnan(values)]
            if not values.size:
                continue
            value = float(values.mean())
            number = f"{value:.4g}"
            if curve.low is not None and curve.line is not None:
                half = value - float(curve.low[curve.line[0] == position][0])
                number += f" ± {half:.2g}" if not math.isnan(half) else ""
            name = " ".join(part for part in (plot.text(key), _name(plot, curve)) if part)
            rows.append((plain(name), value, number, _rgb(plot, curve)))
    if not rows:
        return "(nothing to draw)"
    label = min(max(len(name) for name, *_ in rows), width // 3)
    room = width - label - max(len(number) for _, _, number, _ in rows) - 4
    top = max(abs(value) for _, value, _, _ in rows) or 1.0
    low = math.log10(min(value for _, value, _, _ in rows)) - 0.3 if plot.spec.logy else 0.0
    lines = [f"{plot.ylabel} by {plot.xlabel}" + (" (log scale)" if plot.spec.logy else "")]
    for name, value, number, rgb in rows:
        share = (math.log10(value) - low) / (math.log10(top) - low) if plot.spec.logy else (
            abs(value) / top
        )  # fmt: skip
        bar = _paint(("░" if value < 0 else "█") * round(share * room), rgb, colour)
        lines.append(f"{name[:label]:>{label}} │{bar} {number}")
    return "\n".join(lines)


def _cells(plot: Plot, panel: Panel, width: int, colour: bool) -> str:
    """The numbers themselves in a grid; on a coloured terminal tinted by value."""
    cells = panel.cells
    assert cells is not None
    spec = plot.spec
    norm = colour_norm(plot)
    names = [plot.text(key) for key in cells.ys]
    left = max(len(name) for name in names) + 1
    numbers = [_number(value) for value in cells.values.ravel()]
    wide = max(6, *(len(plot.text(key)) for key in cells.xs), *map(len, numbers)) + 1
    shown = _spread(len(cells.xs), max(1, (width - left - 2) // wide))
    heads = "".join(f"{plot.text(cells.xs[j]):>{wide}}" for j in shown)
    lines = [f"{plot.column(spec.measured)}: {plot.ylabel} (down) by {plot.xlabel} (across)"]
    for i in reversed(range(len(cells.ys))):
        row = "".join(_cell(cells, i, j, wide, norm, colour) for j in shown)
        lines.append(f"{names[i]:>{left}} │{row}")
    lines += [" " * left + " └" + "─" * (wide * len(shown)), " " * (left + 2) + heads]
    if len(shown) < len(cells.xs):
        lines.append(f"({len(shown)} of {len(cells.xs)} columns fit)")
    return "\n".join(lines)


def _spread(count: int, room: int) -> list[int]:
    if count <= room:
        return list(range(count))
    return [round(index) for index in np.linspace(0, count - 1, room)]


def _number(value: float) -> str:
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:.3g}"


def _cell(cells: Cells, i: int, j: int, wide: int, norm: Normalize, colour: bool) -> str:
    value = cells.values[i, j]
    if np.isnan(value):
        return f"{'·':>{wide}}"
    share = float(np.clip(norm(value), 0, 1)) if norm.vmin != norm.vmax else 0.5
    ramp = _SIGNED if is_signed(norm) else _RAMP
    return _paint(f"{_number(value):>{wide}}", ramp[round(share * (len(ramp) - 1))], colour)
