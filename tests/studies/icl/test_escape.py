"""Escape and completion on curves whose crossing is known."""

from __future__ import annotations

import numpy as np
import pytest

from toolbox.studies.icl.escape import NEVER, Track, running_mean


def track(window=100, every=7, boolean=(False,), finish=(0.1,)):
    return Track(window, 0.8, every, np.array(boolean), np.array(finish))


def feed(one, loss, last=None, accuracy=None, blocks=(20,)):
    """Give a curve in blocks of varying lengths."""
    loss = np.asarray(loss, dtype=float)[:, None]
    last = loss if last is None else np.asarray(last, dtype=float)[:, None]
    accuracy = np.zeros_like(loss) if accuracy is None else np.asarray(accuracy, float)[:, None]
    at, turn = 0, 0
    while at < len(loss):
        size = blocks[turn % len(blocks)]
        one.add(loss[at : at + size], last[at : at + size], accuracy[at : at + size])
        at, turn = at + size, turn + 1
    return one


@pytest.mark.parametrize("blocks", [(20,), (1,), (13, 150, 2)])
def test_a_step_from_one_to_a_half_escapes_when_the_window_holds_forty_one_halves(blocks):
    # Mean 1 - m/200 with m of 100 values at 1/2: below 0.8 from m = 41 on.
    curve = np.where(np.arange(400) < 250, 1.0, 0.5)
    assert feed(track(), curve, blocks=blocks).escape[0] == 250 + 40


def test_nothing_escapes_before_the_window_is_full():
    assert feed(track(), np.zeros(150)).escape[0] == 99
    assert feed(track(window=1), np.zeros(5)).escape[0] == 0


def test_a_plateau_with_noise_does_not_escape_and_the_first_of_two_crossings_counts():
    noise = 1 + 0.3 * np.random.default_rng(0).standard_normal(2000)
    assert feed(track(), noise).escape[0] == NEVER
    twice = np.concatenate([np.ones(120), np.zeros(100), np.ones(300), np.zeros(200)])
    assert feed(track(), twice).escape[0] == 140  # 21 zeros among the last hundred


def test_completion_is_by_error_for_numbers_and_by_accuracy_for_signs():
    falling = np.where(np.arange(300) < 150, 1.0, 0.0)
    right = np.where(np.arange(300) < 170, 0.5, 1.0)
    assert feed(track(), falling, accuracy=right).complete[0] == 150 + 90
    assert feed(track(boolean=(True,)), falling, accuracy=right).complete[0] == 170 + 90
    assert feed(track(finish=(0.2,)), falling, accuracy=right).complete[0] == 150 + 80


def test_the_running_mean_is_the_mean_of_the_last_rows():
    values = np.random.default_rng(1).standard_normal((50, 2))
    means = running_mean(values[:9], values[9:])
    assert np.allclose(means[-1], values[-10:].mean(axis=0))
    assert np.allclose(means[0], values[:10].mean(axis=0))


def test_records_are_means_since_the_record_before_whatever_the_blocks():
    curve = np.random.default_rng(2).standard_normal(50)
    one, other = (feed(track(), curve, blocks=b) for b in ((20,), (3, 11)))
    for each in (one, other):
        each.close()
    assert np.array_equal(one.rows, other.rows)
    assert one.rows[:, 0, 0].tolist() == [6, 13, 20, 27, 34, 41, 48, 49]
    assert np.isclose(one.rows[1, 1, 0], curve[7:14].mean())
