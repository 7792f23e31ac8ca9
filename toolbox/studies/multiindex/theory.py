"""What the population says: the flow in P + 1 coordinates, its closed forms, the step that is safe.

For matched links E[f*(x) phi(v.x)] = sum_k sum_q c_q^2 u_k^q with u_k = v.v_k, since
E h_p(a.x) h_q(b.x) = [p = q] (a.b)^q. Gradient flow on the sphere therefore closes in u_1..u_P and
the length r of the part of v outside the subspace:

    du_k/dt = G_k - rho u_k,  dr/dt = -rho r,  G_k = sum_q q c_q^2 u_k^(q-1),  rho = sum_k u_k G_k.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from .link import Link

Floats = NDArray[np.float64]


def pull(link: Link, u: Floats) -> Floats:
    """G_k = sum_q q c_q^2 u_k^(q-1), elementwise."""
    total, power, order = np.zeros_like(u), np.ones_like(u), 1
    for q, c in link.terms:
        for _ in range(q - order):  # products: numpy's ** is twenty times slower
            power = power * u
        order = q
        total += q * c * c * power
    return total


def correlation(link: Link, u: Floats) -> Floats:
    """E[f*(x) phi(v.x)] = sum_k sum_q c_q^2 u_k^q; u : (..., P)."""
    every = sum((c * c * u**q for q, c in link.terms), np.zeros_like(u))
    total: Floats = every.sum(axis=-1)
    return total


def velocity(link: Link, u: Floats, r: Floats) -> tuple[Floats, Floats]:
    """(du/dt, dr/dt) of the flow; u : (n, P), r : (n,)."""
    G = pull(link, u)
    rho = (u * G).sum(axis=-1)
    return G - rho[..., None] * u, -rho * r


@dataclass(frozen=True)
class Crossing:
    """First times at which s and max_k u_k^2 reach the level, (n,), NaN where not reached."""

    subspace: Floats
    direction: Floats


def flow(link: Link, u0: Floats, t_end: float, level: float, share: float = 1.0) -> Crossing:
    """The exact flow from u0, (n, P), by scipy's DOP853, until a share of the neurons has arrived.

    A neuron has arrived when max_k u_k^2 >= level, or s = sum_k u_k^2 where the link has no order
    above 2.
    """
    n, P = u0.shape
    r0 = np.sqrt(np.maximum(0.0, 1 - (u0**2).sum(axis=1)))

    def split(y: Floats) -> tuple[Floats, Floats]:
        return y[: n * P].reshape(n, P), y[n * P :]

    def right(t: float, y: Floats) -> Floats:
        du, dr = velocity(link, *split(y))
        return np.concatenate([du.ravel(), dr])

    def sizes(y: Floats) -> tuple[Floats, Floats]:
        square = split(y)[0] ** 2
        return square.sum(axis=1), square.max(axis=1)

    last = 1 if link.names_directions else 0

    def enough(t: float, y: Floats) -> float:
        return float(np.quantile(sizes(y)[last], 1 - share)) - level

    enough.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(
        right, (0.0, t_end), np.concatenate([u0.ravel(), r0]), method="DOP853",
        rtol=1e-9, atol=1e-12, events=enough,
    )  # fmt: skip
    path = np.array([sizes(y) for y in solution.y.T])  # (steps, 2, n)
    times = np.full((2, n), np.nan)
    for kind in (0, 1):
        above = path[:, kind] >= level - 1e-5  # the last point lies on the level, up to rounding
        arrived = np.flatnonzero(above.any(axis=0))
        first = above.argmax(axis=0)[arrived]  # the step that ends above the level
        before = np.maximum(first - 1, 0)
        u = solution.y[: n * P].reshape(n, P, -1)[arrived, :, before]
        r = solution.y[n * P :][arrived, before]
        span = solution.t[first] - solution.t[before]
        late = _within(link, u, r, span, level, kind)
        times[kind, arrived] = solution.t[before] + late
    return Crossing(times[0], times[1])


def _within(link: Link, u: Floats, r: Floats, span: Floats, level: float, kind: int) -> Floats:
    """Time at which each neuron crosses the level within a step of its own, by Newton, (n,).

    u : (n, P), r : (n,) where the step begins; span : (n,) its length. The path within it is
    followed by 16 steps of the classical Runge-Kutta method.
    """

    def size(u: Floats) -> Floats:
        found: Floats = (u**2).sum(axis=1) if kind == 0 else (u**2).max(axis=1)
        return found

    def ahead(t: Floats) -> tuple[Floats, Floats]:
        now, rest, h = u, r, t / 16
        for _ in range(16):
            k1 = velocity(link, now, rest)
            k2 = velocity(link, now + 0.5 * h[:, None] * k1[0], rest + 0.5 * h * k1[1])
            k3 = velocity(link, now + 0.5 * h[:, None] * k2[0], rest + 0.5 * h * k2[1])
            k4 = velocity(link, now + h[:, None] * k3[0], rest + h * k3[1])
            now = now + h[:, None] / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
            rest = rest + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        return now, rest

    t = 0.5 * span
    low, high = np.zeros_like(span), span.copy()
    for _ in range(30):
        now, rest = ahead(t)
        value = size(now)
        below = value < level
        low, high = np.where(below, t, low), np.where(below, high, t)
        du, _ = velocity(link, now, rest)
        each = 2 * now * du
        rows = np.arange(len(t))
        rise = each.sum(axis=1) if kind == 0 else each[rows, (now**2).argmax(axis=1)]
        step = t + (level - value) / np.where(rise > 0, rise, 1.0)
        following = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        done = np.abs(following - t) <= 1e-10 * (1 + span)
        t = following
        if done.all():
            break
    return t


# ------------------------------------------------------------------------------- closed forms


def logistic(link: Link, s0: Floats, t: Floats | float) -> Floats:
    """s(t) of the second-order term alone: ds/dt = 4 c_2^2 s (1 - s)."""
    grown = s0 * np.exp(4 * link.coefficient(2) ** 2 * np.asarray(t))
    value: Floats = grown / (1 - s0 + grown)
    return value


def leading_time(link: Link, u0: Floats, level: float) -> Floats:
    """Time to the level that the lowest order gives in closed form; u0 : (n, P) -> (n,).

    p = 2: the logistic of s. p > 2: the blow-up 1 / (p (p-2) c_p^2 u^(p-2)) of the largest
    coordinate, for odd p the largest positive one (NaN if there is none). p = 1: the mean
    direction e = sum_k v_k / sqrt(P) draws with dw/dt = sqrt(P) c_1^2 (1 - w^2) on w = v.e.
    """
    p, c2 = link.lowest, link.terms[0][1] ** 2
    P = u0.shape[1]
    if p == 1:
        w = np.minimum(u0.sum(axis=1) / math.sqrt(P), 1 - 1e-15)
        time: Floats = (np.arctanh(math.sqrt(level)) - np.arctanh(w)) / (math.sqrt(P) * c2)
        return np.asarray(np.maximum(time, 0.0))
    if p == 2:
        s0 = np.minimum((u0**2).sum(axis=1), 1 - 1e-15)  # P = d fills the space
        time = (math.log(level / (1 - level)) + np.log((1 - s0) / s0)) / (4 * c2)
        return np.asarray(np.maximum(time, 0.0))
    largest = (u0 if p % 2 else np.abs(u0)).max(axis=1)
    largest = np.where(largest > 0, largest, np.nan)
    time = 1 / (p * (p - 2) * c2 * largest ** (p - 2))
    return time


def time_exponent(link: Link) -> float:
    """Power of d in the flow time to leave the start; 0 stands for log d (p = 2) or d^0 (p = 1)."""
    return max(0.0, (link.lowest - 2) / 2)


def sample_exponent(link: Link) -> float:
    """Power of d in the samples of online SGD: max(1, p - 1), logarithms left out."""
    return float(max(1, link.lowest - 1))


def typical_start(P: int, d: int) -> Floats:
    """A start with u_k^2 at the quantiles of a chi-square over d, all positive; (1, P)."""
    from scipy.special import ndtri

    square = ndtri(0.5 + (np.arange(P) + 0.5) / (2 * P)) ** 2 / d
    start: Floats = np.sqrt(square / max(1.0, square.sum() / 0.75))[None]
    return start


def longest_time(link: Link, P: int, d: int) -> float:
    """A flow time by which all but unlucky neurons have arrived."""
    start = leading_time(link, typical_start(P, d), 0.8)[0]
    return 30.0 * (float(start) + 1 / settling_rate(link))


def typical_time(link: Link, P: int, d: int, level: float = 0.8) -> float:
    """Flow time from the typical start to the level, by the exact flow."""
    found = flow(link, typical_start(P, d), longest_time(link, P, d), level)
    times = [found.direction[0], found.subspace[0], longest_time(link, P, d)]
    usable = times if link.names_directions else times[1:]
    return float(next(t for t in usable if not math.isnan(t)))


def settling_rate(link: Link) -> float:
    """Slowest relaxation at v = v_1: sum_q q c_q^2, less 2 c_2^2 where orders above 2 decide."""
    rate = link.slope_square
    if link.names_directions:
        rate -= 2 * link.coefficient(2) ** 2 + link.coefficient(1) ** 2
    return rate


# ------------------------------------------------------------------------------------- noise


def moment(link: Link, P: int, sigma: float, aligned: bool) -> float:
    """E[y^2 phi'(v.x)^2], v orthogonal to the subspace or equal to one direction.

    Exact by Gauss-Hermite quadrature (the integrand is a polynomial of degree at most 30).
    """
    z, weight = np.polynomial.hermite_e.hermegauss(32)
    weight = weight / weight.sum()
    slopes = float((weight * link.slope(z) ** 2).sum())
    if not aligned:
        return (P * link.square + sigma**2) * slopes
    of_direction = float((weight * (link.value(z) * link.slope(z)) ** 2).sum())
    return of_direction + ((P - 1) * link.square + sigma**2) * slopes


def step_unit(link: Link, P: int, d: int, sigma: float = 0.0, settle: bool = False) -> float:
    """The step per sample at which the noise of the gradient is felt.

    A sample's gradient has about d E[y^2 phi'^2] of squared length, so the normalisation shrinks
    every coordinate at the rate eta d E[y^2 phi'^2] / 2 per unit of flow time.
    Start: that rate against the drift p c_p^2 u^(p-2) at u^2 = 1/d gives a step ~ d^(-p/2).
    End: the floor 1 - u^2 = eta d E[y^2 phi'^2] / (2 sum_q q c_q^2) equals 0.2; a step ~ 1/d.
    Orders p <= 2 take the smaller of the two, both ~ 1/d. Orders p > 2 take the start's, so that
    the step is a pure power of d, unless it shall also `settle`.
    """
    p, c = link.terms[0]
    start: float = (
        2 * p * c * c / (float(d) ** (max(p, 2) / 2) * moment(link, P, sigma, aligned=False))
    )
    end = 0.4 * link.slope_square / (d * moment(link, P, sigma, aligned=True))
    return float(min(start, end) if p <= 2 or settle else start)


def batch_size(link: Link, eta: float, asked: int, width: int) -> int:
    """The batch: as asked, or (0) the largest at which a step is a tenth of the fastest time.

    width : numbers of a sample; a batch has at most 32768 samples and 2^24 numbers
    """
    most = max(1, min(32768, 2**24 // width))
    return asked or int(min(most, max(1, 0.1 / (link.slope_square * eta))))


# ------------------------------------------------------------------------------------- nulls


def null_sum4(P: int) -> float:
    """E sum_k u_k^4 of a uniform unit vector in R^P: 3 / (P + 2)."""
    return 3 / (P + 2)


def null_max(P: int) -> float:
    """E max_k u_k^2 of a uniform unit vector in R^P (0.617 at P = 4).

    E max_k g_k^2 / E |g|^2, as the length and the direction of a Gaussian g are independent.
    """
    from scipy import integrate, special

    integral = integrate.quad(lambda x: 1 - special.erf(math.sqrt(x / 2)) ** P, 0, np.inf)[0]
    return float(integral) / P


def coupon(P: int, m: int) -> float:
    """Expected share of the P directions found when each of m neurons finds a uniform one."""
    return 1 - (1 - 1 / P) ** m


def ridge_error(link: Link, overlaps: Floats, gram: Floats, a: Floats) -> float:
    """Exact relative test error of f = sum_j a_j phi(v_j.x): E (f - f*)^2 / E f*^2.

    overlaps : (m, P) of v_j.v_k, gram : (m, m) of v_i.v_j, a : (m,)
    """
    cross = correlation(link, overlaps)
    of_labels = correlation(link, gram[..., None])
    target = overlaps.shape[1] * link.square
    return float((a @ of_labels @ a - 2 * a @ cross + target) / target)


def coupon_all(P: int, m: int) -> float:
    """Probability that m neurons, each finding a uniform direction, find all P."""
    each = [(-1) ** j * math.comb(P, j) * (1 - j / P) ** m for j in range(P + 1)]
    return float(min(1.0, max(0.0, math.fsum(each))))
