"""Intervals against scipy and simulation; verdicts at every edge of a region."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from toolbox.core.claims import Evidence, decide, interval, judge, summaries
from toolbox.core.errors import StudyError
from toolbox.core.remedies import flags_that_meet, readable
from toolbox.core.spec import ClaimSpec, CommandSpec

CONTROL: Any = {"change": "function", "name": "loaded"}
FAIR = {
    "statement": "s", "origin": "paper", "control": CONTROL, "reference": "p",
    "statistic": "share_of_heads", "region": [0.4, 0.6],
}  # fmt: skip


def claim_of(low: float | None, high: float | None, **more: Any) -> ClaimSpec:
    return ClaimSpec(
        statement="s",
        origin="paper",
        control=CONTROL,
        reference="p",
        statistic="share_of_heads",
        region=(low, high),
        **more,
    )


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_the_interval_of_a_mean_is_students(n):
    values = np.random.default_rng(n).normal(3, 2, n)
    estimate, low, high = interval(list(values), "mean")
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert estimate == pytest.approx(values.mean(), rel=1e-12)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 3), (30, 60)])
def test_the_interval_of_a_proportion_is_exact(successes, n):
    values = [1.0] * successes + [0.0] * (n - successes)
    estimate, low, high = interval(values, "proportion")
    # Clopper and Pearson by quantiles of the beta distribution.
    below = stats.beta.ppf(0.025, successes, n - successes + 1) if successes else 0.0
    above = stats.beta.ppf(0.975, successes + 1, n - successes) if successes < n else 1.0
    assert estimate == successes / n
    assert (low, high) == pytest.approx((below, above), abs=1e-9)


def test_a_proportion_of_anything_but_zeros_and_ones_is_a_bug():
    with pytest.raises(ValueError, match="zeros and ones"):
        interval([0.5, 1.0, 0.0], "proportion")


@pytest.mark.parametrize("n", range(1, 6))
def test_fewer_than_six_values_cannot_bound_a_median(n):
    assert interval([float(i) for i in range(n)], "median")[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize("n", range(6, 31))
def test_the_interval_of_a_median_covers_it_and_is_the_shortest_that_does(n):
    values = [float(i) for i in range(1, n + 1)]
    estimate, low, high = interval(values, "median")
    k = int(low)
    assert high == n + 1 - k
    assert estimate == np.median(values)
    # P(Binomial(n, 1/2) < k) on each side; one order statistic further in is too little.
    assert 1 - 2 * stats.binom.cdf(k - 1, n, 0.5) >= 0.95
    assert 1 - 2 * stats.binom.cdf(k, n, 0.5) < 0.95


@pytest.mark.parametrize("n", [6, 11, 30])
def test_the_interval_of_a_median_covers_the_truth_in_simulation(n):
    draws = np.random.default_rng(1).exponential(size=(1000, n))
    bounds = [interval(list(row), "median") for row in draws]
    covered = np.mean([low <= math.log(2) <= high for _, low, high in bounds])
    assert covered >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 1000)  # three standard errors


def test_one_value_and_infinite_values_have_no_mean_interval():
    assert interval([3.0], "mean") == (3.0, -math.inf, math.inf)
    assert interval([1.0, math.inf], "mean")[1:] == (-math.inf, math.inf)


# The mean interval of these three is 1 -+ 0.248 (t_2 = 4.303, s = 0.1).
THREE = [0.9, 1.0, 1.1]


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.7, 1.3, "supported"),
        (0.7, None, "supported"),
        (None, 1.3, "supported"),
        (0.8, 1.3, "inconclusive"),
        (0.7, 1.2, "inconclusive"),
        (None, 1.0, "inconclusive"),
        (1.0, None, "inconclusive"),
        (0.9, 1.1, "inconclusive"),
        (1.3, 2.0, "refuted"),
        (1.3, None, "refuted"),
        (None, 0.7, "refuted"),
        (0.0, 0.7, "refuted"),
    ],
)
def test_the_whole_interval_must_lie_on_one_side(low, high, outcome):
    verdict = decide("c", claim_of(low, high), THREE)
    assert verdict.verdict == outcome
    assert verdict.replicates == 3
    assert verdict.low == pytest.approx(0.7516, abs=1e-4)
    assert verdict.high == pytest.approx(1.2484, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "outcome"), [(1.0, "supported"), (2.0, "supported"), (2.1, "refuted")]
)
def test_an_exact_value_decides_alone_and_the_edge_belongs_to_the_region(value, outcome):
    verdict = decide("c", claim_of(1.0, 2.0), [value], exact=True)
    assert (verdict.verdict, verdict.low, verdict.high) == (outcome, value, value)


def test_too_few_seeds_decide_nothing_however_clear():
    verdict = decide("c", claim_of(0.0, None), [5.0, 5.0])
    assert verdict.verdict == "inconclusive"
    assert verdict.reason == "needs 3 seeds or repeats, has 2"
    assert verdict.measured == 5.0
    assert decide("c", claim_of(0.0, None, min_seeds=2), [5.0, 5.0]).verdict == "supported"


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, 1.0, 1.0, math.nan]])
@pytest.mark.parametrize("exact", [True, False])
def test_an_undefined_statistic_is_inconclusive_and_never_dropped(values, exact):
    verdict = decide("c", claim_of(0.0, None), values, exact=exact)
    assert verdict.verdict == "inconclusive"
    assert "the statistic is undefined for" in verdict.reason
    assert verdict.measured is None


def test_infinite_values_leave_no_infinity_in_json():
    import json

    verdict = decide("c", claim_of(0.0, 1.0), [math.inf] * 3)
    json.dumps(verdict.as_dict(), allow_nan=False)
    assert verdict.verdict != "supported"


def command_of(claim: dict[str, Any], **more: Any) -> CommandSpec:
    share = {"meaning": "m", "role": "metric"}
    return CommandSpec.model_validate(
        {
            "about": "a",
            "presets": {"smoke": {}, "small": {}, "paper": {}},
            "tables": {"counts": {"rows": "r", "columns": {"share": share}}},
            "claims": {"fair": claim},
            **more,
        }
    )


FAIR = {
    "statement": "s",
    "origin": "paper",
    "control": CONTROL,
    "reference": "p",
    "statistic": "share_of_heads",
    "region": [0.4, 0.6],
}


def test_a_statistic_sees_the_rows_of_its_own_replicate_alone(monkeypatch):
    from toolbox.studies.coin import metrics

    table = pd.DataFrame(
        {"seed": [0, 0, 0, 1], "repeat": [0, 1, 1, 0], "share": [0.1, 0.2, 0.3, 0.4]}
    )
    seen = []

    def statistic(tables):
        seen.append(list(tables["counts"]["share"]))
        return 0.5

    monkeypatch.setattr(metrics, "share_of_heads", statistic)
    (verdict,) = judge("coin", command_of(FAIR), {}, Evidence(lambda name: table))
    assert seen == [[0.1], [0.2, 0.3], [0.4]]
    assert verdict.replicates == 3


def test_a_scale_that_cannot_decide_reads_no_table():
    def never(name):
        raise AssertionError

    spec = command_of({**FAIR, "requires": "tosses >= 1000"})
    (verdict,) = judge("coin", spec, {"tosses": 10}, Evidence(never))
    assert verdict.verdict == "not tested"
    assert verdict.reason == "needs tosses >= 1000; here tosses = 10"
    assert verdict.remedy == "--tosses 1000"


def test_a_command_without_claims_needs_no_metrics():
    assert (
        judge("absent", command_of(FAIR, claims={}), {}, Evidence(lambda name: pd.DataFrame()))
        == []
    )


# ------------------------------------------------------------- diverged, applies, other cells


def table_of(shares: dict[tuple[int, int], float]) -> pd.DataFrame:
    rows = [{"seed": s, "repeat": r, "share": value} for (s, r), value in shares.items()]
    return pd.DataFrame(rows)


SOUND = {(0, 0): 0.5, (0, 1): 0.51, (0, 2): 0.49, (0, 3): 0.5, (0, 4): 0.5, (0, 5): 0.5}


def verdict_of(claim: dict[str, Any], shares: dict[tuple[int, int], float], **more: Any) -> Any:
    evidence = Evidence(lambda name: table_of(shares), **more)
    (verdict,) = judge("coin", command_of(claim), {}, evidence)
    return verdict


def test_survivors_alone_are_a_selection():
    assert verdict_of(FAIR, SOUND).verdict == "supported"
    verdict = verdict_of(FAIR, SOUND, diverged=frozenset({(0, 6)}))
    assert (verdict.verdict, verdict.replicates, verdict.diverged) == ("inconclusive", 7, 1)
    assert "1 of 7 replicates diverged" in verdict.reason
    # Rows that a diverged replicate left before it diverged are not its value.
    kept = {**SOUND, (0, 6): 0.5}
    assert verdict_of(FAIR, kept, diverged=frozenset({(0, 6)})) == verdict


@pytest.mark.parametrize(
    ("claim", "diverged", "outcome"),
    [
        ({"summary": "median"}, 1, "inconclusive"),
        ({"summary": "median"}, 60, "refuted"),
        ({"diverged": 0.5}, 1, "supported"),
        ({"diverged": 9.0, "summary": "median"}, 60, "refuted"),
    ],
)
def test_a_diverged_replicate_counts_as_its_claim_declares(claim, diverged, outcome):
    keys = frozenset((1, repeat) for repeat in range(diverged))
    verdict = verdict_of({**FAIR, **claim}, SOUND, diverged=keys)
    assert verdict.verdict == outcome
    assert f"{diverged} of {6 + diverged} replicates diverged" in verdict.reason


def test_when_all_diverged_it_says_so():
    verdict = verdict_of(FAIR, {(0, 0): 0.5}, diverged=frozenset({(0, 0)}))
    assert verdict.verdict == "inconclusive"
    assert "1 of 1 replicates diverged" in verdict.reason


def test_replicates_without_the_cells_of_the_others_are_named_and_left_out():
    verdict = verdict_of(FAIR, {**SOUND, (7, 0): 0.99}, left_out=frozenset({(7, 0)}))
    assert (verdict.verdict, verdict.replicates) == ("supported", 6)
    assert "seed 7 repeats 0" in verdict.reason
    assert verdict.left_out == ((7, 0),)


def test_a_claim_that_does_not_apply_is_not_tested(monkeypatch):
    from toolbox.studies.coin import metrics

    def applies(tables):
        return "" if tables["counts"]["share"].iloc[0] < 0.5 else "the coin has no tail"

    monkeypatch.setattr(metrics, "has_a_tail", applies, raising=False)
    verdict = verdict_of({**FAIR, "applies": "has_a_tail"}, SOUND)
    assert (verdict.verdict, verdict.reason) == ("not tested", "the coin has no tail")
    fine = dict.fromkeys(SOUND, 0.45)
    assert verdict_of({**FAIR, "applies": "has_a_tail"}, fine).verdict == "supported"
    monkeypatch.setattr(metrics, "has_a_tail", lambda tables: True)
    with pytest.raises(StudyError, match="has_a_tail returns True; return '' where"):
        verdict_of({**FAIR, "applies": "has_a_tail"}, fine)


@pytest.mark.parametrize(
    ("requires", "flags"),
    [
        ("T >= 1e5", "--T 100000"),
        ("T >= 10 and fast", "--T 10 --fast"),
        ("T >= 10 and steps <= 5 and kind == 'b'", "--T 10 --kind b"),
        ("sub_steps == 3", "--sub-steps 3"),
        ("T > 10", "--T 11"),
        ("T < 1 and not slow and good == True", "--T 0 --no-slow --good"),
        ("kind in ['b', 'c']", "--kind b"),
        ("kind != 'a'", ""),
        ("T ** 2 > 10 and steps >= 3", ""),
        ("T ** 2 < 10 and steps >= 3", "--steps 3"),
    ],
)
def test_the_flags_that_would_test_a_claim_are_read_off_its_condition(requires, flags):
    params = {"T": 1, "steps": 2, "kind": "a", "sub_steps": 1}
    params |= {"fast": False, "slow": True, "good": False}
    assert flags_that_meet(requires, params) == flags
    assert readable(requires) or "!=" in requires or "**" in requires


def test_the_paper_is_counted_first():
    verdicts = [
        decide("a", claim_of(0.0, None), [5.0, 5.0]),
        decide("b", claim_of(0.0, None), [5.0, 5.1, 5.0]),
        decide("c", claim_of(0.0, None).model_copy(update={"origin": "control"}), [1.0] * 3),
    ]
    assert summaries(verdicts[::-1]) == [
        "the paper: 1 of 2 supported, 1 inconclusive",
        "controls: 1 of 1 supported",
    ]


def test_an_inconclusive_verdict_says_about_how_many_replicates_would_settle_it():
    verdict = decide("c", claim_of(0.95, None), THREE)
    # Half-width 0.248 at n = 3, distance 0.05: 3 (0.248 / 0.05)^2 = 74.
    assert verdict.remedy == "about 75 replicates, if the estimate stays"
