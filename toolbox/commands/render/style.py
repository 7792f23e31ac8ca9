"""How figures look: one style dictionary and one table of colours, dashes and markers."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# Okabe and Ito's palette, safe for colour-blind readers, without its yellow (unreadable on white);
# a darker purple-grey closes it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#6A51A3", "#4D4D4D")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (5, 1.4, 1, 1.4)), (0, (1.2, 1.2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#666666"
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
MAX_LABELS = 12  # beyond this many hues nobody tells the colours apart

STYLE: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.linewidth": 0.8,
    "axes.edgecolor": "#333333",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.title_fontsize": 10,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.9,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "toolbox",  # otherwise the ids inside an SVG are random
    "pdf.fonttype": 42,
}


class Slot(NamedTuple):
    """What one label looks like. Dash and marker vary with the colour, so grey print reads too."""

    colour: str
    dash: Any
    marker: str


def slot(index: int) -> Slot:
    """The look of slot `index`; colours repeat after eight, the triples only after 32."""
    turn, base = divmod(index, len(COLOURS))
    return Slot(
        COLOURS[base],
        DASHES[(base + turn) % len(DASHES)],
        MARKERS[(base + 3 * turn) % len(MARKERS)],
    )


def assign_slots(labels: Iterable[str], order: Sequence[str]) -> dict[str, int]:
    """Label -> slot. A label in `order` has its place there, present or not.

    The others begin at a slot computed from their name and take the next free one, so that one
    of them moves only if the label it collided with goes.
    """
    slots = {label: index for index, label in enumerate(order)}
    taken = set(slots.values())
    for label in sorted(set(labels) - set(order)):
        start, turn = zlib.crc32(label.encode()) % len(COLOURS), 0
        while len(taken.intersection(range(turn, turn + len(COLOURS)))) == len(COLOURS):
            turn += len(COLOURS)
        slot = start
        while turn + slot in taken:
            slot = (slot + 1) % len(COLOURS)
        slots[label] = turn + slot
        taken.add(turn + slot)
    return slots


def key_of(value: Any) -> str:
    """The name of a label, equal for 10, 10.0 and "10", so that YAML and CSV agree."""
    if isinstance(value, str):
        return value
    if type(value).__name__ in ("bool", "bool_"):
        return str(bool(value))
    number = float(value)
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return repr(number)


def text_of(key: str) -> str:
    """A label's key as it is shown: long numbers in short form when nothing is lost."""
    try:
        number = float(key)
    except ValueError:
        return key
    short = f"{number:g}"
    return short if float(short) == number and len(short) < len(key) else key


Rank = tuple[int, float, tuple[tuple[str, int], ...], str]


def rank_of(key: str) -> Rank:
    """Sort numbers by value, before texts by name; run_2 stands before run_10."""
    try:
        number = float(key)
    except ValueError:
        number = math.nan
    if not math.isnan(number):
        return 0, number, (), key
    parts = re.findall(r"(\D*)([0-9]{0,15})", key)
    return 1, 0.0, tuple((text, int(digits or -1)) for text, digits in parts), key
