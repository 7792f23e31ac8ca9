"""Statistics of the claims: the tables of one replicate -> one number, NaN where undefined."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .env_metrics import (  # noqa: F401
    has_spread,
    has_tag,
    pairs_are_permuted,
    pairs_explain,
    spread_over_behaviour,
    spread_over_joint,
    spread_over_permuted,
    spread_over_single,
    tag_gap_to_joint,
    tag_gap_to_single,
    whole_alone,
)
from .log_metrics import (  # noqa: F401
    has_pairs_and_joint,
    has_pairs_and_triples,
    has_single_and_pairs,
    pairs_alone,
    pairs_over_single,
    permuted_alone,
    triples_over_pairs,
)

Tables = Mapping[str, pd.DataFrame]

CLEAR = 0.002
"""Weight lambda that stands for 'regularised'; chosen before any result was seen."""


def _of(rows: pd.DataFrame, critic: str, column: str = "cce_gap") -> pd.Series:
    """A measure of one critic, in the order of the rows."""
    return rows.loc[rows["critic"] == critic, column].reset_index(drop=True)


def _difference(rows: pd.DataFrame, low: str, high: str, share: float = 1.0) -> float:
    """Mean gap of `low` less `share` times the mean gap of `high`."""
    return float(_of(rows, low).mean() - share * _of(rows, high).mean())


def _largest(tables: Tables) -> pd.DataFrame:
    rows = tables["gaps"]
    most: pd.DataFrame = rows[rows["agents"] == rows["agents"].max()]
    return most


# marl shift


def formula_error(tables: Tables) -> float:
    """Largest relative difference of the two coefficients."""
    rows = tables["shift"]
    return float((rows["kappa_numeric"] / rows["kappa_exact"] - 1).abs().max())


def full_rate(tables: Tables) -> float:
    """Slope of log kappa in the number of agents, over log C, for functions of full rank."""
    rows = tables["shift"].query("rank == 'full'")
    if len(rows) < 2:
        return float("nan")
    slope = np.polyfit(rows["agents"], np.log(rows["kappa_numeric"]), 1)[0]
    return float(slope / np.log(rows["conc"].iloc[0]))


def pair_exponent(tables: Tables) -> float:
    """Exponent of kappa in the number of agents, for rank 2."""
    rows = tables["shift"].query("rank == '2'")
    if len(rows) < 2:
        return float("nan")
    return float(np.polyfit(np.log(rows["agents"]), np.log(rows["kappa_numeric"]), 1)[0])


def shifted_error(tables: Tables) -> float:
    """Log of the full table's error under the shift over that of rank 2, most agents."""
    rows = tables["shift"]
    errors = rows[rows["agents"] == rows["agents"].max()].set_index("rank")["mse_mu"]
    return float(np.log(errors["full"] / errors["2"]))


def has_ranks(tables: Tables) -> str:
    """Both ranks that the claims compare, and several numbers of agents."""
    rows = tables["shift"]
    if not {"2", "full"} <= set(rows["rank"]):
        return "needs the ranks 2 and full"
    return "" if rows["agents"].nunique() > 1 else "needs two numbers of agents"


def wrong_formula(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: conc^K, which counts no sets of others."""
    rows = tables["shift"].copy()
    rows["kappa_exact"] = rows["conc"] ** 2
    return {**tables, "shift": rows}


# marl game


def ir2_against_joint(tables: Tables) -> float:
    """Gap of IR2 less 0.7 times that of the joint critic, most agents."""
    return _difference(_largest(tables), "IR2", "joint", 0.7)


def ir2_against_ir1(tables: Tables) -> float:
    """Gap of IR2 less half of that of IR1, most agents."""
    return _difference(_largest(tables), "IR2", "IR1", 0.5)


def true_against_ir2(tables: Tables) -> float:
    """Gap with the true rewards less that of IR2, most agents."""
    return _difference(_largest(tables), "true", "IR2")


def joint_against_ir1(tables: Tables) -> float:
    """Gap of the joint critic less that of IR1, most agents."""
    return _difference(_largest(tables), "joint", "IR1")


def vdn_and_ir1(tables: Tables) -> float:
    """Largest difference of the gaps of VDN and IR1."""
    rows = tables["gaps"]
    return float((_of(rows, "VDN") - _of(rows, "IR1")).abs().max())


def has_critics(tables: Tables) -> str:
    """All critics that the claims of `game` compare."""
    missing = {"VDN", "IR1", "IR2", "joint", "true"} - set(tables["gaps"]["critic"])
    return f"needs the critics {', '.join(sorted(missing))}" if missing else ""


def has_many_agents(tables: Tables) -> str:
    """The critics, and a game of seven agents or more."""
    few = tables["gaps"]["agents"].max() < 7
    return has_critics(tables) or ("needs a game of 7 agents or more" if few else "")


def vdn_is_true(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the gaps of VDN are those with the true rewards."""
    rows = tables["gaps"].copy()
    rows.loc[rows["critic"] == "VDN", "cce_gap"] = rows.loc[
        rows["critic"] == "true", "cce_gap"
    ].to_numpy()
    return {**tables, "gaps": rows}


# marl samples


def from_1000(tables: Tables) -> float:
    """Gap of IR2 less that of the joint critic, mean over the sizes from 1000."""
    rows = tables["gaps"]
    return _difference(rows[rows["samples"] >= 1000], "IR2", "joint")


def _falls(tables: Tables, critic: str) -> float:
    """Log of the gap at most samples over that at fewest."""
    rows = tables["gaps"]
    rows = rows[rows["critic"] == critic].sort_values("samples")
    return float(np.log(rows["cce_gap"].iloc[-1] / rows["cce_gap"].iloc[0]))


def ir2_falls(tables: Tables) -> float:
    """Log of the ratio of IR2's gaps."""
    return _falls(tables, "IR2")


def ir1_stays(tables: Tables) -> float:
    """Log of the ratio of IR1's gaps."""
    return _falls(tables, "IR1")


def has_sizes(tables: Tables) -> str:
    """Data sets of very different sizes, and the critics."""
    rows = tables["gaps"]
    missing = {"IR1", "IR2", "joint"} - set(rows["critic"])
    if missing:
        return f"needs the critics {', '.join(sorted(missing))}"
    wide = rows["samples"].max() >= 10 * rows["samples"].min() and rows["samples"].max() >= 1000
    return "" if wide else "needs sizes a factor of 10 apart, the largest at least 1000"


# marl regularise


def _effect(tables: Tables, support: str, highest: bool) -> float:
    """Gap of IR2 at lambda CLEAR less that at 0, in a setting."""
    rows = tables["gaps"].query("critic == 'IR2'")
    rows = rows[rows["support"] == support]
    conc = rows["conc"].max() if highest else rows["conc"].min()
    gaps = rows[rows["conc"] == conc].set_index("lam")["cce_gap"]
    return float(gaps[CLEAR] - gaps[0.0])


def effect_at_full(tables: Tables) -> float:
    """The lowest concentrability, all actions logged."""
    return _effect(tables, "full", highest=False)


def effect_at_rare(tables: Tables) -> float:
    """The highest concentrability, all actions logged."""
    return _effect(tables, "full", highest=True)


def effect_at_partial(tables: Tables) -> float:
    """The rare actions are never logged."""
    return _effect(tables, "partial", highest=False)


def chi_falls(tables: Tables) -> float:
    """Distance from the behaviour at the largest lambda over that at lambda 0, log, IR2."""
    rows = tables["gaps"].query("critic == 'IR2' and support == 'full'")
    chi = rows.groupby("lam")["chi2_to_nu"].mean()
    return float(np.log(chi.loc[chi.index.max()] / chi.loc[0.0]))


def has_lams(tables: Tables) -> str:
    """The two weights that the claims compare, both supports, and the critic."""
    rows = tables["gaps"]
    if "IR2" not in set(rows["critic"]):
        return "needs the critic IR2"
    if not {0.0, CLEAR} <= set(rows["lam"]):
        return f"needs the weights 0 and {CLEAR:g}"
    if set(rows["support"]) != {"full", "partial"}:
        return "needs both supports"
    return "" if rows["conc"].max() >= 50 else "needs a concentrability of 50 or more"


def helps_nowhere(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: the regularised gaps are those without, plus 0.01."""
    rows = tables["gaps"].copy()
    same = ["seed", "repeat", "conc", "support", "critic"]
    free = rows[rows["lam"] == 0].set_index(same)["cce_gap"]
    clear = rows["lam"] == CLEAR
    rows.loc[clear, "cce_gap"] = free.loc[
        list(map(tuple, rows.loc[clear, same].to_numpy()))
    ].to_numpy()
    rows.loc[clear, "cce_gap"] += 0.01
    return {**tables, "gaps": rows}


# marl rank


def _at_rank(tables: Tables, true_rank: int) -> pd.DataFrame:
    return tables["gaps"].query("true_rank == @true_rank")


def too_low(tables: Tables) -> float:
    """True rank 3: gap of IR3 less that of IR2."""
    return _difference(_at_rank(tables, 3), "IR3", "IR2")


def too_high(tables: Tables) -> float:
    """True rank 3: gap of IR3 less that of the joint critic."""
    return _difference(_at_rank(tables, 3), "IR3", "joint")


def lowest_is_enough(tables: Tables) -> float:
    """True rank 1: gap of IR1 less that of the joint critic."""
    return _difference(_at_rank(tables, 1), "IR1", "joint")


def full_needs_joint(tables: Tables) -> float:
    """True rank 5: gap of the joint critic less that of IR2."""
    return _difference(_at_rank(tables, 5), "joint", "IR2")


def has_true_ranks(tables: Tables) -> str:
    """The true ranks and critics that the claims compare."""
    rows = tables["gaps"]
    if not {1, 3, 5} <= set(rows["true_rank"]):
        return "needs the true ranks 1, 3 and 5"
    missing = {"IR1", "IR2", "IR3", "joint"} - set(rows["critic"])
    return f"needs the critics {', '.join(sorted(missing))}" if missing else ""


# marl coop


def _payoff(tables: Tables, payoff: str) -> pd.DataFrame:
    return tables["gaps"].query("payoff == @payoff")


def _welfare(tables: Tables, other: str) -> float:
    rows = _payoff(tables, "cooperative")
    return float(_of(rows, "IR2", "welfare").mean() - _of(rows, other, "welfare").mean())


def welfare_over_joint(tables: Tables) -> float:
    """Welfare of IR2 less that of the joint critic."""
    return _welfare(tables, "joint")


def welfare_over_ir1(tables: Tables) -> float:
    """Welfare of IR2 less that of IR1."""
    return _welfare(tables, "IR1")


def competitive_against_joint(tables: Tables) -> float:
    """Gap of IR2 less that of the joint critic."""
    return _difference(_payoff(tables, "competitive"), "IR2", "joint")


def competitive_against_ir1(tables: Tables) -> float:
    """Gap of IR2 less that of IR1."""
    return _difference(_payoff(tables, "competitive"), "IR2", "IR1")


# Rewards permuted over the joint actions


def half_of_permuted(tables: Tables) -> float:
    """Gap of IR2 less half of that of the same fit to permuted rewards, most agents."""
    return _difference(_largest(tables), "IR2", "permuted", 0.5)


def permuted_from_1000(tables: Tables) -> float:
    """The same, mean over the sizes from 1000."""
    rows = tables["gaps"]
    return _difference(rows[rows["samples"] >= 1000], "IR2", "permuted", 0.5)


def triples_against_permuted(tables: Tables) -> float:
    """True rank 3: gap of IR3 less half of that of a fit to permuted rewards."""
    return _difference(_at_rank(tables, 3), "IR3", "permuted", 0.5)


def welfare_over_permuted(tables: Tables) -> float:
    """Welfare of IR2 less that of the same fit to permuted rewards."""
    return _welfare(tables, "permuted")


def has_permuted(tables: Tables) -> str:
    """The fit to permuted rewards, and the others."""
    there = "permuted" in set(tables["gaps"]["critic"])
    return has_critics(tables) or ("" if there else "needs the critic permuted")


def has_permuted_and_many(tables: Tables) -> str:
    """The same, and seven agents or more."""
    return has_permuted(tables) or has_many_agents(tables)


def has_permuted_and_sizes(tables: Tables) -> str:
    """The same, and data sets of very different sizes."""
    return has_permuted(tables) or has_sizes(tables)


def has_permuted_and_ranks(tables: Tables) -> str:
    """The same, and the true ranks."""
    return has_permuted(tables) or has_true_ranks(tables)


# marl markov


def has_many_movers(tables: Tables) -> str:
    """The critics that the claims of `markov` compare, and five agents or more."""
    rows = tables["gaps"]
    missing = {"behaviour", "IR1", "IR2", "joint", "permuted", "true"} - set(rows["critic"])
    if missing:
        return f"needs the critics {', '.join(sorted(missing))}"
    return "" if rows["agents"].max() >= 5 else "needs a game of 5 agents or more"


def pairs_against_joint(tables: Tables) -> float:
    """Gap of IR2 less that of the joint critic, most agents."""
    return _difference(_largest(tables), "IR2", "joint")


def pairs_against_single(tables: Tables) -> float:
    """Gap of IR2 less that of IR1, most agents."""
    return _difference(_largest(tables), "IR2", "IR1")


def half_of_behaviour(tables: Tables) -> float:
    """Gap of IR2 less half of that of the behaviour, most agents."""
    return _difference(_largest(tables), "IR2", "behaviour", 0.5)
