"""Negative controls: declared changes of a command's tables under which a claim is false.

A claim that stays supported after its control cannot lose, and so says nothing. Every rule takes
the tables of all replicates and returns changed copies; nothing is drawn at random, so that a
control gives the same verdict each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, model_validator

if TYPE_CHECKING:
    import pandas as pd

    from toolbox.core.spec import TableSpec

    Tables = Mapping[str, pd.DataFrame]


class Control(BaseModel):
    """One change. `change: function` names a function of metrics.py (tables -> tables) as `name`;
    the other changes name a `table` and in it:

    swap      `column`, `labels: [a, b]`: rows of a become rows of b and the other way round
    reverse   `columns`, `over`: the values along `over`, turned round
    flatten   `columns`, `over`: every value replaced by the mean along `over`

    Along `over` means: among the rows that agree in replicate and in all other columns that are
    no metric.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    change: Literal["swap", "reverse", "flatten", "function"]
    name: str = ""
    table: str = ""
    column: str = ""
    labels: tuple[str | int | float | bool, ...] = ()
    columns: tuple[str, ...] = ()
    over: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Control:
        needed = {
            "swap": ("table", "column", "labels"),
            "reverse": ("table", "columns", "over"),
            "flatten": ("table", "columns", "over"),
            "function": ("name",),
        }[self.change]
        given = self.model_fields_set - {"change"}
        if given != set(needed):
            raise ValueError(f"change: {self.change} needs {', '.join(needed)} and nothing else")
        if self.change == "swap" and len(self.labels) != 2:
            raise ValueError("swap exchanges two labels")
        return self


def apply(
    rules: Sequence[Control], tables: Tables, specs: Mapping[str, TableSpec], metrics: ModuleType
) -> dict[str, pd.DataFrame]:
    """The tables after all rules, one after the other.

    specs : the declared tables;  metrics : the study's metrics.py
    """
    changed = dict(tables)
    for rule in rules:
        if rule.change == "function":
            changed = dict(getattr(metrics, rule.name)(changed))
        else:
            changed[rule.table] = _changed(rule, changed[rule.table], specs[rule.table])
    return changed


def _changed(rule: Control, rows: pd.DataFrame, spec: TableSpec) -> pd.DataFrame:
    rows = rows.copy()
    if rule.change == "swap":
        a, b = rule.labels
        old = rows[rule.column]
        rows[rule.column] = old.mask(old == a, b).mask(old == b, a)
        return rows
    same = [
        name
        for name, column in spec.all_columns.items()
        if column.role != "metric" and name != rule.over
    ]
    import numpy as np

    along = rows[rule.over].to_numpy()
    groups = rows.groupby(same, dropna=False, sort=False).indices
    for rows_of_group in map(np.asarray, groups.values()):
        order = rows_of_group[along[rows_of_group].argsort(kind="stable")]
        for column in rule.columns:
            values = rows[column].to_numpy(copy=True)
            values[order] = (
                values[order[::-1]] if rule.change == "reverse" else values[order].mean()
            )
            rows[column] = values
    return rows
