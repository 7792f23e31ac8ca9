"""A claim that cannot lose is no claim: every one must fail to be supported under its control.

The tables are those of the smoke run, where its parameters test the claim; else those of a preset
`contract`, cheap values at which every claim can be judged; else small ones that are kept under
tests/studies/<study>/tables/<command>/, of a study in a repository of its own under
tests/tables/<command>/ beside its folder.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import toolbox
from toolbox.app import run
from toolbox.core.claims import Evidence, Verdict, decide, judge
from toolbox.core.pools import pools_of
from toolbox.core.spec import ClaimSpec, CommandSpec, load_command
from toolbox.core.studies import study_file

from .harness import ROOT, Case


@pytest.fixture
def judged(
    case: Case, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[dict[str, Any], Evidence]:
    """Parameters and tables at which the claims of a command can be judged."""
    ours = ROOT / "tests" / "studies" / case.study / "tables" / case.command
    theirs = study_file(case.study).parents[1] / "tests" / "tables" / case.command
    folder = theirs if theirs.is_dir() else ours
    comes_along = study_file(case.study).is_relative_to(Path(toolbox.__file__).parent)
    if comes_along and not (ROOT / "tests").is_dir() and "contract" not in case.spec.presets:
        pytest.skip("small tables at which its claims decide are kept in the repository alone")
    if folder.is_dir():
        kept = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
        nothing = pd.DataFrame({"seed": [], "repeat": []}, dtype=int)
        return {}, Evidence(lambda name: kept.get(name, nothing))
    out = tmp_path
    if "contract" in case.spec.presets:
        words = ["--preset", "contract", "--quiet", "--out", str(out)]
        assert run([*case.words, *words]) == 0
    elif case.spec.deterministic:
        request.getfixturevalue("smoke")
        out = request.getfixturevalue("smoke_out")
    else:
        out = request.getfixturevalue("several")
    (pool,) = pools_of(out, case.study, case.command)
    return pool.params, pool.evidence


def both(
    case: Case, params: dict[str, Any], evidence: Evidence
) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    spec = case.spec if params else freed(case.spec)
    verdicts = [judge(case.study, spec, params, evidence, null) for null in (False, True)]
    real, changed = ({verdict.claim: verdict for verdict in each} for each in verdicts)
    return real, changed


def freed(spec: CommandSpec) -> CommandSpec:
    """The claims without conditions on parameters: kept tables are made where they hold."""
    claims = {k: c.model_copy(update={"requires": None}) for k, c in spec.claims.items()}
    return spec.model_copy(update={"claims": claims})


def test_every_claim_is_judged_and_fails_under_its_control(
    case: Case, judged: tuple[dict[str, Any], Evidence]
) -> None:
    real, changed = both(case, *judged)
    for name, claim in case.spec.claims.items():
        assert_it_can_lose(claim, real[name], changed[name])


def assert_it_can_lose(claim: ClaimSpec, real: Verdict, changed: Verdict) -> None:
    assert real.verdict != "not tested", f"{real.claim} is not tested here: {real.reason}"
    assert real.measured is not None, f"{real.claim}: {real.reason}"
    assert changed.verdict != "supported", f"{real.claim} is supported under its control"
    # Tables that cannot be judged show nothing: the control must make the claim false.
    assert changed.verdict != "not tested", f"{real.claim} under its control: {changed.reason}"
    assert "undefined" not in changed.reason, f"{real.claim} under its control: {changed.reason}"
    low, high = claim.region
    outside = changed.measured is None or not (
        (low is None or low <= changed.measured) and (high is None or changed.measured <= high)
    )
    assert outside, f"{real.claim} measures {changed.measured} under its control, inside its region"


@pytest.mark.parametrize(
    ("share", "said"), [(0.5, "is supported under"), (math.nan, "is undefined for 3 of 3")]
)
def test_a_control_that_turns_nothing_is_found(share: float, said: str) -> None:
    """The check itself: it refuses a control without effect, and one that leaves no number."""

    claim = load_command("coin", "toss").claims["fair"]

    def verdict(value: float) -> Verdict:
        return decide("fair", claim, [value] * 3)

    with pytest.raises(AssertionError, match=said):
        assert_it_can_lose(claim, verdict(0.5), verdict(share))
    assert_it_can_lose(claim, verdict(0.5), verdict(0.75))
