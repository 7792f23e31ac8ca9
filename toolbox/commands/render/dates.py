"""Text on the x axis that means numbers or dates; what means neither stays text, and that is told.

The rows are chosen before: a line with a total among dates does no harm when `where` leaves it out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd

_TIME = r"([ T]\d\d?:\d\d(:\d\d([.,]\d+)?)?\s?(Z|[+-]\d\d:?\d\d)?)?"
_ISO = re.compile(r"\d{4}-\d\d?-\d\d?" + _TIME)
_ZONED = re.compile(r".*(Z|:\d\d(\.\d+)?\s?[+-]\d\d:?\d\d)")
_FORMS: Mapping[re.Pattern[str], tuple[str, ...]] = {
    _ISO: ("ISO8601",),
    re.compile(r"\d{4}/\d\d?/\d\d?"): ("%Y/%m/%d",),
    re.compile(r"\d\d?\.\d\d?\.\d{4}"): ("%d.%m.%Y",),
    re.compile(r"\d\d?/\d\d?/\d{4}"): ("%d/%m/%Y", "%m/%d/%Y"),
}


def numbers_or_dates(column: pd.Series, notes: list[str]) -> tuple[pd.Series, str]:
    """The column as numbers or dates where all of its texts are; else as it is.

    Returns also why it is neither, where its first text is a date: "'later' is no date".
    """
    if column.dtype.kind in "iufbM":
        return column, ""
    present = column.dropna()
    if present.empty or not all(isinstance(value, str) for value in present):
        return column, ""
    numbers = as_numbers(present)
    if numbers.notna().all():
        return numbers.reindex(column.index), ""
    texts = present.str.strip()
    forms = next((f for pattern, f in _FORMS.items() if pattern.fullmatch(texts.iloc[0])), ())
    if not forms:
        return column, ""
    zoned = bool(_ZONED.fullmatch(texts.iloc[0]))
    tried = [pd.to_datetime(texts, format=form, errors="coerce", utc=zoned) for form in forms]
    whole = [dates for dates in tried if dates.notna().all()]
    if not whole:
        wrong = min(tried, key=lambda dates: dates.isna().sum()).isna()
        return column, f"{texts[wrong].iloc[0]!r}{on_line(texts[wrong])} is no date"
    if len(whole) > 1 and not whole[0].equals(whole[1]):
        return column, f"{texts.iloc[0]!r} may begin with the day or the month; 2024-12-31 is clear"
    notes.append(f"{column.name!r} is read as dates{' (UTC)' if zoned else ''}")
    dates = whole[0].dt.tz_convert(None) if zoned else whole[0]
    return dates.reindex(column.index), ""


def as_numbers(present: pd.Series) -> pd.Series:
    """Texts, or numbers kept as objects, as numbers; NaN where one is none."""
    if present.attrs.get("decimal") == ",":  # in this table 1.000 is not one
        texts = present.astype(str)
        present = texts.where(~texts.str.contains(".", regex=False), "x").str.replace(",", ".")
    return pd.to_numeric(present, errors="coerce")


def on_line(column: pd.Series) -> str:
    """Where the first of these values stands in its file, when that is known."""
    return f" on line {column.index[0]}" if column.index.name == LINE else ""


LINE = "line"
"""Name of the index of a frame that holds the lines of a file (`toolbox.commands.reading`)."""
