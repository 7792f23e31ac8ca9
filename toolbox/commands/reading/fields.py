"""How many fields each line of a text table has: no row of another length is read in silence."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from toolbox.core.errors import UsageError

Lines = range | np.ndarray[Any, np.dtype[np.int64]]


def count_fields(
    name: str, rows: bytes, sep: str, first: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Lines]:
    """Fields of each row `(N,)` and the line on which it stands; blank lines are no rows.

    first : the line on which `rows` begins
    """
    if b'"' in rows:
        return _by_reader(name, rows, sep, first)
    if len(sep) > 1:  # any white space
        words = [len(line.split()) for line in rows.split(b"\n")]
        counts = np.array(words, dtype=np.int64)
        kept = np.flatnonzero(counts)
        return counts[kept], _lines(kept, first)
    text = np.frombuffer(rows, dtype=np.uint8)
    ends = np.flatnonzero(text == 10)
    if not rows.endswith(b"\n"):
        ends = np.append(ends, text.size)
    marks = np.flatnonzero(text == ord(sep)) if ord(sep) < 128 else _wide(rows, sep)
    counts = np.diff(np.searchsorted(marks, ends), prepend=0) + 1
    starts = np.concatenate([[0], ends[:-1] + 1])
    blank = starts == ends
    for at in np.flatnonzero((counts == 1) & ~blank)[:1000]:
        blank[at] = not rows[starts[at] : ends[at]].strip()
    kept = np.flatnonzero(~blank)
    return counts[kept], _lines(kept, first)


def _wide(rows: bytes, sep: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Where a separator of several bytes stands."""
    mark, places, at = sep.encode(), [], 0
    while (at := rows.find(mark, at)) >= 0:
        places.append(at)
        at += len(mark)
    return np.array(places, dtype=np.int64)


def _lines(kept: np.ndarray[Any, np.dtype[np.int64]], first: int) -> Lines:
    if kept.size and kept[-1] == kept.size - 1:
        return range(first, first + kept.size)
    return kept + first


def _by_reader(
    name: str, rows: bytes, sep: str, first: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], Lines]:
    """The same with quotes, inside which separators and line ends are text."""
    delimiter = " " if len(sep) > 1 else sep
    reader = csv.reader(
        io.StringIO(rows.decode(), newline=""),
        delimiter=delimiter, skipinitialspace=len(sep) > 1, strict=True,
    )  # fmt: skip
    counts, lines, start = [], [], 1
    try:
        for row in reader:
            if row and not (len(row) == 1 and row[0].isspace()):
                counts.append(len(row))
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        said = "a quote that opens here is never closed" if "end of data" in str(error) else error
        raise UsageError(f"{name}:{start + first - 1}: {said}") from None
    row_numbers = np.array(lines, dtype=np.int64) - 1
    return np.array(counts, dtype=np.int64), _lines(row_numbers, first)


def trailing_separators(
    name: str,
    counts: np.ndarray[Any, np.dtype[np.int64]],
    lines: Lines,
    names: list[str],
    rows: bytes,
    sep: str,
) -> int:
    """0, or 1 where every row ends in one empty field that the header lacks.

    Errors: `UsageError` naming the first line that has another number of fields than the header.
    """
    expected = len(names)
    if counts.size and (counts == expected + 1).all():
        ended = rows.rstrip(b"\n").split(b"\n")
        if all(line.rstrip(b" ").endswith(sep.encode()) for line in ended if line.strip()):
            return 1
    wrong = np.flatnonzero(counts != expected)
    if wrong.size:
        at = int(wrong[0])
        last = at == counts.size - 1 and not rows.endswith(b"\n")
        advice = "the file is cut" if last else "a row is cut, or a text is not quoted"
        raise UsageError(
            f"{name}:{lines[at]}: {_of_fields(int(counts[at]))}, but the header names {expected}; "
            f"{advice}"
        )
    return 0


def _of_fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"
