"""A number computed from parameters, without running code: `200 + 4e-6 * d ** 3`.

Its grammar is that of `toolbox.core.expression`; a comparison counts 1 where it holds and 0
elsewhere, so that `100 + 900 * (optimizer == 'adam')` is 1000 or 100.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolbox.core.errors import UsageError
from toolbox.core.expression import Expression, compile_expression
from toolbox.core.where import unknown


@dataclass(frozen=True)
class Formula:
    """A checked formula."""

    expression: Expression

    def value(self, values: Mapping[str, Any]) -> float:
        """The number for one set of parameters.

        Errors: `UsageError` when it is not finite and above zero.
        """
        number = self.expression.number(values.__getitem__)
        if not (math.isfinite(number) and number > 0):
            used = ", ".join(f"{name} = {values[name]}" for name in self.expression.names)
            raise UsageError(
                f"The formula {self.expression.text!r} is {number:g}"
                + (f" at {used}" if used else "")
                + ", where a number above 0 is needed."
            )
        return float(number)


def compile_formula(text: str, parameters: Iterable[str]) -> Formula:
    """Check a formula of these parameters; a plain number is one too.

    Errors: `UsageError`, one sentence that names what is refused.
    """
    expression = compile_expression(text, "formula", "'200 + 4e-6 * d ** 3'")
    known = list(parameters)
    for name in expression.names:
        if name not in known:
            raise UsageError(
                f"{unknown(name, known, 'parameter')}; it stands in the formula {text!r}"
            )
    return Formula(expression)
