"""The statistics that the claims test: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]


SLOW = 0.8
"""A control leaves its plateau no earlier than the task alone from this ratio on."""


@dataclass(frozen=True)
class Ratio:
    """Steps of one training over those of another, with what is known of it."""

    value: float
    bound: str
    """exact; 'at least' or 'at most' where one is censored; none where both are."""


def ratio(above: pd.DataFrame, below: pd.DataFrame) -> Ratio:
    """Steps to the escape in the one row `above` over those in `below`.

    A censored run gives a bound from the steps that it ran, never a number of its own.
    """
    if len(above) != 1 or len(below) != 1:
        return Ratio(math.nan, "none")
    up, down = above.iloc[0], below.iloc[0]
    if up["censored"] and down["censored"]:
        return Ratio(math.nan, "none")
    a, b = (r["steps_run"] if r["censored"] else r["escape_step"] + 1 for r in (up, down))
    bound = "at least" if up["censored"] else "at most" if down["censored"] else "exact"
    return Ratio(float(a) / float(b), bound)


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
    """Steps to the escape among copies of itself over alone.

    With the single run censored it is an upper bound: NaN unless it is below `SLOW`, the edge of
    the pass region, where it decides as the number itself would.
    """
    row = _main(tables)
    value = _one(row["duplicates_over_alone"])
    flatters = (row["duplicates_bound"] == "at most").any() and value > SLOW
    return math.nan if flatters else value


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


# ----------------------------------------------------------------- mixes, transfer and controls


def _known(found: Ratio, unknown: str) -> float:
    """The ratio, or NaN where it is only a bound on the side that would flatter the claim."""
    return math.nan if found.bound in ("none", unknown) else found.value


def _arms(tables: Tables, above: str, below: str, unknown: str) -> float:
    """Steps of the watched task in one arm over those in another."""
    rows = tables["escape"]
    rows = rows[rows["watched"]]
    return _known(ratio(rows[rows["arm"] == above], rows[rows["arm"] == below]), unknown)


_TRANSFER = ("scratch", "source", "checkpoint")


def _steps(rows: pd.DataFrame) -> pd.Series:
    """Steps to the escape; NaN where censored."""
    return rows["escape_step"].astype("Float64").astype("float64") + 1


def by_size(tables: Tables) -> pd.Series:
    """Mean steps to the escape of the first task by the size k of the mix, over the mixes.

    A censored run makes the mean of its k a lower bound, which the claims must not use: NaN.
    """
    rows = tables["escape"]
    alone = rows[rows["k"] == 1]
    rows = rows[rows["task"] == alone["task"].iloc[0]] if len(alone) else rows.iloc[:0]
    steps = _steps(rows)
    return steps.groupby(rows["k"]).agg(lambda each: each.mean(skipna=False))


def gain_of_all(tables: Tables) -> float:
    """Mean steps of the first task alone over those in the largest mix."""
    means = by_size(tables)
    return float(means.iloc[0] / means.iloc[-1]) if len(means) > 1 else math.nan


def smallest_fall(tables: Tables) -> float:
    """The smallest ratio of mean steps at k over those at k + 1, first task."""
    means = by_size(tables).to_numpy()
    falls = means[:-1] / means[1:]
    return float(falls.min()) if len(falls) and not any(map(math.isnan, falls)) else math.nan


def transfer_gain(tables: Tables) -> float:
    """Steps from scratch over steps from the checkpoint; a lower bound if scratch is censored."""
    return _arms(tables, "scratch", "checkpoint", "none")


def transfer_total(tables: Tables) -> float:
    """Steps from scratch over those of source and target together."""
    rows = tables["escape"]
    each = _steps(rows)
    scratch, source, after = (_one(each[rows["arm"] == arm]) for arm in _TRANSFER)
    return scratch / (source + after)


def real_gain(tables: Tables) -> float:
    """Alone over beside real tasks."""
    return _arms(tables, "alone", "real", "none")


def retrieval_gain(tables: Tables) -> float:
    """Alone over beside retrieval."""
    return _arms(tables, "alone", "retrieval", "none")


def no_context_delay(tables: Tables) -> float:
    """Beside no-context versions of the real tasks over alone."""
    return _arms(tables, "no-context", "alone", "at most")


def coin_delay(tables: Tables) -> float:
    """Beside fair coins over alone."""
    return _arms(tables, "coin", "alone", "at most")


def duplicates_delay(tables: Tables) -> float:
    """Among copies of itself over alone."""
    return _arms(tables, "duplicates", "alone", "at most")


# --------------------------------------------------------------------- optima without context


def worst_deviation(tables: Tables) -> float:
    """The largest distance of Monte Carlo from the exact optimum, in standard errors."""
    return float(tables["ncl"]["deviation"].abs().max())


def worst_constant(tables: Tables) -> float:
    """The largest relative error of a boolean constant of the official code."""
    rows = tables["ncl"]
    errors = (rows["repo_over_exact"] - 1).abs()[rows["boolean"]].dropna()
    return float(errors.max()) if len(errors) else math.nan
