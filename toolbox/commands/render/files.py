"""Figures as files: written whole, with what made them inside, never over somebody else's."""

from __future__ import annotations

import contextlib
import json
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.text import Text

from toolbox.core.atomic import refused, replacing
from toolbox.core.errors import UsageError

from . import FORMATS
from .style import STYLE

_MADE_HERE = {
    "png": b"Software\0toolbox",
    "svg": b"<dc:title>toolbox</dc:title>",
    "pdf": b"/Creator (toolbox)",
}


def write(
    figure: Figure, stem: Path, formats: Sequence[str], provenance: Mapping[str, Any], flag: str
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
    # with_suffix would cut "T=0.5"
    paths = {name: stem.with_name(f"{stem.name}.{name}") for name in dict.fromkeys(formats)}
    for name, path in paths.items():
        _refuse_foreign(path, name, provenance)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(stem.parent, error, flag) from None
    for name, path in paths.items():
        with matplotlib.rc_context(STYLE), replacing(path, flag) as handle, no_warnings():
            figure.savefig(handle, format=name, metadata=metadata[name])
    return list(paths.values())


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Without matplotlib's words on signs that the font lacks, which the notes name already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        yield


def without_sign(figure: Figure) -> str:
    """The characters of a figure's texts for which the font has no sign."""
    characters: set[str] = set()
    font = get_font(findfont("DejaVu Sans"))
    for text in figure.findobj(Text):
        characters.update(text.get_text())
    known = {"\n", "\u00a0"}
    return "".join(sorted(c for c in characters - known if not font.get_char_index(ord(c))))


def _refuse_foreign(path: Path, name: str, provenance: Mapping[str, Any]) -> None:
    """Errors: `UsageError` when a file is there that this tool did not make of the same source."""
    try:
        picture = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(
            f"{path} is there and cannot be read ({error.strerror}); -o names another file"
        ) from None
    if _MADE_HERE[name] not in picture:
        raise UsageError(
            f"{path} is there and was not drawn by toolbox, so it is not replaced; -o names another"
            " file"
        )
    source = provenance.get("source")
    if source is not None and (other := _source(picture, name)) not in (None, source):
        raise UsageError(
            f"{path} is there and shows {other}, so it is not replaced by {source}; -o names "
            "another file"
        )


def _source(picture: bytes, name: str) -> str | None:
    """What a figure of ours was drawn from, where it can be read back."""
    if name != "png":
        return None
    at = 8
    while at + 8 <= len(picture):  # chunks: length, kind, data, checksum
        length, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
        data = picture[at + 8 : at + 8 + length]
        key, _, rest = data.partition(b"\0")
        if kind in (b"tEXt", b"iTXt", b"zTXt") and key == b"Description":
            try:
                text = {
                    b"tEXt": lambda: rest,
                    b"zTXt": lambda: zlib.decompress(rest[1:]),
                    b"iTXt": lambda: rest[2:].split(b"\0", 2)[2],
                }[kind]()
                described = json.loads(text.decode("utf-8", "replace"))
                return str(described["source"]) if "source" in described else None
            except (ValueError, KeyError, IndexError, TypeError, zlib.error):
                return None
        at += 12 + length
    return None
