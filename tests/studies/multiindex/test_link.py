"""Links: what is read, what is refused, and the polynomials themselves."""

import math

import numpy as np
import pytest
import torch

from toolbox.core.errors import UsageError
from toolbox.studies.multiindex.link import parse_link, parse_links

Z, W = np.polynomial.hermite_e.hermegauss(20)
W = W / W.sum()


def h(q: int, z: np.ndarray) -> np.ndarray:
    return np.polynomial.hermite_e.hermeval(z, [0] * q + [1]) / math.sqrt(math.factorial(q))


@pytest.mark.parametrize("q", range(1, 9))
def test_each_order_is_the_orthonormal_hermite_polynomial_and_its_slope(q):
    link = parse_link(f"h{q}")
    np.testing.assert_allclose(link.value(Z), h(q, Z), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(link.slope(Z), math.sqrt(q) * h(q - 1, Z), rtol=1e-10, atol=1e-10)


def test_a_link_is_orthonormal_under_the_gaussian():
    link = parse_link("0.5*h1-2h2+h3+0.25*h8")
    assert (W * link.value(Z) ** 2).sum() == pytest.approx(link.square)
    assert (W * link.slope(Z) ** 2).sum() == pytest.approx(link.slope_square)
    for q, c in link.terms:
        assert (W * link.value(Z) * h(q, Z)).sum() == pytest.approx(c)


def test_float32_agrees_with_float64_up_to_order_eight_on_samples():
    link = parse_link("h2+h6+h8")
    z = torch.randn(10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for function in (link.value, link.slope):
        exact, single = function(z), function(z.float()).double()
        assert (single - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize(
    ("text", "terms", "name"),
    [
        ("h2+h4", ((2, 1.0), (4, 1.0)), "h2+h4"),
        (" h4 + 0.5*h2 ", ((2, 0.5), (4, 1.0)), "0.5*h2+h4"),
        ("-2H3-1e-1 h8", ((3, -2.0), (8, -0.1)), "-2*h3-0.1*h8"),
        (".5h6", ((6, 0.5),), "0.5*h6"),
    ],
)
def test_links_are_read_and_named_canonically(text, terms, name):
    link = parse_link(text)
    assert link.terms == terms
    assert link.name == name
    assert parse_link(link.name) == link


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("h9", "h9"),
        ("h0+h2", "constant"),
        ("0*h2", "coefficient"),
        ("1e9*h2", "coefficient"),
        ("h2+h2", "twice"),
        ("h2h4", "stuck"),
        ("h2+", "stuck"),
        ("h2+relu", "stuck"),
        ("", "stuck"),
        ("2*", "stuck"),
        ("nan*h2", "stuck"),
    ],
)
def test_what_is_no_link_is_refused_in_one_sentence(text, said):
    with pytest.raises(UsageError) as caught:
        parse_link(text)
    assert str(caught.value).startswith(f"link={text!r}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_link_in_two_spellings_is_refused():
    with pytest.raises(UsageError, match="twice"):
        parse_links(["h2+h4", "h4+h2"])


@pytest.mark.parametrize(
    ("text", "information", "generative", "directions"),
    [
        ("h2+h4", 2, 2, True),
        ("h4", 4, 2, True),
        ("h3", 3, 1, True),
        ("h2", 2, 2, False),
        ("h1+h2", 1, 1, False),
        ("h4+0.1*h5", 4, 1, True),
    ],
)
def test_exponents_of_a_link(text, information, generative, directions):
    link = parse_link(text)
    assert (link.lowest, link.generative, link.names_directions) == (
        information, generative, directions,
    )  # fmt: skip


@pytest.mark.parametrize("text", ["h4", "h2+h4", "h6"])
def test_an_even_link_has_no_first_generative_moment_and_has_a_second(text):
    """E[T(phi(z)) h_k(z)] by quadrature on a fine grid, T an indicator of large labels."""
    link = parse_link(text)
    z = np.linspace(-8, 8, 400_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    T = (link.value(z) > 1.0).astype(float)
    assert abs((density * T * h(1, z)).sum()) < 1e-6
    assert abs((density * T * h(2, z)).sum()) > 0.005
