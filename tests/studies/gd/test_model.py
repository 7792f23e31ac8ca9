"""Schedules: their definitions, their closed forms, and that a horizon changes nothing."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.studies.gd import model
from toolbox.studies.gd.model import RHO, P, phi, psi, schedule, structure

ANYTIME_12 = [1.601232, 1.414214, 2.260578, 1.414214, 2.587869, 1.414214]
ANYTIME_12 += [2.777154, 1.414214, 4.650179, 1.414214, 2.0, 1.414214]


def silver_by_recursion(j):
    if j == 0:
        return []
    half = silver_by_recursion(j - 1)
    return [*half, float(phi(sum(half), sum(half))), *half]


def anytime_by_concatenation(levels, c=P):
    """The definition, word for word: s = concat(s, s_j), k_j times on each level j."""
    s, ends = [], []
    for j in range(1, levels + 1):
        block = silver_by_recursion(j)
        for _ in range(math.floor(2 * 2 ** (c * j))):
            s = [*s, float(phi(sum(s), sum(block))), *block]
            ends.append(len(s))
    return s, ends


def test_constants():
    assert pytest.approx((1.2715533, 1.1195452, 0.8932199), abs=5e-8) == (
        P,
        model.THETA,
        1 / model.THETA,
    )


def test_silver_is_the_recursion():
    assert schedule("silver", 127) == pytest.approx(silver_by_recursion(7), rel=1e-13)
    r2 = math.sqrt(2)
    assert schedule("silver", 7) == pytest.approx([r2, 2, r2, 2 + r2, r2, 2, r2])


@pytest.mark.parametrize("c", [P, 0.7, 2.0])
def test_anytime_is_the_concatenation(c):
    s, ends = anytime_by_concatenation(3, c)
    h = schedule("anytime", len(s), c)
    assert h == pytest.approx(s, rel=1e-12)
    _, is_endpoint = structure("anytime", len(s), c)
    assert (np.flatnonzero(is_endpoint) + 1).tolist() == ends


def test_anytime_first_steps_and_endpoints():
    assert schedule("anytime", 12) == pytest.approx(ANYTIME_12, abs=5e-7)
    level, is_endpoint = structure("anytime", 28)
    assert (np.flatnonzero(is_endpoint) + 1).tolist() == [2, 4, 6, 8, 12, 16, 20, 24, 28]
    assert level.tolist() == [1] * 8 + [2] * 20


def test_anytime_levels_at_ten_thousand():
    level, is_endpoint = structure("anytime", 10_000)
    assert np.bincount(level[is_endpoint]).tolist() == [0, 4, 11, 28, 67, 164, 53]
    assert schedule("anytime", 10_000).sum() == pytest.approx(5.325e4, rel=1e-4)


def test_endpoints_of_silver_and_dynamic():
    assert (np.flatnonzero(structure("silver", 64)[1]) + 1).tolist() == [1, 3, 7, 15, 31, 63]
    assert structure("dynamic", 9)[1].all()
    assert not structure("constant1", 9)[1].any()
    assert structure("pridp", 9)[1].tolist() == [False] * 8 + [True]


@given(
    st.sampled_from(["anytime", "silver", "dynamic", "constant1.9", "grimmer3", "grimmer7"]),
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.1, 4.0),
)
def test_the_horizon_does_not_change_the_first_steps(name, n, m, c):
    short, long = sorted((n, m))
    assert np.array_equal(schedule(name, short, c), schedule(name, long, c)[:short])


@pytest.mark.parametrize("name", ["anytime", "silver", "dynamic", "grimmer7", "pridp", "domdp"])
def test_sums_in_closed_form(name):
    T = 3000 if name not in model.FIXED_HORIZON else 300
    blocks = model.schedule_blocks(name, T)
    h = model.expand(blocks, T)
    for N in (1, 2, 3, 17, 100, T):
        assert model.cum_sums(blocks, [N])[0] == pytest.approx(math.fsum(h[:N]), rel=1e-13)


@pytest.mark.parametrize(("name", "T"), [("anytime", 28), ("silver", 63)])
def test_overshoots_multiply_to_the_huber_kink(name, T):
    """prod (h_i - 1) = 1 / (A + 1) at every primitive prefix of the two schedules."""
    h, (_, is_endpoint) = schedule(name, T), structure(name, T)
    A = np.cumsum(h)
    assert np.cumprod(h - 1)[is_endpoint] == pytest.approx(1 / (A + 1)[is_endpoint], rel=1e-12)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_phi_solves_its_equation(x, y):
    """phi is the positive root of z^2 + (x + y) z - (x + y + 1)... written without cancellation."""
    z, s = float(phi(x, y)), x + y
    # (2 z + s)^2 = (s + 2)^2 + 4 (x + 1)(y + 1), divided by 4: z (z + s) = s + 1 + (x+1)(y+1)
    assert z * (z + s) == pytest.approx(s + 1 + (x + 1) * (y + 1), rel=1e-12)
    assert z == phi(y, x)


def test_phi_does_not_cancel_for_large_sums():
    assert phi(1e15, 0.0) == pytest.approx(2.0, rel=1e-14)
    assert phi(0.0, 0.0) == pytest.approx(math.sqrt(2))
    assert phi(RHO**5 - 1, RHO**5 - 1) == pytest.approx(1 + RHO**4, rel=1e-14)


def test_psi_is_one_formula_on_both_sides_of_its_switch():
    assert psi(0.0, 0.0) == pytest.approx(1.5)
    x, y = np.meshgrid(np.geomspace(0.1, 100, 9), np.linspace(0.5, 3, 11))
    naive = (3 - 2 * y + np.sqrt((2 * y + 1) * (2 * y + 8 * x + 9))) / 4
    assert psi(x, y) == pytest.approx(naive, rel=1e-12)


def test_fixed_horizon_schedules_are_the_best_split():
    """The schedule rebuilt from the splits has the sum that the recursion promised."""
    S, _ = model.pridp_sums(60)
    D, _ = model.domdp_sums(60, S)
    for T in (1, 2, 7, 33, 60):
        assert schedule("pridp", T).sum() == pytest.approx(S[T], rel=1e-12)
        assert schedule("domdp", T).sum() == pytest.approx(D[T], rel=1e-12)
    assert np.all(D[1:] > S[1:])
    assert S[[1, 3, 7, 15, 31]] == pytest.approx(model.silver_sum([1, 2, 3, 4, 5]), rel=1e-12)


def test_best_constant_step_balances_its_two_branches():
    for N in (1, 10, 1000):
        h = model.optimal_constant_step(N)
        assert (h - 1) ** (2 * N) == pytest.approx(1 / (2 * N * h + 1), rel=1e-10)
        assert schedule("constant-opt", N) == pytest.approx(np.full(N, h))


def test_chebyshev_steps_attain_the_minimax_value():
    T, mu = 12, 0.01
    h = model.chebyshev(T, mu)
    curvature = np.linspace(mu, 1, 20_001)
    largest = np.abs(np.prod(1 - h[:, None] * curvature, axis=0)).max()
    assert largest == pytest.approx(1 / math.cosh(T * math.acosh((1 + mu) / (1 - mu))), rel=1e-6)


def test_a_million_steps_take_well_under_a_second():
    for name in ("anytime", "silver", "dynamic", "constant1.9"):
        start = time.process_time()
        assert schedule(name, 10**6).size == 10**6
        assert time.process_time() - start < 1.0


@pytest.mark.parametrize(
    ("name", "hint"),
    [("anytme", "did you mean 'anytime'?"), ("constant-3", ""), ("silv", "'silver'?")],
)
def test_an_unknown_name_is_one_sentence_with_the_choices(name, hint):
    with pytest.raises(ValueError, match=f"unknown schedule '{name}': expected one of") as e:
        schedule(name, 5)
    assert hint in str(e.value)
    assert "\n" not in str(e.value)


def test_bad_lengths_and_growths_are_refused():
    for T, c in ((0, P), (5, 0.0), (5, math.inf), (5, math.nan)):
        with pytest.raises(ValueError, match="must be"):
            schedule("anytime", T, c)
    with pytest.raises(ValueError, match="at most 20000"):
        schedule("pridp", 20_001)
