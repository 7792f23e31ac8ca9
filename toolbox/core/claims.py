"""Verdicts: a claim's statistic over replicates, its confidence interval, and what that decides.

A verdict is computed from tables alone. The rule is the same for every claim: *supported* when the
95 % interval lies inside the pass region, *refuted* when it lies outside, else *inconclusive*.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from toolbox.core.spec import ClaimSpec, CommandSpec
from toolbox.core.where import compile_where

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95

Outcome = Literal["supported", "refuted", "inconclusive"]
Statistic = Callable[[Mapping[str, "pd.DataFrame"]], float]


@dataclass(frozen=True)
class Verdict:
    """What the tables say about one claim."""

    claim: str
    statement: str
    place: str
    paper: str
    region: tuple[float | None, float | None]
    measured: float | None
    low: float | None
    high: float | None
    replicates: int
    verdict: Outcome
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def judge(
    study: str, spec: CommandSpec, params: Mapping[str, Any], read: Callable[[str], pd.DataFrame]
) -> list[Verdict]:
    """The verdicts of one command over one pool of runs.

    params : the parameters that the pooled runs share
    read : table name -> frame with every replicate's rows
    """
    if not spec.claims:
        return []
    metrics = importlib.import_module(f"toolbox.studies.{study}.metrics")
    tables: dict[str, pd.DataFrame] = {}
    verdicts = []
    for name, claim in spec.claims.items():
        if claim.requires and not compile_where(claim.requires).test(params):
            shown = ", ".join(f"{n} = {params[n]}" for n in compile_where(claim.requires).names)
            reason = f"needs {claim.requires} to decide; here {shown}"
            verdicts.append(_verdict(name, claim, 0, None, None, None, "inconclusive", reason))
            continue
        tables = tables or {table: read(table) for table in spec.tables}
        values = _values(getattr(metrics, claim.statistic), tables)
        verdicts.append(decide(name, claim, values, exact=spec.deterministic))
    return verdicts


def _values(statistic: Statistic, tables: Mapping[str, pd.DataFrame]) -> list[float]:
    """The statistic of every replicate, from its own rows alone."""
    grouped = {name: dict(list(t.groupby(["seed", "repeat"]))) for name, t in tables.items()}
    replicates = sorted({key for groups in grouped.values() for key in groups})
    empty = {name: table.iloc[:0] for name, table in tables.items()}
    return [
        float(statistic({name: grouped[name].get(key, empty[name]) for name in tables}))
        for key in replicates
    ]


def decide(name: str, claim: ClaimSpec, values: list[float], exact: bool = False) -> Verdict:
    """The verdict from one value per replicate.

    exact : the values do not vary with the seed, so that one of them is the whole truth
    """
    undefined = sum(math.isnan(v) for v in values)
    needed = 1 if exact else claim.min_seeds
    if not values or undefined:
        reason = f"the statistic is undefined for {undefined} of {len(values)} replicates"
        return _verdict(name, claim, len(values), None, None, None, "inconclusive", reason)
    if exact:
        measured = low = high = values[0]
    else:
        measured, low, high = interval(values, claim.summary)
    if len(values) < needed:
        reason = f"needs {needed} seeds or repeats, has {len(values)}"
        return _verdict(name, claim, len(values), measured, None, None, "inconclusive", reason)
    bottom = -math.inf if claim.region[0] is None else claim.region[0]
    top = math.inf if claim.region[1] is None else claim.region[1]
    outcome: Outcome = "inconclusive"
    reason = "the interval reaches over the edge of the pass region"
    if bottom <= low and high <= top:
        outcome, reason = "supported", "the interval lies inside the pass region"
    elif high < bottom or low > top:
        outcome, reason = "refuted", "the interval lies outside the pass region"
    return _verdict(name, claim, len(values), measured, low, high, outcome, reason)


def interval(
    values: list[float], summary: Literal["mean", "median", "proportion"]
) -> tuple[float, float, float]:
    """(estimate, low, high) at 95 %: Student t for a mean, order statistics for a median,
    Clopper-Pearson for a proportion of zeros and ones. One value alone gives an infinite interval.
    """
    import numpy as np
    from scipy import stats

    x = np.sort(np.asarray(values, dtype=float))
    n = len(x)
    if summary == "proportion":
        if not np.isin(x, (0, 1)).all():
            raise ValueError("a proportion is of zeros and ones; use summary: mean")
        result = stats.binomtest(int(x.sum()), n).proportion_ci(CONFIDENCE, method="exact")
        return float(x.mean()), float(result.low), float(result.high)
    if summary == "median":
        # P(x_(k) <= median <= x_(n+1-k)) = 1 - 2 P(Binomial(n, 1/2) <= k - 1)
        k = int(stats.binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
        if 2 * stats.binom.cdf(k - 1, n, 0.5) > 1 - CONFIDENCE:
            k -= 1
        low, high = (x[k - 1], x[n - k]) if k >= 1 else (-math.inf, math.inf)
        return float(np.median(x)), float(low), float(high)
    if n < 2 or not np.isfinite(x).all():
        return float(x.mean()), -math.inf, math.inf
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * x.std(ddof=1) / math.sqrt(n)
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def _verdict(
    name: str,
    claim: ClaimSpec,
    replicates: int,
    measured: float | None,
    low: float | None,
    high: float | None,
    outcome: Outcome,
    reason: str,
) -> Verdict:
    return Verdict(
        claim=name,
        statement=claim.statement,
        place=claim.place,
        paper=claim.paper,
        region=claim.region,
        measured=_finite(measured),
        low=_finite(low),
        high=_finite(high),
        replicates=replicates,
        verdict=outcome,
        reason=reason,
    )


def _finite(value: float | None) -> float | None:
    """JSON has no infinity; an unbounded end is shown as none."""
    return value if value is not None and math.isfinite(value) else None
