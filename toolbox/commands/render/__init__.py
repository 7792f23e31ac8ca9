"""From a tidy table and a `FigureSpec` to a picture: in files (matplotlib) or in the terminal.

`panels.py` turns rows into curves, bars and cells and takes all statistical decisions; `paint.py`
and `textplot.py` (plotext) only draw what it decided, so both show the same numbers. Nothing
heavy is imported before a function is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.figure import FigureSpec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


def render(
    frame: pd.DataFrame, spec: FigureSpec, columns: Mapping[str, Any] | None = None
) -> tuple[Figure, list[str]]:
    """Draw `frame` as `spec` says.

    columns : name -> object or dict with `meaning`, `unit`, `role`; names the axes. With role
        "parameter" the x values of replicates are matched exactly, otherwise replicates are
        aligned by forward fill.
    Returns the figure and notes: a sentence on whatever was masked, left out, averaged, aligned.
    Raises UsageError for missing columns, text where numbers are needed, and an empty selection.
    """
    from .paint import paint
    from .panels import arrange

    plot = arrange(frame, spec, columns or {})
    return paint(plot), plot.notes


def save(
    figure: Figure, stem: Path, formats: Sequence[str], provenance: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write `stem`.png, .svg, .pdf (those in `formats`), each whole or not at all.

    provenance : JSON-ready facts that go into every file's metadata, such as title, caption,
        runs, command.
    The bytes depend on figure and provenance alone: no date, no random ids.
    Raises UsageError for an unknown format, ToolboxError when the disk refuses.
    """
    from .paint import write

    return write(figure, stem, formats, provenance or {})


def terminal(
    frame: pd.DataFrame,
    spec: FigureSpec,
    columns: Mapping[str, Any] | None = None,
    *,
    width: int = 80,
    height: int = 24,
    colour: bool = False,
) -> tuple[str, list[str]]:
    """The same figure as text of at most `width` characters a line, about `height` lines a panel.

    Returns the text (without one escape sequence unless `colour`) and the notes of `render`.
    Raises UsageError like `render`, and when plotext is not installed.
    """
    from .panels import arrange
    from .textplot import draw

    plot = arrange(frame, spec, columns or {})
    return draw(plot, width, height, colour), plot.notes
