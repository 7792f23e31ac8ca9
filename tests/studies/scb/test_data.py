"""Tasks and samples: the laws they are drawn from."""

import numpy as np
import pytest

from toolbox.studies.scb import data, theory


def task_of(seed=0, N=3, T=30, Q=2):
    return data.draw_task(np.random.default_rng(seed), N, T, Q)


@pytest.mark.parametrize(("N", "Q"), [(2, 1), (3, 2), (4, 3), (6, 2)])
def test_a_task_keeps_the_papers_assumptions(N, Q):
    for seed in range(5):
        task = task_of(seed, N, 12, Q)
        np.testing.assert_allclose(task.P.sum(axis=0), 1, atol=1e-12)
        np.testing.assert_allclose(task.P @ task.mu, task.mu, atol=1e-12)
        np.testing.assert_allclose(task.q.sum(axis=1), 1, atol=1e-12)
        assert ((task.q > 0).sum(axis=1) == Q).all()
        assert task.mu @ task.mu / 2 < task.K_P
        assert data.BALANCE >= N * task.mu.max() >= N * task.mu.min() >= 1 / data.BALANCE
        assert np.trace(task.P @ task.D @ task.P.T) == pytest.approx(task.K_P)


def test_samples_follow_the_definition():
    task, B = task_of(), 60_000
    batch = data.Sampler(task, np.random.default_rng(1)).batch(B)
    error = 4 / np.sqrt(B)
    assert np.abs(np.bincount(batch.last, minlength=3) / B - task.mu).max() < error
    assert np.abs(np.bincount(batch.X.ravel(), minlength=3) / batch.X.size - task.mu).max() < error
    for k in range(task.N):  # Pr(x_o = . | x) = P X q^(k)
        mine = batch.last == k
        expected = np.stack(
            [(task.q[k] * (batch.X[mine] == n)).sum(axis=1) for n in range(3)], axis=1
        )
        hit = np.eye(3)[batch.out[mine]]
        moments = (hit - expected @ task.P.T).T @ expected / mine.sum()
        assert np.abs(moments).max() < 4 / np.sqrt(mine.sum())


@pytest.mark.parametrize("rho", [1.0, 0.8, 0.35, 0.0, -0.5])
@pytest.mark.parametrize("N", [3, 5])
def test_the_pretraining_task_has_exactly_the_correlation_asked_for(N, rho):
    for seed in range(4):
        task = task_of(seed, N)
        pre = data.correlated_transition(np.random.default_rng(seed), task, rho)
        assert pre.min() >= -1e-12
        np.testing.assert_allclose(pre.sum(axis=0), 1, atol=1e-12)
        np.testing.assert_allclose(pre @ task.mu, task.mu, atol=1e-12)
        size = data.signal(pre, pre, task.mu)
        corr = data.signal(pre, task.P, task.mu) / np.sqrt(size * task.K_P)
        assert corr == pytest.approx(rho, abs=1e-9)
        assert size <= task.K_P * (1 + 1e-9)


def test_counts_have_the_law_of_samples_under_uniform_attention():
    """The value of stage one: the fast draw and the full one agree in mean and in spread."""
    task, n, draws = task_of(T=12), 60, 400
    fast = data.stage_one_value(
        task, n, *data.stage_one_counts(np.random.default_rng(2), task, n, draws)
    )
    sampler = data.Sampler(task, np.random.default_rng(3))
    full = []
    for _ in range(draws):
        batch = sampler.batch(n)
        counts = np.stack([(m == batch.X).sum(axis=1) for m in range(3)], axis=1)
        drift = np.eye(3)[batch.out] - task.mu
        noise = counts - task.T * task.mu
        full.append(task.U + drift.T @ noise / n / task.mu)
    full = np.stack(full)
    error = np.sqrt((fast.var(axis=0) + full.var(axis=0)) / draws)
    assert (np.abs(fast.mean(axis=0) - full.mean(axis=0)) < 4.5 * error).all()
    assert np.abs(fast.mean(axis=0) - task.P).max() < 5 * error.max()
    assert (fast.std(axis=0) / full.std(axis=0) == pytest.approx(1, abs=0.25)) or np.allclose(
        fast.std(axis=0), full.std(axis=0), rtol=0.25
    )


def test_stage_one_is_the_fixed_point_of_value_steps():
    """V = Proj(U - T mean gV): the formula from counts against the gradient of the model."""
    from toolbox.studies.scb import model

    task = task_of(T=15)
    batch = data.Sampler(task, np.random.default_rng(4)).batch(50)
    V, A = model.start(task)
    stepped = V - task.T * model.value_gradient(model.forward(V, A, batch)) / task.mu
    stepped -= (stepped @ task.mu - task.mu)[:, :, None]
    pairs = np.zeros((1, 3, 3), dtype=int)
    for o, x in zip(batch.out, batch.X, strict=True):
        pairs[0, o] += np.bincount(x, minlength=3)
    outputs = np.bincount(batch.out, minlength=3)[None]
    np.testing.assert_allclose(data.stage_one_value(task, 50, outputs, pairs), stepped, atol=1e-10)


@pytest.mark.parametrize("N", [3, 4, 6])
def test_the_law_of_stage_one_within_its_standard_error(N):
    task, draws = task_of(7, N, T=200), 1500
    from toolbox.studies.scb.common import correlations

    c = theory.noise_constant(task)
    for ratio in (1, 4, 16, 64):
        n = ratio * task.T
        counts = data.stage_one_counts(np.random.default_rng(ratio), task, n, draws)
        corr = correlations(task, data.stage_one_value(task, n, *counts))
        error = corr.std(ddof=1) / np.sqrt(draws)
        # The law takes the noise as Gaussian; 0.006 is what that costs at n = T.
        assert abs(corr.mean() - theory.mean_corr(c, N, ratio)) < 3.5 * error + 0.006


def test_the_sign_of_the_correlation_is_random_for_few_samples():
    task = task_of(3, 3, T=400)
    from toolbox.studies.scb.common import correlations

    counts = data.stage_one_counts(np.random.default_rng(0), task, 8, 500)
    few = correlations(task, data.stage_one_value(task, 8, *counts))
    assert 0.3 < (few < 0).mean() < 0.6
    counts = data.stage_one_counts(np.random.default_rng(0), task, 64 * 400, 500)
    assert (correlations(task, data.stage_one_value(task, 64 * 400, *counts)) > 0).all()
