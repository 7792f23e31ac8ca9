"""`gd csweep`: c trades the endpoints against the times in between (Lemma 7)."""

from __future__ import annotations

from toolbox.core.run import Run

from . import metrics, model
from .cli import Csweep
from .worst_case import stopping_times, worst_case


def csweep(run: Run, p: Csweep) -> None:
    """One row per c and decade of stopping times; deterministic."""
    for c in run.cells(p.cs, "values of c"):
        curve = worst_case("anytime", stopping_times("anytime", p.T, c), c, p.lambda_grid)
        late = curve.endpoint & (curve.N >= p.T / 10)
        decades, sups = metrics.decade_sups(curve.N, curve.N**model.THETA * curve.tau)
        exponent = -metrics.loglog_slope(curve.N[late], curve.tau[late])
        theory = metrics.growth_exponent(c)
        run.write(
            "growth",
            {
                "c": c,
                "decade": decades,
                "sup_scaled": sups,
                "endpoint_exponent": exponent,
                "theory_exponent": theory,
                "cum_sum": curve.cum_sum[-1],
                "tau": curve.tau[-1],
            },
        )
        named = {"c": c, "source": ["measured", "theory"]}
        run.write("exponents", {**named, "exponent": [exponent, theory]})
