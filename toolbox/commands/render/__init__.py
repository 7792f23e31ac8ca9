"""From a tidy table and a `FigureSpec` to a picture: in files (matplotlib) or in the terminal.

`panels.py` turns rows into curves, bars and cells and takes all statistical decisions; `paint.py`
and `textplot.py` (plotext) only draw what it decided, so both show the same numbers. Nothing
heavy is imported before a function is called.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.figure import FigureSpec
from toolbox.core.text import wrapped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .element import Inline
    from .plotdata import Plot

FORMATS = ("png", "svg", "pdf")
BRAILLE = "⠿━★█░│└─"
"""Characters of a drawing in the terminal; a stream without them gets letters instead."""


def render(
    frame: pd.DataFrame,
    spec: FigureSpec,
    columns: Mapping[str, Any] | None = None,
    footer: Sequence[str] | None = None,
) -> tuple[Figure, list[str]]:
    """Draw `frame` as `spec` says.

    columns : name -> object or dict with `meaning`, `unit`, `role`; names the axes. With role
        "parameter" the x values of replicates are matched exactly, otherwise replicates are
        aligned by forward fill.
    footer : lines that stand under the figure, before what the curves are and behind the caption;
        without it nothing stands there
    Returns the figure and notes: a sentence on whatever was masked, left out, averaged, aligned.
    Raises UsageError for missing columns, text where numbers are needed, and an empty selection.
    """
    with quiet():
        from .files import without_sign
        from .paint import paint
        from .panels import arrange

        plot = arrange(frame, spec, columns or {})
        figure = paint(plot, below(spec, footer, plot.summary))
        if lacking := without_sign(figure):
            plot.notes.append(f"the font has no sign for {lacking}")
        return figure, _notes(plot, footer)


def _notes(plot: Plot, footer: Sequence[str] | None) -> list[str]:
    """The notes, without what the figure itself says below."""
    return [note for note in plot.notes if not footer or note != plot.summary]


def below(spec: FigureSpec, footer: Sequence[str] | None, summary: str) -> list[str]:
    """All lines that stand under a figure."""
    if not footer:
        return [spec.caption] if spec.caption else []
    first, *rest = footer
    return [line for line in (spec.caption, first, summary, *rest) if line]


def save(
    figure: Figure,
    stem: Path,
    formats: Sequence[str],
    provenance: Mapping[str, Any] | None = None,
    flag: str = "--out",
) -> list[Path]:
    """Write `stem`.png, .svg, .pdf (those in `formats`), each whole or not at all.

    provenance : JSON-ready facts that go into every file's metadata, such as title, caption,
        runs, command. With `source` only a figure of that source is replaced.
    flag : the option that chooses another place, for messages
    The bytes depend on figure and provenance alone: no date, no random ids.
    Raises UsageError for an unknown format and for a file that is there and is not ours,
    ToolboxError when the disk refuses.
    """
    with quiet():
        from .files import write

        return write(figure, stem, formats, provenance or {}, flag)


def terminal(
    frame: pd.DataFrame,
    spec: FigureSpec,
    columns: Mapping[str, Any] | None = None,
    *,
    width: int = 80,
    height: int = 24,
    colour: bool = False,
    braille: bool = True,
    footer: Sequence[str] | None = None,
) -> tuple[str, list[str]]:
    """The same figure as text of at most `width` characters a line, about `height` lines a panel.

    braille : whether dots finer than letters may be used
    Returns the text (without one escape sequence unless `colour`) and the notes of `render`.
    Raises UsageError like `render`, and when plotext is not installed.
    """
    with quiet():
        from .panels import arrange
        from .textplot import draw
        from .words import plain

        plot = arrange(frame, spec, columns or {})
        text = draw(plot, width, height, colour, braille)
    lines = [wrapped(plain(line), columns=width) for line in below(spec, footer, plot.summary)]
    return "\n".join([text, *lines]), _notes(plot, footer)


def inline(figure: Figure, prefix: str, label: str) -> Inline:
    """A figure as an `<svg>` element for an HTML page; see `element.py`."""
    with quiet():
        from .element import inline

        return inline(figure, prefix, label)


def in_words(text: str) -> str:
    """A text of a figure without the marks of mathematics: `$T^{-1}$` becomes T^-1."""
    with quiet():
        from .words import plain

        return plain(text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without matplotlib's word on folders: where HOME cannot be written to, it gets another.

    It would make a folder of its own and print three lines about it.
    """
    made = None
    if "MPLCONFIGDIR" not in os.environ and "matplotlib" not in sys.modules and not _has_home():
        made = tempfile.mkdtemp(prefix="toolbox-matplotlib-")
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        os.environ["MPLCONFIGDIR"] = made
    try:
        yield
    finally:
        if made is not None:
            os.environ.pop("MPLCONFIGDIR", None)


def _has_home() -> bool:
    """Whether both of matplotlib's own folders are there or can be made."""
    try:
        home = Path.home()
    except RuntimeError:
        return False
    for name, usual in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache")):
        folder = Path(os.environ.get(name) or home / usual) / "matplotlib"
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            return False
    return True
