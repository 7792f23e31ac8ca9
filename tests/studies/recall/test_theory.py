"""Closed forms against simulation, limits and known values."""

import math

import numpy as np
import pytest
import torch

from toolbox.studies.recall import data, theory
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
        N = int(theory.superposition_capacity(d, 0.7, theory.superposition_prediction))
        generator = torch.Generator().manual_seed(0)
        found = superposition_accuracy(d, N, None, 20_000 // N, generator, "cpu")
        gaps.append(found - float(theory.superposition_prediction(N, d)))
    assert 0 < gaps[1] < 0.7 * gaps[0]


@pytest.mark.parametrize(
    ("d", "N"), [(8, 3), (8, 7), (16, 7), (16, 19), (32, 28), (64, 112), (64, 563)]
)
def test_superposition_accuracy_is_the_law_at_finite_d(d, N):
    """From the first error to one half: within 0.01 and the noise, where Gaussians miss by 0.12."""
    generator = torch.Generator().manual_seed(1)
    draws = 40_000 // N
    simulated = superposition_accuracy(d, N, None, draws, generator, "cpu")
    predicted = theory.superposition_finite(N, d)
    noise = 4 * math.sqrt(predicted * (1 - predicted) / (draws * N))
    assert simulated == pytest.approx(predicted, abs=noise + 0.01 * (predicted < 0.95))


def test_the_law_at_finite_d_is_gaussian_in_high_dimension():
    gaps = []
    for d in (32, 256, 2048):
        N = float(theory.superposition_capacity(d, 0.5, theory.superposition_prediction))
        gaps.append(abs(theory.superposition_finite(N, d) - 0.5))
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]


def test_a_single_pair_is_never_confused():
    """N = 2: the margin is (1 - a)(1 - b) > 0 whatever the dimension."""
    generator = torch.Generator().manual_seed(0)
    assert superposition_accuracy(4, 2, None, 2000, generator, "cpu") == 1
    assert theory.superposition_finite(2, 4) == 1
    assert theory.superposition_finite(2.01, 4) > 0.999


@pytest.mark.parametrize("d", [4, 9, 64])
def test_the_tail_of_an_overlap(d):
    overlaps = data.unit_rows(200_000, d, torch.Generator().manual_seed(0), "cpu")[:, 0].numpy()
    for t in (-0.3, 0.0, 0.2, 0.5):
        assert np.mean(overlaps > t) == pytest.approx(theory.sphere_tail(t, d), abs=5e-3)
    assert theory.sphere_tail([-2.0, 2.0], d).tolist() == [1, 0]
    # On the sphere in three dimensions an overlap is uniform.
    assert theory.sphere_tail(0.4, 3) == pytest.approx(0.3)


@pytest.mark.parametrize("law", [theory.superposition_prediction, theory.superposition_finite])
def test_superposition_capacity_inverts_its_law(law):
    for d in (32, 256):
        N = float(theory.superposition_capacity(d, 0.99, law))
        assert law(N, d) == pytest.approx(0.99, abs=1e-5)
    assert theory.superposition_capacity(16, 1.0, law) == 2


def test_superposition_capacity_by_the_leading_terms():
    """N / d^2 = 0.028 at d = 128 by the leading terms alone."""
    N = float(theory.superposition_capacity(128, 0.99, theory.superposition_prediction))
    assert 0.022 < N / 128**2 < 0.030


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
