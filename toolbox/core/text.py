"""Text that any stream can show: wrapped at words, in ASCII where nothing else is understood."""

from __future__ import annotations

import os
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


def shown(text: str, stream: IO[str]) -> str:
    """The text as this stream can show it: unchanged, or with ASCII for what it cannot encode."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
        return text
    except (UnicodeEncodeError, LookupError):
        return "".join(_shown(character, encoding) for character in text)


def can_show(characters: str, stream: IO[str]) -> bool:
    """Whether this stream can show each of the characters as it is."""
    return shown(characters, stream) == characters


def _shown(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
        return character
    except (UnicodeEncodeError, LookupError):
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        return _ASCII.get(character) or plain or "?"


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


def coloured(stream: IO[str]) -> bool:
    """Whether this stream is a terminal that wants colours (NO_COLOR, TERM=dumb)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain
