"""Conservation, growth rates and the split of the loss, against the flow and against SGD."""

import math

import numpy as np
import pytest
import torch

from toolbox.studies.recall import data, sequential, theory
from toolbox.studies.recall.linear_attention import (
    LinearAttention,
    flow,
    mean_counts,
    split_losses,
)

TASK = data.Task(subjects=8, relations=4, answers=4, noise=6, length=10)
TABLE = data.structured_facts(TASK)


def batch(task, table, size, generator):
    subject, relation = data.random_queries(task, size, generator)
    counts = data.counts(data.prompts(task, subject, relation, generator), task.vocabulary)
    return counts[None], torch.from_numpy(table)[subject, relation][None]


def drift(lr, time=300.0):
    model = LinearAttention(TASK, 1, 0.05, 0.05, "cpu")
    model.a, model.value = model.a.double(), model.value.double()
    generator = torch.Generator().manual_seed(0)
    start = (model.a**2 - (model.value**2).sum(2)).clone()
    for _ in range(int(time / lr)):
        counts, labels = batch(TASK, TABLE, 64, generator)
        model.step(counts.double(), labels, lr)
    return float((model.a**2 - (model.value**2).sum(2) - start).abs().max())


def test_sgd_conserves_to_first_order_in_the_learning_rate():
    coarse, fine = drift(0.4), drift(0.1)
    assert coarse < 0.4
    assert 2.5 < coarse / fine < 6.5


def test_the_flow_conserves():
    times = np.linspace(1, 600, 30)
    a, value = flow(TASK, TABLE, 1e-3, 1e-3, times)
    start = 1e-6 - TASK.outputs * 1e-6
    assert np.abs(a**2 - (value**2).sum(2) - start).max() < 1e-5
    assert np.abs(a).max() > 1


@pytest.mark.parametrize("sizes", [(8, 4, 4), (16, 4, 8), (4, 16, 4), (9, 3, 3)])
def test_growth_rates_are_those_of_the_linearised_flow(sizes):
    S, R, D = sizes
    task = data.Task(S, R, D, 7, 10)
    table = data.structured_facts(task)
    S_uses = S // D * D == S  # every own answer equally often
    assert S_uses
    assert sequential.rates_of(task, table) == pytest.approx(theory.growth_rates(S, R, D))
    # Largest singular value of (a, V) -> velocity at zero, token by token, by finite differences.
    C, target = mean_counts(task), np.eye(task.outputs)[table.ravel()]
    pull = C.T @ (target - 1 / task.outputs) / len(C)
    norms = np.linalg.norm(pull, axis=1)
    assert norms[S : S + R] == pytest.approx(theory.growth_rates(S, R, D)[0])
    assert norms[:S] == pytest.approx(theory.growth_rates(S, R, D)[1])
    # Balanced answers pull neither noise nor EOS.
    assert norms[S + R :] == pytest.approx(0, abs=1e-12)


def test_the_flow_grows_at_the_predicted_rate():
    relation, subject = theory.growth_rates(8, 4, 4)
    times = np.array([60.0, 90.0])
    a, _ = flow(TASK, TABLE, 1e-8, 1e-8, times)
    growth = np.log(a[1] / a[0]) / 30
    assert growth[8:12] == pytest.approx(relation, rel=0.02)
    # cosh(g t) is not yet its exponential for the slow mode: compare with cosh itself.
    expected = math.log(math.cosh(subject * 90) / math.cosh(subject * 60)) / 30
    assert growth[:8] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("init", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("sizes", [(16, 4, 8), (32, 4, 4), (12, 3, 6)])
def test_escape_steps_of_the_flow(sizes, init):
    """Other S, R, D and initialisations than the paper's: within 15 % of ln(2/init) / g."""
    task = data.Task(*sizes, 20, 32)
    table = data.structured_facts(task)
    rates = theory.growth_rates(*sizes)
    predicted = [theory.escape_step(rate, 1.0, init) for rate in rates]
    times = np.linspace(1, 1.3 * predicted[1], 400)
    a, value = flow(task, table, init, init, times)
    logits = np.einsum("fv,nv,nva->nfa", mean_counts(task), a, value, optimize=True)
    log_p = logits - np.logaddexp.reduce(logits, axis=2)[..., None]
    labels = np.broadcast_to(table.ravel(), log_p.shape[:2])
    losses = split_losses(log_p, labels, sizes[2])
    relation = sequential.first_below(times, losses["loss_relation"], 0.5 * math.log(sizes[1]))
    subject = sequential.first_below(times, losses["loss_subject"], 0.5 * math.log(sizes[2]))
    assert relation == pytest.approx(predicted[0], rel=0.15)
    assert subject == pytest.approx(predicted[1], rel=0.15)
    # What structured facts are for: the loss is the sum of its parts all along.
    gap = losses["loss_total"] - losses["loss_relation"] - losses["loss_subject"]
    assert np.abs(gap).max() < 1e-3


def test_the_plateau_is_the_entropy_of_the_answers():
    """log D for structured facts; for random ones the loss of the best guess without a subject."""
    assert sequential.answer_entropy(TASK, TABLE) == pytest.approx(math.log(4))
    table = data.random_facts(TASK, np.random.default_rng(0))
    shares = np.stack([np.bincount(table[:, r], minlength=16) / 8 for r in range(4)])
    log_p = np.log(shares[np.newaxis].repeat(8, axis=0).reshape(-1, 16) + 1e-300)
    best = split_losses(log_p, table.ravel(), 4)["loss_total"]
    assert sequential.answer_entropy(TASK, table) == pytest.approx(best)
    assert best < math.log(4)


def test_the_staircase():
    steps = np.array([1.0, 15.0, 25.0])
    for order in ((10, 20), (20, 10)):
        stairs = sequential.staircase(TASK, TABLE, steps, *order)
        between = math.log(4)  # R = D = 4: either part alone
        assert stairs["loss_total"] == pytest.approx([math.log(16), between, 0])


def test_split_losses_of_known_probabilities():
    D = 3
    right = np.array([4])
    uniform = np.full((1, 6), -math.log(6))
    found = split_losses(uniform, right, D)
    assert found["loss_total"] == pytest.approx(math.log(6))
    assert found["loss_relation"] == pytest.approx(math.log(2))
    assert found["loss_subject"] == pytest.approx(math.log(3))
    p = np.array([[1e-9, 1e-9, 1e-9, 0.2, 0.3, 0.5]])
    found = split_losses(np.log(p), right, D)
    assert found["loss_relation"] == pytest.approx(0, abs=1e-6)
    assert found["loss_subject"] == pytest.approx(found["loss_total"], abs=1e-6)
    assert found["accuracy"] == 0
    assert found["relation_accuracy"] == 1


def test_first_below_interpolates():
    steps = np.array([10.0, 20.0, 30.0])
    assert sequential.first_below(steps, np.array([3.0, 2.0, 0.0]), 1.0) == 25
    assert math.isnan(sequential.first_below(steps, np.array([3.0, 2.0, 1.5]), 1.0))


def test_one_step_is_the_gradient_of_the_cross_entropy():
    model = LinearAttention(TASK, 1, 0.3, 0.2, "cpu")
    a, value = model.a.clone().requires_grad_(), model.value.clone().requires_grad_()
    counts, labels = batch(TASK, TABLE, 32, torch.Generator().manual_seed(0))
    logits = torch.bmm(counts, a[..., None] * value)[0]
    torch.nn.functional.cross_entropy(logits, labels[0]).backward()
    model.step(counts, labels, 0.1)
    assert torch.allclose(model.a, a.detach() - 0.1 * a.grad, atol=1e-6)
    assert torch.allclose(model.value, value.detach() - 0.1 * value.grad, atol=1e-6)
