"""What is printed of every command's claims: it fits a terminal, and says what to do next."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from toolbox.core.claims import Verdict, decide
from toolbox.core.remedies import readable
from toolbox.core.show import verdict_table

from .harness import Case

WIDE = {"measured": -0.01234, "low": -0.0123, "high": 0.0123, "verdict": "inconclusive"}


def verdicts_of(case: Case) -> list[Verdict]:
    return [decide(name, claim, [1.0] * 12) for name, claim in case.spec.claims.items()]


def test_a_claim_that_is_not_tested_says_how_to_test_it(case: Case) -> None:
    for name, claim in case.spec.claims.items():
        if claim.requires and not claim.test_with:
            assert readable(claim.requires), (
                f"{name}: no flags can be read off requires: {claim.requires}; add test_with:"
            )
        if claim.applies:
            assert claim.test_with, f"{name}: say with test_with: which flags would make it apply"


@pytest.mark.parametrize("statements", [False, True])
def test_the_table_of_verdicts_fits_80_columns(
    case: Case, statements: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    verdicts = [replace(verdict, **WIDE) for verdict in verdicts_of(case)]
    verdicts += [replace(verdict, verdict="not tested") for verdict in verdicts]
    lines = verdict_table(verdicts, io.StringIO(), statements=statements).splitlines()
    assert max(map(len, lines), default=0) <= 80
    for verdict in verdicts:
        assert any(line.strip().startswith(verdict.claim) for line in lines), "a name is broken"


def test_the_lists_fit_80_columns(
    one: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from toolbox.app import run

    monkeypatch.setenv("COLUMNS", "80")
    for words in (["list"], ["list", one.study]):
        assert run(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
