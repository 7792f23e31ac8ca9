"""The rows of a table as what is drawn of them: places, values, labels; and what was left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from toolbox.core.errors import UsageError
from toolbox.core.figure import REPLICATE, FigureSpec
from toolbox.core.where import compile_where

from .dates import as_numbers, numbers_or_dates, on_line
from .statistics import Array
from .style import key_of, rank_of
from .tally import counted

LARGEST = 1e300
"""Beyond it the height of an axis is no number any more."""


def keys(frame: pd.DataFrame, name: str | None) -> pd.Series:
    """The labels of a column as text, missing where the column is missing or not given."""
    if name is None:
        return pd.Series(np.nan, index=frame.index)
    codes, values = pd.factorize(frame[name])
    names = np.array([*(key_of(value) for value in values), np.nan], dtype=object)
    return pd.Series(names[codes], index=frame.index, dtype=object)  # -1, missing, is the last


def tidy(
    rows: pd.DataFrame, spec: FigureSpec, columns: Mapping[str, Any], notes: list[str]
) -> tuple[pd.DataFrame, list[str] | None, bool]:
    """Rows with the columns x, y (the measured value), hue, style, row, col, replicate, mark.

    Returns also the categories on x, where there are any, and whether x holds dates. Rows that
    cannot stand anywhere leave here and are counted; missing y stay as gaps.
    """
    data = pd.DataFrame(
        {"hue": keys(rows, spec.hue), "style": keys(rows, spec.style)}, index=rows.index
    )
    data["row"], data["col"] = keys(rows, spec.row), keys(rows, spec.col)
    cells, categories, why = spec.kind == "heatmap", None, ""
    if not cells and spec.kind != "bar" and spec.x not in columns:
        found, why = numbers_or_dates(rows[spec.x], notes)
        rows = rows.assign(**{spec.x: found})
    dates = rows[spec.x].dtype.kind == "M"
    if cells or spec.kind == "bar" or rows[spec.x].dtype.kind not in "iufM":
        data["x"], categories = _places(rows, spec, spec.x in columns, why, notes)
    elif dates:
        if spec.logx:
            raise UsageError(f"Column {spec.x!r} holds dates: a log axis cannot show them.")
        # Days since 1970, as matplotlib counts them.
        days = rows[spec.x].to_numpy(dtype="datetime64[us]").astype(float) / 86_400e6
        data["x"] = np.where(rows[spec.x].isna(), np.nan, days)
    else:
        data["x"] = _numbers(rows[spec.x])
    data["y"] = _numbers(rows[spec.measured])
    data["cell"] = keys(rows, spec.y) if cells else np.nan
    replicate_columns = [
        name for name in REPLICATE if name in rows.columns and name not in spec.columns
    ]
    data["replicate"] = (
        rows.groupby(replicate_columns, dropna=False).ngroup() if replicate_columns else 0
    )
    data["mark"] = compile_where(spec.highlight.where).mask(rows) if spec.highlight else False
    return _leave_out(data, spec, notes), categories, dates


def _places(
    rows: pd.DataFrame, spec: FigureSpec, declared: bool, why: str, notes: list[str]
) -> tuple[pd.Series, list[str]]:
    """The categories on x and the place of each row among them; says so where none are expected.

    why : what kept a column from being dates
    """
    names = keys(rows, spec.x)
    first = [] if spec.hue else [key_of(label) for label in spec.order]
    categories = sorted(
        names.dropna().unique(),
        key=lambda label: (first.index(label) if label in first else len(first), rank_of(label)),
    )
    if spec.logx:
        raise UsageError(
            f"Column {spec.x!r} holds text, which a log axis cannot show{_first_text(rows[spec.x])}"
        )
    if rows[spec.x].dtype.kind not in "iufMb" and spec.kind != "heatmap":
        numbers = sum(rank_of(label)[0] == 0 for label in categories)
        if not declared and (numbers or spec.kind != "bar"):
            kind = "dates and text" if why else "numbers and text" if numbers else "text"
            said = f": {why}" if why else _first_text(rows[spec.x])
            notes.append(f"{spec.x!r} holds {kind}, so its values stand as categories{said}")
    position_of = {label: index for index, label in enumerate(categories)}
    return names.map(position_of).astype(float), categories


def _first_text(column: pd.Series) -> str:
    """`: 'total' on line 7 is no number`, with the flag that would read it, or nothing."""
    texts = column.dropna()
    texts = texts[as_numbers(texts).isna()]
    if not len(texts):
        return ""
    value = texts.iloc[0]
    return f": {value!r}{on_line(texts)} is no number{advice(value, column)}"


def advice(value: Any, column: pd.Series) -> str:
    """The flag that would read a text as a number, where there is one."""
    text = str(value).strip()
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?", text):
        return "; --thousands , reads it as one"
    if re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+,\d+", text):
        return "; --thousands . --decimal , reads it as one"
    if column.attrs.get("decimal") == "," and re.fullmatch(r"[+-]?\d{1,3}(\.\d{3})+", text):
        return "; --thousands . reads it as one"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return "; --decimal , reads it as one"
    return ""


def _numbers(column: pd.Series) -> Array:
    if column.dtype.kind in "iufb":
        return column.to_numpy(dtype=float, na_value=np.nan)
    present = column.dropna()
    numbers = as_numbers(present) if column.dtype.kind != "M" else present
    if column.dtype.kind != "M" and numbers.notna().all():  # decimals, or numbers kept as text
        return numbers.reindex(column.index).to_numpy(dtype=float, na_value=np.nan)
    wrong = present[numbers.isna()] if column.dtype.kind != "M" else present
    value = wrong.iloc[0] if len(wrong) else "nothing"
    on = on_line(wrong) if len(wrong) else ""
    repeated = " (the header again)" if value == column.name else ""
    raise UsageError(
        f"Column {column.name!r} must hold numbers to be drawn, not {value!r}{on}{repeated}"
        f"{advice(value, column)}."
    )


def _leave_out(data: pd.DataFrame, spec: FigureSpec, notes: list[str]) -> pd.DataFrame:
    """Rows that can stand somewhere; the others are counted."""
    infinite = data["y"].abs() > LARGEST
    for bad, what in ((data["y"].isna(), "missing"), (infinite, "infinite")):
        if bad.any():
            notes.append(f"left out {counted(bad.sum(), what, 'value')} of {spec.measured!r}")
    data.loc[infinite, "y"] = np.nan
    bad = ~np.isfinite(data["x"])
    for name in ("hue", "style", "row", "col"):
        if getattr(spec, name):
            bad |= data[name].isna()
    if spec.kind == "heatmap":
        bad |= data["cell"].isna()
    if bad.any():
        notes.append(f"left out {counted(bad.sum(), '', 'row')} without x, facet or label")
        data = data[~bad]
    if spec.logx and (bad := data["x"] <= 0).any():
        what = counted(bad.sum(), "non-positive", "value")
        notes.append(f"masked {what} of {spec.x!r} on the log axis")
        data = data[~bad]
    if data.empty:
        raise UsageError(f"No row has a value of {spec.x!r} and a label to be drawn by.")
    if data["y"].isna().all():
        raise UsageError(f"Column {spec.measured!r} has no finite value in the rows to be drawn.")
    return data
