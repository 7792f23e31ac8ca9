"""Statistics of the claims of `marl envs`; `metrics.py` hands them on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

Tables = Mapping[str, pd.DataFrame]


def _of(tables: Tables, env: str, critic: str, column: str) -> float:
    rows = tables["gaps"]
    return float(rows.loc[(rows["env"] == env) & (rows["critic"] == critic), column].iloc[0])


def _over(tables: Tables, env: str, column: str, other: str) -> float:
    return _of(tables, env, "IR2", column) - _of(tables, env, other, column)


def spread_over_joint(tables: Tables) -> float:
    """Return of IR2 less that of the joint critic, in spread."""
    return _over(tables, "spread", "return", "joint")


def spread_over_single(tables: Tables) -> float:
    """Return of IR2 less that of IR1, in spread."""
    return _over(tables, "spread", "return", "IR1")


def spread_over_behaviour(tables: Tables) -> float:
    """Return of IR2 less that of the behaviour, in spread."""
    return _over(tables, "spread", "return", "behaviour")


def spread_over_permuted(tables: Tables) -> float:
    """Return of IR2 less that of the same fit to permuted rewards, in spread."""
    return _over(tables, "spread", "return", "permuted")


def tag_gap_to_joint(tables: Tables) -> float:
    """Gap of IR2 less that of the joint critic, in tag."""
    return _over(tables, "tag", "cce_gap", "joint")


def tag_gap_to_single(tables: Tables) -> float:
    """Gap of IR2 less that of IR1, in tag."""
    return _over(tables, "tag", "cce_gap", "IR1")


def pairs_explain(tables: Tables) -> float:
    """Share of the variance that rank 2 explains in spread, mean over agents."""
    rows = tables["ranks"]
    return float(rows.loc[(rows["env"] == "spread") & (rows["rank"] == 2), "explained"].mean())


def pairs_are_permuted(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: IR2 is what it learns from rewards that were permuted over the joint actions."""
    rows = tables["gaps"]
    kept = rows[rows["critic"] != "IR2"]
    taken = rows[rows["critic"] == "permuted"].assign(critic="IR2")
    return {**tables, "gaps": pd.concat([kept, taken], ignore_index=True)}


def whole_alone(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: rewards that no function of a rank below M explains at all."""
    rows = tables["ranks"]
    whole = rows["rank"] == rows["rank"].max()
    return {**tables, "ranks": rows.assign(explained=rows["explained"].where(whole, 0.0))}


def _has(tables: Tables, env: str) -> str:
    rows = tables["gaps"].query("env == @env")
    if not len(rows):
        return f"needs the environment {env}"
    missing = {"behaviour", "IR1", "IR2", "joint", "permuted"} - set(rows["critic"])
    return f"needs the critics {', '.join(sorted(missing))}" if missing else ""


def has_spread(tables: Tables) -> str:
    """The critics in spread."""
    return _has(tables, "spread")


def has_tag(tables: Tables) -> str:
    """The critics in tag."""
    return _has(tables, "tag")
