"""Verdicts: a claim's statistic over replicates, its confidence interval, and what that decides.

A verdict is computed from tables alone. The rule is the same for every claim: *supported* when the
95 % interval lies inside the pass region, *refuted* when it lies outside, else *inconclusive*;
*not tested* where the parameters, or what was measured, do not put the claim to the test.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

from toolbox.core import controls, intervals
from toolbox.core.authoring import check_claims
from toolbox.core.errors import StudyError
from toolbox.core.remedies import flags_that_meet, more_replicates
from toolbox.core.spec import ClaimSpec, CommandSpec
from toolbox.core.studies import load_part
from toolbox.core.where import compile_where

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["supported", "refuted", "inconclusive", "not tested"]
ORIGIN_NAMES = {
    "paper": "the paper",
    "derived": "derived",
    "control": "controls",
    "companion": "companions",
}
"""The groups of a table, in the order in which they are shown."""
ORIGINS = tuple(ORIGIN_NAMES)
Replicate = tuple[int, int]
"""Seed and repeat."""


@dataclass(frozen=True)
class Verdict:
    """What the tables say about one claim."""

    claim: str
    statement: str
    origin: str
    reference: str
    paper: str
    region: tuple[float | None, float | None]
    measured: float | None
    low: float | None
    high: float | None
    replicates: int
    diverged: int
    verdict: Outcome
    reason: str
    remedy: str
    """What would test a claim that is not tested, or settle one that is inconclusive."""
    scaled_down: str
    left_out: tuple[Replicate, ...] = ()
    """Replicates that were not judged, because they hold other cells of a grid than the others."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


@dataclass(frozen=True)
class Evidence:
    """The tables of a pool, and the replicates whose rows cannot be taken as they are."""

    read: Callable[[str], pd.DataFrame]
    """Table name -> frame with every replicate's rows."""
    diverged: frozenset[Replicate] = frozenset()
    left_out: frozenset[Replicate] = frozenset()
    """Replicates that hold other cells of a grid than the others."""


def judge(
    study: str, spec: CommandSpec, params: Mapping[str, Any], evidence: Evidence, null: bool = False
) -> list[Verdict]:
    """The verdicts of one command over one pool of runs.

    params : the parameters that the pooled runs share
    null : change the tables by each claim's negative control first
    """
    metrics: ModuleType | None = None  # imported when a claim is tested
    tables: dict[str, pd.DataFrame] = {}
    verdicts = []
    for name, claim in spec.claims.items():
        if claim.requires and not compile_where(claim.requires).test(params):
            verdicts.append(_untested(name, claim, params))
            continue
        metrics = metrics or metrics_of(study, spec)
        tables = tables or {table: evidence.read(table) for table in spec.tables}
        shown = controls.apply(claim.control, tables, spec.tables, metrics) if null else tables
        verdicts.append(_judged(name, claim, shown, evidence, metrics, spec.deterministic))
    return verdicts


def metrics_of(study: str, spec: CommandSpec) -> ModuleType:
    """The study's `metrics.py`, which has every function that the claims name.

    Errors: `StudyError` with file and line.
    """
    metrics = load_part(study, "metrics")
    check_claims(study, spec, metrics)
    return metrics


def _untested(name: str, claim: ClaimSpec, params: Mapping[str, Any]) -> Verdict:
    assert claim.requires is not None
    values = ", ".join(f"{n} = {params[n]}" for n in compile_where(claim.requires).names)
    reason = f"needs {claim.requires}; here {values}"
    remedy = claim.test_with or flags_that_meet(claim.requires, params)
    return _verdict(name, claim, "not tested", reason, remedy=remedy)


def _judged(
    name: str,
    claim: ClaimSpec,
    tables: Mapping[str, pd.DataFrame],
    evidence: Evidence,
    metrics: ModuleType,
    exact: bool,
) -> Verdict:
    replicates = [r for r in _replicates(tables) if r[0] not in evidence.left_out]
    sound = [rows for key, rows in replicates if key not in evidence.diverged]
    if claim.applies:
        reasons = [getattr(metrics, claim.applies)(rows) for rows in sound]
        if not all(isinstance(reason, str) for reason in reasons):
            raise StudyError(
                f"{metrics.__file__}: {claim.applies} returns {reasons[0]!r}; return '' where the "
                "claim applies, else the reason why it does not"
            )
        against = [reason for reason in reasons if reason]
        if 2 * len(against) > len(reasons):
            return _verdict(name, claim, "not tested", against[0], remedy=claim.test_with)
    statistic = getattr(metrics, claim.statistic)
    values = [float(statistic(rows)) for rows in sound]
    verdict = decide(name, claim, values, exact, len(evidence.diverged))
    if not evidence.left_out:
        return verdict
    others = tuple(sorted(evidence.left_out))
    named = names_of(others)
    told = f"{verdict.reason}; left out, having other cells than the others: {named}"
    return replace(verdict, reason=told, left_out=others)


def names_of(replicates: Iterable[Replicate]) -> str:
    """'seed 0 repeats 1, 2; seed 3 repeats 0'."""
    repeats: dict[int, list[str]] = {}
    for seed, repeat in sorted(replicates):
        repeats.setdefault(seed, []).append(str(repeat))
    return "; ".join(f"seed {seed} repeats {', '.join(each)}" for seed, each in repeats.items())


def _replicates(
    tables: Mapping[str, pd.DataFrame],
) -> Iterable[tuple[Replicate, dict[str, pd.DataFrame]]]:
    """The tables of each replicate alone."""
    grouped = {name: dict(list(t.groupby(["seed", "repeat"]))) for name, t in tables.items()}
    empty = {name: table.iloc[:0] for name, table in tables.items()}
    keys: set[Any] = {key for groups in grouped.values() for key in groups}
    for key in sorted(keys):
        yield key, {name: grouped[name].get(key, empty[name]) for name in tables}


def decide(
    name: str, claim: ClaimSpec, values: Sequence[float], exact: bool = False, diverged: int = 0
) -> Verdict:
    """The verdict from one value per sound replicate.

    exact : the values do not vary with the seed, so that one of them is the whole truth
    diverged : replicates beside them that diverged; they count as `claim.diverged` says
    """

    bottom = -math.inf if claim.region[0] is None else claim.region[0]
    of_diverged = _of_diverged(claim, bottom)

    def answer(
        outcome: Outcome, reason: str, at: tuple[float, float, float] | None, remedy: str = ""
    ) -> Verdict:
        lost = f"; {diverged} of {total} replicates diverged" if diverged else ""
        if diverged and not math.isnan(of_diverged):
            lost += f" and count as {of_diverged:g}"
        return _verdict(name, claim, outcome, reason + lost, at, remedy, total, diverged)

    total = len(values) + diverged
    undefined = sum(math.isnan(v) for v in values)
    if undefined or not total:
        said = f"{undefined} of {total} replicates" if total else "want of a replicate"
        return answer("inconclusive", f"the statistic is undefined for {said}", None)
    top = math.inf if claim.region[1] is None else claim.region[1]
    counted = [*values, *[of_diverged] * diverged]
    if any(math.isnan(v) for v in counted):
        at = interval(values, claim.summary) if values else None
        why = "the replicates that did not diverge are a selection"
        return answer("inconclusive", why if values else "nothing to judge", at)
    if exact:
        measured = low = high = counted[0]
    else:
        measured, low, high = interval(counted, claim.summary)
    at = (measured, low, high)
    needed = 1 if exact else claim.min_seeds
    if total < needed:
        reason = f"needs {needed} seeds or repeats, has {total}"
        return answer("inconclusive", reason, at, claim.settled_by or f"--repeats {needed}")
    if bottom <= low and high <= top:
        return answer("supported", "the interval lies inside the pass region", at)
    if high < bottom or low > top:
        return answer("refuted", "the interval lies outside the pass region", at)
    reason = "the interval reaches over the edge of the pass region"
    remedy = claim.settled_by or more_replicates(total, at, bottom, top)
    return answer("inconclusive", reason, at, remedy)


def _of_diverged(claim: ClaimSpec, bottom: float) -> float:
    """The value that a diverged replicate counts as; NaN for a mean that declares none."""
    if isinstance(claim.diverged, float):
        return claim.diverged
    if claim.summary == "mean":
        return math.nan
    if claim.summary == "proportion":
        return 0.0 if math.isfinite(bottom) else 1.0
    return -math.inf if math.isfinite(bottom) else math.inf


def interval(
    values: Sequence[float], summary: Literal["mean", "median", "proportion"]
) -> tuple[float, float, float]:
    """(estimate, low, high) at 95 %: Student t for a mean, order statistics for a median,
    Clopper-Pearson for a proportion of zeros and ones. One value alone gives an infinite interval.
    """
    import numpy as np

    x = np.asarray(values, dtype=float)[:, None]
    if summary == "proportion":
        if not np.isin(x, (0, 1)).all():
            raise ValueError("a proportion is of zeros and ones; use summary: mean")
        return intervals.proportion(int(x.sum()), len(x))
    at = intervals.median(x) if summary == "median" else intervals.mean(x)
    centre, low, high = (float(limit[0]) for limit in at)
    return centre, -math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high


def summaries(verdicts: Sequence[Verdict]) -> list[str]:
    """'the paper: 5 of 6 supported, 1 inconclusive', and the same of the other origins."""
    parts = []
    for origin in ORIGINS:
        words = [v.verdict for v in verdicts if v.origin == origin]
        if words:
            counts = {o: words.count(o) for o in ("refuted", "inconclusive", "not tested")}
            rest = "".join(f", {count} {outcome}" for outcome, count in counts.items() if count)
            won = f"{words.count('supported')} of {len(words)} supported"
            parts.append(f"{ORIGIN_NAMES[origin]}: {won}{rest}")
    return parts


def _verdict(
    name: str,
    claim: ClaimSpec,
    outcome: Outcome,
    reason: str,
    at: tuple[float, float, float] | None = None,
    remedy: str = "",
    replicates: int = 0,
    diverged: int = 0,
) -> Verdict:
    measured, low, high = at or (None, None, None)
    return Verdict(
        claim=name,
        statement=claim.statement,
        origin=claim.origin,
        reference=claim.reference,
        paper=claim.paper,
        region=claim.region,
        measured=_finite(measured),
        low=_finite(low),
        high=_finite(high),
        replicates=replicates,
        diverged=diverged,
        verdict=outcome,
        reason=reason,
        remedy=remedy,
        scaled_down=claim.scaled_down,
    )


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; an unbounded end is shown as none."""
    return value if value is not None and math.isfinite(value) else None
