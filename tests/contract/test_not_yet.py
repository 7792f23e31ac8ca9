"""The list of what is not kept yet names tests that exist, and is to become empty."""

from __future__ import annotations

import pytest

from .harness import cases
from .not_yet import NOT_YET


def test_every_entry_names_a_command_that_is_there() -> None:
    names = {str(case) for case in cases()}
    for entry in NOT_YET:
        study, command, *_ = entry.partition("[")[2].rstrip("]").split()
        assert f"{study} {command}" in names, entry


def test_the_list_is_empty() -> None:
    if NOT_YET:
        pytest.xfail(f"{len(NOT_YET)} expectations are not met yet: tests/contract/not_yet.py")
