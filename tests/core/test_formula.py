"""Numbers computed from parameters, such as the memory of a cell."""

from __future__ import annotations

import pytest

from toolbox.core.errors import UsageError
from toolbox.core.formula import compile_formula

VALUES = {"d": 1000, "lr": 0.5, "optimizer": "adam", "flag": True, "tasks": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("200 + 4e-6 * d ** 3", 4200),
        ("500", 500),
        ("-d + 2 * d", 1000),
        ("d / 8 - 25", 100),
        ("100 + 900 * (optimizer == 'adam')", 1000),
        ("100 + 900 * (optimizer == 'sgd')", 100),
        ("1 + flag", 2),
        ("10 * (d >= 1000 and lr < 1)", 10),
    ],
)
def test_values(text, number):
    assert compile_formula(text, VALUES).value(VALUES) == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("200 + dd", "No parameter 'dd'; did you mean 'd'"),
        ("__import__('os')", "may not hold"),
        ("max(d, 3)", "may not hold"),
        ("d % 3", "may not hold"),
        ("d; d", "no expression"),
        ("", "no expression"),
        ("d > 1 &", "no expression"),
    ],
)
def test_what_is_no_formula(text, said):
    with pytest.raises(UsageError, match=said):
        compile_formula(text, VALUES)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("d - 1000", r"is 0 at d = 1000, where a number above 0 is needed"),
        ("-1", "is -1, where"),
        ("1e308 * d", "is inf at d = 1000"),
        ("9**9**9", "too large"),
        ("1 / (d - 1000)", "division by zero"),
        ("optimizer * 2", "arithmetic needs numbers"),
        ("tasks + 1", "arithmetic needs numbers"),
        ("optimizer", "arithmetic needs numbers"),
    ],
)
def test_what_has_no_value(text, said):
    with pytest.raises(UsageError, match=said):
        compile_formula(text, VALUES).value(VALUES)
