"""The valley in closed form, and closed forms of the flows where they have one."""

import numpy as np
import pytest
import torch

from toolbox.studies.flows import toy
from toolbox.studies.flows.central import Central, Setting, Stable
from toolbox.studies.flows.landscape import Point
from toolbox.studies.flows.rule import Rule
from toolbox.studies.flows.toy import Valley

GAPS = (0.25, 0.1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def hessian(value, w):
    return torch.autograd.functional.hessian(value, w)


def gradient(value, w):
    return Point(value, w).gradient


def central(value, rule, w, nu=None, **setting):
    nu = rule.start(gradient(value, w)) if nu is None else nu
    return Central(value, rule, w, nu, Setting(**setting), generator())


# ------------------------------------------------------------------------- the cycle of two steps


@pytest.mark.parametrize(("eta", "rate"), [(0.05, 0.1), (0.3, 0.02), (7.0, 0.4)])
def test_gradient_descent_goes_round_the_cycle(eta, rate):
    valley = Valley(eta, rate, GAPS)
    there = valley.cycle()
    back = there * torch.tensor([-1, -1, 1, 1, 1, 1])
    assert torch.allclose(there - eta * gradient(valley, there), back, atol=1e-14)
    assert torch.allclose(back - eta * gradient(valley, back), there, atol=1e-14)


def test_the_predictions_are_exact_on_the_cycle():
    valley = Valley(0.05, 0.1, GAPS)
    there = valley.cycle()
    middle = there * torch.tensor([0, 0, 1, 1, 1, 1])
    found = central(valley, Rule("gd", 0.05), middle).advance()
    assert found.critical == 2
    assert found.mean_loss == pytest.approx(float(valley(there)), rel=1e-12)
    # U X U^T is the covariance of x = +-sigma_i; both signs are independent in it.
    covariance = found.U @ found.X @ found.U.T
    expected = np.diag(np.append(valley.variances, np.zeros(4)))
    assert covariance.numpy() == pytest.approx(expected, abs=1e-12)


def test_scalar_rmsprop_goes_round_the_same_cycle():
    valley = Valley(0.05, 0.1, GAPS)
    rule, there = Rule("scalar-rmsprop", valley.scalar_eta, 0.9), valley.cycle()
    nu = rule.squared(gradient(valley, there))
    assert float(rule.P(nu)) == pytest.approx(1 / 0.05, rel=1e-12)  # steps of size eta
    assert float((there[:2] ** 2).sum().sqrt()) == pytest.approx(valley.scalar_eta / 2, rel=1e-12)
    step = gradient(valley, there) / rule.P(nu)
    assert torch.allclose(there - step, there * torch.tensor([-1, -1, 1, 1, 1, 1]), atol=1e-14)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_the_cycle_attracts_for_gaps_below_a_third(rate):
    def largest(gap):
        valley = Valley(0.05, rate, (gap,))

        def two_steps(w):
            for _ in range(2):
                (g,) = torch.autograd.grad(valley(w), w, create_graph=True)
                w = w - 0.05 * g
            return w

        w = valley.cycle().requires_grad_()
        jacobian = torch.autograd.functional.jacobian(two_steps, w)
        product = float(torch.linalg.det(jacobian))
        # Twice the factor of areas, and that of y - z, which is 1 - rate in a step.
        assert product == pytest.approx(((1 - rate * (1 - 3 * gap)) * (1 - rate)) ** 2, rel=1e-9)
        return float(torch.linalg.eigvals(jacobian).abs().max())

    assert largest(0.33) < 1 < largest(0.335)


# ------------------------------------------------------------------------ the flow in closed form


def followed(valley, across, steps, substeps):
    """x, y and z of the computed central flow, (steps, 3, k), and its traces and losses."""
    flow = central(valley, Rule("gd", valley.eta), valley.start(across), substeps=substeps)
    places, traces, losses = [], [], []
    for _ in range(steps):
        places.append(flow.w.numpy().reshape(3, -1))
        found = flow.advance()
        traces.append(float(found.X.trace()))
        losses.append(found.loss)
    return np.array(places), np.array(traces), np.array(losses)


def test_the_central_flow_is_its_closed_form_and_the_order_of_the_substep_is_one():
    valley, across = Valley(0.05, 0.1, GAPS), np.array([0.5, -1.0])
    step = np.arange(40.0)
    exact, variances = valley.central_flow(across, step)
    errors = []
    for substeps in (2, 4, 8, 16):
        places, traces, _ = followed(valley, across, 40, substeps)
        errors.append(np.abs(places - exact).max())
        # The second valley comes to its edge later than the first.
        entries = [int(np.argmax(variances[:, i] > 0)) for i in (0, 1)]
        assert 5 < entries[0] < entries[1] < 35
        for a, b in ((1, entries[0] - 1), (entries[0] + 1, entries[1] - 1), (entries[1] + 1, 40)):
            assert traces[a:b] * valley.eta == pytest.approx(variances[a:b].sum(1), rel=1e-9)
    assert errors[-1] < 2e-3
    slope = np.polyfit(np.log([2, 4, 8, 16]), np.log(errors), 1)[0]
    assert slope == pytest.approx(-1, abs=0.1)


def test_along_the_central_flow_the_loss_falls_at_every_step():
    valley, across = Valley(0.05, 0.1, GAPS), np.array([0.5, -1.0])
    exact, _ = valley.central_flow(across, np.arange(60.0))
    losses = np.array([float(valley(torch.from_numpy(w.ravel()))) for w in exact])
    assert (np.diff(losses) < 0).all()
    assert (np.diff(followed(valley, across, 60, 2)[2]) < 0).all()


def test_gradient_descent_follows_the_central_flow_and_not_the_gradient_flow():
    valley, across = Valley(0.05, 0.1, (0.2,)), np.array([0.5])
    w, places = valley.start(across), []
    for _ in range(300):
        if float(w[1] + w[2]) > valley.edge and not w[0]:
            w = w + torch.tensor([0.01, 0, 0])  # from x = 0 it would follow the gradient flow
        places.append(w.numpy())
        w = w - valley.eta * gradient(valley, w)
    exact, variances = valley.central_flow(across, np.arange(300.0))
    x, y, z = np.array(places[100:]).T
    assert (x**2).mean() == pytest.approx(variances[-1, 0], rel=0.02)
    assert (y + z).mean() == pytest.approx(valley.edge, abs=0.002)
    assert np.abs(y - z - (exact[100:, 1] - exact[100:, 2])[:, 0]).max() < 1e-4


# ------------------------------------------------------- one direction: the formulas of Sigma


def at_the_edge(seed):
    """A point off the valley's floor, its sharpness, and the gradient of the sharpness."""
    valley = Valley(0.05, 0.4, (0.2,))
    drawn = torch.randn(3, dtype=torch.float64, generator=generator(seed))
    w = valley.cycle() * torch.tensor([0.3, 1, 1]) + 0.2 * drawn * torch.tensor([0.3, 1, 1])

    def sharpness(w):
        return float(torch.linalg.eigvalsh(hessian(valley, w))[-1])

    h = 1e-5
    steps = h * torch.eye(3, dtype=torch.float64)
    slope = torch.tensor([(sharpness(w + s) - sharpness(w - s)) / (2 * h) for s in steps])
    return valley, w, sharpness(w), slope.double()


@pytest.mark.parametrize("seed", range(6))
def test_one_direction_of_gradient_descent_has_the_variance_of_the_paper(seed):
    """sigma^2 = max(0, 2 <-grad L, grad S> / |grad S|^2)."""
    valley, w, S, slope = at_the_edge(seed)
    found = central(valley, Rule("gd", 2 / S), w, substeps=3, tolerance=1e-12).advance()
    expected = float(2 * (-gradient(valley, w) @ slope) / (slope @ slope))
    measured = float(found.X[0, 0] * found.U[:, 0] @ found.U[:, 0])
    assert measured == pytest.approx(max(0.0, expected), rel=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_one_direction_of_scalar_rmsprop_has_its_variance_in_closed_form(seed):
    """With c = (1 - beta2)/beta2 and e = eta/sqrt(nu) = 2/S, the sharpness times e stays at 2 when

    sigma^2 = [e <-g, grad S>/S - c/2 (|g|^2/nu - 1)] / [e/2 |grad S|^2/S + c/2 S^2/nu].
    """
    valley, w, S, slope = at_the_edge(seed)
    g = gradient(valley, w)
    rule = Rule("scalar-rmsprop", 0.3, 0.9)
    nu = torch.tensor([(0.3 * S / 2) ** 2], dtype=torch.float64)
    found = central(valley, rule, w, nu, substeps=3, tolerance=1e-12).advance()
    c, e = 1 / 9, 2 / S
    square = float(g @ g) / float(nu)
    top = float(e * (-g @ slope) / S) - c / 2 * (square - 1)
    bottom = float(e / 2 * (slope @ slope) / S) + c / 2 * S**2 / float(nu)
    measured = float(found.X[0, 0] * found.U[:, 0] @ found.U[:, 0]) if found.critical else 0.0
    assert measured == pytest.approx(max(0.0, top / bottom), rel=1e-6)


def test_both_signs_of_the_formulas_are_seen():
    signs = []
    for seed in range(6):
        valley, w, _, slope = at_the_edge(seed)
        signs.append(float(-gradient(valley, w) @ slope) > 0)
    assert set(signs) == {True, False}


# ------------------------------------------------------------------------------- limit cases


def test_on_a_quadratic_without_critical_directions_both_flows_are_one():
    """Third derivatives are 0; an effective eigenvalue just below 2 predicts no oscillation."""
    H = torch.diag(torch.tensor([1.97, 1.0, 0.3], dtype=torch.float64))
    start = torch.ones(3, dtype=torch.float64)
    rule = Rule("gd", 1.0)

    def value(w):
        return w @ H @ w / 2

    T, HU = Point(value, start).third(torch.eye(3, dtype=torch.float64))
    assert not T.any()
    assert torch.equal(HU, H)
    nu = start.new_zeros(0)
    flows = [kind(value, rule, start, nu, Setting(), generator()) for kind in (Central, Stable)]
    for _ in range(5):
        found, _ = (flow.advance() for flow in flows)
        assert found.top == pytest.approx(1.97)
        assert not found.X.any()
        assert torch.allclose(flows[0].w, flows[1].w, rtol=1e-13)
    assert torch.allclose(flows[0].w, start * (1 - H.diagonal() / 4) ** 20, rtol=1e-12)


def test_the_flow_of_gradient_descent_turns_with_the_coordinates():
    valley, across = Valley(0.05, 0.1, GAPS), np.array([0.5, -1.0])
    drawn = torch.randn(6, 6, dtype=torch.float64, generator=generator(3))
    turn, _ = torch.linalg.qr(drawn)
    start = valley.start(across)
    start[:2] = 0.05
    plain = central(valley, Rule("gd", 0.05), start, tolerance=1e-10)
    turned = central(lambda w: valley(turn.T @ w), Rule("gd", 0.05), turn @ start, tolerance=1e-10)
    for _ in range(30):
        found, other = plain.advance(), turned.advance()
        assert float(other.X.trace()) == pytest.approx(float(found.X.trace()), abs=1e-8)
    assert found.critical == 2
    assert torch.allclose(turned.w, turn @ plain.w, atol=1e-8)


def test_a_gap_at_which_the_cycle_does_not_attract_is_refused(tmp_path):
    from toolbox.core.errors import ParameterError
    from toolbox.studies.flows.cli import Toy

    with pytest.raises(ParameterError, match="1/3 or more"):
        toy.toy(None, Toy(gaps=(0.2, 0.4)))
