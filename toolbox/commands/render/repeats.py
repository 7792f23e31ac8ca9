"""Rows that share a place in a figure: one value of them, and a note on what they differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from toolbox.core.figure import REPLICATE, FigureSpec

_FROM = {"row": "row", "col": "col", "hue": "hue", "style": "style", "cell": "value"}
"""The field of a figure that fills a column of the tidy rows."""


def entry(columns: Mapping[str, Any], name: str, what: str) -> str:
    """`meaning`, `unit` or `role` of a column, given as an object or a dict; "" if unknown."""
    column = columns.get(name)
    value = column.get(what) if isinstance(column, Mapping) else getattr(column, what, None)
    return str(value) if value is not None else ""


def average_repeats(
    data: pd.DataFrame,
    rows: pd.DataFrame,
    spec: FigureSpec,
    columns: Mapping[str, Any],
    notes: list[str],
) -> pd.DataFrame:
    """One value per replicate, curve and x; says so when that meant averaging."""
    if spec.kind == "scatter":
        return data
    same = ["row", "col", "hue", "style", "cell", "replicate", "x"]
    told = [name for name in same if name in ("replicate", "x") or getattr(spec, _FROM[name])]
    double = data.duplicated(told, keep=False)  # the other columns are empty
    if not double.any():
        return data
    varying = _varying(rows.loc[double.index[double]], data[double], same, spec, columns)
    why = f" (they differ in {', '.join(varying)}: use it as hue, col or where)" if varying else ""
    notes.append(f"averaged {double.sum()} rows that share {spec.x!r}, labels and replicate{why}")
    marks = data[data["mark"].astype(bool)]
    merged: pd.DataFrame = data.groupby(same, dropna=False, sort=False)["y"].mean().reset_index()
    merged["mark"] = False
    # A marked row keeps its own place; it only leaves the curve's statistics to the merged rows.
    return pd.concat([merged, marks.assign(replicate=-1)], ignore_index=True)


def _varying(
    rows: pd.DataFrame,
    data: pd.DataFrame,
    same: list[str],
    spec: FigureSpec,
    columns: Mapping[str, Any],
) -> list[str]:
    """Columns that tell rows of one curve point apart; metrics (where no role is declared, floats)
    do so trivially."""

    def metric(name: str) -> bool:
        role = entry(columns, name, "role")
        return role == "metric" if role else rows[name].dtype.kind == "f"

    others = [
        name
        for name in rows.columns
        if name not in spec.columns and name not in REPLICATE and not metric(name)
    ]
    if not others:
        return []
    group = data.groupby(same, dropna=False).ngroup()
    return [name for name in others if rows.groupby(group)[name].nunique().max() > 1]
