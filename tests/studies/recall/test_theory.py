"""Closed forms against simulation, limits and known values."""

import math

import numpy as np
import pytest
import torch

from toolbox.studies.recall import theory
from toolbox.studies.recall.memory import superposition_accuracy


@pytest.mark.parametrize(("d", "N"), [(64, 60), (64, 300), (128, 450), (128, 900), (128, 2000)])
def test_superposition_accuracy_is_its_gaussian_prediction(d, N):
    """Unit vectors have lighter tails than Gaussians, so the simulation lies a little above."""
    generator = torch.Generator().manual_seed(0)
    simulated = superposition_accuracy(d, N, None, 8, generator, "cpu")
    noise = 4 * math.sqrt(0.25 / (8 * N))
    assert -noise < simulated - theory.superposition_prediction(N, d) < 0.05 + noise


def test_the_prediction_approaches_the_simulation_with_the_dimension():
    gaps = []
    for d in (16, 128):
        N = int(theory.superposition_capacity(d, 0.7))
        generator = torch.Generator().manual_seed(0)
        found = superposition_accuracy(d, N, None, 20_000 // N, generator, "cpu")
        gaps.append(found - float(theory.superposition_prediction(N, d)))
    assert 0 < gaps[1] < 0.7 * gaps[0]


def test_superposition_capacity_inverts_the_prediction():
    for d in (32, 256):
        N = theory.superposition_capacity(d, 0.99)
        assert theory.superposition_prediction(N, d) == pytest.approx(0.99, abs=1e-6)
    # N / d^2 = 0.028 at d = 128 by the leading terms alone.
    assert theory.superposition_capacity(128, 0.99) / 128**2 == pytest.approx(0.026, abs=0.004)


def test_inverse_n_log_n():
    N = np.array([2.0, 10.0, 1e4, 1e8])
    assert theory.inverse_n_log_n(theory.n_log_n(N)) == pytest.approx(N)
    assert theory.inverse_n_log_n(0) == pytest.approx(1)


def test_fano_limits():
    assert theory.fano_bits(100, 8, 0.0) == pytest.approx(300)
    assert theory.fano_bits(100, 2, 0.0) == pytest.approx(100)
    assert theory.fano_bits(100, 8, 7 / 8) == 0  # guessing
    assert theory.fano_bits(100, 8, 0.874) == pytest.approx(0, abs=1e-2)
    errors = np.linspace(0, 0.875, 30)
    bits = [float(theory.fano_bits(100, 8, e)) for e in errors]
    assert np.all(np.diff(bits) < 0)


def test_fano_is_the_rate_distortion_function():
    """Blahut-Arimoto on D equally likely symbols under Hamming distortion."""
    D, error = 5, 0.2
    channel = np.full((D, D), error / (D - 1))
    np.fill_diagonal(channel, 1 - error)
    mutual = np.sum(channel / D * np.log2(channel * D))
    assert theory.fano_bits(1, D, error) == pytest.approx(mutual)


def test_bits_of_permutations():
    assert theory.association_bits(5, None, 0.0) == pytest.approx(math.log2(120))
    # One of 100 may be wrong: each set of parameters serves at most 100 of the 100! maps.
    whole, near = (float(theory.association_bits(100, None, e)) for e in (0.0, 0.01))
    assert whole - near == pytest.approx(math.log2(100))
    assert theory.permutation_bits(1000) == pytest.approx(1000 * math.log2(1000) - 1443, rel=1e-3)


@pytest.mark.parametrize("outputs", [None, 32])
def test_most_associations_inverts_the_bits(outputs):
    N = theory.most_associations(1e5, outputs, 0.0)
    assert theory.association_bits(N, outputs, 0.0) == pytest.approx(1e5, rel=1e-6)


def test_escape_steps_of_the_paper():
    relation, subject = theory.growth_rates(16, 4, 8)
    assert relation == pytest.approx(0.07655, abs=1e-5)
    assert subject == pytest.approx(0.02923, abs=1e-5)
    assert round(theory.escape_step(relation, 0.1, 1e-5)) == 1595
    assert round(theory.escape_step(subject, 0.1, 1e-5)) in (4175, 4176)


def test_one_relation_or_one_answer_never_escapes():
    assert theory.growth_rates(8, 1, 4)[0] == 0
    assert theory.growth_rates(8, 4, 1)[1] == 0
    assert theory.escape_step(0.0, 0.1, 1e-5) == math.inf
