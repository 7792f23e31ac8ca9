"""Any tidy table of the user's: text with separators, also compressed, or Parquet; as written.

Nothing shifts, is dropped or changes its kind in silence: a row of another length is refused with
file and line, words for a missing number stay words where they are labels, and whatever had to be
guessed is told in a note.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.errors import UsageError

from .fields import count_fields, trailing_separators

if TYPE_CHECKING:
    import pandas as pd

LINE = "line"
"""Name of the index of a frame that was read here: the lines of the file, for messages."""
MISSING = ("nan", "NaN", "NAN", "NA", "N/A", "n/a", "na", "null", "NULL", "None", "none")
"""Words for a number that is not there."""
SPACES = r"\s+"
_NAMED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": SPACES, " ": SPACES}
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*\.\d+([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([,.]\d{3})+")  # 0.500 is no thousand


@dataclass(frozen=True)
class Reading:
    """How a text table is to be read; None is found out from the text."""

    sep: str | None = None
    decimal: str | None = None
    thousands: str | None = None

    def checked(self) -> Reading:
        """The same with names of separators replaced. Errors: `UsageError`."""
        sep = _NAMED.get(self.sep or "", self.sep)
        for flag, mark in (("sep", sep), ("decimal", self.decimal), ("thousands", self.thousands)):
            if mark is not None and mark != SPACES and (len(mark) != 1 or mark in '"\n\r'):
                raise UsageError(
                    f"--{flag} {mark!r}: give one character"
                    + (", or tab, comma, semicolon or space" if flag == "sep" else "")
                )
        decimal = self.decimal or ("," if self.thousands == "." else None)
        if decimal is not None and decimal in (sep, self.thousands):
            raise UsageError(
                f"{decimal!r} is asked for as the decimal mark and as another one; give --sep, "
                "--decimal and --thousands that differ"
            )
        return Reading(sep, decimal, self.thousands)


def read(
    source: str, reading: Reading, labels: Collection[str] = ()
) -> tuple[pd.DataFrame, list[str]]:
    """The table in a file, a pipe, or on standard input (`-`), and notes on what was guessed.

    labels : columns that name things; their text stays as written, `None` and `NA` too
    Errors: `UsageError` for what is no table, with file and line.
    """
    name, raw = source_name(source), _bytes(source)
    data = _unpacked(name, raw)
    if data[:4] == b"PAR1":
        return _plain(_parquet(name, data), labels), []
    return _text(name, _utf8(name, data), reading.checked(), labels)


def source_name(source: str) -> str:
    """What messages call it."""
    return "standard input" if source == "-" else source


def _bytes(source: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except IsADirectoryError:
        raise UsageError(f"{source}: a folder; name a table or the folder of a run") from None
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror}); name a table") from None


def _unpacked(name: str, data: bytes) -> bytes:
    """What is inside gzip, bzip2 and xz; known by their first bytes, whatever the file's name."""
    for magic, unpack in (
        (b"\x1f\x8b", gzip.decompress),
        (b"BZh", bz2.decompress),
        (b"\xfd7zXZ", lzma.decompress),
    ):
        if data.startswith(magic):
            try:
                return unpack(data)
            except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise UsageError(
                    f"{name}: the compressed file is cut or damaged ({error})"
                ) from None
    return data


def _parquet(name: str, data: bytes) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(io.BytesIO(data))
    except ImportError:
        raise UsageError(f"{name}: Parquet needs pyarrow; pip install 'toolbox[parquet]'") from None
    except Exception as error:  # pyarrow's own classes, which cannot be named without it
        reason = (str(error).splitlines() or ["?"])[0]
        raise UsageError(f"{name}: not a whole Parquet file ({reason})") from None


def _plain(frame: pd.DataFrame, labels: Collection[str]) -> pd.DataFrame:
    """Categories as text and decimals as numbers, with the index as columns where it has a name."""
    import pandas as pd

    if any(frame.index.names):
        frame = frame.reset_index()
    frame.columns = [str(column) for column in frame.columns]
    for column in frame.columns:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            frame[column] = frame[column].astype(frame[column].cat.categories.dtype)
        if frame[column].dtype == object and column not in labels:
            frame[column] = frame[column].infer_objects()
    return frame


def _utf8(name: str, data: bytes) -> bytes:
    """The text as UTF-8 with lines that end in a line feed."""
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            data = data.decode(encoding, "replace").encode()
    data = data.removeprefix(b"\xef\xbb\xbf")
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise UsageError(
                f"{name}:{line}: byte {data[error.start]:#04x} is no UTF-8 text; convert the file, "
                "for example with iconv"
            ) from None
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _text(
    name: str, data: bytes, reading: Reading, labels: Collection[str]
) -> tuple[pd.DataFrame, list[str]]:
    import pandas as pd

    notes: list[str] = []
    if data and not data.endswith(b"\n"):
        notes.append("the last line has no end; the file may be cut")
    skipped = len(data) - len(data.lstrip(b"\n \t")) if data.strip() else len(data)
    skipped = data.rfind(b"\n", 0, skipped) + 1  # blanks before the first name belong to its line
    first_line = data.count(b"\n", 0, skipped) + 1
    body = data[skipped:]
    if not body.strip():
        raise UsageError(f"{name}: empty; a table begins with the names of its columns")
    sample = body[:65536].decode(errors="ignore").splitlines()[:200]
    sep = reading.sep or _separator(sample)
    names, header_lines, offset = _header(name, body, sep)
    counts, lines = count_fields(name, body[offset:], sep, first_line + header_lines)
    extra = trailing_separators(name, counts, lines, names, body[offset:], sep)
    if extra:
        notes.append("every row ends in a separator that the header lacks; it is ignored")
    _each_once(name, names, first_line)
    decimal = reading.decimal or _decimal(sample[1:], sep, reading.thousands)
    if decimal != "." and reading.decimal is None:
        notes.append("numbers are read with decimal commas; --decimal . reads otherwise")
    columns = [column or f"Unnamed: {at}" for at, column in enumerate(names)] + [""] * extra
    options: dict[str, Any] = {
        "sep": sep, "header": None, "names": list(range(len(columns))), "index_col": False,
        "decimal": decimal, "thousands": reading.thousands, "keep_default_na": False,
        "low_memory": False, "skip_blank_lines": True,
    }  # fmt: skip
    if tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1):
        options["float_precision"] = "round_trip"
    words = {at: [""] if column in labels else ["", *MISSING] for at, column in enumerate(columns)}
    try:
        frame = _parsed(body[offset:], words, options)
        texts = [at for at in range(len(columns)) if frame[at].dtype.kind not in "iufb"]
        again = [at for at in texts if columns[at] not in labels and frame[at].isna().any()]
        if again:  # a text column after all: its words are words
            raw = _parsed(body[offset:], {at: [""] for at in again}, options | {"usecols": again})
            frame[again] = raw[again]
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{name}: not a table ({' '.join(str(error).split())})") from None
    frame.columns = pd.Index(columns)
    frame = frame.loc[:, [bool(column) for column in columns]]
    if isinstance(lines, range):
        frame.index = pd.RangeIndex(lines.start, lines.stop, name=LINE)
    else:
        frame.index = pd.Index(lines, name=LINE)
    frame.attrs["decimal"] = decimal
    return frame, notes


def _parsed(data: bytes, words: dict[int, list[str]], options: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    if not data.strip():
        return pd.DataFrame(columns=options["names"], dtype=float)
    return pd.read_csv(io.BytesIO(data), **options, na_values=words)  # type: ignore


def _separator(sample: Sequence[str]) -> str:
    """The character that parts the header, and the first row alike where several do."""
    header, row = sample[0], next((line for line in sample[1:] if line.strip()), "")
    separators = [mark for mark in (",", ";", "\t", "|") if mark in _outside_quotes(header)]
    if separators:

        def agrees(mark: str) -> tuple[bool, int]:
            above = _outside_quotes(header).count(mark)
            return _outside_quotes(row).count(mark) in (above, above + 1), above

        return max(separators, key=agrees)
    words = len(header.split())
    return SPACES if words > 1 and (not row or len(row.split()) == words) else ","


def _outside_quotes(line: str) -> str:
    return re.sub(r'"[^"]*"', "", line)


def _decimal(rows: Sequence[str], sep: str, thousands: str | None) -> str:
    """A comma where numbers have one and none has a point; never where it parts the columns."""
    if sep == "," or thousands == ",":
        return "."
    parts = re.compile(sep) if sep == SPACES else re.compile(re.escape(sep))
    fields = [field.strip().strip('"') for row in rows for field in parts.split(row)]
    commas = [field for field in fields if _COMMA.fullmatch(field)]
    # 1,000 may be a thousand or one: only a number that cannot be a thousand decides.
    if all(_GROUPED.fullmatch(field) for field in commas):
        return "."
    points = [field for field in fields if _POINT.fullmatch(field)]
    return "," if all(_GROUPED.fullmatch(field) for field in points) else "."


def _header(name: str, body: bytes, sep: str) -> tuple[list[str], int, int]:
    """The names, how many lines they take, and where the rows begin."""
    if b'"' not in body.partition(b"\n")[0]:
        line = body.partition(b"\n")[0].decode()
        names = line.split() if sep == SPACES else line.split(sep)
        return [each.strip() for each in names], 1, len(line.encode()) + 1
    reader = csv.reader(io.StringIO(body.decode(), newline=""), delimiter=_single(sep), strict=True)
    try:
        names = next(reader)
    except csv.Error as error:
        raise UsageError(f"{name}:1: the header cannot be read ({error})") from None
    taken = b"\n".join(body.split(b"\n", reader.line_num)[: reader.line_num])
    return [each.strip() for each in names], reader.line_num, len(taken) + 1


def _single(sep: str) -> str:
    return " " if sep == SPACES else sep


def _each_once(name: str, names: list[str], line: int) -> None:
    for column in names:
        if column and names.count(column) > 1:
            places = [str(at + 1) for at, other in enumerate(names) if other == column]
            raise UsageError(
                f"{name}:{line}: the column name {column!r} stands twice (columns "
                f"{' and '.join(places)}); rename one"
            )
