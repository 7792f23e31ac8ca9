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


def _mean_exponent(tables: Tables, lowest: int, column: str = "exponent") -> float:
    """Mean fitted exponent of the directions over the links of one information exponent.

    lowest : 2 for links with second-order term and more; 3 for all with none of orders 1 and 2
    """
    rows = tables["fit"]
    rows = rows[(rows["target"] == "dir") & (rows["censored"] == 0)]
    parsed = {name: parse_link(name) for name in rows["link"].unique()}
    kept = [
        name
        for name, link in parsed.items()
        if link.names_directions and (link.lowest == 2 if lowest == 2 else link.lowest >= lowest)
    ]
    values = rows[rows["link"].isin(kept)][column]
    return float(values.mean()) if len(values) else math.nan


def second_order_exponent(tables: Tables) -> float:
    """Exponent of d in the samples to the directions, with a second-order term."""
    return _mean_exponent(tables, 2)


def higher_order_exponent(tables: Tables) -> float:
    """The same for links of orders above 2 alone."""
    return _mean_exponent(tables, 3)


def asymptotic_exponent(tables: Tables) -> float:
    """Exponent of d in the samples to the directions over d >= 128, orders above 2 alone."""
    rows = tables["samples"]
    rows = rows[(rows["d"] >= 128) & rows["samples_dir"].notna()]
    slopes = [
        loglog_slope(own["d"], own["samples_dir"])
        for name, own in rows.groupby("link")
        if parse_link(str(name)).lowest > 2
    ]
    return float(np.mean(slopes)) if slopes else math.nan


def exponent_gap(tables: Tables) -> float:
    """Exponent of d without a second-order term less that with one."""
    return higher_order_exponent(tables) - second_order_exponent(tables)


def p_excess(tables: Tables) -> float:
    """Largest over the links of the exponent of P less L - 1, L the lowest order above 2."""
    rows = tables["fit"]
    rows = rows[(rows["target"] == "dir") & (rows["censored"] == 0)]
    excess = [math.nan]
    for name, exponent in zip(rows["link"], rows["exponent"], strict=True):
        higher = [q for q, _ in parse_link(name).terms if q > 2]
        if higher:
            excess.append(exponent - (min(higher) - 1))
    return float(np.max(excess[1:])) if len(excess) > 1 else math.nan


# ---------------------------------------------------------------------------------------- flow


def _fitted(tables: Tables, lowest: int, target: str) -> list[tuple[str, pd.Series]]:
    rows = tables["fit"]
    return [
        (str(row["link"]), row)
        for _, row in rows[rows["target"] == target].iterrows()
        if parse_link(row["link"]).names_directions
        and min(parse_link(row["link"]).lowest, 3) == lowest
    ]


def log_slope_ratio(tables: Tables) -> float:
    """Slope of the time to the directions in ln d, times 4 c_2^2: 1 in the theory."""
    ratios = [
        4 * parse_link(name).coefficient(2) ** 2 * row["time_per_log"]
        for name, row in _fitted(tables, 2, "dir")
    ]
    return float(np.mean(ratios)) if ratios else math.nan


def second_stage_slope(tables: Tables) -> float:
    """Slope in ln d of the time from subspace to directions, over that of the time to both."""
    whole = {name: row["time_per_log"] for name, row in _fitted(tables, 2, "dir")}
    first = {name: row["time_per_log"] for name, row in _fitted(tables, 2, "sub")}
    ratios = [(whole[name] - first[name]) / whole[name] for name in whole if name in first]
    return float(np.mean(ratios)) if ratios else math.nan


def power_excess(tables: Tables) -> float:
    """Exponent of d in the time to the directions without second order, less (p - 2) / 2."""
    gaps = [
        row["time_exponent"] - theory.time_exponent(parse_link(name))
        for name, row in _fitted(tables, 3, "dir")
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
