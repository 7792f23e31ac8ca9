"""Link functions as sums of orthonormal Hermite polynomials, read from text like `h2+0.5*h4`.

h_q = He_q / sqrt(q!) with He_q the probabilists' polynomial: E h_p(z) h_q(z) = [p = q] for a
standard Gaussian z, and h_q' = sqrt(q) h_{q-1}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolbox.core.errors import ParameterError

MAX_ORDER = 8
MAX_COEFFICIENT = 1000.0

_TERM = re.compile(
    r"\s*(?P<sign>[+-]?)\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\*?\s*)?"
    r"[hH](?P<order>\d+)\s*"
)


@dataclass(frozen=True)
class Link:
    """phi = sum_q c_q h_q; `terms` are the pairs (q, c_q) by increasing q, all c_q != 0."""

    terms: tuple[tuple[int, float], ...]

    @property
    def name(self) -> str:
        """The link as it is written in tables: `h2+0.5*h4`."""
        text = ""
        for q, c in self.terms:
            factor = "" if abs(c) == 1 else f"{abs(c):g}*"
            text += f"{'-' if c < 0 else '+'}{factor}h{q}"
        return text.removeprefix("+")

    @property
    def lowest(self) -> int:
        """The information exponent: the lowest order with a coefficient."""
        return self.terms[0][0]

    @property
    def highest(self) -> int:
        """The degree of the polynomial."""
        return self.terms[-1][0]

    @property
    def even(self) -> bool:
        """Whether phi(-z) = phi(z)."""
        return all(q % 2 == 0 for q, _ in self.terms)

    @property
    def generative(self) -> int:
        """The generative exponent of a polynomial: 2 when it is even, else 1 (arXiv:2403.05529)."""
        return 2 if self.even else 1

    @property
    def names_directions(self) -> bool:
        """Whether orders above 2 can tell the directions within their span."""
        return self.highest > 2

    @property
    def square(self) -> float:
        """E phi(z)^2 = sum_q c_q^2."""
        return sum(c * c for _, c in self.terms)

    @property
    def slope_square(self) -> float:
        """E phi'(z)^2 = sum_q q c_q^2."""
        return sum(q * c * c for q, c in self.terms)

    def coefficient(self, order: int) -> float:
        """c_q, 0 where there is no such term."""
        return dict(self.terms).get(order, 0.0)

    def value(self, z: Any) -> Any:
        """phi(z), elementwise on a numpy array or a torch tensor."""
        return _combine(dict(self.terms), z)

    def slope(self, z: Any) -> Any:
        """phi'(z) = sum_q c_q sqrt(q) h_{q-1}(z)."""
        return _combine({q - 1: c * math.sqrt(q) for q, c in self.terms}, z)

    def describe(self) -> str:
        """What the exponents of the link say, in one sentence."""
        p = self.lowest
        need = {1: "d", 2: "d log d"}.get(p, f"d^{p - 1}")
        said = (
            f"link {self.name}: information exponent {p}, so this one-pass SGD needs about {need} "
            f"samples to leave its start; generative exponent {self.generative} "
            f"({'even' if self.even else 'not even'}), so an algorithm that transforms the labels "
            "or sees them twice can do with about d"
        )
        if not self.names_directions:
            end = "mean direction" if self.highest == 1 else "subspace"
            return f"{said}; no order above 2, so the {end} can be found but not the directions"
        return f"{said}; order {self.highest} tells the directions apart"


def _combine(weights: dict[int, float], z: Any) -> Any:
    """sum_q w_q h_q(z) by h_{q+1} = (z h_q - sqrt(q) h_{q-1}) / sqrt(q+1), stable in float32."""
    previous, current = None, z
    total = weights.get(1, 0.0) * z if weights.get(1) else None
    for q in range(1, max(weights)):
        following = z * current
        following -= math.sqrt(q) * previous if previous is not None else 1.0
        following *= 1 / math.sqrt(q + 1)
        previous, current = current, following
        if weights.get(q + 1):
            part = weights[q + 1] * current
            total = part if total is None else total + part
    constant = weights.get(0, 0.0)
    return constant + 0.0 * z if total is None else total + constant if constant else total


def parse_link(text: str, field: str = "link") -> Link:
    """Read `h2+0.5*h4`: signed terms, each an optional number times h1 to h8.

    Errors: `ParameterError`.
    """
    terms: dict[int, float] = {}
    position = 0
    for found in iter(lambda: _TERM.match(text, position), None):
        if position and not found["sign"]:
            break
        position = found.end()
        order = int(found["order"])
        c = float(found["number"] or 1) * (-1 if found["sign"] == "-" else 1)
        problem = ""
        if order == 0:
            problem = "h0 is a constant, which has no direction to learn; drop it"
        elif order > MAX_ORDER:
            problem = f"h{order} is beyond h{MAX_ORDER}; take orders 1 to {MAX_ORDER}"
        elif order in terms:
            problem = f"h{order} stands there twice; write one coefficient for it"
        elif not 1 / MAX_COEFFICIENT <= abs(c) <= MAX_COEFFICIENT:
            problem = (
                f"the coefficient of h{order} is {c:g}; drop the term, or take a size from "
                f"{1 / MAX_COEFFICIENT:g} to {MAX_COEFFICIENT:g}"
            )
        if problem:
            raise ParameterError(field, text, problem)
        terms[order] = c
    if not terms or position != len(text):
        rest = text[position:].strip() or "nothing"
        raise ParameterError(
            field, text, f"expected a sum of terms like h2+0.5*h4, got stuck at {rest!r}"
        )
    return Link(tuple(sorted(terms.items())))


def parse_links(texts: Sequence[str]) -> list[Link]:
    """Several links.

    Errors: `ParameterError`, also for one link written in two ways.
    """
    links = [parse_link(text, "links") for text in texts]
    for place, link in enumerate(links):
        if link in links[:place]:
            raise ParameterError(
                "links", texts[place], f"{link.name} stands there twice", "drop one"
            )
    return links
