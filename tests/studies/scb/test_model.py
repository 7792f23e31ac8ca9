"""Gradients, projections and steps against closed forms, autograd and the one-hot definition."""

import numpy as np
import pytest
import torch

from toolbox.studies.scb import data, model, theory
from toolbox.studies.scb.model import Steps


@pytest.fixture
def task():
    return data.draw_task(np.random.default_rng(0), 3, 20, 2)


def some_iterate(task, rng, C=1, dtype=np.float64):
    """A point off the truth that keeps the constraints, (V, A)."""
    A = rng.dirichlet(np.ones(task.T), size=(task.N, C))
    mix = rng.uniform(0.2, 1.2, size=(C, 1, 1))
    return task.U + mix * (task.P - task.U), A.astype(dtype)


def one_hot_gradients(V, a, batch, N):
    """Definition: gV = mean r H^T, gA[k, t] = mean over samples of last token k of (V^T r)[x_t]."""
    B, T = batch.X.shape
    gV, gA, loss = np.zeros((N, N)), np.zeros((N, T)), 0.0
    for x, k, o in zip(batch.X, batch.last, batch.out, strict=True):
        X = np.eye(N)[:, x]
        r = V @ X @ a[k] - np.eye(N)[o]
        gV += np.outer(r, X @ a[k]) / B
        gA[k] += X.T @ V.T @ r / B
        loss += r @ r / (2 * B)
    return gV, gA, loss


@pytest.mark.parametrize("N", [2, 3, 5, 12])
@pytest.mark.parametrize("C", [1, 4])
def test_gradients_are_those_of_the_definition(N, C):
    rng = np.random.default_rng(1)
    task = data.draw_task(rng, N, 17, 2)
    batch = data.Sampler(task, rng).batch(40)
    V, A = some_iterate(task, rng, C)
    f = model.forward(V, A, batch)
    gA = model.attention_gradient(V, f, batch, A.shape, np.ones((N, C)), A.dtype)
    for c in range(C):
        gV, expected, loss = one_hot_gradients(V[c], A[:, c], batch, N)
        np.testing.assert_allclose(model.value_gradient(f)[c], gV, atol=1e-12)
        np.testing.assert_allclose(gA[:, c], expected, atol=1e-12)
        assert (f.r[c] ** 2).sum() / 80 == pytest.approx(loss)


def test_pieces_and_tokens_that_end_no_sample_change_nothing(monkeypatch, task):
    rng = np.random.default_rng(2)
    batch = data.Sampler(task, rng).batch(64)
    lonely = data.Batch(batch.X[:5], np.array([0, 0, 5, 5]), batch.out[:5])
    V, A = some_iterate(task, rng, 3)
    for each in (batch, lonely):
        f = model.forward(V, A, each)
        whole = model.attention_gradient(V, f, each, A.shape, np.ones((3, 3)), A.dtype)
        monkeypatch.setattr(model, "CHUNK", 1)
        cut = model.forward(V, A, each)
        pieces = model.attention_gradient(V, cut, each, A.shape, np.ones((3, 3)), A.dtype)
        monkeypatch.undo()
        np.testing.assert_allclose(f.r, cut.r, atol=1e-12)
        np.testing.assert_allclose(whole, pieces, atol=1e-12)
    assert not whole[[0, 2]].any()


def test_population_gradients_and_excess_loss_are_the_means(task):
    """Section 2's closed forms, within five standard errors of a large batch."""
    rng = np.random.default_rng(3)
    V, A = some_iterate(task, rng)
    sampler, values, attentions, losses = data.Sampler(task, rng), [], [], []
    for _ in range(30):
        batch = sampler.batch(4000)
        f = model.forward(V, A, batch)
        values.append(model.value_gradient(f)[0] / task.mu)
        factor = 1 / task.mu[:, None]
        g = model.attention_gradient(V, f, batch, A.shape, factor, A.dtype)[:, 0]
        attentions.append(g - g.mean(axis=1, keepdims=True))
        exact = model.forward(task.P[None], task.q[:, None, :], batch)
        losses.append(((f.r**2).sum() - (exact.r**2).sum()) / 8000)
    for seen, predicted in (
        (np.array(values), theory.value_gradient(task, V, A)[0]),
        (np.array(attentions), theory.attention_gradient(task, V, A)[:, 0]),
        (np.array(losses), theory.excess_loss(task, V, A)[0]),
    ):
        error = seen.std(axis=0, ddof=1) / np.sqrt(30)
        deviation = seen.mean(axis=0) - predicted
        if predicted.ndim == 2 and predicted.shape == (3, 3):
            deviation = deviation - (deviation @ task.mu)[:, None]  # the projection's part
        assert (np.abs(deviation) < 5 * error + 1e-12).all()


def test_the_start_is_a_saddle_and_the_truth_a_zero(task):
    V, A = model.start(task)
    assert np.abs(theory.attention_gradient(task, V, A)).max() < 1e-15
    gradient = theory.value_gradient(task, V, A)[0]
    np.testing.assert_allclose(gradient, -(task.P - task.U) / task.T, atol=1e-15)
    truth = (task.P[None], task.q[:, None, :])
    assert np.abs(theory.value_gradient(task, *truth)).max() < 1e-15
    assert np.abs(theory.attention_gradient(task, *truth)).max() < 1e-15
    assert abs(theory.excess_loss(task, *truth)[0]) < 1e-15
    assert theory.excess_loss(task, V, A)[0] == pytest.approx(theory.trivial_excess(task))


def test_the_excess_loss_is_an_enumeration_over_all_contexts():
    """N = 2, T = 3: every context and last token, also off the constraints."""
    rng = np.random.default_rng(4)
    task = data.draw_task(rng, 2, 3, 2)
    V, A = rng.normal(size=(1, 2, 2)), rng.normal(size=(2, 1, 3))
    total = 0.0
    for code in range(8):
        x = [(code >> t) & 1 for t in range(3)]
        X, weight = np.eye(2)[:, x], np.prod(task.mu[x])
        for k in range(2):
            gap = V[0] @ X @ A[k, 0] - task.P @ X @ task.q[k]
            total += weight * task.mu[k] * (gap @ gap) / 2
    assert theory.excess_loss(task, V, A)[0] == pytest.approx(total)


def test_only_the_product_of_value_and_attention_matters(task):
    """Scale degeneracy: the loss of s V' and A shrunk to fit; corr stays, err does not."""
    A = (task.q * 0.6 + 0.4 / task.T)[:, None, :]
    best = 1.0 / (task.mu @ theory.squares(A) / (task.mu @ theory.overlaps(task, A)))
    values = task.U + np.linspace(0.5, 2.5, 81)[:, None, None] * (task.P - task.U)
    grid = np.repeat(A, 81, axis=1)
    scales = np.linspace(0.5, 2.5, 81)
    least = scales[np.argmin(theory.excess_loss(task, values, grid))]
    assert least == pytest.approx(float(best[0]), abs=0.025)
    assert least > 1.2  # the value over-grows where the attention is spread
    found = theory.measures(task, values, grid)
    np.testing.assert_allclose(found["corr_v"], 1.0, atol=1e-9)
    assert found["err_v"].max() > 0.1


@pytest.mark.parametrize("C", [1, 3])
def test_steps_keep_the_constraints(task, C):
    rng = np.random.default_rng(5)
    V, A = model.start(task, C)
    V += 0.5 * (task.P - task.U)
    sampler = data.Sampler(task, rng)
    for _ in range(30):
        model.step(V, A, sampler.batch(16), task.mu, Steps.of([0.1] * C, 0.2, 0.02))
    assert np.abs(A.sum(axis=2) - 1).max() < 1e-10
    assert np.abs(V @ task.mu - task.mu).max() < 1e-10
    assert np.abs(V.sum(axis=1) - 1).max() < 1e-10


def test_soft_thresholding_is_the_proximal_map(task):
    """Against the minimiser of |a - z|^2 / 2 + theta |a|_1, coordinate by coordinate on a grid."""
    z = np.linspace(-1, 1, 41)[None]
    a = z.copy()
    model.move_attention(a, np.zeros_like(a), Steps.of(0.1, 0.5, 0.6))
    a -= a[:, [20]]  # the projection shifts every entry alike
    grid = np.linspace(-1, 1, 2001)
    minimiser = [grid[np.argmin((grid - x) ** 2 / 2 + 0.3 * np.abs(grid))] for x in z[0]]
    np.testing.assert_allclose(a[0], minimiser, atol=1.5e-3)


def test_a_configuration_does_not_depend_on_its_grid(task):
    rng = np.random.default_rng(6)
    batches = [data.Sampler(task, rng).batch(16) for _ in range(5)]
    grid = Steps.of([0.1, 0.05, 0.2], [0.2, 0.1, 0.05], [0.02, 0.0, 0.0], [False, False, True])
    V, A = model.start(task, 3)
    V += 0.3 * (task.P - task.U)
    alone = [(V[[c]].copy(), A[:, [c]].copy()) for c in range(3)]
    for batch in batches:
        model.step(V, A, batch, task.mu, grid)
        for c, (v, a) in enumerate(alone):
            own = Steps(grid.eta_v[[c]], grid.eta_a[[c]], grid.lam[[c]], grid.plain[[c]])
            model.step(v, a, batch, task.mu, own)
    for c, (v, a) in enumerate(alone):
        np.testing.assert_allclose(V[c], v[0], atol=1e-12)
        np.testing.assert_allclose(A[:, c], a[:, 0], atol=1e-12)


def test_plain_sgd_is_the_bare_gradient(task):
    rng = np.random.default_rng(7)
    batch = data.Sampler(task, rng).batch(16)
    V, A = some_iterate(task, rng)
    gV, gA, _ = one_hot_gradients(V[0], A[:, 0], batch, 3)
    v, a = V.copy(), A.copy()
    model.step(v, a, batch, task.mu, Steps.of(0.1, 0.2, 0.5, True))
    np.testing.assert_allclose(v[0], V[0] - 0.1 * gV, atol=1e-12)
    np.testing.assert_allclose(a[:, 0], A[:, 0] - 0.2 * gA, atol=1e-12)


def test_softmax_gradients_are_those_of_autograd(task):
    rng = np.random.default_rng(8)
    batch = data.Sampler(task, rng).batch(32)
    V, W = rng.normal(size=(2, 3, 3)), rng.normal(size=(3, 2, task.T))
    a = model.softmax(W)
    f = model.forward(V, a, batch)
    gA = model.attention_gradient(V, f, batch, a.shape, np.ones((3, 2)), a.dtype)
    gW = model.softmax_gradient(a, gA)
    for c in range(2):
        v = torch.tensor(V[c], requires_grad=True)
        w = torch.tensor(W[:, c], requires_grad=True)
        X = torch.nn.functional.one_hot(torch.tensor(batch.X.astype(int)), 3).double()
        weights = torch.softmax(w, dim=1)[torch.tensor(batch.last)]
        predicted = torch.einsum("bt,btn->bn", weights, X) @ v.T
        target = torch.nn.functional.one_hot(torch.tensor(batch.out), 3).double()
        (((predicted - target) ** 2).sum() / 64).backward()
        np.testing.assert_allclose(model.value_gradient(f)[c], v.grad, atol=1e-12)
        np.testing.assert_allclose(gW[:, c], w.grad, atol=1e-12)


def test_adam_is_torchs():
    rng = np.random.default_rng(9)
    x, grads = rng.normal(size=5), rng.normal(size=(20, 5))
    ours, theirs = x.copy(), torch.tensor(x, requires_grad=True)
    adam = model.Adam((5,), np.float64)
    reference = torch.optim.Adam([theirs], lr=0.03)
    for g in grads:
        adam.step(ours, g, np.array(0.03))
        theirs.grad = torch.tensor(g)
        reference.step()
    np.testing.assert_allclose(ours, theirs.detach(), atol=1e-12)


def test_rounding_finds_the_support_and_sums_to_one(task):
    noisy = (0.8 * task.q + 0.2 / task.T)[:, None, :]
    rounded = model.rounded(noisy, task.Q)
    np.testing.assert_array_equal(rounded[:, 0] > 0, task.q > 0)
    np.testing.assert_allclose(rounded.sum(axis=2), 1)
    empty = model.rounded(np.full((3, 1, task.T), 0.05), task.Q)
    np.testing.assert_allclose(empty, 1 / task.T)


def test_the_threshold_condition_keeps_noise_out_and_lets_the_signal_in():
    """At the threshold batch no off-support entry passes in one step; far below it many do."""
    rng = np.random.default_rng(10)
    task = data.draw_task(rng, 3, 400, 2)
    V = (task.P + task.U) / 2
    lam = 0.72 * theory.signal_per_entry(task, V)
    condition = theory.threshold_batch(task, V, lam)
    passed = {}
    for margin in (1.0, 0.1):
        B, wrong = int(np.ceil(margin * condition)), []
        for _ in range(20):
            batch = data.Sampler(task, rng).batch(B)
            A = model.start(task)[1]
            f = model.forward(V[None], A, batch)
            factor = 1 / task.mu[:, None]
            g = model.attention_gradient(V[None], f, batch, A.shape, factor, A.dtype)[:, 0]
            g -= g.mean(axis=1, keepdims=True)
            wrong.append((np.abs(g[task.q == 0]) > lam).sum())
        passed[margin] = np.mean(wrong)
    assert passed[1.0] < 1.0
    assert passed[0.1] > 20
