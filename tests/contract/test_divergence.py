"""A training that diverges says so: the status, the step, and the rows before it.

Every parameter that is a rate is set to its upper bound. A command that stays finite even there
says in its study.yaml why: `cannot_diverge: Adam moves each weight by at most the rate`.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from annotated_types import Le, Lt

from toolbox.app import run
from toolbox.core.params import Param

from .harness import Boundaries, Case

RATE = re.compile(r"(^|_)(lr|lrs|eta|etas|rate|rates)(_|$)")
LONG_ENOUGH = 2.0
"""Processor seconds in which a training at such a rate has diverged, if it ever does."""


def rates(case: Case) -> list[Param]:
    return [p for p in case.params.values() if p.kind is float and RATE.search(p.name)]


def largest(param: Param) -> float:
    for bound in param.bounds:
        match bound:
            case Le(le=limit) | Lt(lt=limit):
                return float(limit)
    return 1e30


def after(seconds: float) -> Callable[[], bool]:
    """Whether so much processor time has passed since the first boundary."""
    first: list[float] = []

    def passed() -> bool:
        first.append(time.process_time())
        return first[-1] > first[0] + seconds

    return passed


def marked_in(path: Path) -> bool:
    """Whether a table of a grid of trainings says of some that they diverged."""
    rows = pd.read_csv(path)
    return "diverged" in rows and bool(rows["diverged"].any())


def test_a_rate_at_its_bound_ends_as_diverged_with_its_step_and_rows(
    case: Case, boundaries: Boundaries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not rates(case):
        pytest.skip("it has no rate")
    silent = []
    for param in rates(case):
        boundaries.on_boundary = after(LONG_ENOUGH)
        out = tmp_path / param.name
        value = param.text((largest(param),) if param.many else largest(param))
        argv = [*case.words, "--preset", "smoke", "--out", str(out), "--quiet", "--threads", "1"]
        code = run([*argv, param.flag, value])
        said = capsys.readouterr().err
        assert code in (0, 1, 75), said
        finished = list(out.glob("*/*/*/run.json"))
        record = json.loads(finished[0].read_text()) if finished else {}
        marked = record.get("diverged", [])
        if not marked and any(marked_in(path) for path in out.glob("*/*/*/*.csv")):
            continue
        assert (code == 1) is (record.get("status") == "diverged"), said
        if not marked:
            silent.append(param.flag)
            continue
        for entry in marked:
            assert isinstance(entry["step"], int), f"{param.flag} {value}: {entry}: at which step?"
        if code == 1:
            assert "diverged" in said
            assert len(said.splitlines()) == 1
        rows = sum(table["rows"] for table in record["tables"].values())
        assert rows > 0, f"{param.flag} {value}: no row from before is kept"
    assert not silent or case.spec.cannot_diverge, (
        f"{', '.join(silent)} at the bound: nothing is marked as diverged; mark it, or say in "
        "study.yaml under cannot_diverge why every value stays finite"
    )
