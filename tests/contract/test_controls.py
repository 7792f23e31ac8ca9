"""A claim that cannot lose is no claim: every one must fail to be supported under its control.

The tables are those of the smoke run, where its parameters test the claim; else those of a preset
`contract`, cheap values at which every claim can be judged; else small ones that are kept under
tests/studies/<study>/tables/<command>/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from toolbox.app import run
from toolbox.core.claims import Evidence, Verdict, judge
from toolbox.core.pools import pools_of
from toolbox.core.spec import ClaimSpec, CommandSpec

from .harness import ROOT, Case, cases

WITHOUT = {
    f"{command} {claim}"
    for command, claims in {
        "gd anytime": "C1-exponent C1-sup C1-growth C1-flat C2-envelope C2-floor C2-horizons C3-constant C3-endpoint C3-sup",
        "gd horizon": "C2-horizons",
        "gd strongly": "C4-constant C4-anytime C4-silver",
        "gd certify": "primitive",
        "gd schedule": "lemma7",
        "gd train": "below-worst-case",
        "gd csweep": "lemma7-exponent",
        "hierarchical error": "beats-random-features random-features-fail three-steps-learn outer-layer-is-easy beats-kernel beats-two-layers",
        "hierarchical recover": "one-step-exponent three-step-exponent closed-form three-steps-find one-step-top",
        "hierarchical transfer": "beats-random-features beats-scratch",
        "hierarchical kernel": "theory law law-measured exponent-as-theory gap-grows",
        "hierarchical spectrum": "outliers-are-features outliers-stand-out",
        "hierarchical width": "overlap-kept wide-is-infinite",
        "icl plateau": "C1 C1-each C1-duplicates C1-diversity C1-own-best C1-small-rate",
        "icl table": "C2 C2-monotone",
        "icl transfer": "C3 C3-total",
        "icl controls": "C4-real C4-no-context C4-coin C4-duplicates C4-retrieval",
        "icl ncl": "NCL-exact NCL-constants",
        "multiindex train": "aligned every_direction ridge",
        "multiindex scaling": "second_order gap higher_order",
        "multiindex flow": "log_law constant_second_stage power",
        "multiindex identify": "blind_subspace blind_directions seeing_directions",
        "multiindex width": "coupons",
        "multiindex psweep": "bound",
        "recall linear": "C1-slope C1-closed-form C1-theory C1-finite C1-constant C6-bound",
        "recall mlp": "C2-collapse C2-constant C2-fixed C2-fixed-constant C6-bound",
        "recall curve": "C1-below-sharp C1-gaussian C1-finite",
        "recall scaling": "C3-slope C3-pairs C3-constant C6-bound",
        "recall tradeoff": "C4-monotone C4-either C4-corner C4-floor C4-boundary",
        "recall sequential": "C5-plateau C5-end C5-relation-escape C5-subject-escape C5-order C5-swapped C5-sum C5-flow",
        "recall train": "C3-stores C5-relation-first C5-hallucination",
        "scb train": "recovers near-exact support",
        "scb compare": "no-post-processing constant-steps decay win-removed",
        "scb stages": "phase-1 law law-unbiased phase-2 phase-2-support one-shot phase-2-breaks",
        "scb transfer": "high-correlation low-correlation log-T",
        "scb softmax": "similar-maps similar-loss decay-beats-softmax mass",
        "scb fit": "beats-unigram beats-bigram minibatch sparsity-gain beats-trigram",
    }.items()
    for claim in claims.split()
}
"""Claims whose control is still to be written; the test fails when one of them has got it."""


def names() -> list[str]:
    return [f"{case} {claim}" for case in cases() for claim in case.spec.claims]


@pytest.fixture(scope="session")
def judged_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


def evidence_of(case: Case, out: Path) -> tuple[dict[str, Any], Evidence]:
    """Parameters and tables at which the claims of a command can be judged."""
    folder = ROOT / "tests" / "studies" / case.study / "tables" / case.command
    if folder.is_dir():
        kept = {path.stem: pd.read_csv(path) for path in folder.glob("*.csv")}
        return {}, Evidence(kept.__getitem__)
    preset = "contract" if "contract" in case.spec.presets else "smoke"
    words = [*case.words, "--preset", preset, "--quiet", "--out", str(out)]
    if not case.spec.deterministic and preset == "smoke":
        words += ["--repeats", str(max(claim.min_seeds for claim in case.spec.claims.values()))]
    assert run(words) == 0
    pool = pools_of(out, case.study, case.command)[-1]
    return pool.params, pool.evidence


def both(case: Case, out: Path) -> tuple[dict[str, Verdict], dict[str, Verdict]]:
    params, evidence = evidence_of(case, out)
    spec = case.spec if params else freed(case.spec)
    verdicts = [judge(case.study, spec, params, evidence, null) for null in (False, True)]
    real, changed = ({verdict.claim: verdict for verdict in each} for each in verdicts)
    return real, changed


def freed(spec: CommandSpec) -> CommandSpec:
    """The claims without conditions on parameters: kept tables are made where they hold."""
    claims = {k: c.model_copy(update={"requires": None}) for k, c in spec.claims.items()}
    return spec.model_copy(update={"claims": claims})


def test_every_claim_is_judged_and_fails_under_its_control(case: Case, judged_out: Path) -> None:
    if not case.spec.claims:
        return
    declared = {name for name, claim in case.spec.claims.items() if claim.control}
    waiting = {name for name in case.spec.claims if f"{case} {name}" in WITHOUT}
    assert declared | waiting == set(case.spec.claims), "a claim declares no control"
    assert not declared & waiting, "these have a control now: take them off the list"
    if not declared:
        return
    real, changed = both(case, judged_out)
    for name in declared:
        assert_it_can_lose(case.spec.claims[name], real[name], changed[name])


def assert_it_can_lose(claim: ClaimSpec, real: Verdict, changed: Verdict) -> None:
    assert real.verdict != "not tested", f"{real.claim} is not tested here: {real.reason}"
    assert real.measured is not None, f"{real.claim}: {real.reason}"
    assert changed.verdict != "supported", f"{real.claim} is supported under its control"
    low, high = claim.region
    outside = changed.measured is None or not (
        (low is None or low <= changed.measured) and (high is None or changed.measured <= high)
    )
    assert outside, f"{real.claim} measures {changed.measured} under its control, inside its region"


def test_a_claim_that_nothing_can_turn_is_found(case: Case) -> None:
    """The check itself: the coin's claim with a control that changes nothing."""
    if str(case) != "coin toss":
        return
    flat = pd.DataFrame({"seed": [0] * 3, "repeat": range(3), "side": "head", "share": 0.5})
    claim = case.spec.claims["fair"].model_copy(update={"requires": None})
    spec = case.spec.model_copy(update={"claims": {"fair": claim}})
    tables = Evidence(lambda name: flat)
    (real,) = judge("coin", spec, {}, tables)
    with pytest.raises(AssertionError, match="is supported under its control"):
        assert_it_can_lose(claim, real, real)
