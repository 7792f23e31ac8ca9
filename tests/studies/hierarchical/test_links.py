"""The outer link: Hermite algebra against quadrature, and what the parser refuses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.core.errors import UsageError
from toolbox.studies.hierarchical import links

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def plane():
    """Nodes (2, 1600) and weights of a standard normal pair."""
    grid = np.stack(np.meshgrid(NODES, NODES, indexing="ij")).reshape(2, -1)
    return grid, np.outer(WEIGHTS, WEIGHTS).ravel()


def test_hermite_polynomials_are_orthonormal():
    tables = np.array(links.hermite(NODES, links.MAX_ORDER))
    np.testing.assert_allclose((tables * WEIGHTS) @ tables.T, np.eye(9), atol=1e-9)


@pytest.mark.parametrize("text", ["p2", "p3", "p4", "prod", "lin3"])
def test_named_links_have_mean_zero_and_variance_one(text):
    z, w = plane()
    y = links.evaluate(links.parse(text, 2), z)
    assert abs(w @ y) < 1e-9
    assert abs(w @ y**2 - 1) < 1e-9


def test_the_text_form_of_a_named_link_is_the_same_function():
    z = np.random.default_rng(0).standard_normal((3, 50))
    named = links.evaluate(links.parse("p3", 3), z)
    half = 1 / math.sqrt(6)
    text = " + ".join(f"{half!r}*h{q}(z{k})" for k in (1, 2, 3) for q in (2, 3))
    np.testing.assert_allclose(links.evaluate(links.parse(text, 3), z), named, atol=1e-12)


def test_a_written_link_is_the_polynomial_it_says():
    z = np.random.default_rng(0).standard_normal((3, 50))
    found = links.evaluate(links.parse("-h3(z1)*z2 + 1.5e-1 * h2(z3) - 2*z1", 3), z)
    h2, h3 = (z[2] ** 2 - 1) / math.sqrt(2), (z[0] ** 3 - 3 * z[0]) / math.sqrt(6)
    np.testing.assert_allclose(found, -h3 * z[1] + 0.15 * h2 - 2 * z[0], atol=1e-12)


@pytest.mark.parametrize("text", ["p2", "p4", "prod", "h2(z1)*z2 + 0.5*z1*z2 - h2(z2)", "lin3"])
def test_the_mean_hessian_is_that_of_finite_differences(text):
    z, w = plane()
    link, e = links.parse(text, 2), 1e-3
    H = np.empty((2, 2))
    for k in range(2):
        for j in range(2):
            step_k, step_j = e * np.eye(2)[k][:, None], e * np.eye(2)[j][:, None]
            corners = [
                links.evaluate(link, z + a * step_k + b * step_j) * a * b
                for a in (1, -1)
                for b in (1, -1)
            ]
            H[k, j] = w @ sum(corners) / (4 * e * e)
    np.testing.assert_allclose(link.mean_hessian, H, atol=1e-5)


def test_a_link_knows_which_features_one_step_sees():
    seen = {"p2": 2, "prod": 2, "lin3": 0, "h2(z1)": 1, "h2(z1)*z2": 0, "h2(z1)+h3(z2)": 1}
    assert {text: links.parse(text, 2).visible for text in seen} == seen
    assert links.parse("h3(z1)*h4(z2) + z1", 2).degree == 7


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p7", "p7"),
        ("", "expected"),
        ("z3", "z3"),
        ("h9(z1)", "h9"),
        ("h0(z1)", "h0"),
        ("z1*h2(z1)", "twice"),
        ("3", "constant"),
        ("z1 - z1", "cancel"),
        ("2**z1", "cannot read"),
        ("h2(z1)h2(z2)", "cannot read"),
        ("__import__('os')", "cannot read"),
        ("1e999*z1", "1e999"),
        ("z1 +", "expected"),
    ],
)
def test_a_wrong_link_is_refused_in_one_sentence(text, says):
    with pytest.raises(UsageError, match="link=") as caught:
        links.parse(text, 2)
    assert says in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_product_needs_two_features():
    with pytest.raises(UsageError, match="needs two features; raise r"):
        links.parse("prod", 1)


@given(st.text(alphabet="h123z()*+-. e", max_size=20))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_link_or_a_usage_error(text):
    try:
        link = links.parse(text, 3)
    except UsageError:
        return
    assert np.isfinite(links.evaluate(link, np.ones((3, 2)))).all()
