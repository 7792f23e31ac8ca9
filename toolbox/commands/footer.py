"""What stands under a figure: what made it, how many replicates, and the verdict of its claim."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolbox.core import claims
from toolbox.core.pools import diverged_replicates
from toolbox.core.show import region_text

if TYPE_CHECKING:
    from toolbox.core.claims import Verdict
    from toolbox.core.figure import FigureSpec
    from toolbox.core.pools import Pool
    from toolbox.core.store import RunRecord

_SHOWN = 3


class Footer:
    """The lines under the figures of one pool; a claim that several figures name is judged once."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.made = f"toolbox {pool.study} {pool.command}, {preset_of(pool)}, {replicates(pool)}"
        self._verdicts: dict[str, Verdict] = {}

    def lines(self, figure: FigureSpec) -> list[str]:
        """What made the figure, and the verdict of the claim that it names."""
        return [self.made, *([self.verdict(figure.claim)] if figure.claim else [])]

    def verdict(self, claim: str) -> str:
        """A claim's outcome with what was measured, or why there is none."""
        if claim not in self._verdicts:
            spec = self.pool.spec
            alone = spec.model_copy(update={"claims": {claim: spec.claims[claim]}})
            verdicts = claims.judge(self.pool.study, alone, self.pool.params, self.pool.evidence)
            self._verdicts[claim] = verdicts[0]
        return verdict_text(self._verdicts[claim])


def verdict_text(verdict: Verdict) -> str:
    """`claim C1: supported, 1.13 [1.12, 1.14], pass region 1.1 to 1.2`."""
    said = f"claim {verdict.claim}: {verdict.verdict}"
    if verdict.measured is None:
        return f"{said} ({verdict.reason})"
    said += f", {verdict.measured:.4g}"
    if verdict.low is not None and verdict.high is not None and verdict.low < verdict.high:
        said += f" [{verdict.low:.3g}, {verdict.high:.3g}]"
    return f"{said}; pass region {region_text(verdict.region)}"


def preset_of(pool: Pool) -> str:
    """`preset small`, or `custom (preset small with T = 400)`; seed and repeats aside."""
    presets = {str(run.manifest["preset"]) for run in pool.runs}
    if len(presets) > 1:
        return "custom (presets " + " and ".join(sorted(presets)) + ")"
    changed = {
        name: value for run in pool.runs for name, value in changed_params(run, pool).items()
    }
    base = f"preset {presets.pop()}"
    if not changed:
        return base
    told = [f"{name} = {value}" for name, value in list(changed.items())[:_SHOWN]]
    more = len(changed) - len(told)
    return f"custom ({base} with {', '.join(told)}{f' and {more} more' if more > 0 else ''})"


def changed_params(run: RunRecord, pool: Pool) -> dict[str, object]:
    """Parameters that neither the preset nor the default gave."""
    apart = {"seed", "repeats", *pool.spec.pool_over}
    entries = run.manifest["params"].items()
    return {
        name: entry["value"]
        for name, entry in entries
        if name not in apart and entry["origin"].partition(" ")[0] not in ("preset", "default")
    }


def replicates(pool: Pool) -> str:
    """`5 replicates (seed 0)`, with those that diverged and those that were left out."""
    if pool.spec.deterministic:
        return "exact (no seed)"
    keys = {(run.params["seed"], r) for run in pool.runs for r in range(run.params["repeats"])}
    seeds = sorted({seed for seed, _ in keys})
    named = ", ".join(map(str, seeds)) if len(seeds) <= 4 else f"{seeds[0]} to {seeds[-1]}"
    said = "1 replicate" if len(keys) == 1 else f"{len(keys)} replicates"
    said += f" (seed{'s' if len(seeds) > 1 else ''} {named})"
    diverged = frozenset().union(*(diverged_replicates(run) for run in pool.runs))
    return f"{said}, of which {len(diverged)} diverged" if diverged else said
