"""Bounds from functions that a long step throws across the minimiser."""

import numpy as np
import pytest

from toolbox.studies.gd import lower_bounds, model
from toolbox.studies.gd.worst_case import worst_case


def worst_leap(h, N):
    """The overshoot bound over every k <= N, simulated on its own function."""
    A, best = np.cumsum(h), 0.0
    for k in range(1, N + 1):
        d = 1.0 / (A[k - 1] - h[k - 1] + 1.0)
        d_left = (h[k - 1] - 1.0) * d / (2.0 * (A[N - 1] - A[k - 1]) + 1.0)
        x = 1.0
        for step in h[:N]:
            x -= step * np.clip(x, -d_left, d)
        inner = np.clip(x, -d_left, d)
        best = max(best, inner * (x - inner / 2.0))
    return best


@pytest.mark.parametrize("name", ["silver", "anytime", "grimmer7"])
def test_overshoot_is_attained_by_a_simulated_run(name):
    h, N = model.schedule(name, 40), np.arange(1, 41)
    bound = lower_bounds.overshoot(model.schedule_blocks(name, 40), N)
    simulated = np.array([worst_leap(h, n) for n in N])
    assert np.all(bound <= simulated * (1 + 1e-9))
    long = h > 2.0
    assert bound[long] == pytest.approx(simulated[long], rel=1e-9)


def test_overshoot_finds_the_best_step_inside_long_silver_blocks():
    blocks = model.schedule_blocks("silver", 1600)
    h = model.expand(blocks, 1600)
    A = np.cumsum(h)
    leap = (h - 1) ** 2 / (2 * (A - h + 1) ** 2)
    N = np.array([391, 775, 783, 1543, 1565])  # the opening of the block is not the best step
    every = [np.max(leap[:n] / (2 * (A[n - 1] - A[:n]) + 1)) for n in N]
    assert lower_bounds.overshoot(blocks, N) == pytest.approx(every, rel=1e-9)


def test_two_sided_huber_contains_the_huber_and_the_leap():
    h = model.schedule("silver", 40)
    w = worst_case("silver", np.arange(1, 41))
    searched = lower_bounds.two_sided_huber(h)
    assert np.all(searched[:32] >= 0.85 * np.maximum(w.huber, w.overshoot)[:32])
    assert np.all(searched <= 0.5)
    assert searched[-1] > w.huber[-1]


def test_two_sided_huber_refuses_long_schedules():
    with pytest.raises(ValueError, match="at most 2000"):
        lower_bounds.two_sided_huber(np.ones(2001))


def test_two_sided_huber_adds_to_the_closed_forms_somewhere():
    N = 99
    tau = worst_case("silver", [N]).tau[0]
    assert lower_bounds.two_sided_huber(model.schedule("silver", N))[-1] > 1.05 * tau


@pytest.mark.parametrize("name", ["silver", "anytime", "constant1"])
def test_checkpoints_is_the_best_subset(name):
    """The dynamic program equals trying all sets of checkpoints."""
    h = model.schedule(name, 9)
    bound = lower_bounds.checkpoints(h)
    for N in (1, 4, 9):
        best = 0.0
        for mask in range(2**N):
            product, gap = 1.0, 0.0
            for i in range(N):
                if mask >> i & 1:
                    product *= (h[i] / (2 * (2 + gap))) ** 2
                    gap = 0.0
                else:
                    gap += h[i]
            best = max(best, product / (8 * (1 + gap)))
        assert bound[N - 1] == pytest.approx(best, rel=1e-12)


def test_checkpoints_is_valid_and_weak_on_the_anytime_schedule():
    tau = worst_case("anytime", np.arange(1, 54)).tau
    ratio = lower_bounds.checkpoints(model.schedule("anytime", 53)) / tau
    assert np.all(ratio <= 1.0)
    assert np.all(ratio[[8, 32, 52]] > 0.05)
