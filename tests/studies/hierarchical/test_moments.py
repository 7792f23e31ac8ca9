"""The streamed matrix M against the matrix written out, and against its population."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from toolbox.studies.hierarchical import (
    basis,
    data,
    links,
    measure,
    model,
    moments,
    on_device,
    theory,
)


def stream(name=0):
    return lambda block: np.random.default_rng([name, block])


def grown(task, sizes, workers=1, name=0, device=""):
    """M at each of the sizes."""
    moment = moments.Moment.start(task, stream(name), sizes[0])
    found = []
    with ThreadPoolExecutor(workers) as pool:
        for n in sizes:
            while moment.n < n:
                moments.grow(moment, task, stream(name), n, pool, workers, device)
            found.append(moment.matrix())
    return found


def make(kind="flat", link="p2", d=8, r=2, seed=0):
    return data.make_task(np.random.default_rng(seed), d, kind, links.parse(link, r))


def test_weighted_products_are_the_sum_written_out():
    rng = np.random.default_rng(0)
    x, w = data.sphere(rng, 7, 300), rng.standard_normal(300)
    F = basis.phi(x.astype(float))
    for weights in (w, np.abs(w), -np.abs(w), np.zeros(300)):
        C = np.ones((27, 27), np.float32)
        moments.add_weighted(C, x, weights)
        np.testing.assert_allclose(C - 1, (F * weights) @ F.T, atol=2e-3)


def test_the_streamed_matrix_is_the_centred_one_where_the_centre_is_exact():
    """One chunk: the centre is the mean of these very samples."""
    task, n = make(link="p3"), 1000
    (M,) = grown(task, [n])
    x = data.sphere(stream()(0), 8, n)
    y, F = data.labels(task, x), basis.phi(x.astype(float))
    np.testing.assert_allclose(M, (F * (y - y.mean())) @ F.T / n, atol=1e-4)


def test_centring_by_isotropy_changes_less_than_a_tenth_of_the_noise():
    task, n = make(link="p4"), 3 * moments.BLOCK
    (M,) = grown(task, [n])
    total, labels = np.zeros_like(M), []
    for block in range(3):
        rng = stream()(block)
        for start in range(0, moments.BLOCK, moments.CHUNK):
            x = data.sphere(rng, 8, min(moments.CHUNK, moments.BLOCK - start))
            labels.append((x, data.labels(task, x)))
    mean = np.concatenate([y for _, y in labels]).mean()
    for x, y in labels:
        F = basis.phi(x.astype(float))
        total += (F * (y - mean)) @ F.T
    noise = basis.size(8) * np.concatenate([y for _, y in labels]).std() / np.sqrt(n)
    assert np.linalg.norm(M - total / n) < 0.1 * noise


def test_the_sum_does_not_depend_on_workers_nor_on_earlier_stops():
    task, n = make(), 2 * moments.BLOCK + 500
    one, two = grown(task, [n])[0], grown(task, [n], workers=3)[0]
    np.testing.assert_array_equal(one, two)
    stopped = grown(task, [moments.BLOCK, n])[1]
    np.testing.assert_array_equal(one, stopped)


@pytest.mark.parametrize("kind", ["flat", "goe"])
@pytest.mark.parametrize("link", ["p2", "prod", "h2(z1) - 0.5*h2(z2) + 0.7*z1*z2"])
def test_the_population_moment_is_the_limit_of_the_sample(kind, link):
    """|M^ - M|_F^2 is D^2 Var(y) / n on average, up to the small |M|^2 / n."""
    task, n = make(kind, link), 1 << 18
    (M,) = grown(task, [n])
    expected = theory.population_moment(task)
    D, variance = basis.size(8), theory.label_variance(task)
    noise = np.sqrt((D**2 * variance - np.sum(expected**2)) / n)
    assert 0.8 * noise < np.linalg.norm(M - expected) < 1.25 * noise
    # Along the features, where an error of the formula would be largest: 3 standard errors.
    difference = task.theta @ (M - expected) @ task.theta.T
    x = data.sphere(np.random.default_rng(9), 8, 20_000)
    p, y = data.features(task, x).astype(float), data.labels(task, x)
    standard_error = np.sqrt((p[:, None] * p[None] * (y - y.mean())).var(axis=2) / n)
    assert (np.abs(difference) < 3.5 * standard_error).all()


def test_the_variance_of_labels_is_that_of_a_sample():
    for kind in ("flat", "goe"):
        task = make(kind, "h2(z1) + 0.5*z1*z2", d=12)
        y = data.labels(task, data.sphere(np.random.default_rng(1), 12, 200_000))
        standard_error = (y**2).std() / np.sqrt(y.size)
        assert abs(y.var() - theory.label_variance(task)) < 3.5 * standard_error


def test_one_step_saturates_at_a_third_for_flat_features():
    for d, r in ((4, 2), (8, 2), (16, 2), (12, 3), (16, 5)):
        task = make(d=d, r=r)
        M = theory.population_moment(task)
        W = np.eye(basis.size(d))  # the sum over all directions is the average over the sphere
        assert measure.energy_overlap(W, M, task.theta) == pytest.approx(
            theory.expected_overlap(task, 1e15, 1.0), rel=1e-9
        )
        if r == 2:
            assert measure.energy_overlap(W, M, task.theta) == pytest.approx(
                theory.flat_saturation(d)
            )
    assert theory.flat_saturation(10**9) == pytest.approx(1 / 3, rel=1e-6)


def test_the_expected_overlap_is_that_of_samples():
    task, sizes = make(d=12), [1000, 4000, 16_000]
    x = data.sphere(np.random.default_rng(1), 12, 100_000)
    y, p = data.labels(task, x), data.features(task, x)
    energy = np.mean((y - y.mean()) ** 2 * np.sum(p**2, axis=0))
    expected = theory.expected_overlap(task, sizes, energy)
    W = np.eye(basis.size(12))
    found = np.array(
        [
            [measure.energy_overlap(W, M, task.theta) for M in grown(task, sizes, name=k)]
            for k in range(8)
        ]
    )
    standard_error = found.std(axis=0, ddof=1) / np.sqrt(8)
    # The ratio of expectations is not the expectation of the ratio: a few per cent at small n.
    assert (np.abs(found.mean(axis=0) - expected) < 4 * standard_error + 0.02 * expected).all()


def test_permuted_labels_leave_the_null_overlap():
    task, n, D = make(d=12), 20_000, basis.size(12)
    rng = np.random.default_rng(2)
    x = data.sphere(rng, 12, n)
    y = rng.permutation(data.labels(task, x))
    C = np.zeros((D, D), np.float32)
    moments.add_weighted(C, x, y - y.mean())
    W = model.steps(model.initial(rng, D, 4000), C.astype(float) / n, 1)
    null = measure.overlaps(W, task.theta).mean()
    learned = model.steps(model.initial(rng, D, 4000), grown(task, [n])[0], 1)
    # The matrix itself is random too: it moves the mean by about 1/sqrt(D) of it.
    assert null == pytest.approx(theory.null_overlap(2, D), rel=0.4)
    assert measure.overlaps(learned, task.theta).mean() > 5 * null


def test_more_steps_drive_the_overlap_to_one():
    task = make(d=16)
    M = theory.population_moment(task)
    W = model.initial(np.random.default_rng(0), basis.size(16), 500)
    by_steps = [np.median(measure.overlaps(model.steps(W, M, k), task.theta)) for k in (1, 2, 3, 6)]
    assert by_steps == sorted(by_steps)
    assert by_steps[0] < 0.4
    assert by_steps[2] > 0.98
    assert by_steps[3] > 0.9999


# ------------------------------------------------------------------------------- by torch


@pytest.mark.parametrize("d", [2, 5, 12])
def test_the_quadratics_of_torch_are_those_of_numpy(d):
    x = np.random.default_rng(0).standard_normal((d, 9))
    assert np.allclose(on_device.phi(torch.from_numpy(x)).numpy(), basis.phi(x), atol=1e-12)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def test_the_matrix_by_torch_is_that_by_numpy_to_rounding(monkeypatch, device):
    monkeypatch.setattr(moments, "BLOCK", 5000)
    monkeypatch.setattr(moments, "WINDOW", 2)
    monkeypatch.setattr(on_device, "NUMBERS", 35 * 1200)
    task, sizes = make(), [3000, 31_000]
    for by_numpy, by_torch in zip(
        grown(task, sizes), grown(task, sizes, 2, device=device), strict=True
    ):
        assert np.abs(by_numpy - by_torch).max() < 1e-5
        assert np.abs(by_numpy).max() > 0.1
