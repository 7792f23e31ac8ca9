"""The semidefinite program against closed forms: the values called exact are exact."""

import numpy as np
import pytest

pytest.importorskip("cvxpy")
pytest.importorskip("clarabel")

from toolbox.studies.gd import lower_bounds, metrics, model
from toolbox.studies.gd.pep import worst_case_pep
from toolbox.studies.gd.worst_case import LOWER_BOUND, worst_case

SCHEDULES = ["constant0.5", "constant1", "constant1.5", "constant1.9", "dynamic", "silver"]
SCHEDULES += ["anytime", "grimmer3", "grimmer7", "pridp", "domdp"]


@pytest.mark.parametrize(("name", "c"), [*((s, model.P) for s in SCHEDULES), ("anytime", 0.7)])
def test_values_called_exact_are_exact_and_the_others_lower_bounds(name, c):
    N = np.arange(1, 13)
    w, h = worst_case(name, N, c), model.schedule(name, 12, c)
    exact = np.array([worst_case_pep(h[:n]).value for n in N])
    known = w.exactness != LOWER_BOUND
    assert w.tau[known] == pytest.approx(exact[known], rel=2e-6)
    for bound in (w.tau, lower_bounds.checkpoints(h), lower_bounds.two_sided_huber(h, kinks=24)):
        assert np.all(bound <= exact * (1 + 2e-6))  # the solver's own error


@pytest.mark.parametrize(
    ("name", "N"), [("anytime", 17), ("anytime", 29), ("silver", 17), ("silver", 20)]
)
def test_later_certified_values(name, N):
    exact = worst_case_pep(model.schedule(name, N)).value
    assert worst_case(name, [N]).tau[0] == pytest.approx(exact, rel=2e-6)


def test_silver_at_25_is_only_a_lower_bound():
    w = worst_case("silver", [25])
    assert w.exactness[0] == LOWER_BOUND
    exact = worst_case_pep(model.schedule("silver", 25)).value
    assert w.tau[0] / exact == pytest.approx(0.931, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "N", "value"),
    [
        ("silver", 7, 0.0184215423),
        ("anytime", 8, 0.0162509805),
        ("anytime", 12, 0.0100553877),
        ("dynamic", 6, 0.0235348654),
        ("constant1", 6, 0.0384615384),
    ],
)
def test_reference_values(name, N, value):
    h = model.schedule(name, N)
    assert worst_case_pep(h).value == pytest.approx(value, rel=1e-7)
    assert metrics.primitive_tau(h.sum()) == pytest.approx(value, rel=1e-8)
    if name != "constant1":  # the one that is exact without being primitive
        assert worst_case_pep(h, metric="potential").value == pytest.approx(0.5, rel=1e-6)


def test_the_potential_tells_primitive_prefixes_apart():
    _, is_endpoint = model.structure("anytime", 9)
    h = model.schedule("anytime", 9)
    values = [worst_case_pep(h[:n], metric="potential").value for n in range(1, 10)]
    assert [v < 0.5 + 1e-6 for v in values] == is_endpoint.tolist()
    assert worst_case_pep([3.0], metric="potential").value > 1.0


@pytest.mark.parametrize(("N", "value"), [(2, 0.23765), (4, 0.03669), (8, 0.00442)])
def test_one_restart_contracts_within_its_bound(N, value):
    h = model.schedule("anytime", N)
    measured = worst_case_pep(h, mu=0.2, metric="distance").value
    assert measured == pytest.approx(value, abs=5e-6)
    assert measured <= metrics.restart_contraction(h.sum(), 5.0)


def test_metrics_of_one_unit_step():
    """h = 1, convex: f <= 1/6, |g|^2 <= 1/4 and no contraction; mu = 1/2: |x|^2 <= 1/4."""
    assert worst_case_pep([1.0]).value == pytest.approx(1 / 6, rel=1e-7)
    assert worst_case_pep([1.0], metric="g").value == pytest.approx(1 / 4, rel=1e-7)
    assert worst_case_pep([1.0], metric="distance").value == pytest.approx(1.0, rel=1e-7)
    half = worst_case_pep([1.0], mu=0.5, metric="distance").value
    assert half == pytest.approx(1 / 4, rel=1e-6)


@pytest.mark.parametrize(
    ("h", "mu", "metric"), [([], 0, "f"), ([np.nan], 0, "f"), ([1.0], 1.0, "f"), ([1.0], 0, "x")]
)
def test_bad_arguments_are_refused(h, mu, metric):
    with pytest.raises(ValueError, match=r"h must be|mu must be|unknown metric"):
        worst_case_pep(h, mu, metric)
