"""Text that any stream can show: wrapped at words, in ASCII where nothing else is understood."""

from __future__ import annotations

import codecs
import io
import os
import re
import shutil
import textwrap
import unicodedata
from typing import IO

_ASCII = {
    "─": "-", "━": "=", "│": "|", "║": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "┌": "+",
    "┐": "+", "└": "+", "┘": "+", "├": "+", "┤": "+", "┬": "+", "┴": "+", "┼": "+", "╶": "-",
    "╴": "-", "╵": "|", "╷": "|", "•": "*", "·": ".", "×": "x", "–": "-", "—": "-", "’": "'",
    "‘": "'", "“": '"', "”": '"', "…": "...", "→": "->", "≤": "<=", "≥": ">=", "±": "+-",
    "▏": "|", "█": "#",
}  # fmt: skip


def fall_back_to_ascii(*streams: IO[str]) -> None:
    """From now on these streams write ASCII for every character that their encoding lacks.

    Whatever prints to them is covered, other libraries included.
    """
    codecs.register_error("toolbox.ascii", _replaced)
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="toolbox.ascii")


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    if 0xDC80 <= ord(error.object[error.start]) <= 0xDCFF:  # a byte of a file's name, no text
        return bytes([ord(error.object[error.start]) - 0xDC00]), error.start + 1
    return "".join(map(in_ascii, error.object[error.start : error.end])), error.end


def in_ascii(character: str) -> str:
    """What stands for a character where only ASCII can be shown."""
    if character in _ASCII:
        return _ASCII[character]
    name = unicodedata.name(character, "")
    if name.startswith("GREEK"):  # theta, not a question mark
        return name.split(" LETTER ")[-1].split(" WITH ")[0].lower()
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def can_show(characters: str, stream: IO[str]) -> bool:
    """Whether the encoding of this stream has every one of the characters."""
    try:
        characters.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width() -> int:
    """Columns of the terminal, of `COLUMNS`, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


NO_BREAK = "\u00a0"
"""A space at which `wrapped` does not break; a flag stays with its value."""


def wrapped(text: str, first: str = "", rest: str = "", columns: int | None = None) -> str:
    """The text in lines that break between words alone.

    first, rest : what the first and the other lines begin with
    """
    filled = textwrap.fill(
        text,
        columns or max(40, width()),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace(NO_BREAK, " ")


def unbroken_flags(text: str) -> str:
    """The text with every flag bound to its value, for `wrapped`."""
    return re.sub(r"(--[\w-]+) (?!-)", rf"\1{NO_BREAK}", text)


def moves_its_cursor(stream: IO[str] | None) -> bool:
    """Whether this stream is a terminal on which a line can be written anew (not TERM=dumb)."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(stream: IO[str]) -> bool:
    """Whether this stream is a terminal that wants colours (NO_COLOR, TERM=dumb)."""
    return moves_its_cursor(stream) and not os.environ.get("NO_COLOR")
