"""`gd csweep`: c trades the endpoints against the times in between (Lemma 7)."""

from __future__ import annotations

from toolbox.core.run import Run

from . import metrics, model
from .cli import Csweep
from .worst_case import stopping_times, worst_case


def csweep(run: Run, p: Csweep) -> None:
    """One row per c and decade of stopping times; deterministic."""
    for c in run.cells(p.cs, "values of c"):
        found = worst_case("anytime", stopping_times("anytime", p.T, c), c, p.lambda_grid)
        late = found.endpoint & (found.N >= p.T / 10)
        decades, sups = metrics.decade_sups(found.N, found.N**model.THETA * found.tau)
        exponent = -metrics.loglog_slope(found.N[late], found.tau[late])
        theory = metrics.growth_exponent(c)
        run.write(
            "growth",
            {
                "c": c,
                "decade": decades,
                "sup_scaled": sups,
                "endpoint_exponent": exponent,
                "theory_exponent": theory,
                "cum_sum": found.cum_sum[-1],
                "tau": found.tau[-1],
            },
        )
        named = {"c": c, "source": ["measured", "theory"]}
        run.write("exponents", {**named, "exponent": [exponent, theory]})
