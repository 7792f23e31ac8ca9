"""An error of the science names fields in Python and flags on a command line."""

from __future__ import annotations

import pytest

from toolbox.core.errors import ParameterError, UsageError


def refuse(*rest):
    raise ParameterError(
        "sides", ("head", "tail"), "with {bias} 0.5 and {some_other} set these are equal {1: 2}",
        "change {tosses}",
    )  # fmt: skip


def test_python_shows_the_field():
    with pytest.raises(UsageError) as refused:
        refuse()
    assert str(refused.value) == (
        "sides=('head', 'tail'): with bias 0.5 and some_other set these are equal {1: 2}; "
        "change tosses"
    )
    assert (refused.value.field, refused.value.value) == ("sides", ("head", "tail"))


def test_the_command_line_shows_flags(cli, monkeypatch):
    monkeypatch.setattr("toolbox.studies.coin.toss.toss", refuse)
    result = cli("coin", "toss")
    assert result.code == 2
    assert result.stderr.strip().endswith(
        "--sides head,tail: with --bias 0.5 and --some-other set these are equal {1: 2}; "
        "change --tosses"
    )


def test_a_reason_may_stand_alone():
    assert str(ParameterError("d", 3, "is odd")) == "d=3: is odd"
