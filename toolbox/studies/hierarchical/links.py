"""The outer link g: a polynomial in the r features, written in orthonormal Hermite polynomials.

h_q is the probabilists' Hermite polynomial He_q over sqrt(q!), so that E h_q(z) h_s(z) is 1 where
q = s and 0 elsewhere, for z standard normal.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolbox.core.errors import ParameterError

Floats = NDArray[np.floating]

MAX_ORDER = 8
NAMED = ("p2", "p3", "p4", "prod", "lin3")

_SIGNS = re.compile(r"(?<!^)(?<!\de)(?<!\.e)(?=[+-])")  # before a sign that is no exponent's
_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?")
_FACTOR = re.compile(r"h(\d+)\(z(\d+)\)|z(\d+)")


@dataclass(frozen=True)
class Link:
    """g(z) = sum over (orders q, weight c) of c prod_k h_{q_k}(z_k).

    terms : multi-index (q_1, ..., q_r) -> weight, none of them zero
    """

    text: str
    r: int
    terms: tuple[tuple[tuple[int, ...], float], ...]

    @property
    def degree(self) -> int:
        """The degree p of the polynomial."""
        return max(sum(orders) for orders, _ in self.terms)

    @property
    def mean_hessian(self) -> Floats:
        """H = E grad^2 g(z) for z ~ N(0, I), (r, r): only terms of degree 2 enter.

        h_2'' = sqrt 2, and z_k z_l = h_1 h_1 has the mixed derivative 1.
        """
        H = np.zeros((self.r, self.r))
        for orders, weight in self.terms:
            if sum(orders) == 2:
                where = [k for k, q in enumerate(orders) for _ in range(q)]
                value = weight * (math.sqrt(2) if where[0] == where[1] else 1.0)
                H[where[0], where[1]] = H[where[1], where[0]] = value
        return H

    @property
    def visible(self) -> int:
        """How many directions of features one gradient step sees: the rank of H."""
        return int(np.linalg.matrix_rank(self.mean_hessian))


def hermite(z: Floats, order: int) -> list[Floats]:
    """h_0(z), ..., h_order(z) by h_{q+1} = (z h_q - sqrt(q) h_{q-1}) / sqrt(q + 1)."""
    h = [np.ones_like(z), z]
    for q in range(1, order):
        h.append((z * h[q] - math.sqrt(q) * h[q - 1]) / math.sqrt(q + 1))
    return h[: order + 1]


def evaluate(link: Link, z: Floats) -> Floats:
    """g(z) for features z (r, B), in double precision, (B,)."""
    z = np.asarray(z, dtype=np.float64)
    highest = [max(orders[k] for orders, _ in link.terms) for k in range(link.r)]
    tables = [hermite(z[k], highest[k]) for k in range(link.r)]
    total = np.zeros(z.shape[1])
    for orders, weight in link.terms:
        product = np.full(z.shape[1], weight)
        for k, q in enumerate(orders):
            if q:
                product *= tables[k][q]
        total += product
    return total


def parse(text: str, r: int, field: str = "link") -> Link:
    """A named link, or a sum such as `h2(z1)*z2 + 0.5*h3(z1)` for the features z1, ..., zr.

    Errors: `ParameterError`.
    """
    if text in NAMED:
        return _named(text, r, field)
    terms: dict[tuple[int, ...], float] = {}
    for signed in _SIGNS.split(re.sub(r"\s+", "", text)):
        term = signed.lstrip("+-")
        if not term or len(signed) - len(term) > 1:
            known = ", ".join(NAMED)
            raise ParameterError(
                field, text, f"expected {known} or a sum such as h2(z1)*z2 + 0.5*h3(z1)"
            )
        orders, weight = _term(text, term, r, field)
        terms[orders] = terms.get(orders, 0.0) + (-weight if signed[0] == "-" else weight)
    kept = tuple(sorted((orders, weight) for orders, weight in terms.items() if weight))
    if not kept:
        raise ParameterError(field, text, "its terms cancel", "give a link that is not zero")
    return Link(text, r, kept)


def _term(text: str, term: str, r: int, field: str) -> tuple[tuple[int, ...], float]:
    """Multi-index and weight of one product."""
    orders, weight = [0] * r, 1.0
    for part in term.split("*"):
        match = _FACTOR.fullmatch(part)
        if match is None:
            if not _NUMBER.fullmatch(part) or not math.isfinite(float(part)):
                raise ParameterError(
                    field,
                    text,
                    f"cannot read {part!r}",
                    "write numbers, z1 and h2(z1), joined by * and +",
                )
            weight *= float(part)
            continue
        order, k = int(match[1] or 1), int(match[2] or match[3])
        if not 1 <= k <= r:
            raise ParameterError(
                field, text, f"there is no z{k} with {{r}} {r}", f"features are z1 to z{r}"
            )
        if not 1 <= order <= MAX_ORDER:
            raise ParameterError(field, text, f"h{order} is outside h1 to h{MAX_ORDER}")
        if orders[k - 1]:
            raise ParameterError(
                field,
                text,
                f"z{k} stands twice in {term}",
                f"write the product as a sum of Hermite polynomials, one h(z{k}) to a term",
            )
        orders[k - 1] = order
    if not any(orders):
        raise ParameterError(
            field, text, f"the constant {term} is no part of a link", "leave it out"
        )
    return tuple(orders), weight


def _named(name: str, r: int, field: str) -> Link:
    """`p2 p3 p4`: sum_k of h_2, h_2 + h_3, h_2 + h_4; `lin3`: of h_3; `prod`: z_1 z_2."""
    if name == "prod":
        if r < 2:
            raise ParameterError(field, "prod", "the product z1*z2 needs two features", "raise {r}")
        return Link(name, r, (((1, 1, *[0] * (r - 2)), 1.0),))
    orders = {"p2": (2,), "p3": (2, 3), "p4": (2, 4), "lin3": (3,)}[name]
    weight = 1 / math.sqrt(len(orders) * r)
    terms = [(tuple(q * (j == k) for j in range(r)), weight) for k in range(r) for q in orders]
    return Link(name, r, tuple(sorted(terms)))
