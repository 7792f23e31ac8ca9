"""What each curve looks like: one place for its colour, dashes, marker and hatching."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.colors import Normalize, to_hex

from .plotdata import Plot
from .statistics import Array
from .style import SEQUENTIAL, Slot, slot

ROUGH = 100  # changes of direction from which a line is drawn thin
PAIR = 2  # replicates without a mean up to which each is dashed as its curve
FEW = 30  # points of a line up to which each of them gets a marker
PALEST = 0.88  # beyond it the colours of the scale vanish on white
HATCHES = ("", "//", "\\\\", "--", "xx", "||", "++", "///")


def is_rough(y: Array) -> bool:
    """Whether a line goes up and down too often for a thick stroke."""
    steps = np.sign(np.diff(y[~np.isnan(y)]))
    return int(np.count_nonzero(np.diff(steps[steps != 0]))) > ROUGH


class Looks:
    """Colour from the hue; dashes and marker from the style, or from the hue without one."""

    def __init__(self, plot: Plot, norm: Normalize | None = None) -> None:
        self.plot, self.norm = plot, norm
        curves = [curve for panel in plot.panels for curve in panel.curves]
        self.rough = {
            (curve.hue, curve.style)
            for curve in curves
            if curve.line is not None and (curve.spikes is not None or is_rough(curve.line[1]))
        }
        """Lines whose spikes would turn into a solid wall when drawn thick or dashed."""
        self.alone = {
            (curve.hue, curve.style)
            for curve in curves
            if curve.line is None and len(curve.members) > PAIR
        }
        """Curves that are nothing but thin lines, one for each of several replicates."""

    def colour(self, hue: str | None) -> str:
        """As #rrggbb; numbers are coloured in their order."""
        if hue is None:
            return slot(0).colour
        scale = matplotlib.colormaps[SEQUENTIAL]
        if self.norm is not None:
            return to_hex(scale(self.norm(float(hue))))
        if hue in self.plot.ramp:
            return to_hex(scale(PALEST * self.plot.ramp[hue]))
        return slot(self.plot.hues[hue]).colour

    def of(self, hue: str | None, style: str | None) -> Slot:
        """How the curve of a hue and a style is drawn."""
        if style is not None:
            shape = slot(self.plot.styles[style])
        else:
            shape = slot(0 if hue is None or self.norm else self.plot.hues[hue])
        # Colours that have an order need no dashes to be told apart, not even in grey print.
        pair = (hue, style)
        plain = (hue in self.plot.ramp and style is None) or pair in self.rough | self.alone
        dash = "-" if plain else shape.dash
        return Slot(self.colour(hue), dash, shape.marker)

    def hatch(self, hue: str | None, style: str | None) -> str:
        """The hatching of a bar."""
        plot = self.plot
        index = plot.styles[style] if style is not None else plot.hues.get(hue or "", 0)
        return HATCHES[index % len(HATCHES)]

    def marker(self, hue: str | None, style: str | None) -> str | None:
        """The marker that stands in a panel for this hue or style (None: any), if one does."""
        kind = self.plot.spec.kind
        if kind not in ("scatter", "line"):
            return None
        for panel in self.plot.panels:
            for curve in panel.curves:
                same = hue in (None, curve.hue) and style in (None, curve.style)
                size = curve.line[0].size if curve.line is not None else FEW + 1
                if same and (kind == "scatter" or size <= FEW):
                    return self.of(curve.hue, curve.style).marker
        return None
