"""Figures in a terminal: the only module that knows plotext, whose interface is new since 6."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from toolbox.core.errors import UsageError

from .panels import Cells, Curve, Panel, Plot
from .statistics import Array, thin
from .style import slot

_LETTERS = {"kappa": "κ", "tau": "τ", "theta": "θ", "epsilon": "ε", "mu": "μ", "lambda": "λ"}
_LETTERS |= {"alpha": "α", "beta": "β", "eta": "η", "rho": "ρ", "leq": "≤", "geq": "≥"}
MIN_WIDTH, MIN_HEIGHT = 40, 10
_RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))  # viridis


def draw(plot: Plot, width: int, height: int, colour: bool) -> str:
    """All panels on top of each other."""
    width = max(width, MIN_WIDTH)
    height = max(height, MIN_HEIGHT) if len(plot.panels) == 1 else max(height * 2 // 3, MIN_HEIGHT)
    parts = [plot.spec.title] if plot.spec.title else []
    for panel in plot.panels:
        facets = ((plot.spec.row, panel.row), (plot.spec.col, panel.col))
        title = ", ".join(f"{name} = {plot.text(label)}" for name, label in facets if label)
        if plot.spec.kind == "heatmap":
            text = _cells(plot, panel, width, colour)
        elif plot.spec.kind == "bar":
            text = _bars(plot, panel, width, colour)
        else:
            text = _curves(plot, panel, width, height, colour)
        parts.append(f"{title}\n{text}" if title else text)
    return "\n".join(untex(line).rstrip() for line in "\n".join(parts).splitlines())


def untex(text: str) -> str:
    """A label's $mathematics$ as plain characters: $\\kappa^{0.89}$ becomes κ^0.89."""
    for formula in re.findall(r"\$[^$]*\$", text):
        plain = re.sub(r"\\([A-Za-z]+)", lambda word: _LETTERS.get(word[1], word[1]), formula)
        text = text.replace(formula, re.sub(r"\\,|[{}$]", "", plain), 1)
    return text


def _paint(text: str, rgb: tuple[int, int, int], colour: bool) -> str:
    return f"\x1b[38;2;{rgb[0]};{rgb[1]};{rgb[2]}m{text}\x1b[0m" if colour else text


def _rgb(index: int) -> tuple[int, int, int]:
    code = slot(index).colour.lstrip("#")
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def _name(plot: Plot, curve: Curve) -> str:
    return " ".join(plot.text(key) for key in (curve.hue, curve.style) if key is not None)


def _index(plot: Plot, curve: Curve) -> int:
    if curve.hue is not None:
        return plot.hues[curve.hue]
    return plot.styles[curve.style] if curve.style is not None else 0


# -- lines, steps, points ------------------------------------------------------------------------


def _curves(plot: Plot, panel: Panel, width: int, height: int, colour: bool) -> str:
    """plotext draws on plain axes; logarithms and their ticks are ours, its own show 0.0000000."""
    spec = plot.spec
    lines: list[tuple[Curve, Array, Array]] = []
    for curve in panel.curves:
        for x, y in curve.lines:
            kept = thin(x, [y], spec.logx, buckets=2 * width) if spec.kind != "scatter" else ...
            u, v = _scaled(x[kept], spec.logx), _scaled(y[kept], spec.logy)
            gaps = np.flatnonzero(np.isnan(v))  # a gap stays a gap: nothing is drawn across it
            for part in np.split(np.arange(v.size), gaps):
                part = part[~np.isnan(v[part])]
                lines.append((curve, u[part], v[part]))
    known = [(u, v) for _, u, v in lines if u.size]
    if not known:
        return "(nothing to draw)"
    frame = _Axes(width, height, colour)
    u, v = (np.concatenate([pair[axis] for pair in known]) for axis in (0, 1))
    levels = [each.y for each in spec.references if each.y is not None]
    levels = [_scaled(np.array([y]), spec.logy)[0] for y in levels if y > 0 or not spec.logy]
    frame.limits("x", u, spec.logx, spec.xlim, plot.categories)
    frame.limits("y", np.append(v, levels), spec.logy, spec.ylim, None)
    for level in levels:
        frame.level(float(level))
    legend: dict[str, tuple[str, int]] = {}
    for curve, u, v in lines:
        index = _index(plot, curve)
        # One curve is finest in braille; several must differ where there is no colour.
        symbol = "braille" if colour or len(panel.curves) == 1 else "ox+*#@%&sd^v"[index % 12]
        if spec.kind == "step" and u.size > 1:
            u, v = np.repeat(u, 2)[1:], np.repeat(v, 2)[:-1]
        frame.signal(u, v, symbol, _rgb(index), joined=spec.kind != "scatter")
        if name := _name(plot, curve):
            legend[name] = ("━━" if symbol == "braille" else symbol, index)
    for _, x, y in panel.marks:
        frame.signal(_scaled(x, spec.logx), _scaled(y, spec.logy), "★", (0, 0, 0), joined=False)
    text = frame.build(plot.xlabel)
    shown = [
        f"{_paint(sign, _rgb(index), colour)} {name}" for name, (sign, index) in legend.items()
    ]
    if spec.highlight and panel.marks:
        shown.append(f"★ {spec.highlight.label}")
    rows = [plot.ylabel, text]
    if 0 < len(shown) <= 24:
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
        self, axis: str, values: Array, log: bool, wanted: Any, categories: list[str] | None
    ) -> None:
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
        names = categories or [f"{10**place if log else place:g}" for place in places]
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
        return [place for place in digits if low - 1e-9 <= place <= high + 1e-9] or [low, high]
    else:
        raw = (high - low) / wanted
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) if abs(step) > 1e-9 else index * step
            for index in range(first, last + 1)]  # fmt: skip


# -- bars and cells ------------------------------------------------------------------------------


def _bars(plot: Plot, panel: Panel, width: int, colour: bool) -> str:
    rows: list[tuple[str, float, str, int]] = []
    for place, key in enumerate(plot.categories or []):
        for curve in panel.curves:
            found = [y[x == place] for x, y in curve.lines]
            values = np.concatenate(found) if found else np.empty(0)
            values = values[~np.isnan(values)]
            if not values.size:
                continue
            value = float(values.mean())
            number = f"{value:.4g}"
            if curve.low is not None and curve.line is not None:
                half = value - float(curve.low[curve.line[0] == place][0])
                number += f" ± {half:.2g}" if not math.isnan(half) else ""
            name = " ".join(part for part in (plot.text(key), _name(plot, curve)) if part)
            rows.append((name, value, number, _index(plot, curve)))
    if not rows:
        return "(nothing to draw)"
    label = min(max(len(name) for name, *_ in rows), width // 3)
    room = width - label - max(len(number) for _, _, number, _ in rows) - 4
    top = max(abs(value) for _, value, _, _ in rows) or 1.0
    low = math.log10(min(value for _, value, _, _ in rows)) - 0.3 if plot.spec.logy else 0.0
    lines = [f"{plot.ylabel} by {plot.xlabel}" + (" (log scale)" if plot.spec.logy else "")]
    for name, value, number, index in rows:
        share = (math.log10(value) - low) / (math.log10(top) - low) if plot.spec.logy else (
            abs(value) / top
        )  # fmt: skip
        bar = _paint(("░" if value < 0 else "█") * round(share * room), _rgb(index), colour)
        lines.append(f"{name[:label]:>{label}} │{bar} {number}")
    return "\n".join(lines)


def _cells(plot: Plot, panel: Panel, width: int, colour: bool) -> str:
    """The numbers themselves in a grid; on a coloured terminal tinted by value."""
    cells = panel.cells
    assert cells is not None
    spec = plot.spec
    names = [plot.text(key) for key in cells.ys]
    left = max(len(name) for name in names) + 1
    wide = max(6, *(len(plot.text(key)) for key in cells.xs)) + 1
    shown = _spread(len(cells.xs), max(1, (width - left - 2) // wide))
    heads = "".join(f"{plot.text(cells.xs[j]):>{wide}}" for j in shown)
    lines = [f"{plot.column(spec.measured)}: {plot.ylabel} (down) by {plot.xlabel} (across)"]
    for i in reversed(range(len(cells.ys))):
        row = "".join(_cell(cells, i, j, wide, spec.logvalue, colour) for j in shown)
        lines.append(f"{names[i]:>{left}} │{row}")
    lines += [" " * left + " └" + "─" * (wide * len(shown)), " " * (left + 2) + heads]
    if len(shown) < len(cells.xs):
        lines.append(f"({len(shown)} of {len(cells.xs)} columns fit)")
    return "\n".join(lines)


def _spread(count: int, room: int) -> list[int]:
    if count <= room:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, room)]


def _cell(cells: Cells, i: int, j: int, wide: int, log: bool, colour: bool) -> str:
    value = cells.values[i, j]
    if np.isnan(value):
        return f"{'·':>{wide}}"
    known = cells.values[~np.isnan(cells.values)]
    low, high, at = (_scaled(np.array(v, dtype=float), log) for v in
                     (known.min(), known.max(), value))  # fmt: skip
    share = float((at - low) / (high - low)) if high > low else 0.5
    form = ".0f" if 1e3 <= abs(value) < 1e6 else ".3g"
    return _paint(f"{value:>{wide}{form}}", _RAMP[round(share * (len(_RAMP) - 1))], colour)
