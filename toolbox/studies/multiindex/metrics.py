"""What is measured of neurons, and the statistics that the claims test.

A statistic takes the tables of one replicate and returns one number, NaN where it is not defined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from . import theory
from .link import parse_link

Tables = Mapping[str, pd.DataFrame]
Floats = NDArray[np.float64]


def alignment(u: Floats) -> dict[str, float]:
    """The metrics of m neurons; u : (m, P) of u_jk = v_j.v_k.

    Subspace mass s_j = sum_k u_jk^2, alignment max_k u_jk^2, the direction found worst
    min_k max_j u_jk^2, and isotropy within the subspace: means of max_k u_jk^2 / s_j and of
    sum_k u_jk^4 / s_j^2.
    """
    square = u**2
    mass, best = square.sum(axis=1), square.max(axis=1)
    return {
        "sub_mean": float(mass.mean()),
        "sub_median": float(np.median(mass)),
        "align_mean": float(best.mean()),
        "align_median": float(np.median(best)),
        "worst_dir": float(square.max(axis=0).min()),
        "iso_max": float((best / mass).mean()),
        "iso_sum4": float(((square**2).sum(axis=1) / mass**2).mean()),
    }


def loglog_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Least-squares slope of ln y on ln x; NaN for fewer than two different x, or a y of 0."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if np.unique(x).size < 2 or (y <= 0).any():
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


# --------------------------------------------------------------------------------------- train


def final_alignment(tables: Tables) -> float:
    """Mean over the neurons of max_k u_k^2 at the end."""
    return float(tables["final"]["align_mean"].iloc[-1])


def final_worst_direction(tables: Tables) -> float:
    """min_k max_j u_jk^2 at the end."""
    return float(tables["final"]["worst_dir"].iloc[-1])


def final_ridge_error(tables: Tables) -> float:
    """Relative test error after ridge regression on the second layer."""
    return float(tables["final"]["ridge_relative_error"].iloc[-1])


# ------------------------------------------------------------------------------------- scaling


def _slopes(tables: Tables, size: str, smallest: int = 0) -> dict[str, float]:
    """Exponent of `size`, d or P, in the samples to the directions, by link.

    Links with a size that did not arrive are left out: what is missing is the largest.
    """
    rows = tables["samples"]
    rows = rows[rows[size] >= smallest]
    return {
        str(name): loglog_slope(own[size], own["samples_dir"])
        for name, own in rows.groupby("link")
        if parse_link(str(name)).names_directions and own["samples_dir"].notna().all()
    }


def _mean_exponent(tables: Tables, lowest: int) -> float:
    """Mean exponent of d over the links of one information exponent.

    lowest : 2 for links with second-order term and more; 3 for all with none of orders 1 and 2
    """
    order = {name: parse_link(name).lowest for name in _slopes(tables, "d")}
    values = [
        slope
        for name, slope in _slopes(tables, "d").items()
        if (order[name] == 2 if lowest == 2 else order[name] >= lowest)
    ]
    return float(np.mean(values)) if values else math.nan


def second_order_exponent(tables: Tables) -> float:
    """Exponent of d in the samples to the directions, with a second-order term."""
    return _mean_exponent(tables, 2)


def higher_order_exponent(tables: Tables) -> float:
    """The same for links of orders above 2 alone."""
    return _mean_exponent(tables, 3)


def asymptotic_exponent(tables: Tables) -> float:
    """Exponent of d in the samples to the directions over d >= 128, orders above 2 alone."""
    slopes = [
        slope
        for name, slope in _slopes(tables, "d", smallest=128).items()
        if parse_link(name).lowest > 2
    ]
    return float(np.mean(slopes)) if slopes else math.nan


def exponent_gap(tables: Tables) -> float:
    """Exponent of d without a second-order term less that with one."""
    return higher_order_exponent(tables) - second_order_exponent(tables)


def p_excess(tables: Tables) -> float:
    """Largest over the links of the exponent of P less L - 1, L the lowest order above 2."""
    excess = [
        slope - (min(q for q, _ in parse_link(name).terms if q > 2) - 1)
        for name, slope in _slopes(tables, "P").items()
    ]
    return float(np.max(excess)) if excess else math.nan


# ---------------------------------------------------------------------------------------- flow


def _times(tables: Tables, lowest: int, target: str) -> dict[str, pd.DataFrame]:
    """Median flow times to a target, by link; lowest : 2, or 3 for none of orders 1 and 2."""
    rows = tables["medians"]
    return {
        str(name): own
        for name, own in rows[rows["target"] == target].groupby("link")
        if parse_link(str(name)).names_directions and min(parse_link(str(name)).lowest, 3) == lowest
    }


def _per_log(rows: pd.DataFrame) -> float:
    """Slope of the flow time in ln d."""
    if rows["d"].nunique() < 2:
        return math.nan
    return float(np.polyfit(np.log(rows["d"].astype(float)), rows["time"], 1)[0])


def log_slope_ratio(tables: Tables) -> float:
    """Slope of the time to the directions in ln d, times 4 c_2^2: 1 in the theory."""
    ratios = [
        4 * parse_link(name).coefficient(2) ** 2 * _per_log(rows)
        for name, rows in _times(tables, 2, "dir").items()
    ]
    return float(np.mean(ratios)) if ratios else math.nan


def second_stage_slope(tables: Tables) -> float:
    """Slope in ln d of the time from subspace to directions, over that of the time to both."""
    whole, first = _times(tables, 2, "dir"), _times(tables, 2, "sub")
    ratios = [1 - _per_log(first[name]) / _per_log(whole[name]) for name in whole if name in first]
    return float(np.mean(ratios)) if ratios else math.nan


def power_excess(tables: Tables) -> float:
    """Exponent of d in the time to the directions without second order, less (p - 2) / 2."""
    gaps = [
        loglog_slope(rows["d"], rows["time"]) - theory.time_exponent(parse_link(name))
        for name, rows in _times(tables, 3, "dir").items()
    ]
    return float(np.mean(gaps)) if gaps else math.nan


# ------------------------------------------------------------------------------------ identify


def _neurons(tables: Tables, names_directions: bool) -> pd.DataFrame:
    rows = tables["identify"]
    kept = [
        name
        for name in rows["link"].unique()
        if parse_link(name).lowest == 2 and parse_link(name).names_directions == names_directions
    ]
    return rows[rows["link"].isin(kept)]


def blind_subspace(tables: Tables) -> float:
    """Mean subspace mass with the second-order term alone."""
    return float(_neurons(tables, False)["sub"].mean())


def blind_isotropy(tables: Tables) -> float:
    """Mean of sum_k u_k^4 / s^2 with the second-order term alone, less its null 3 / (P + 2)."""
    rows = _neurons(tables, False)
    return float((rows["iso_sum4"] - rows["null_sum4"]).mean())


def seeing_alignment(tables: Tables) -> float:
    """Mean of max_k u_k^2 / s with a higher-order term beside the second."""
    return float(_neurons(tables, True)["iso_max"].mean())


# --------------------------------------------------------------------------------------- width


def coupon_gap(tables: Tables) -> float:
    """Mean over the widths of the share of directions found, less that of uniform coupons."""
    shares = tables["width"].pivot(index="m", columns="source", values="directions_found")
    return float((shares["measured"] - shares["coupons"]).mean())


# ------------------------------------------------------------------------------------ controls


def untrained(tables: Tables) -> dict[str, pd.DataFrame]:
    """Neurons as they were at the first recorded moment, and a second layer that predicts the
    mean."""
    first = tables["train"].groupby(["seed", "repeat"], as_index=False).first()
    names = ["seed", "repeat", "align_mean", "worst_dir"]
    final = tables["final"].drop(columns=names[2:]).merge(first[names], on=["seed", "repeat"])
    return {**tables, "final": final.assign(ridge_relative_error=1.0)}


def subspace_at_once(tables: Tables) -> dict[str, pd.DataFrame]:
    """The subspace is found as fast in every dimension, so that the second stage grows with d."""
    rows = tables["medians"].copy()
    smallest = rows[(rows["target"] == "sub") & (rows["d"] == rows["d"].min())]
    of_link = smallest.groupby("link")["time"].mean()
    rows["time"] = rows["time"].mask(rows["target"] == "sub", rows["link"].map(of_link))
    return {**tables, "medians": rows}


def outside_the_subspace(tables: Tables) -> dict[str, pd.DataFrame]:
    """Neurons with the subspace mass P / d of a uniform direction."""
    rows = tables["identify"]
    return {**tables, "identify": rows.assign(sub=rows["P"] / rows["d"])}


def one_direction_alone(tables: Tables) -> dict[str, pd.DataFrame]:
    """All neurons find the same direction, whatever the width."""
    rows = tables["width"]
    found = rows["directions_found"].mask(rows["source"] == "measured", 1 / rows["P"])
    return {**tables, "width": rows.assign(directions_found=found)}


def steeper_than_the_bound(tables: Tables) -> dict[str, pd.DataFrame]:
    """Samples that grow with P by a power of 8 more, above every L - 1 of links up to h8."""
    rows = tables["samples"]
    grown = (rows["samples_dir"] * rows["P"].astype(float) ** 8).round()
    return {**tables, "samples": rows.assign(samples_dir=grown)}
