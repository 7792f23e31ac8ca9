"""Statistics of the claims: the tables of one replicate -> one number, NaN where undefined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

Tables = Mapping[str, pd.DataFrame]

SETTLED = 0.2
"""Claims look at the time after this share of what follows the entry into the edge of stability."""
LAST = 10
"""Steps that stand for the end of a training."""


def process(tables: Tables, name: str) -> pd.DataFrame:
    """The trajectory of one process, by step."""
    rows = tables["trajectory"]
    found: pd.DataFrame = rows[rows["process"] == name].set_index("step").sort_index()
    return found


def entry(tables: Tables) -> float:
    """First step at which the central flow predicts an oscillation, NaN if it never does."""
    rows = process(tables, "central")
    steps = rows.index[(rows["critical"] > 0) & (rows["trace"] > 0)]
    return float(steps[0]) if len(steps) else float("nan")


def at_edge(tables: Tables) -> str:
    """Whether the claims apply: there must be some time at the edge of stability."""
    last = tables["trajectory"]["step"].max()
    first = entry(tables)
    if np.isnan(first):
        return "the central flow never came to the edge of stability"
    return "" if last - first >= 2 * LAST else "the edge of stability came at the very end"


def settled(tables: Tables, name: str) -> pd.DataFrame:
    """A process at the edge of stability, its beginning left out."""
    first, last = entry(tables), tables["trajectory"]["step"].max()
    rows = process(tables, name)
    late: pd.DataFrame = rows[rows.index >= first + SETTLED * (last - first)]
    return late


def mean_of(tables: Tables, name: str, column: str) -> float:
    """Mean of a column of a process at the edge of stability."""
    return float(settled(tables, name)[column].mean())


# ------------------------------------------------------------------------------ the optimiser


def sharpness(tables: Tables) -> float:
    """Mean effective sharpness of the optimiser at the edge of stability."""
    return mean_of(tables, "discrete", "sharpness")


def largest_rise_of_optimiser(tables: Tables) -> float:
    """Largest rise of the optimiser's loss in one step at the edge of stability."""
    return float(settled(tables, "discrete")["loss"].diff().max())


def step_by_sharpness(tables: Tables) -> float:
    """Mean of step size times sharpness of the Hessian, over 2, on the optimiser's midpoints."""
    rows = settled(tables, "midpoint")
    return float((rows["step_size"] * rows["raw_sharpness"]).mean() / 2)


def oscillating_share(tables: Tables) -> float:
    """Share of the optimiser's mean squared gradient that is not the central flow's own."""
    own = mean_of(tables, "central", "gradient_squared")
    return 1 - own / mean_of(tables, "discrete", "gradient_squared")


# --------------------------------------------------------------------------- the central flow


def distance_ratio(tables: Tables) -> float:
    """Distance from the optimiser in the last steps, central flow over stable flow."""
    central, stable = (process(tables, name)["distance"].dropna() for name in ("central", "stable"))
    common = central.index.intersection(stable.index)[-LAST:]
    return float(central[common].mean() / stable[common].mean())


def loss_error(tables: Tables) -> float:
    """Relative error of the predicted mean loss."""
    measured = mean_of(tables, "discrete", "loss")
    return abs(mean_of(tables, "central", "mean_loss") / measured - 1)


def loss_error_of_gap(tables: Tables) -> float:
    """The same error over the gap that it has to explain, between optimiser and flow."""
    measured, own = mean_of(tables, "discrete", "loss"), mean_of(tables, "central", "loss")
    return abs(mean_of(tables, "central", "mean_loss") - measured) / abs(measured - own)


def gradient_ratio(tables: Tables) -> float:
    """Predicted mean squared gradient over the measured one."""
    measured = mean_of(tables, "discrete", "gradient_squared")
    return mean_of(tables, "central", "mean_gradient_squared") / measured


def variance_ratio(tables: Tables) -> float:
    """Predicted variance over the measured one, summed over directions, in the metric P."""
    return mean_of(tables, "central", "trace") / mean_of(tables, "central", "variance")


def average_ratio(tables: Tables) -> float:
    """The flow's average of squared gradients nu over the optimiser's."""
    return mean_of(tables, "central", "nu") / mean_of(tables, "discrete", "nu")


def farthest_sharpness(tables: Tables) -> float:
    """The effective sharpness farthest from 2 along the central flow, while it predicts
    oscillations."""
    rows = settled(tables, "central").query("trace > 0")["sharpness"]
    return float(rows.iloc[int((rows - 2).abs().argmax())]) if len(rows) else float("nan")


def largest_rise(tables: Tables) -> float:
    """Largest rise of the loss along the central flow in one step; below 0 when it always falls."""
    return float(process(tables, "central")["loss"].diff().max())


# --------------------------------------------------------------------------------- ablate


def _without(tables: Tables, column: str) -> float:
    ablated, central = (process(tables, name)[column].dropna() for name in ("ablated", "central"))
    return float(ablated[-LAST:].mean() / central[-LAST:].mean())


def sharpness_without(tables: Tables) -> float:
    """Sharpness of the Hessian in the last steps, without the penalty over with it."""
    return _without(tables, "raw_sharpness")


def loss_without(tables: Tables) -> float:
    """Loss in the last steps, without the penalty over with it."""
    return _without(tables, "loss")


def step_without(tables: Tables) -> float:
    """Mean step size in the last steps, without the penalty over with it."""
    return _without(tables, "step_size")


# ---------------------------------------------------------------------------------- sweep


def _lowest(tables: Tables) -> pd.DataFrame:
    """Sharpness at the lowest target, step size x process."""
    rows = tables["sweep"]
    rows = rows[rows["target"] == rows["target"].min()]
    found: pd.DataFrame = rows.pivot(index="eta", columns="process", values="sharpness")
    return found


def targets_reached(tables: Tables) -> str:
    """Whether the lowest loss was reached at two step sizes or more."""
    known = len(_lowest(tables).dropna())
    return "" if known >= 2 else "the lowest loss was reached at less than two step sizes"


def sharpness_slope(tables: Tables) -> float:
    """Log-log slope in the step size of the optimiser's sharpness at the lowest target."""
    known = _lowest(tables)["midpoint"].dropna()
    if len(known) < 2:
        return float("nan")
    return float(np.polyfit(np.log(known.index), np.log(known), 1)[0])


def sharpness_of_flow(tables: Tables) -> float:
    """Mean over step sizes of the central flow's sharpness over the optimiser's."""
    known = _lowest(tables).dropna()
    return float((known["central"] / known["midpoint"]).mean())


def flow_at_another_step_size(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of `sharpness_of_flow`: twice the sharpness, as at half the step."""
    rows = tables["sweep"]
    flow = rows["process"] == "central"
    return {**tables, "sweep": rows.assign(sharpness=rows["sharpness"] * (1 + flow))}


# ------------------------------------------------------------------------------ stationary


def last_cosine(tables: Tables) -> float:
    """Cosine of the average and the stationary one at the last step."""
    return float(tables["average"].sort_values("step")["cosine"].iloc[-1])


def gain_over_gd(tables: Tables) -> float:
    """Log of the stationary preconditioner's speed over that of gradient descent, last step."""
    rows = tables["preconditioners"]
    last = rows[rows["step"] == rows["step"].max()].set_index("preconditioner")["speed"]
    return float(np.log(last["stationary"] / last["gd"]))


def half_speed(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of `gain_over_gd`: the stationary preconditioner has half the speed of gd."""
    rows = tables["preconditioners"].copy()
    keys = ["seed", "repeat", "step"]
    gd = rows[rows["preconditioner"] == "gd"].set_index(keys)["speed"]
    ours = rows["preconditioner"] == "stationary"
    at = pd.MultiIndex.from_frame(rows.loc[ours, keys])
    rows.loc[ours, "speed"] = gd.reindex(at).to_numpy() / 2
    return {**tables, "preconditioners": rows}


def fall_of_stationary(tables: Tables) -> float:
    """Fall of the loss along the stationary flow over that along the central flow."""
    rows = tables["flow"].pivot(index="step", columns="process", values="loss").sort_index()
    fall = rows.iloc[0] - rows.iloc[-1]
    return float(fall["stationary"] / fall["central"])


def stationary_stands_still(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of `fall_of_stationary`: a stationary flow that does not move."""
    rows = tables["flow"]
    first = rows.groupby(["seed", "repeat", "process"])["loss"].transform("first")
    moved = rows["process"] == "central"
    return {**tables, "flow": rows.assign(loss=rows["loss"].where(moved, first))}


# ---------------------------------------------------------------------------------- controls

REPLACED = (
    "loss", "mean_loss", "gradient_squared", "mean_gradient_squared", "sharpness", "distance", "nu"
)  # fmt: skip


def flow_as_optimiser(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of what the optimiser does: it has the loss and gradient of the central flow."""
    return _taken(tables, "discrete", "central", ("loss", "gradient_squared"))


def average_without_oscillation(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of `average_ratio`: nu of the flow has seen its own gradient alone."""
    rows = tables["trajectory"]
    central = rows["process"] == "central"
    return {
        **tables,
        "trajectory": rows.assign(nu=rows["nu"].mask(central, rows["gradient_squared"])),
    }


def penalty_exchanged(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of the ablation: each flow has the numbers of the other."""
    columns = ("loss", "raw_sharpness", "step_size")
    other = _taken(tables, "central", "ablated", columns)["trajectory"]
    rows = _taken(tables, "ablated", "central", columns)["trajectory"]
    central = rows["process"] == "central"
    rows.loc[central, list(columns)] = other.loc[central, list(columns)]
    return {**tables, "trajectory": rows}


def _taken(
    tables: Tables, name: str, other: str, columns: tuple[str, ...]
) -> dict[str, pd.DataFrame]:
    """Columns of one process replaced by those of another at the same step."""
    rows = tables["trajectory"].copy()
    keys = ["seed", "repeat", "step"]
    source = rows[rows["process"] == other].set_index(keys)
    target = rows["process"] == name
    at = pd.MultiIndex.from_frame(rows.loc[target, keys])
    for column in columns:
        rows.loc[target, column] = source[column].reindex(at).ffill().to_numpy()
    return {**tables, "trajectory": rows}


TINY = 1e-12
"""Trace of a flow without oscillation in the control: above zero, so that the same steps are
judged."""


def stable_as_central(tables: Tables) -> dict[str, pd.DataFrame]:
    """The control of what the central flow predicts: the stable flow is passed off as it."""
    rows = _taken(tables, "central", "stable", REPLACED)["trajectory"]
    rows.loc[(rows["process"] == "central") & (rows["trace"] > 0), "trace"] = TINY
    return {**tables, "trajectory": rows}


# ------------------------------------------------------------------------------------- toy


def _floor(tables: Tables, name: str) -> pd.DataFrame:
    """Where a process is along the valleys: y and z of each direction by step."""
    rows = tables["path"]
    rows = rows[rows["process"] == name]
    y, z = (rows["total"] + rows["across"]) / 2, (rows["total"] - rows["across"]) / 2
    return rows.assign(y=y, z=z).pivot(index="step", columns="direction", values=["y", "z"])


def valley_ratio(tables: Tables) -> float:
    """Distance from the optimiser along the valleys in the last steps, central over stable flow."""
    there = _floor(tables, "discrete")
    central, stable = (
        np.sqrt(((_floor(tables, name) - there) ** 2).sum(axis=1))[-LAST:]
        for name in ("central", "stable")
    )
    return float(central.mean() / stable.mean())


def formula_error(tables: Tables) -> float:
    """Largest distance of the central flow from its closed form, over the stable flow's."""
    formula = _floor(tables, "formula")
    central, stable = (
        np.sqrt(((_floor(tables, name) - formula) ** 2).sum(axis=1)).max()
        for name in ("central", "stable")
    )
    return float(central / stable)


def _oscillation(tables: Tables) -> pd.Series:
    """x^2 of the optimiser, all directions together, by step."""
    rows = tables["path"]
    rows = rows[rows["process"] == "discrete"]
    return (rows["x"] ** 2).groupby(rows["step"]).sum()


def in_cycle(tables: Tables) -> str:
    """Whether the oscillation has settled."""
    size = _oscillation(tables)
    before, last = size[-2 * LAST : -LAST].mean(), size[-LAST:].mean()
    return "" if abs(last - before) <= 0.02 * before else "the oscillation still grows or shrinks"


def cycle_error(tables: Tables) -> float:
    """Relative error of the size of the cycle in which the optimiser ends, x^2 summed."""
    rows = tables["path"]
    ends = rows[(rows["step"] == rows["step"].max()) & (rows["process"] == "formula")]
    return float(abs(_oscillation(tables)[-LAST:].mean() / ends["variance"].sum() - 1))
