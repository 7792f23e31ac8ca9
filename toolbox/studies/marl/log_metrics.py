"""Statistics of the claims of `marl logs`; `metrics.py` hands them on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

Tables = Mapping[str, pd.DataFrame]


def _limit(tables: Tables, model: str, against: str, rewards: str = "logged") -> float:
    """Upper 95 % limit, over episodes, of the error of `model` less that of `against`."""
    rows = tables["differences"]
    rows = rows[(rows["rewards"] == rewards) & (rows["model"] == model)]
    return float(rows.loc[rows["against"] == against, "high"].iloc[0])


def _pairs(tables: Tables) -> str:
    """The fit of rank 2; with two agents it is the joint table."""
    return "IR2" if "IR2" in set(tables["differences"]["model"]) else "joint"


def pairs_over_single(tables: Tables) -> float:
    """Rank 2 against rank 1."""
    return _limit(tables, _pairs(tables), "IR1")


def triples_over_pairs(tables: Tables) -> float:
    """Rank 3 against rank 2."""
    return _limit(tables, "IR3", "IR2")


def pairs_alone(tables: Tables) -> float:
    """Rank 2 against the joint table and against the behaviour mean, the larger limit."""
    return max(_limit(tables, "IR2", other) for other in ("joint", "behaviour"))


def permuted_alone(tables: Tables) -> float:
    """The smallest limit of a rank against the behaviour mean, rewards permuted."""
    models = set(tables["differences"]["model"]) - {"behaviour"}
    return min(_limit(tables, model, "behaviour", "permuted") for model in models)


def has_single_and_pairs(tables: Tables) -> str:
    """The fits of ranks 1 and 2."""
    fits = set(tables["differences"]["model"])
    return "" if "IR1" in fits and fits & {"IR2", "joint"} else "needs the ranks 1 and 2"


def has_pairs_and_triples(tables: Tables) -> str:
    """The fits of ranks 2 and 3, which need four agents: with three, rank 3 is the joint table."""
    fits = set(tables["differences"]["model"])
    return "" if {"IR2", "IR3"} <= fits else "needs the ranks 2 and 3 and four agents or more"


def has_pairs_and_joint(tables: Tables) -> str:
    """Rank 2 and the joint table, which need three agents."""
    fits = set(tables["differences"]["model"])
    return "" if {"IR2", "joint"} <= fits else "needs rank 2, joint and three agents or more"
