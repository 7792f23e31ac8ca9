"""A row filter that cannot run code: `optimizer == 'adam' and T >= 1e4`.

The same filter serves a table (`Where.mask`) and one set of parameters (`Where.test`). Its grammar
is that of `toolbox.core.expression`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toolbox.core.errors import UsageError
from toolbox.core.expression import Expression, compile_expression
from toolbox.core.suggest import did_you_mean


@dataclass(frozen=True)
class Where:
    """A checked filter."""

    expression: Expression

    @property
    def names(self) -> tuple[str, ...]:
        """The columns or parameters that it reads, in order of appearance."""
        return self.expression.names

    def mask(self, frame: Any) -> Any:
        """Rows of the pandas `frame` that pass: a boolean Series on the frame's index.

        Errors: `UsageError` for a name that is no column and for kinds that do not compare
        (number with text).
        """
        self._known(frame.columns, "column")
        return self.expression.condition(frame.__getitem__)

    def test(self, values: Mapping[str, Any]) -> bool:
        """Whether one set of parameters passes. Errors: `UsageError` like `mask`."""
        self._known(values, "parameter")
        return bool(self.expression.condition(values.__getitem__))

    def _known(self, available: Iterable[object], kind: str) -> None:
        known = set(available)
        for name in self.names:
            if name not in known:
                said = unknown(name, available, kind)
                raise UsageError(f"{said}; it stands in the filter {self.expression.text!r}")


def compile_where(text: str) -> Where:
    """Check a filter and make it ready to use.

    Errors: `UsageError`, one sentence that names what is refused.
    """
    example = "\"loss < 1 and optimizer == 'adam'\""
    expression = compile_expression(text, "filter", example)
    if not expression.names:
        raise UsageError(f"The filter {text!r} names no column, so it keeps all rows or none.")
    return Where(expression)


def unknown(name: str, available: Iterable[object], kind: str = "column") -> str:
    """What to say of a name that is not there: the nearest one that is, and all that are."""
    names = [str(each) for each in available]
    listed = ", ".join(names) or "none"
    return f"No {kind} {name!r}{did_you_mean(name, names)} (there are {listed})"
