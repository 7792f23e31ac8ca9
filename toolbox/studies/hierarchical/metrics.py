"""The statistics that the claims test: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from . import theory

Tables = Mapping[str, pd.DataFrame]


def _largest(values: pd.Series) -> float:
    return float(values.max()) if len(values) and values.notna().all() else math.nan


def _smallest(values: pd.Series) -> float:
    return float(values.min()) if len(values) and values.notna().all() else math.nan


# -------------------------------------------------------------------------------------- error


def _at_most_samples(tables: Tables) -> pd.DataFrame:
    """Test errors at the largest n1: one row per d, one column per method."""
    rows = tables["error"]
    rows = rows[rows["n1"] == rows["n1"].max()]
    errors: pd.DataFrame = rows.pivot(index="d", columns="method", values="test_error")
    return errors


def _worst_ratio(tables: Tables, ours: str, theirs: str) -> float:
    errors = _at_most_samples(tables)
    if ours not in errors or theirs not in errors:
        return math.nan
    return _largest(errors[ours] / errors[theirs])


def one_step_over_random_features(tables: Tables) -> float:
    """Error of the one-step network over that of random features, the worst d, largest n1."""
    return _worst_ratio(tables, "net1", "rf")


def three_steps_over_two_layers(tables: Tables) -> float:
    """Error of the three-step network over that of the two-layer network, worst d, largest n1."""
    return _worst_ratio(tables, "net3", "mlp")


def three_step_error(tables: Tables) -> float:
    """Error of the three-step network, the worst d, largest n1."""
    errors = _at_most_samples(tables)
    return _largest(errors["net3"]) if "net3" in errors else math.nan


def random_feature_error(tables: Tables) -> float:
    """Error of random features, the best d, largest n1."""
    errors = _at_most_samples(tables)
    return _smallest(errors["rf"]) if "rf" in errors else math.nan


def oracle_error(tables: Tables) -> float:
    """Error of the outer layer on the true features with the fewest samples, the worst d."""
    rows = tables["error"]
    rows = rows[(rows["method"] == "oracle") & (rows["n1"] == rows["n1"].min())]
    return _largest(rows["test_error"])


def three_steps_over_kernel(tables: Tables) -> float:
    """Error of the three-step network over kernel ridge's at kernel ridge's most samples, worst d.

    The network's error is interpolated there, linearly in the logarithms.
    """
    rows = tables["error"]
    worst = -math.inf
    for _, part in rows.groupby("d"):
        net = part[part["method"] == "net3"].sort_values("samples")
        krr = part[part["method"] == "krr"].nlargest(1, "samples")
        if krr.empty or len(net) < 2:
            return math.nan
        at = float(krr["samples"].iloc[0])
        if not net["samples"].min() <= at <= net["samples"].max():
            return math.nan
        ours = np.exp(np.interp(np.log(at), np.log(net["samples"]), np.log(net["test_error"])))
        worst = max(worst, float(ours / krr["test_error"].iloc[0]))
    return worst if math.isfinite(worst) else math.nan


# ------------------------------------------------------------------------------------ recover


def _exponent(tables: Tables, steps: int) -> float:
    """Slope of ln n* on ln d of one number of steps; every dimension reached its threshold."""
    rows = tables["threshold"]
    rows = rows[rows["inner_steps"] == steps]
    if rows.empty or rows["n"].isna().any():
        return math.nan
    return theory.fitted_slope(list(rows["d"]), list(rows["n"]))[0]


def one_step_exponent(tables: Tables) -> float:
    """Slope of ln n* on ln d, one step."""
    return _exponent(tables, 1)


def three_step_exponent(tables: Tables) -> float:
    """Slope of ln n* on ln d, three steps."""
    return _exponent(tables, 3)


def energy_over_expected(tables: Tables) -> float:
    """Geometric mean over all points of the one-step energy overlap over its closed form."""
    rows = tables["curve"]
    rows = rows[(rows["inner_steps"] == 1) & rows["expected"].notna()]
    return float(np.exp(np.log(rows["energy_overlap"] / rows["expected"]).mean()))


def _at_the_end(tables: Tables, steps: int, column: str) -> float:
    """A column at the largest n of each dimension, the smallest over dimensions."""
    rows = tables["curve"]
    rows = rows[rows["inner_steps"] == steps]
    return _smallest(rows.loc[rows.groupby("d")["n"].idxmax(), column]) if len(rows) else math.nan


def three_step_overlap(tables: Tables) -> float:
    """Median overlap after three steps at the largest n, the worst d."""
    return _at_the_end(tables, 3, "overlap")


def one_step_top_overlap(tables: Tables) -> float:
    """Overlap of the top r directions after one step at the largest n, the worst d."""
    return _at_the_end(tables, 1, "pca")


# ----------------------------------------------------------------------------------- transfer


def _transfer_ratio(tables: Tables, other: str, n2: int = 500) -> float:
    """Error of the transferred network over another method's at n2 samples, the worst target."""
    rows = tables["transfer"]
    rows = rows[rows["n2"] == n2]
    if rows.empty:
        return math.nan
    errors = rows.pivot(index="target_link", columns="method", values="test_error")
    return _largest(errors["net"] / errors[other])


def transfer_over_random_features(tables: Tables) -> float:
    """At n2 = 500, against random features."""
    return _transfer_ratio(tables, "rf")


def transfer_over_scratch(tables: Tables) -> float:
    """At n2 = 500, against both stages on those samples."""
    return _transfer_ratio(tables, "scratch")


# ------------------------------------------------------------------------------------- kernel


def kernel_over_theory(tables: Tables) -> float:
    """Geometric mean of kernel ridge's error over its theory's, where that exceeds 0.05."""
    rows = tables["kernel"]
    errors = rows.pivot(index=["d", "samples"], columns="method", values="test_error")
    errors = errors[errors["theory"] > 0.05]
    return float(np.exp(np.log(errors["krr"] / errors["theory"]).mean()))


def _needed(tables: Tables, level: str, method: str) -> pd.Series:
    rows = tables["threshold"]
    rows = rows[(rows["level"] == level) & (rows["method"] == method)]
    return rows.set_index("d")["n"].sort_index()


def _excess_exponent(tables: Tables, level: str, method: str) -> float:
    """Log-log slope of n* in d between the two largest dimensions, minus the law's 2p."""
    n = _needed(tables, level, method).dropna()
    law = tables["threshold"].drop_duplicates("d").set_index("d")["kernel_law"]
    if len(n) < 2:
        return math.nan
    last, law = n.iloc[-2:], law[n.index[-2:]]
    above = np.log(last.to_numpy() / law.to_numpy())
    return float((above[1] - above[0]) / np.diff(np.log(last.index.to_numpy(dtype=float)))[0])


def law_by_theory(tables: Tables) -> float:
    """Exponent of the theory's n* for the highest degree at the largest dimensions, minus 2p."""
    return _excess_exponent(tables, "top", "theory")


def law_measured(tables: Tables) -> float:
    """The same, measured; undefined below d = 32, where no exponent of n* is near its limit."""
    measured = _needed(tables, "top", "krr").dropna()
    if measured.empty or measured.index.max() < 32:
        return math.nan
    return _excess_exponent(tables, "top", "krr")


def exponent_over_theory(tables: Tables) -> float:
    """Measured exponent at the fixed level minus the theory's between the same dimensions."""
    measured, theory = _needed(tables, "fixed", "krr").dropna(), _needed(tables, "fixed", "theory")
    if len(measured) < 2:
        return math.nan
    first, last = measured.index[0], measured.index[-1]
    gap = np.log(measured[last] / measured[first]) - np.log(theory[last] / theory[first])
    return float(gap / np.log(last / first))


def gap_growth(tables: Tables) -> float:
    """n* of kernel ridge over the network's, largest d over smallest d, at the fixed level."""
    names = [name for name in tables["threshold"]["method"].unique() if name.startswith("net")]
    if not names:
        return math.nan
    gap = (_needed(tables, "fixed", "krr") / _needed(tables, "fixed", names[0])).dropna()
    return float(gap.iloc[-1] / gap.iloc[0]) if len(gap) > 1 else math.nan


# -------------------------------------------------------------------------- spectrum and width


def _outliers(tables: Tables) -> tuple[pd.DataFrame, int]:
    """The spectrum at the most samples, and r: the whole theta mass."""
    rows = tables["spectrum"]
    rows = rows[rows["n1"] == rows["n1"].max()].sort_values("index")
    return rows, round(float(rows["theta_mass"].sum()))


def outlier_mass(tables: Tables) -> float:
    """Mean theta mass of the r largest eigenvectors at the most samples."""
    rows, r = _outliers(tables)
    return float(rows["theta_mass"].iloc[:r].mean())


def outlier_gap(tables: Tables) -> float:
    """The r-th eigenvalue over the next one, in size, at the most samples."""
    rows, r = _outliers(tables)
    if len(rows) <= r:
        return math.nan
    size = rows["eigenvalue"].abs()
    return float(size.iloc[r - 1] / size.iloc[r])


def _against_infinite(tables: Tables, column: str, steps: int) -> pd.DataFrame:
    rows = tables["width"]
    rows = rows[rows["inner_steps"] == steps]
    infinite = rows.loc[rows["m2"] == "inf", column]
    finite = rows[rows["m2"] != "inf"].sort_values("m2_over_quadratics")
    limit = float(infinite.iloc[0]) if len(infinite) else math.nan
    return finite.assign(ratio=finite[column] / limit)


def overlap_kept(tables: Tables) -> float:
    """Overlap over the infinite width's, over 1/(1 + (D-1)/m2), three steps, geometric mean."""
    rows = _against_infinite(tables, "overlap", 3)
    return float(np.exp(np.log(rows["ratio"] / rows["kept"]).mean())) if len(rows) else math.nan


def widest_error_ratio(tables: Tables) -> float:
    """Test error of the widest finite second layer over the infinite one's, three steps."""
    rows = _against_infinite(tables, "test_error", 3)
    return float(rows["ratio"].iloc[-1]) if len(rows) else math.nan


def dimensions_for_the_law(tables: Tables) -> str:
    """Why the measured exponent does not test d^(2p): it is far from its limit below d = 32."""
    largest = _needed(tables, "top", "krr").dropna().index.max()
    return "" if largest >= 32 else "kernel ridge was measured below d = 32, far from the limit"


# ------------------------------------------------------------------------------------ controls


def three_steps_above_kernel(tables: Tables) -> dict[str, pd.DataFrame]:
    """Three steps whose error stays above the largest of kernel ridge, whatever the samples."""
    rows = tables["error"]
    kernel = rows["test_error"].where(rows["method"] == "krr")
    largest = kernel.groupby([rows["seed"], rows["repeat"], rows["d"]]).transform("max")
    above = rows["test_error"].mask(rows["method"] == "net3", 1.1 * largest)
    return {**tables, "error": rows.assign(test_error=above)}


def theory_too_low(tables: Tables) -> dict[str, pd.DataFrame]:
    """A theory of kernel ridge whose error is two thirds of what it is."""
    rows = tables["kernel"]
    low = rows["test_error"].mask(rows["method"] == "theory", rows["test_error"] / 1.5)
    return {**tables, "kernel": rows.assign(test_error=low)}


def kernel_at_fourth_power(tables: Tables) -> dict[str, pd.DataFrame]:
    """Kernel ridge and its theory need d^4 samples, as the network does."""
    rows = tables["threshold"]
    kernel = rows["method"].isin(["krr", "theory"])
    return {**tables, "threshold": rows.assign(n=rows["n"].mask(kernel, rows["d"] ** 4.0))}


def kernel_steeper(tables: Tables) -> dict[str, pd.DataFrame]:
    """Kernel ridge needs samples that grow by one more power of d."""
    rows = tables["threshold"]
    return {
        **tables,
        "threshold": rows.assign(n=rows["n"].mask(rows["method"] == "krr", rows["n"] * rows["d"])),
    }


def closed_form_doubled(tables: Tables) -> dict[str, pd.DataFrame]:
    """A closed form that promises twice the overlap."""
    rows = tables["curve"]
    return {**tables, "curve": rows.assign(expected=2 * rows["expected"])}


def width_costs_nothing(tables: Tables) -> dict[str, pd.DataFrame]:
    """Every finite second layer keeps the overlap of the infinite one."""
    rows = tables["width"]
    infinite = rows[rows["m2"] == "inf"].set_index(["seed", "repeat", "inner_steps"])["overlap"]
    keys = pd.MultiIndex.from_frame(rows[["seed", "repeat", "inner_steps"]])
    return {**tables, "width": rows.assign(overlap=infinite.reindex(keys).to_numpy())}


def finite_width_worse(tables: Tables) -> dict[str, pd.DataFrame]:
    """Every finite second layer has ten times the test error."""
    rows = tables["width"]
    worse = rows["test_error"].mask(rows["m2"] != "inf", rows["test_error"] * 10)
    return {**tables, "width": rows.assign(test_error=worse)}
