"""The statistics that the claims test: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]


def _one(values: pd.Series) -> float:
    return float(values.iloc[0]) if len(values) == 1 else math.nan


def _main(tables: Tables) -> pd.DataFrame:
    """The ratio of the first watched task at the learning rate `--lr`."""
    rows = tables["ratio"]
    return rows[rows["main"] & rows["first"]]


def gain(tables: Tables) -> float:
    """Steps to the escape alone over together, first watched task, at `--lr`.

    With the single run censored it is a lower bound, from the steps that it ran.
    """
    return _one(_main(tables)["ratio"])


def smallest_gain(tables: Tables) -> float:
    """The smallest such ratio over the watched tasks, at `--lr`."""
    rows = tables["ratio"]
    rows = rows[rows["main"]]
    return math.nan if rows["ratio"].isna().any() else float(rows["ratio"].min())


def duplicates_over_alone(tables: Tables) -> float:
    """Steps to the escape among copies of itself over alone; NaN where that is an upper bound."""
    row = _main(tables)
    return (
        math.nan
        if (row["duplicates_bound"] == "at most").any()
        else _one(row["duplicates_over_alone"])
    )


def duplicates_over_together(tables: Tables) -> float:
    """Steps to the escape among copies of itself over among other tasks."""
    return _one(_main(tables)["duplicates_over_together"])


def gain_at_own_best(tables: Tables) -> float:
    """Alone over together, either side at the learning rate of the sweep that is best for it."""
    rows = tables["best"]
    return _one(rows[rows["first"] & (rows["rates"] > 1)]["ratio"])


def gain_at_smallest_rate(tables: Tables) -> float:
    """Alone over together at the smallest learning rate of a sweep."""
    rows = tables["ratio"]
    rows = rows[rows["first"]]
    if rows["lr"].nunique() < 2:
        return math.nan
    return _one(rows[rows["lr"] == rows["lr"].min()]["ratio"])
