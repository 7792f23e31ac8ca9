"""Closed forms of the worst case, and fits of exponents to measured curves.

tau_N = sup over convex, L-smooth f of (f(x_N) - f*) / (L |x_0 - x*|^2), in units where some papers
write L |x_0 - x*|^2 / 2 (twice as large a number). A = h_1 + ... + h_N in 1/L.

Reference: Zhang, Lee, Du, Chen, Anytime Acceleration of Gradient Descent, arXiv:2411.17668.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .model import RHO, Floats, Ints, P

if TYPE_CHECKING:
    import pandas as pd

SILVER_FLOOR = 1.0 / (2.0 * RHO**2)
"""Lower bound on tau of the silver schedule at every N = 2^k >= 2: x^2 / 2 there, derived."""


def primitive_tau(A: ArrayLike) -> Floats:
    """Exact tau after a primitive schedule of sum A, 1 / (4 A + 2).

    Upper bound: in A (f - f*) + C |g|^2 + |x - x*|^2 / 2 <= |x_0 - x*|^2 / 2 (paper, Def. 2, with
    C = A (A + 1) / 2) use f - f* <= |g| |x - x*| - |g|^2 / 2. Lower: a Huber function (derived).
    The same value bounds a dominant schedule (Zhang and Jiang, arXiv:2410.12395).
    """
    return 1.0 / (4.0 * np.asarray(A, dtype=np.float64) + 2.0)


def silver_tau(k: ArrayLike) -> Floats:
    """Exact tau of the silver schedule at its own horizon N = 2^k - 1: 1 / (4 rho^k - 2)."""
    return 1.0 / (4.0 * RHO ** np.asarray(k, dtype=np.float64) - 2.0)


def constant_tau(h: float, N: ArrayLike) -> Floats:
    """tau of the constant step h in (0, 2): max(1 / (2 N h + 1), (1 - h)^(2N)) / 2.

    A theorem for h <= 1 and a conjecture above (Drori and Teboulle, arXiv:1206.3209), where it
    agrees with the semidefinite program at every N that was checked.

    Raises ValueError for h outside (0, 2): gradient descent then diverges on a quadratic.
    """
    if not 0.0 < h < 2.0:
        raise ValueError(f"the constant step must be in (0, 2), but got {h}")
    n = np.asarray(N, dtype=np.float64)
    return 0.5 * np.maximum(1.0 / (2.0 * n * h + 1.0), (1.0 - h) ** (2.0 * n))


def nesterov_tau(N: ArrayLike) -> Floats:
    """Upper bound on tau of Nesterov's accelerated gradient, 2 / (N + 1)^2 (not plain descent)."""
    return 2.0 / (np.asarray(N, dtype=np.float64) + 1.0) ** 2


def primitive_potential(A: float, f_gap: float, g_norm2: float, distance2: float) -> float:
    """Left side of Def. 2: A (f - f*) + A (A + 1) / 2 |g|^2 + |x - x*|^2 / 2, with L = 1."""
    return A * f_gap + A * (A + 1.0) / 2.0 * g_norm2 + distance2 / 2.0


def restart_contraction(A: ArrayLike, kappa: float) -> Floats:
    """Bound on |x_P - x*|^2 / |x_0 - x*|^2 after one primitive period of sum A.

    1 / (1 + A / kappa + A (A + 1) / kappa^2): f - f* >= mu |x - x*|^2 / 2 and |g| >= mu |x - x*|
    in the primitive inequality, mu = 1 / kappa (derived).
    """
    A = np.asarray(A, dtype=np.float64)
    return 1.0 / (1.0 + A / kappa + A * (A + 1.0) / kappa**2)


def growth_exponent(c: float) -> float:
    """Exponent of A_T in T at block ends of the anytime schedule, (c + p) / (c + 1) (Lemma 7)."""
    return (c + P) / (c + 1.0)


def loglog_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Least-squares slope of log y on log x; needs two different x > 0 and y > 0.

    Raises ValueError otherwise.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.size < 2 or np.any(x <= 0) or np.any(y <= 0) or np.ptp(x) == 0:
        raise ValueError("a log-log slope needs two different positive x and positive y")
    u, v = np.log(x) - np.log(x).mean(), np.log(y) - np.log(y).mean()
    return float(u @ v / (u @ u))


def running_exponents(N: ArrayLike, tau: ArrayLike) -> Floats:
    """Exponent to date, -log(tau_n / tau_1) / log(N_n / N_1); NaN at the first entry, (n,)."""
    log_n, log_tau = np.log(np.asarray(N, dtype=np.float64)), np.log(np.asarray(tau))
    out = np.full(log_n.size, np.nan)
    out[1:] = -(log_tau[1:] - log_tau[0]) / (log_n[1:] - log_n[0])
    return out


def envelope(values: ArrayLike) -> Floats:
    """Largest value from each stopping time on: sup over N' >= N of the recorded ones, (n,)."""
    return np.maximum.accumulate(np.asarray(values, dtype=np.float64)[::-1])[::-1]


def decade_sups(N: ArrayLike, values: ArrayLike) -> tuple[Ints, Floats]:
    """Largest value in each decade (10^k, 10^(k+1)] of N that has one: lower edges and sups.

    N = 1 counts to the first decade.
    """
    N = np.asarray(N, dtype=np.int64)
    powers = 10 ** np.arange(1, 19, dtype=np.int64)
    decade = np.searchsorted(powers, N)  # exact at powers of ten, unlike floor(log10 N)
    present = np.unique(decade)
    values = np.asarray(values, dtype=np.float64)
    return 10**present, np.array([values[decade == k].max() for k in present])


# ------------------------------------------------------------------ statistics that claims test
# Each takes the tables of one replicate and returns one number, NaN where it is not defined.

Tables = Mapping[str, "pd.DataFrame"]


def endpoint_exponent(tables: Tables) -> float:
    """C1: exponent of 1/tau at the anytime schedule's endpoints from T = 1000 on."""
    rows = _of(tables["worst_case"], "anytime")
    late = rows[rows["endpoint"] & (rows["T"] >= 1000)]
    return -_slope(late["T"], late["tau"])


def largest_scaled(tables: Tables) -> float:
    """C1: sup over all recorded stopping times of T^theta tau, anytime."""
    return float(_of(tables["worst_case"], "anytime")["scaled"].max())


def scaled_growth(tables: Tables) -> float:
    """C1: largest decade's sup of T^theta tau over the first decade's, anytime."""
    sups = _decades(tables)
    return float(max(sups) / sups[0]) if sups else math.nan


def scaled_last_step(tables: Tables) -> float:
    """C1: the last whole decade's sup of T^theta tau over the one before, anytime."""
    sups = _decades(tables)
    return float(sups[-1] / sups[-2]) if len(sups) > 1 else math.nan


def silver_envelope_slope(tables: Tables) -> float:
    """C2: log-log slope of the sup of silver's tau over each octave of stopping times."""
    octaves, sups = _silver_octaves(tables)
    return _slope(octaves, sups)


def silver_envelope_floor(tables: Tables) -> float:
    """C2: the least of the sups over octaves of silver's tau."""
    _, sups = _silver_octaves(tables)
    return float(min(sups)) if len(sups) else math.nan


def silver_horizon_exponent(tables: Tables) -> float:
    """C2: exponent of 1/tau of the silver schedule at its own horizons 2^k - 1 >= 100."""
    rows = _of(tables["worst_case"] if "worst_case" in tables else tables["horizon"], "silver")
    N = rows["T"]
    block_ends = rows[(N >= 100) & ((N & (N + 1)) == 0)]
    return -_slope(block_ends["T"], block_ends["tau"])


def constant_exponent(tables: Tables) -> float:
    """C3: exponent of 1/tau of the constant step 1/L from T = 100 on."""
    rows = _of(tables["worst_case"], "constant1")
    late = rows[rows["T"] >= 100]
    return -_slope(late["T"], late["tau"])


def anytime_over_dynamic(tables: Tables) -> float:
    """C3: tau of the anytime schedule over that of the dynamic one after 10,000 steps."""
    return _ratio(tables, "dynamic", 10_000, 10_000)


def late_sup_over_best_constant(tables: Tables) -> float:
    """C3: sup of T tau over the last octave, anytime over the better of the constant schedules.

    The anytime schedule is hit at its long steps, so this asks for every stopping time.
    """
    rows = tables["worst_case"]
    names = [name for name in rows["schedule"].unique() if name.startswith("constant")]
    T = int(rows["T"].max())
    ratios = [_ratio(tables, name, T // 2, T) for name in names]
    return max(ratios) if ratios else math.nan


def constant_kappa_exponent(tables: Tables) -> float:
    """C4: exponent in kappa, 100 to 1e4 at least, of the steps to eps; step 2/(L + mu)."""
    return _kappa_exponent(tables, "constant")


def anytime_kappa_exponent(tables: Tables) -> float:
    """C4: the same of the restarted anytime schedule."""
    return _kappa_exponent(tables, "anytime")


def silver_kappa_exponent(tables: Tables) -> float:
    """C4: the same of the restarted silver schedule."""
    return _kappa_exponent(tables, "silver")


def largest_certificate_gap(tables: Tables) -> float:
    """Largest relative gap of an SDP value to the closed form that theory says it equals."""
    rows = tables["certificates"]
    equal = rows[rows["relation"] == "equal"]
    return float((equal["pep_value"] / equal["closed_form"] - 1.0).abs().max())


def growth_over_lemma(tables: Tables) -> float:
    """Lemma 7: exponent of A_t in t over the endpoints of the last decade, minus the lemma's."""
    ends = tables["steps"][tables["steps"]["endpoint"]]
    late = ends[10 * ends["step"] >= ends["step"].max()]
    return _slope(late["step"], late["cum_sum"]) - _slope(late["step"], late["lemma7"])


def worst_growth_error(tables: Tables) -> float:
    """Lemma 7: largest distance of a measured endpoint exponent from (c + p)/(c + 1), over c."""
    rows = tables["growth"]
    return float((rows["endpoint_exponent"] - rows["theory_exponent"]).abs().max())


def largest_gap_over_worst_case(tables: Tables) -> float:
    """Largest normalised gap of a real run over the exact worst case at that step."""
    rows = tables["curve"]
    exact = rows[rows["exactness"] != "lower-bound"]
    return float((exact["gap"] / exact["tau"]).max())


def _of(rows: pd.DataFrame, schedule: str) -> pd.DataFrame:
    return rows[rows["schedule"] == schedule]


def _slope(x: ArrayLike, y: ArrayLike) -> float:
    return loglog_slope(x, y) if np.size(x) > 1 else math.nan


def _decades(tables: Tables) -> list[float]:
    """Sups of the anytime schedule's T^theta tau over the whole decades (10^k, 10^(k+1)]."""
    rows = _of(tables["worst_case"], "anytime")
    if rows.empty:
        return []
    lower, sups = decade_sups(rows["T"], rows["scaled"])
    whole = 10 * lower <= rows["T"].max()
    return [float(sup) for sup in sups[whole]]


def _silver_octaves(tables: Tables) -> tuple[Floats, Floats]:
    """The whole octaves [2^k, 2^(k+1)), k >= 2, and silver's sup of tau in each."""
    rows = _of(tables["worst_case"], "silver")
    octave = np.floor(np.log2(rows["T"])).astype(int)
    sups = rows.groupby(octave)["tau"].max()
    whole = sups[(sups.index >= 2) & (2.0 ** (sups.index + 1) <= rows["T"].max() + 1)]
    return 2.0 ** np.asarray(whole.index, dtype=float), whole.to_numpy()


def _ratio(tables: Tables, other: str, first: int, last: int) -> float:
    """sup of T tau over first <= T <= last: the anytime schedule's over another's."""
    sups = []
    for name in ("anytime", other):
        rows = _of(tables["worst_case"], name)
        rows = rows[rows["T"].between(first, last)]
        sups.append(float((rows["T"] * rows["tau"]).max()))
    return sups[0] / sups[1]


def _kappa_exponent(tables: Tables, method: str) -> float:
    rows = tables["iterations"]
    rows = rows[(rows["method"] == method) & (rows["kappa"] >= 100)]
    if len(rows) < 3 or rows["kappa"].max() < 1e4:
        return math.nan  # periods are rounded to block ends: two decades average that out
    return _slope(rows["kappa"], rows["T_eps"])
