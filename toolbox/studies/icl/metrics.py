"""The statistics that the claims test: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]


@dataclass(frozen=True)
class Ratio:
    """Steps of one training over those of another, with what is known of it."""

    value: float
    bound: str
    """exact; 'at least' or 'at most' where one is censored; none where both are or one diverged."""


def ratio(above: pd.DataFrame, below: pd.DataFrame) -> Ratio:
    """Steps to the escape in the one row `above` over those in `below`.

    A censored run gives a bound from the steps that it ran, never a number of its own.
    """
    if len(above) != 1 or len(below) != 1:
        return Ratio(math.nan, "none")
    up, down = above.iloc[0], below.iloc[0]
    lost = any(each["censored"] and each["diverged"] for each in (up, down))
    if lost or (up["censored"] and down["censored"]):
        return Ratio(math.nan, "none")
    a, b = (r["steps_run"] if r["censored"] else r["escape_step"] + 1 for r in (up, down))
    bound = "at least" if up["censored"] else "at most" if down["censored"] else "exact"
    return Ratio(float(a) / float(b), bound)


def _one(values: pd.Series) -> float:
    return float(values.iloc[0]) if len(values) == 1 else math.nan


# --------------------------------------------------------------------- one task among others


def _first(tables: Tables) -> pd.DataFrame:
    """The rows of the first watched task."""
    named, rows = tables["ratio"], tables["escape"]
    first: str = named["task"][named["first"]].iloc[0]
    return rows[rows["task"] == first]


def _at_main(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """Those trained at the learning rate `--lr`."""
    named = tables["ratio"]
    main: float = named["lr"][named["main"]].iloc[0]
    return rows[rows["lr"] == main]


def _over(rows: pd.DataFrame, above: str, below: str) -> Ratio:
    """Steps of one task in the arm `above` over those in the arm `below`."""
    return ratio(rows[rows["arm"] == above], rows[rows["arm"] == below])


def gain(tables: Tables) -> float:
    """Steps to the escape alone over together, first watched task, at `--lr`.

    With the single run censored it is a lower bound, from the steps that it ran.
    """
    return _over(_at_main(tables, _first(tables)), "alone", "together").value


def smallest_gain(tables: Tables) -> float:
    """The smallest such ratio over the watched tasks that have a plateau alone, at `--lr`."""
    rows = _at_main(tables, tables["escape"])
    found = [
        _over(own, "alone", "together").value
        for _, own in rows[rows["watched"]].groupby("task")
        if own["plateau"][own["arm"] == "alone"].any()
    ]
    return min(found) if found and not any(map(math.isnan, found)) else math.nan


def duplicates_over_together(tables: Tables) -> float:
    """Steps to the escape among copies of itself over among other tasks."""
    return _over(_at_main(tables, _first(tables)), "duplicates", "together").value


def gain_at_own_best(tables: Tables) -> float:
    """Alone over together, either side at the learning rate of the sweep that is best for it."""
    rows = _first(tables)
    if rows["lr"].nunique() < 2:
        return math.nan
    return ratio(best_of(rows, "alone"), best_of(rows, "together")).value


def best_of(rows: pd.DataFrame, arm: str) -> pd.DataFrame:
    """The row of an arm at the learning rate at which it escapes first.

    A censored run is later than any that escaped; among censored ones it is the shortest.
    """
    of_arm = rows[rows["arm"] == arm]
    late = of_arm["steps_run"].where(of_arm["censored"], of_arm["escape_step"]).astype(float)
    return of_arm.loc[[(late + of_arm["censored"] * 1e12).idxmin()]] if len(of_arm) else of_arm


def gain_at_smallest_rate(tables: Tables) -> float:
    """Alone over together at the smallest learning rate of a sweep."""
    rows = _first(tables)
    if rows["lr"].nunique() < 2:
        return math.nan
    return _over(rows[rows["lr"] == rows["lr"].min()], "alone", "together").value


def first_has_a_plateau(tables: Tables) -> str:
    """Whether the claims on the first watched task of `plateau` apply."""
    return _needs_a_plateau(_at_main(tables, _first(tables)), "alone")


def several_rates(tables: Tables) -> str:
    """Whether the claims on a sweep of learning rates apply."""
    if tables["escape"]["lr"].nunique() < 2:
        return "one learning rate was tried"
    return first_has_a_plateau(tables)


def _needs_a_plateau(rows: pd.DataFrame, arm: str) -> str:
    """Nothing can shorten a plateau that is not there; rows : those of one task, or of several."""
    single = rows[rows["arm"] == arm]
    if single["plateau"].any():
        return ""
    named = " and ".join(single["task"].unique()) or "the task"
    return f"{named} has no plateau when trained alone: it is left within two windows"


# ----------------------------------------------------------------- mixes, transfer and controls


def _known(found: Ratio, unknown: str) -> float:
    """The ratio, or NaN where it is only a bound on the side that would flatter the claim."""
    return math.nan if found.bound in ("none", unknown) else found.value


def _arms(tables: Tables, above: str, below: str, unknown: str) -> float:
    """Steps of the watched task in one arm over those in another."""
    rows = tables["escape"]
    rows = rows[rows["watched"]]
    return _known(ratio(rows[rows["arm"] == above], rows[rows["arm"] == below]), unknown)


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


def all_relabelled(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of `table`: the mix of all takes the label of the single tasks, and so on."""
    rows = tables["escape"]
    return {**tables, "escape": rows.assign(k=rows["k"].max() + 1 - rows["k"])}


def single_has_a_plateau(tables: Tables) -> str:
    """Whether the claims of `table` apply: the first task needs a plateau alone."""
    rows = tables["escape"]
    rows = rows[rows["k"] == 1].iloc[:1]
    return _needs_a_plateau(rows.assign(arm="single"), "single")


def target_has_a_plateau(tables: Tables) -> str:
    """Whether the claims of `transfer` and `controls` apply."""
    rows = tables["escape"]
    return _needs_a_plateau(rows, "scratch" if "scratch" in set(rows["arm"]) else "alone")


def transfer_gain(tables: Tables) -> float:
    """Steps from scratch over steps from the checkpoint; a lower bound if scratch is censored."""
    return _arms(tables, "scratch", "checkpoint", "none")


def transfer_total(tables: Tables) -> float:
    """Steps from scratch over those that the source was trained for and the target needed then.

    The source is trained to the end of the block of steps in which it escapes, and the checkpoint
    is taken there.
    """
    rows = tables["escape"]
    steps = _steps(rows)
    scratch, after = (_one(steps[rows["arm"] == arm]) for arm in ("scratch", "checkpoint"))
    return scratch / (_one(rows["steps_run"][rows["arm"] == "source"]) + after)


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


# --------------------------------------------------------------------- optima without context


def worst_deviation(tables: Tables) -> float:
    """The largest distance of Monte Carlo from the exact optimum, in standard errors."""
    rows = tables["ncl"]
    rows = rows[rows["standard_error"] > 0]
    return float(((rows["monte_carlo"] - rows["exact"]).abs() / rows["standard_error"]).max())


def worst_constant(tables: Tables) -> float:
    """The largest relative error of a boolean constant of the official code."""
    rows = tables["ncl"]
    errors = (rows["repo"] / rows["exact"] - 1).abs()[rows["boolean"]].dropna()
    return float(errors.max()) if len(errors) else math.nan
