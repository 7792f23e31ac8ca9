"""The statistics that the claims test: tables of one replicate -> one number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .flags import METHOD_NAMES

Tables = Mapping[str, pd.DataFrame]


# ------------------------------------------------------------------------------------- dialogue


def last_policies(tables: Tables) -> pd.DataFrame:
    """Rows of each method's last policy, at the strength that serves it best."""
    rows = tables["curve"]
    rows = rows[rows["chosen"].astype(bool)]
    return rows[rows["iteration"] == rows.groupby("method")["iteration"].transform("max")]


def whole_table(tables: Tables) -> str:
    """Why the claims on the method table do not apply: a method was left out."""
    missing = sorted(set(METHOD_NAMES) - set(tables["curve"]["method"]))
    return f"{', '.join(missing)} was not run" if missing else ""


def _at(rows: pd.DataFrame, method: str, column: str, turn: int) -> float:
    """One number of one method; turn 1 is the first, -1 the last."""
    mine = rows[rows["method"] == method]
    if mine.empty:
        return math.nan
    wanted = mine["turn"].max() if turn < 0 else turn
    return float(mine.loc[mine["turn"] == wanted, column].iloc[0])


def _final_reward_gap(tables: Tables, other: str) -> float:
    rows = last_policies(tables)
    return _at(rows, "REFUEL", "reward", -1) - _at(rows, other, "reward", -1)


def gain_over_mixed(tables: Tables) -> float:
    """REFUEL's exact reward at the last turn less that of REBEL-MT-MIXED."""
    return _final_reward_gap(tables, "REBEL-MT-MIXED")


def gain_over_last_turn(tables: Tables) -> float:
    """REFUEL's exact reward at the last turn less that of REBEL-LT-ONLINE."""
    return _final_reward_gap(tables, "REBEL-LT-ONLINE")


def gain_over_best_other(tables: Tables) -> float:
    """REFUEL's exact reward at the last turn less that of the best other method."""
    rows = last_policies(tables)
    others = set(rows["method"]) - {"REFUEL", "base"}
    return min((_final_reward_gap(tables, other) for other in sorted(others)), default=math.nan)


def win_gain_over_mixed(tables: Tables) -> float:
    """REFUEL's win rate at the last turn less that of REBEL-MT-MIXED, points."""
    rows = last_policies(tables)
    ours, theirs = (_at(rows, name, "win_rate", -1) for name in ("REFUEL", "REBEL-MT-MIXED"))
    return ours - theirs


def _rise(tables: Tables, method: str) -> float:
    rows = last_policies(tables)
    return _at(rows, method, "win_rate", -1) - _at(rows, method, "win_rate", 1)


def refuel_rise(tables: Tables) -> float:
    """REFUEL's win rate at the last turn less that at the first, points."""
    return _rise(tables, "REFUEL")


def last_turn_rise(tables: Tables) -> float:
    """The same of REBEL-LT-ONLINE."""
    return _rise(tables, "REBEL-LT-ONLINE")


def average_win_gain(tables: Tables) -> float:
    """REFUEL's win rate, mean over turns, less that of the best other method, points."""
    rows = last_policies(tables)
    means = rows.groupby("method")["win_rate"].mean().drop(["base"], errors="ignore")
    if "REFUEL" not in means.index or len(means) < 2:
        return math.nan
    return float(means["REFUEL"] - means.drop("REFUEL").max())


def without_learning(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: every method is left at the base policy."""
    rows = tables["curve"].copy()
    base = rows[rows["method"] == "base"].set_index(["seed", "repeat", "turn"])
    index = pd.MultiIndex.from_frame(rows[["seed", "repeat", "turn"]])
    for column in ("reward", "win_rate", "level"):
        rows[column] = base[column].reindex(index).to_numpy()
    return {**tables, "curve": rows}


# --------------------------------------------------------------------------------------- theory


def _support(tables: Tables, support: str) -> pd.DataFrame:
    rows = tables["value"]
    return rows[rows["support"] == support].sort_values("t")


def many_iterations(tables: Tables) -> str:
    """Why the limit cannot be judged: the last reported iteration is an early one."""
    last = int(tables["value"]["t"].max())
    return "" if last >= 256 else f"the last reported iteration is {last}; report 256 or more"


def scaled_gap(tables: Tables) -> float:
    """Largest gap(T) sqrt(T) / H on full support."""
    rows = _support(tables, "full")
    return float((rows["gap"] * np.sqrt(rows["t"]) / rows["horizon"]).max())


def distance_to_covered(tables: Tables) -> float:
    """|value - best covered value| after the last iteration on restricted support."""
    return float(abs(_support(tables, "restricted")["gap"].iloc[-1]))


def left_out(tables: Tables) -> float:
    """Optimum less the value reached on restricted support, after the last iteration."""
    last = _support(tables, "restricted").iloc[-1]
    return float(last["optimum"] - last["value"])


def closed_form_error(tables: Tables) -> float:
    """Largest distance of the regression's solution from pi exp(eta Q) / Z."""
    return float(tables["step"]["error"].max())


def _kind(tables: Tables, kind: str) -> pd.DataFrame:
    rows = tables["condition"]
    return rows[rows["kind"] == kind]


def condition_ratio(tables: Tables) -> float:
    """Largest policy-completeness error over Q-function error on general classes."""
    rows = _kind(tables, "general")
    return float((rows["policy_error"] / rows["q_error"]).max())


def offset_ratio(tables: Tables) -> float:
    """Largest policy-completeness error over Q-function error when states have an offset."""
    rows = _kind(tables, "offset")
    return float((rows["policy_error"] / rows["q_error"]).max())


def conditions_exchanged(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the two errors change places."""
    rows = tables["condition"].rename(
        columns={"q_error": "policy_error", "policy_error": "q_error"}
    )
    return {**tables, "condition": rows}


def never_improved(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the gap stays what it is after the first reported iteration, times its number."""
    rows = tables["value"].copy()
    keys = ["seed", "repeat", "support"]
    first = rows.sort_values("t").groupby(keys)[["value", "gap"]].transform("first")
    rows["value"] = first["value"]
    rows["gap"] = first["gap"] * rows["t"]
    return {**tables, "value": rows}


def support_ignored(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the restricted run is given the values of the run on full support."""
    rows = tables["value"].copy()
    keys = ["seed", "repeat", "t"]
    full = rows[rows["support"] == "full"].set_index(keys)["value"]
    limited = rows["support"] == "restricted"
    index = pd.MultiIndex.from_frame(rows.loc[limited, keys])
    rows.loc[limited, "value"] = full.reindex(index).to_numpy()
    rows["gap"] = rows["best_covered"] - rows["value"]
    return {**tables, "value": rows}


def unsolved_step(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: a step that is wrong by a tenth of a probability."""
    return {**tables, "step": tables["step"].assign(error=tables["step"]["error"] + 0.1)}


# -------------------------------------------------------------------------------------- horizon


def _final(tables: Tables, panel: str, method: str, column: str, horizon: int = 0) -> float:
    rows = tables["final"]
    rows = rows[(rows["panel"] == panel) & (rows["method"] == method) & rows["chosen"].astype(bool)]
    if horizon:
        rows = rows[rows["horizon"] == horizon]
    return float(rows[column].iloc[0]) if len(rows) else math.nan


def _sweep_gap(tables: Tables, horizon: int) -> float:
    ours = _final(tables, "sweep", "REFUEL", "reward", horizon)
    return ours - _final(tables, "sweep", "REBEL-MT-MIXED", "reward", horizon)


def swept_3_and_8(tables: Tables) -> str:
    """Why the growth of the gap cannot be judged."""
    missing = {3, 8} - set(tables["final"].query("panel == 'sweep'")["horizon"])
    return f"horizon {min(missing)} is not among those swept" if missing else ""


def swept_2(tables: Tables) -> str:
    """Why the gap at two turns cannot be judged."""
    swept = tables["final"].query("panel == 'sweep'")["horizon"]
    return "" if (swept == 2).any() else "horizon 2 is not among those swept"


def gap_growth(tables: Tables) -> float:
    """Gap of exact rewards at 8 turns less that at 3."""
    return _sweep_gap(tables, 8) - _sweep_gap(tables, 3)


def gap_at_8(tables: Tables) -> float:
    """REFUEL's exact reward less that of REBEL-MT-MIXED, 8 turns."""
    return _sweep_gap(tables, 8)


def gap_at_2(tables: Tables) -> float:
    """The same at 2 turns, absolute value."""
    return abs(_sweep_gap(tables, 2))


def _shift_gap(tables: Tables, ours: str, theirs: str) -> float:
    first, second = (_final(tables, "shift", name, "reward") for name in (ours, theirs))
    return first - second


def online_over_mixed(tables: Tables) -> float:
    """Exact reward of REBEL-LT-ONLINE less that of REBEL-LT-MIXED, second panel."""
    return _shift_gap(tables, "REBEL-LT-ONLINE", "REBEL-LT-MIXED")


def mixed_over_offline(tables: Tables) -> float:
    """Exact reward of REBEL-LT-MIXED less that of REBEL-LT-OFFLINE, second panel."""
    return _shift_gap(tables, "REBEL-LT-MIXED", "REBEL-LT-OFFLINE")


def shift_gain(tables: Tables) -> float:
    """Exact reward of REFUEL less that of REBEL-MT-MIXED, second panel."""
    return _shift_gap(tables, "REFUEL", "REBEL-MT-MIXED")


def methods_levelled(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: at each horizon every method has the mean reward of all."""
    rows = tables["final"].copy()
    keys = ["seed", "repeat", "panel", "horizon"]
    rows["reward"] = rows.groupby(keys)["reward"].transform("mean")
    return {**tables, "final": rows}


def gap_widened(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: REFUEL earns half a point more at every horizon."""
    rows = tables["final"].copy()
    rows["reward"] += 0.5 * (rows["method"] == "REFUEL")
    return {**tables, "final": rows}


# ---------------------------------------------------------------------------------------- pairs


def turn_deviation(tables: Tables) -> float:
    """Largest distance of a share of pairs from its exact chance, over iterations, in points."""
    return float((tables["turns"]["share"] - tables["turns"]["chance"]).abs().max())


def final_agreement(tables: Tables) -> float:
    """Share of held-out pairs that moved the right way, at the end of the first iteration."""
    rows = tables["training"]
    rows = rows[rows["iteration"] == 1]
    return float(rows.loc[rows["step"] == rows["step"].max(), "agreement"].mean())


def turns_equal(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: all (learned turn, judged turn) are equally frequent."""
    rows = tables["turns"].copy()
    rows["share"] = 100.0 / rows.groupby(["seed", "repeat", "iteration"])["share"].transform("size")
    return {**tables, "turns": rows}


def signs_turned(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: every pair moves the other way."""
    return {**tables, "training": tables["training"].assign(
        agreement=100 - tables["training"]["agreement"])}  # fmt: skip


# ---------------------------------------------------------------------------------------- fixed


def without_price(tables: Tables) -> str:
    """Why the rewards cannot be compared."""
    return "" if (tables["curve"]["kl_coef"] == 0).any() else "no run without a price on divergence"


def with_and_without_price(tables: Tables) -> str:
    """Why the effect of a price cannot be judged."""
    prices = tables["curve"]["kl_coef"]
    if prices.max() < 0.2:
        return "no price of 0.2 or more"
    return without_price(tables)


def _fixed(tables: Tables, method: str, price: float, column: str) -> float:
    rows = tables["curve"]
    chosen = rows["chosen"].astype(bool) & rows["last_iteration"].astype(bool)
    rows = rows[chosen & (rows["method"] == method) & (rows["kl_coef"] == price)]
    return float(rows[column].iloc[0]) if len(rows) else math.nan


def _fixed_gain(tables: Tables, other: str) -> float:
    ours, theirs = (_fixed(tables, name, 0.0, "win_rate") for name in ("REFUEL", other))
    return ours - theirs


def fixed_gain_over_last_turn(tables: Tables) -> float:
    """Win rate of REFUEL less that of REBEL-LT-ONLINE, without a price, points."""
    return _fixed_gain(tables, "REBEL-LT-ONLINE")


def fixed_gain_over_mixed(tables: Tables) -> float:
    """Win rate of REFUEL less that of REBEL-MT-MIXED, without a price, points."""
    return _fixed_gain(tables, "REBEL-MT-MIXED")


def divergence_ratio(tables: Tables) -> float:
    """REFUEL's divergence at the highest price over that without a price."""
    highest = float(tables["curve"]["kl_coef"].max())
    return _fixed(tables, "REFUEL", highest, "kl") / _fixed(tables, "REFUEL", 0.0, "kl")


def prices_turned(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the highest price and none change places."""
    rows = tables["curve"].copy()
    highest = rows["kl_coef"].max()
    rows["kl_coef"] = rows["kl_coef"].replace({0.0: highest, highest: 0.0})
    return {**tables, "curve": rows}


# ------------------------------------------------------------------------------------------- lm


def lm_rise(tables: Tables) -> float:
    """Win rate at the last turn after the last iteration, less 50 points."""
    return float(tables["progress"].sort_values("iteration")["win_rate"].iloc[-1] - 50.0)


def lm_untrained(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the model stays as it was at the start."""
    return {**tables, "progress": tables["progress"].assign(win_rate=50.0)}
