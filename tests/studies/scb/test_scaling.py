"""Tuning by the threshold condition, one-shot recovery, tunings given up, minibatches of a text."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from toolbox.studies.scb import data, fit, minibatch, model, oneshot, text, theory, train, transfer
from toolbox.studies.scb.model import Steps


def task_of(T, seed=5, N=3, Q=2):
    rng = np.random.default_rng(seed)
    task = data.draw_task(rng, N, T, Q)
    return task, rng


def test_the_chosen_batch_grows_as_log_of_the_context_and_the_step_size_not_at_all():
    task, _ = task_of(400)
    V = (task.P + task.U) / 2
    short, long = (train.tuned(replace(task, T=T), V, "prox", 0, 0.0, 0.0) for T in (400, 40_000))
    assert long.batch / short.batch == pytest.approx(np.log(3 * 40_000) / np.log(3 * 400), rel=0.01)
    assert (long.lam, long.eta_a) == (short.lam, short.eta_a)
    assert 0 < short.lam < theory.signal_per_entry(task, V)
    sgd = [train.tuned(replace(task, T=T), V, "sgd", 100, 0.0, 0.0).eta_a for T in (4000, 40_000)]
    assert sgd[0] / sgd[1] == pytest.approx(10)  # without a penalty the step falls as B / T


def test_what_is_given_is_not_chosen():
    task, _ = task_of(50)
    V = (task.P + task.U) / 2
    assert train.tuned(task, V, "prox", 64, 0.02, 0.2) == train.Tuning(64, 0.02, 0.2)
    assert train.tuned(task, V, "sgd", 64, 0.02, 0.2).lam == 0


def test_noise_of_an_unpenalised_step_has_the_size_that_the_tuning_counts_on():
    """One step from the uniform start: |A - start|^2 is eta^2 T sigma^2 / (B mu) per last token."""
    task, rng = task_of(2000)
    V, B, eta = (task.P + task.U)[None] / 2, 64, 0.01
    moved = []
    for _ in range(20):
        v, A = V.copy(), model.start(task)[1]
        model.step(v, A, data.Sampler(task, rng).batch(B), task.mu, Steps.of(0.0, eta, 0.0))
        off = np.where(task.q > 0, 0.0, A[:, 0] - 1 / task.T)
        moved.append((off**2).sum(axis=1))
    noise = eta**2 * task.T * theory.gradient_noise(task, V[0]) / (B * task.mu)
    np.testing.assert_allclose(np.mean(moved, axis=0), noise, rtol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("T", [200, 5000])
def test_the_chosen_tuning_finds_the_positions_at_every_length(cli, out, T):
    result = cli("scb", "train", "--T", str(T), "--repeats", "2", "--out", out)
    assert result.code == 0
    curve = pd.read_csv(next(out.glob("scb/train/*/curve.csv")))
    last = curve.groupby("repeat").tail(1)
    assert (last["misplaced"] == 0).all()
    assert (last["relative_excess"] < 0.02).all()


def test_positions_without_weight_have_no_part():
    """The narrowed task has the same excess loss, and batches of the same law."""
    task, rng = task_of(60)
    A = np.where(rng.random((3, 1, 60)) < 0.05, 0.3, 0.0)
    V = task.U[None] + 0.7 * (task.P - task.U)
    small, a = train.narrowed(task, A)
    assert small.T < 20
    np.testing.assert_allclose(theory.excess_loss(small, V, a), theory.excess_loss(task, V, A))
    found = theory.measures(small, V, a)
    for name, value in theory.measures(task, V, A).items():
        np.testing.assert_allclose(found[name], value)


def test_single_precision_moves_a_run_by_rounding_only():
    task, rng = task_of(300)
    batches = [data.Sampler(task, rng).batch(64) for _ in range(40)]
    ends = []
    for dtype in (np.float64, np.float32):
        V, A = model.start(task, 1, dtype)
        V += 0.5 * (task.P - task.U)
        for batch in batches:
            model.step(V, A, batch, task.mu, Steps.of(0.1, 0.3, 0.02))
        ends.append((V, A))
    np.testing.assert_allclose(ends[0][0], ends[1][0], atol=2e-6)
    np.testing.assert_allclose(ends[0][1], ends[1][1], atol=2e-6)


def test_drawing_in_pieces_leaves_the_stream_as_it_is(monkeypatch):
    task, _ = task_of(77)
    whole = data.Sampler(task, np.random.default_rng(0)).batch(33)
    monkeypatch.setattr(data, "PIECE", 100)
    pieces = data.Sampler(task, np.random.default_rng(0)).batch(33)
    np.testing.assert_array_equal(whole.X, pieces.X)
    np.testing.assert_array_equal(whole.out, pieces.out)


def test_one_averaged_gradient_finds_the_positions_at_the_laws_number_of_samples():
    task, rng = task_of(300)
    law = oneshot.law_samples(task, (task.P + task.U) / 2)
    samples = np.array([law / 20, 4 * law]).astype(int)
    few, many = np.mean([oneshot.recovery(rng, task, samples) for _ in range(12)], axis=0)
    assert few < 0.3
    assert many > 0.95
    longer = oneshot.law_samples(replace(task, T=300**2), (task.P + task.U) / 2)
    assert longer / law == pytest.approx(np.log(3 * 300**2) / np.log(3 * 300))


def test_found_columns_are_those_whose_lowest_entries_are_the_positions():
    task, rng = task_of(40)
    gradient = rng.normal(size=(3, 40)) - 10 * task.q
    assert oneshot.found_columns(task, gradient).all()
    gradient[1, task.positions[1, 0]] = 50.0
    np.testing.assert_array_equal(oneshot.found_columns(task, gradient), [True, False, True])


def test_giving_tunings_up_changes_no_cheapest_cost():
    """Against a search that carries everything to the cap."""
    task, _ = task_of(40)
    P = task.P
    starts = [
        transfer.Start("transfer", 1.0, theta, 0, theta * P + (1 - theta) * task.U)
        for theta in (0.5, 1.0)
    ] + [transfer.Start("scratch", np.nan, np.nan, 80, (P + task.U) / 2)]
    limits = {start.key: 3000 for start in starts}

    def searched():
        search = transfer.Search(task, starts, 32, 0.1, dict(limits), np.random.default_rng(1))
        while not search.over:
            search.step()
        return search

    pruned = searched()
    free = transfer.Search(task, starts, 32, 0.1, dict(limits), np.random.default_rng(1))
    met = np.full(free.met.size, 3000)
    model_V, A, held = free.V, free.A, np.zeros(met.size, int)
    while free.samples < 3000:
        model.step(model_V, A, free.sampler.batch(32), task.mu, free.sizes)
        free.samples += 32
        own = task.mu @ theory.squares(A)
        corr = task.mu @ theory.overlaps(task, A) / np.sqrt(own * (task.mu @ (task.q**2).sum(1)))
        error = ((model_V - P) ** 2 @ task.mu).sum(axis=1)
        held = np.where((corr > transfer.CORR_A) & (error < transfer.ERR_V), held + 1, 0)
        now = (held == 3) & (met == 3000)
        met[now] = free.samples - 64
    for group in range(pruned.limits.size):
        assert pruned.limits[group] == met[pruned.group == group].min() < 3000
    rows = pruned.rows()
    assert rows["reached"].sum() < (met < 3000).sum()  # something was given up


def test_minibatches_come_near_the_exact_least_squares_fit():
    rng = np.random.default_rng(3)
    N, T, n = 3, 5, 20_000
    V = rng.dirichlet(np.full(N, 0.5), size=N).T
    V /= V.sum(axis=0)
    mu = data.stationary(V)
    X, last = (rng.choice(N, size=shape, p=mu) for shape in ((n, T), n))
    seen = X[np.arange(n), np.array([1, 3, 0])[last]]
    out = (rng.random(n)[:, None] >= np.cumsum(V, axis=0).T[seen][:, :-1]).sum(axis=1)
    windows = (X, last, out)
    values, A = minibatch.start(windows, N)
    for step in range(1500):
        minibatch.step(values, A, windows, 1 - step / 1500, 64, rng)
    m = fit.moments(X, last, out, N)
    exact = m.loss(fit.predictor(*fit.fit_scb(m, T, 1e-3, rng)))
    losses = [m.loss(fit.predictor(v, a)) for v, a in zip(values, A.swapaxes(0, 1), strict=True)]
    assert min(losses) < exact * 1.02
    np.testing.assert_allclose(A.sum(axis=2), 1, atol=1e-9)


def test_a_text_in_one_class_is_still_fitted(cli, out, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join("the cat sat on the mat, and the dog sat too" for _ in range(40)))
    result = cli("scb", "fit", path, "--preset", "smoke", "--classes", "aeiou", "--out", out)
    assert result.code == 0, result.stderr
    losses = pd.read_csv(next(out.glob("scb/fit/*/losses.csv")))
    assert np.isfinite(losses["test"]).all()
    assert text.REST in set(pd.read_csv(next(out.glob("scb/fit/*/reading.csv")))["last"])
