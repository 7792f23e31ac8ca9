"""The values along one axis of a sweep: a list, a `range`, a `linspace` or a `logspace`."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from toolbox.core.params import Param

MAX_VALUES = 100_000
_FORMS = {
    "range": ("from", "to", "step"),
    "linspace": ("from", "to", "num"),
    "logspace": ("from", "to", "num"),
}
FORMS = (
    "a list, {range: {from: 1, to: 9, step: 2}}, {linspace: {from: 0, to: 1, num: 5}} or "
    "{logspace: {from: 1e-3, to: 1, num: 7}}, ends included"
)


def values_of(param: Param, written: Any, repeats: bool = False) -> list[Any]:
    """The parsed values of an axis, in the order in which they are written.

    repeats : whether a value may stand there more than once, as in one column of a zip

    Errors: `ValueError` whose text says what was expected and what was got.
    """
    if isinstance(written, dict):
        values = _progression(param, written)
    elif isinstance(written, list):
        values = written
    else:
        raise ValueError(f"expected {FORMS}, got {written!r} (a single value belongs to `fixed`)")
    if not values:
        raise ValueError("expected at least one value, got an empty axis")
    parsed = [param.parse(value) for value in values]
    if repeats:
        return parsed
    for value in parsed:
        if (times := parsed.count(value)) > 1 and len(parsed) <= 1000:
            raise ValueError(f"expected distinct values, got {param.text(value)} {times} times")
    if len(set(parsed)) < len(parsed):
        raise ValueError("expected distinct values, got some of them twice")
    return parsed


def _progression(param: Param, written: dict[str, Any]) -> Sequence[float | int]:
    if len(written) != 1 or (form := next(iter(written))) not in _FORMS:
        raise ValueError(f"expected {FORMS}, got the keys {', '.join(written) or '(none)'}")
    if param.many or param.kind not in (int, float):
        raise ValueError(f"{form} is for numbers, and {param.name} is no single number; list them")
    body, keys = written[form], _FORMS[form]
    if not isinstance(body, dict) or set(body) != set(keys):
        shown = ", ".join(body) if isinstance(body, dict) else repr(body)
        raise ValueError(f"{form} needs the keys {', '.join(keys)}, got {shown}")
    for key in keys:
        if isinstance(body[key], bool) or not isinstance(body[key], int | float):
            raise ValueError(f"{form}: {key}: expected a number, got {body[key]!r}")
        if abs(body[key]) == float("inf") or body[key] != body[key]:
            raise ValueError(f"{form}: {key}: expected a finite number, got {body[key]!r}")
    if form == "range":
        return _range(*(Decimal(repr(body[key])) for key in keys))
    return _spaced(form, param, *(body[key] for key in keys))


def _range(start: Decimal, stop: Decimal, step: Decimal) -> list[int | float]:
    """start, start + step, ... up to stop, which is met when the steps meet it.

    In decimals, so that 0.1 + 2 * 0.1 is 0.3 and hashes as the 0.3 of a command line.
    """
    if step == 0 or (stop - start) * step < 0:
        raise ValueError(f"range: from {start} does not reach to {stop} in steps of {step}")
    count = int((stop - start) / step) + 1
    if count > MAX_VALUES:
        raise ValueError(f"range: {count} values; the limit is {MAX_VALUES}")
    values = [start + k * step for k in range(count)]
    return [int(value) if value == int(value) else float(value) for value in values]


def _spaced(form: str, param: Param, low: float, high: float, num: Any) -> list[float | int]:
    """`num` values at equal differences (linspace) or ratios (logspace), rounded to 12 digits so
    that they can be typed; for an integer parameter to the next integer. The ends are exact.
    """
    if form == "logspace" and (low <= 0 or high <= 0):
        raise ValueError(f"logspace: from and to must be > 0, got {low:g} and {high:g}")
    if num != int(num) or not 2 <= num <= MAX_VALUES:
        raise ValueError(f"{form}: num: expected an integer from 2 to {MAX_VALUES}, got {num}")
    last = int(num) - 1
    if form == "logspace":
        between = [low * (high / low) ** (k / last) for k in range(1, last)]
    else:
        between = [low + (high - low) * (k / last) for k in range(1, last)]
    if param.kind is int:
        values: list[float | int] = [low, *(round(value) for value in between), high]
        if len(set(values)) < len(values):
            raise ValueError(
                f"{form}: {last + 1} values between {low:g} and {high:g} round to only "
                f"{len(set(values))} integers; lower num"
            )
        return values
    return [low, *(_typed(value, max(abs(low), abs(high))) for value in between), high]


def _typed(value: float, size: float) -> float:
    """Rounded to 12 digits; what is nothing but rounding beside `size` is 0."""
    return 0.0 if abs(value) < 1e-14 * size else float(f"{value:.12g}")
