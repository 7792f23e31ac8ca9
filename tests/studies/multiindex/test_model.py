"""The dynamics: invariances, equivalent forms, and the flow as their limit."""

import numpy as np
import pytest
import torch

from toolbox.core.errors import UsageError
from toolbox.studies.multiindex import data, metrics, theory
from toolbox.studies.multiindex.cli import TwoStages
from toolbox.studies.multiindex.learn import Problem, plan
from toolbox.studies.multiindex.link import parse_link
from toolbox.studies.multiindex.model import Reduced, Shared

LINK = parse_link("h2+h4")


def generator(seed):
    return torch.Generator().manual_seed(seed)


def batch_of(seed, rows, d, P, link=LINK, dtype=torch.float64):
    x = torch.randn(rows, d, generator=generator(seed), dtype=dtype)
    return x, link.value(x[:, :P]).sum(dim=1)


def start_of(seed, m, d):
    return torch.from_numpy(data.starts(np.random.default_rng(seed), m, d))


def test_a_step_is_the_one_written_in_the_definition():
    m, d, P, b = 3, 7, 2, 5
    v, (x, y) = start_of(0, m, d), batch_of(1, b, d, P)
    learner = Shared(LINK, v, P, np.array([0.01, 0.03]))
    learner.step(x, y)
    for group, eta in enumerate((0.01, 0.03)):
        for j in range(m):
            g = torch.zeros(d, dtype=torch.float64)
            for i in range(b):
                g += y[i] * LINK.slope((v[j] @ x[i])[None])[0] * x[i] / b
            g -= (g @ v[j]) * v[j]
            expected = (v[j] + eta * g) / (v[j] + eta * g).norm()
            torch.testing.assert_close(learner.v[group * m + j], expected)


def test_the_gradient_step_is_tangent_and_the_norm_stays_one():
    learner = Shared(LINK, start_of(2, 6, 20), 4, np.array([0.05]))
    before = learner.v.clone()
    learner.step(*batch_of(3, 64, 20, 4))
    torch.testing.assert_close(learner.v.norm(dim=1), torch.ones(6, dtype=torch.float64))
    # v' is v plus a tangent vector, up to its length: v'.v = 1 / |v + eta g| <= 1, never above.
    assert ((learner.v * before).sum(dim=1) <= 1 + 1e-14).all()


def test_float32_follows_float64_through_a_whole_training():
    d, P, m, b = 16, 2, 8, 64
    v = start_of(4, m, d)
    both = [
        Shared(LINK, v.to(kind), P, np.array([0.01])) for kind in (torch.float32, torch.float64)
    ]
    for step in range(300):
        x, y = batch_of(100 + step, b, d, P)
        for learner, kind in zip(both, (torch.float32, torch.float64), strict=True):
            learner.step(x.to(kind), y.to(kind))
    assert (both[0].overlaps().double() - both[1].overlaps()).abs().max() < 1e-3
    assert metrics.alignment(both[1].overlaps()[0].numpy())["align_median"] > 0.5


def test_a_rotated_problem_has_the_rotated_path():
    d, P, m = 12, 3, 5
    rng = np.random.default_rng(5)
    whole = torch.from_numpy(data.haar_frame(rng, d, d))
    v = start_of(6, m, d)
    plain = Shared(LINK, v, P, np.array([0.05]))
    turned = Shared(LINK, v @ whole.T, P, np.array([0.05]), frame=whole[:, :P])
    for step in range(40):
        x, y = batch_of(step, 32, d, P)
        plain.step(x, y)
        inner = x @ whole.T @ whole[:, :P]
        turned.step(x @ whole.T, LINK.value(inner).sum(dim=1))
    torch.testing.assert_close(plain.overlaps(), turned.overlaps(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(whole.T @ whole, torch.eye(d, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["shared", "reduced"])
def test_a_step_size_does_not_depend_on_those_beside_it(kind):
    d, P, m = 10, 2, 4
    v, paths = start_of(7, m, d), {}
    for etas in ((0.02,), (0.01, 0.02, 0.04)):
        if kind == "shared":
            learner = Shared(LINK, v, P, np.array(etas))
        else:
            r = v[:, P:].norm(dim=1)
            learner = Reduced(LINK, v[:, :P], r, d, np.array(etas), np.random.default_rng(0))
        for step in range(20):
            x, y = batch_of(step, 16, d, P)
            g = torch.randn(16, m, generator=generator(900 + step), dtype=torch.float64)
            learner.step(*((x, y) if kind == "shared" else (x[:, :P], g, y)))
        paths[etas] = learner.overlaps()[list(etas).index(0.02)]
        if len(etas) > 1:
            learner.keep(np.array([False, True, False]))
            torch.testing.assert_close(learner.overlaps()[0], paths[etas])
    torch.testing.assert_close(paths[(0.02,)], paths[(0.01, 0.02, 0.04)])


def test_batches_follow_one_sample_sgd_at_the_same_step_per_sample():
    """b = 1 and b = 32 with eta = b eta_1 on the same samples: the same path to leading order."""
    d, P, m, eta1, n = 16, 2, 40, 2e-4, 8_000
    v = start_of(8, m, d)
    x, y = batch_of(9, n, d, P)
    masses = {}
    for b in (1, 32):
        learner = Shared(LINK, v, P, np.array([eta1 * b]))
        for i in range(0, n, b):
            learner.step(x[i : i + b], y[i : i + b])
        masses[b] = (learner.overlaps()[0] ** 2).sum(dim=1)
    assert 0.3 < masses[1].mean() < 0.99
    # The discretisation is of the order of the drift per step, 32 eta_1 sum_q q c_q^2 = 0.02.
    assert (masses[1] - masses[32]).abs().mean() < 0.02
    assert abs((masses[1] - masses[32]).mean()) < 0.02


def test_the_reduced_chain_has_the_law_of_the_chain_in_all_dimensions():
    """Both see the same x in the subspace and draw the rest anew for every neuron: given that x,
    neurons are independent, and the laws of s and of max u^2 must agree."""
    d, P, m, b, steps, eta = 12, 2, 4000, 4, 60, np.array([0.02])
    v = start_of(10, m, d)
    reduced = Reduced(LINK, v[:, :P], v[:, P:].norm(dim=1), d, eta, np.random.default_rng(1))
    full = v.clone()
    for step in range(steps):
        inner, y = batch_of(step, b, P, P)
        outer = torch.randn(m, b, d - P, generator=generator(500 + step), dtype=torch.float64)
        x = torch.cat([inner.expand(m, -1, -1), outer], dim=2)
        w = y * LINK.slope((x * full[:, None]).sum(dim=2)) / b
        g = (w[..., None] * x).sum(dim=1)
        g = g - (g * full).sum(dim=1, keepdim=True) * full
        full = torch.nn.functional.normalize(full + 0.02 * g, dim=1)
        own = torch.randn(b, m, generator=generator(900 + step), dtype=torch.float64)
        reduced.step(inner, own, y)
    torch.testing.assert_close(
        (reduced.u**2).sum(dim=2) + reduced.r**2, torch.ones(1, m, dtype=torch.float64)
    )
    for measure in (lambda u: (u**2).sum(dim=1), lambda u: (u**2).max(dim=1).values):
        a, c = measure(full[:, :P]), measure(reduced.overlaps()[0])
        assert a.mean() > 0.25
        assert abs(a.mean() - c.mean()) < 4 * (a.std() ** 2 / m + c.std() ** 2 / m).sqrt()
        assert float(a.std()) == pytest.approx(float(c.std()), rel=0.06)


def test_small_steps_follow_the_flow():
    link, d, P, m, b, eta = parse_link("h2+0.5*h3"), 8, 2, 10, 4000, 3e-3
    v = start_of(11, m, d)
    learner = Shared(link, v, P, np.array([eta]))
    draw = generator(12)
    u, r = v[:, :P].numpy().copy(), v[:, P:].norm(dim=1).numpy().copy()
    for _ in range(250):
        x = torch.randn(b, d, generator=draw, dtype=torch.float64)
        learner.step(x, link.value(x[:, :P]).sum(dim=1))
        for _ in range(4):
            du, dr = theory.velocity(link, u, r)
            u, r = u + du * eta / 4, r + dr * eta / 4
    moved = np.abs(u - v[:, :P].numpy()).mean()
    assert moved > 0.1
    assert np.abs(learner.overlaps()[0].numpy() - u).mean() < 0.1 * moved


def test_a_stream_goes_on_where_it_stood():
    def make():
        def draw(g, rows):
            x = data.normal(g, torch.float32, rows, 3)
            return x, x.sum(dim=1)

        return data.Stream(draw, generator(3), 30_000, 4)

    straight = make()
    every = [straight.next() for _ in range(9)]
    for stop in (0, 1, 2, 5, 8):
        first, second = make(), make()
        for _ in range(stop):
            first.next()
        second.load_state_dict(first.state_dict())
        for x, y in every[stop:]:
            again = second.next()
            assert torch.equal(x, again[0])
            assert torch.equal(y, again[1])


def test_labels_have_the_noise_asked_for():
    inner = torch.zeros(100_000, 2, dtype=torch.float64)
    spread = data.labels(LINK, inner, 0.5, generator(0)).std()
    assert float(spread) == pytest.approx(0.5, abs=0.01)
    assert data.labels(LINK, inner, 0.0, generator(0)).std() == 0


def test_more_directions_than_dimensions_are_refused_in_one_sentence():
    with pytest.raises(UsageError, match="P=9: orthonormal directions in R\\^8"):
        data.check_sizes(9, 8, 4)
    data.check_sizes(8, 8, 4)


def test_budgets_follow_the_theory_and_flags_override_them():
    problem = Problem(LINK, 64, 4, 8)
    auto = plan(problem, TwoStages())
    assert auto.etas[1] == pytest.approx(0.1 * auto.etas[0])
    time = auto.samples[0] * auto.etas[0]
    assert time == pytest.approx(3 * theory.typical_time(LINK, 4, 64), rel=1e-3)
    given = plan(problem, TwoStages(anneal=0.0, batch=7, samples=1000, anneal_samples=5))
    assert given.samples == (1000, 0)
    assert given.batches[0] == 7
    assert given.steps == (143, 0)


@pytest.mark.parametrize("kind", ["shared", "reduced"])
def test_neurons_go_on_from_a_saved_state(kind):
    d, P, m, etas = 9, 2, 3, np.array([0.01, 0.02])
    v = start_of(13, m, d)

    def make():
        if kind == "shared":
            return Shared(LINK, v, P, etas)
        rng = np.random.default_rng(0)
        return Reduced(LINK, v[:, :P], v[:, P:].norm(dim=1), d, etas, rng)

    def go(learner, seeds):
        for seed in seeds:
            x, y = batch_of(seed, 8, d, P)
            g = torch.randn(8, m, generator=generator(seed), dtype=torch.float64)
            learner.step(*((x, y) if kind == "shared" else (x[:, :P], g, y)))

    straight, first, resumed = make(), make(), make()
    go(straight, range(6))
    go(first, range(3))
    resumed.load_state_dict(first.state_dict())
    go(resumed, range(3, 6))
    assert torch.equal(straight.overlaps(), resumed.overlaps())
