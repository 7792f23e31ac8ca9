"""The no-context optima: closed forms against Monte Carlo, limits, and the official constants."""

import itertools
import math

import numpy as np
import pytest
import torch

from toolbox.core.errors import ParameterError
from toolbox.studies.icl import no_context, tasks
from toolbox.studies.icl.names import is_boolean, task_names


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


DEFINED = [
    (name, d) for name in task_names() for d in (1, 3, 4, 10) if d >= tasks.SMALLEST_D.get(name, 1)
]


@pytest.mark.parametrize(("name", "d"), DEFINED)
def test_the_exact_optimum_is_that_of_monte_carlo_within_its_error(name, d):
    exact = no_context.optimum(name, d, 4)
    # An entropy needs many functions for its bias to be small, a variance many inputs.
    xs, fs = (1000, 300) if is_boolean(name) else (20_000, 20)
    drawn = no_context.monte_carlo(name, d, 4, 2000 if "network" in name else xs, fs, stream(d))
    assert exact.standard_error == 0
    assert 0 < drawn.standard_error < 0.05 * exact.value
    assert abs(drawn.value - exact.value) < 4 * drawn.standard_error


@pytest.mark.parametrize("d", [1, 5, 10])
def test_the_simple_closed_forms(d):
    def value(name):
        return no_context.optimum(name, d, 4).value

    assert value("linear") == value("relu-network") == d
    assert value("quadratic") == d + 2
    assert value("decision-tree") == 1
    assert value("leaky-relu") == pytest.approx(d * (0.625 - 0.125 / math.pi))
    assert value("relu") == pytest.approx(d * (math.pi - 1) / (2 * math.pi))
    assert value("coin") == value("truth-table") == pytest.approx(math.log(2))
    assert value("parity") == pytest.approx(math.log(2) * (1 - 2.0**-d))
    p = 0.85**d
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert value("conjunction") == pytest.approx(entropy)
    assert value("disjunction") == pytest.approx(entropy)
    if d >= 3:
        assert value("sparse-linear") == 3


def test_parity2_at_three_dimensions_by_hand():
    # One or two +1 of three: two of the three pairs hold an odd number. None or three: no pair.
    third = math.log(3) - 2 / 3 * math.log(2)
    assert no_context.optimum("parity2", 3, 4).value == pytest.approx(6 / 8 * third)


def test_the_logistic_quadrature_has_the_closed_value_at_two_dimensions():
    # w . x is Laplace then: E tanh^2(z/2) = 1 - int_0^1 4u/(1+u)^2 du = 3 - 4 ln 2.
    assert no_context.logistic(2) == pytest.approx((3 - 4 * math.log(2)) / 4, rel=1e-12)


@pytest.mark.parametrize("d", [1, 6])
def test_the_logistic_quadrature_is_that_of_scipy(d):
    from scipy import integrate, stats

    def at(s):
        inside = integrate.quad(lambda g: np.tanh(s * g / 2) ** 2 * stats.norm.pdf(g), 0, 12)[0]
        return 2 * inside * stats.chi(d).pdf(s)

    expected = integrate.quad(at, 0, math.sqrt(d) + 12, limit=200)[0] / 4
    assert no_context.logistic(d) == pytest.approx(expected, rel=1e-7)


def test_the_logistic_optimum_grows_to_that_of_a_fair_step():
    values = [no_context.logistic(d) for d in (1, 2, 5, 20, 100, 1000, 10**5)]
    assert values == sorted(values)
    # E tanh^2(s g / 2) -> 1 - (4 / s) pdf(0) as s grows.
    s = math.sqrt(10**5)
    assert values[-1] == pytest.approx((1 - 4 / s / math.sqrt(2 * math.pi)) / 4, rel=1e-4)


def test_no_sign_is_more_uncertain_than_a_fair_coin_and_no_optimum_is_zero():
    for d in (3, 4, 10, 40):
        for name in task_names():
            if d < tasks.SMALLEST_D.get(name, 1):
                continue
            value = no_context.optimum(name, d, 4).value
            assert value > 0
            assert not is_boolean(name) or value <= math.log(2) + 1e-12


def test_the_optimum_of_a_retrieval_at_hand_is_that_of_its_tables():
    task = tasks.make("boolean-retrieval", 3, 4, stream())
    share = (task.values > 0).double().mean(dim=0)
    expected = torch.distributions.Bernoulli(probs=share).entropy().nan_to_num().mean()
    assert no_context.of(task).value == pytest.approx(float(expected))
    task = tasks.make("gaussian-retrieval", 3, 4, stream())
    x, y = task.draw(stream(1), 20_000)
    residual = (
        y - tasks.make("gaussian-retrieval/no-context", 3, 4, stream()).draw(stream(1), 20_000)[1]
    )
    assert torch.equal(x, task.draw(stream(1), 20_000)[0])
    risk = (residual**2).mean(dim=1)
    error = float(risk.std()) / math.sqrt(len(risk))
    assert abs(no_context.of(task).value - float(risk.mean())) < 4 * error


def test_a_constant_prediction_of_the_best_chance_has_the_optimum_as_its_risk():
    # The logistic loss of the logit of P(y = 1 | x), by drawing prompts as training does.
    for name in ("parity2", "parity3", "conjunction", "disjunction", "parity"):
        x, y = tasks.make(name, 5, 6, stream()).draw(stream(3), 8000)
        chance = torch.tensor([tasks.chance_of_plus(name, 5, m) for m in range(6)])
        p = chance[(x > 0).sum(dim=2)]
        loss = -torch.log(torch.where(y > 0, p, 1 - p)).mean(dim=1)
        error = float(loss.std()) / math.sqrt(len(loss))
        assert abs(float(loss.mean()) - no_context.optimum(name, 5, 6).value) < 4 * error


def test_a_no_context_task_is_divided_by_the_optimum_of_its_task_or_what_the_code_has():
    def both(name):
        return [no_context.optimum(name, 10, 4, c).value for c in ("exact", "repo")]

    for name in task_names():
        assert both(name + "/no-context")[0] == both(name)[0]
    assert both("linear/no-context") == [10, 1]
    assert both("quadratic/no-context") == [12, 12]
    assert both("conjunction/no-context")[1] == 1


def test_the_official_constants_are_given_where_the_code_has_them_and_refused_elsewhere():
    def repo(name, d):
        return no_context.optimum(name, d, 4, "repo").value

    found = [repo(name, 10) for name in ("parity2", "parity3", "parity", "conjunction")]
    assert found == [0.68295, 0.69017, 0.69656, 0.40751]
    assert repo("disjunction", 20) == 0.13822
    assert (repo("linear", 7), repo("sparse-linear", 7), repo("quadratic", 7)) == (7, 3, 9)
    assert (repo("gaussian-retrieval", 7), repo("boolean-retrieval", 7)) == (9, 1)
    with pytest.raises(ParameterError, match=r"ncl='repo'.*parity2 at d 5; give d 10 or 15 or 20"):
        repo("parity2", 5)
    with pytest.raises(ParameterError, match=r"ncl='repo'.*parity at d 15; give d 10, or ncl"):
        repo("parity", 15)


@pytest.mark.parametrize("name", no_context.BY_MONTE_CARLO)
def test_the_official_monte_carlo_is_near_the_exact_optimum_and_always_the_same(name):
    there, exact = (no_context.optimum(name, 5, 4, c) for c in ("repo", "exact"))
    assert there.method == "Monte Carlo"
    # 1024 shared functions: a relative error of about sqrt(2/1024) comes from them alone.
    assert there.value == pytest.approx(exact.value, rel=5 * math.sqrt(2 / 1024))
    again = no_context.monte_carlo(name, 5, 4, 1024, 1024, stream(), shared=True)
    assert again == there


def all_functions(name, d):
    """Every function of a boolean task and its probability."""
    if name.startswith("parity"):
        sizes = range(d + 1) if name == "parity" else [int(name[-1])]
        subsets = [set(s) for k in sizes for s in itertools.combinations(range(d), k)]
        w = [[1.0 if i in s else 0.0 for i in range(d)] for s in subsets]
        p = [1 / len(w)] * len(w)
    else:
        w = list(itertools.product([0.0, 1.0, -1.0], repeat=d))
        p = [math.prod(0.15 if v else 0.7 for v in row) for row in w]
    return torch.tensor(w), torch.tensor(p, dtype=torch.float64)


@pytest.mark.parametrize(
    "mix", [("parity2", "conjunction", "disjunction"), ("parity2", "parity2", "parity", "coin")]
)
def test_the_plateau_of_signs_in_a_mix_is_where_training_on_x_alone_ends(mix):
    d = 3
    x = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=d)))
    logits = torch.zeros(len(x), dtype=torch.float64, requires_grad=True)

    def losses():
        found = []
        for name in mix:
            if name == "coin":
                y, p = torch.tensor([[1.0], [-1.0]]).expand(2, len(x)), torch.tensor([0.5, 0.5])
            else:
                w, p = all_functions(name, d)
                y = tasks.evaluate(name, x.expand(len(w), *x.shape), (w,))
            loss = torch.nn.functional.softplus(-y * logits).mean(dim=1) @ p.double()
            found.append(loss / no_context.optimum(name, d, 4).value)
        return found

    optimiser = torch.optim.LBFGS([logits], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        total = torch.stack(losses()).sum()
        total.backward()
        return total

    for _ in range(5):
        optimiser.step(closure)
    expected = [float(loss.detach()) for loss in losses()]
    assert no_context.plateaus(mix, d, 4) == pytest.approx(expected, rel=1e-5)


def test_the_plateau_of_numbers_in_a_mix_is_that_of_the_best_fit_to_all():
    mix, d, draws = ("linear", "relu", "logistic", "decision-tree"), 3, 400_000
    drawn = [tasks.make(name, d, 2, stream()).draw(stream(7), draws // 2) for name in mix]
    norms = [x.double().norm(dim=2).flatten() for x, _ in drawn]
    labels = [y.double().flatten() for _, y in drawn]
    weights = [1 / no_context.optimum(name, d, 2).value for name in mix]
    left, right = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for norm, y, w in zip(norms, labels, weights, strict=True):
        features = torch.stack([norm, torch.ones_like(norm)], dim=1)
        left, right = left + w * features.T @ features, right + w * features.T @ y
    a, b = torch.linalg.solve(left, right)
    levels = no_context.plateaus(mix, d, 2)
    for norm, y, w, level in zip(norms, labels, weights, levels, strict=True):
        risk = w * (y - a * norm - b) ** 2
        assert abs(float(risk.mean()) - level) < 5 * float(risk.std()) / math.sqrt(draws)


def test_alone_or_among_tasks_of_the_same_guess_a_plateau_stands_at_one():
    for name in task_names():
        if not name.endswith("-retrieval"):
            assert no_context.plateaus([name], 5, 4) == pytest.approx((1.0,))
    assert no_context.plateaus(["linear", "quadratic", "sine"], 5, 4) == pytest.approx((1, 1, 1))
    # Signs do not disturb numbers.
    together = no_context.plateaus(["parity2", "linear", "coin"], 5, 4)
    assert together[1] == pytest.approx(1)
    assert together[::2] == pytest.approx(no_context.plateaus(["parity2", "coin"], 5, 4))


def test_beside_its_own_best_guess_a_task_is_predicted_worse_and_the_guess_not_for_free():
    own, guess = no_context.plateaus(["decision-tree", "linear/no-context"], 4, 4)
    # Guesses 1 and 0 with weights 1 and 1/4.
    assert own == pytest.approx(1 + 0.2**2)
    assert guess == pytest.approx(0.8**2 / 4)
    with pytest.raises(ValueError, match="retrieval"):
        no_context.plateaus(["linear", "gaussian-retrieval"], 4, 4)
