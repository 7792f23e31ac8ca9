"""The rules of negative controls do what they say, to the rows they are meant for alone."""

from __future__ import annotations

from types import ModuleType

import pandas as pd
import pytest
from pydantic import ValidationError

from toolbox.core.controls import Control, apply
from toolbox.core.spec import TableSpec

SPEC = TableSpec.model_validate(
    {
        "rows": "r",
        "columns": {
            "arm": {"meaning": "m", "role": "parameter", "type": "str"},
            "step": {"meaning": "m", "role": "index", "type": "int"},
            "loss": {"meaning": "m", "role": "metric"},
        },
    }
)


def table() -> pd.DataFrame:
    rows = [
        {"seed": 0, "repeat": r, "arm": arm, "step": step, "loss": 100.0 * r + 10 * k + step}
        for r in range(2)
        for k, arm in enumerate(("a", "b"))
        for step in (3, 1, 2)  # the order of the rows is not that of the steps
    ]
    return pd.DataFrame(rows)


def changed(**rule) -> pd.DataFrame:
    control = Control.model_validate({"table": "t", **rule})
    return apply([control], {"t": table()}, {"t": SPEC}, ModuleType("metrics"))["t"]


def test_swap_exchanges_two_labels_and_nothing_else():
    after, before = changed(change="swap", column="arm", labels=["a", "b"]), table()
    assert list(after["arm"]) == ["b" if arm == "a" else "a" for arm in before["arm"]]
    assert after.drop(columns="arm").equals(before.drop(columns="arm"))


def test_reverse_turns_a_metric_round_within_replicate_and_arm():
    after, before = changed(change="reverse", columns=["loss"], over="step"), table()
    for key, rows in after.groupby(["repeat", "arm"]):
        own = before[(before["repeat"] == key[0]) & (before["arm"] == key[1])]
        there = rows.sort_values("step")["loss"].tolist()
        assert there == own.sort_values("step")["loss"].tolist()[::-1]


def test_reverse_over_a_label_exchanges_the_arms_values():
    after = changed(change="reverse", columns=["loss"], over="arm")
    first = after[(after["repeat"] == 0) & (after["arm"] == "a")].sort_values("step")
    assert list(first["loss"]) == [11.0, 12.0, 13.0]


def test_flatten_replaces_a_curve_by_its_mean():
    after = changed(change="flatten", columns=["loss"], over="step")
    means = after.groupby(["repeat", "arm"])["loss"].unique()
    assert [list(each) for each in means] == [[2.0], [12.0], [102.0], [112.0]]


def test_a_function_of_the_study_and_several_rules_one_after_the_other():
    metrics = ModuleType("metrics")
    metrics.doubled = lambda tables: {"t": tables["t"].assign(loss=2 * tables["t"]["loss"])}
    rules = [
        Control(change="function", name="doubled"),
        Control(change="flatten", table="t", columns=("loss",), over="step"),
    ]
    tables = {"t": table()}
    after = apply(rules, tables, {"t": SPEC}, metrics)["t"]
    assert sorted(after["loss"].unique()) == [4.0, 24.0, 204.0, 224.0]
    assert tables["t"].equals(table())  # the real tables stay as they are


@pytest.mark.parametrize(
    "rule",
    [
        {"change": "swap", "table": "t", "column": "arm"},
        {"change": "swap", "table": "t", "column": "arm", "labels": ["a"]},
        {"change": "flatten", "table": "t", "columns": ["loss"]},
        {"change": "function", "name": "f", "table": "t"},
        {"change": "shuffle", "table": "t"},
    ],
)
def test_an_incomplete_rule_is_refused(rule):
    with pytest.raises(ValidationError):
        Control.model_validate(rule)
