"""Times as people write them."""

import re
from collections.abc import Mapping

_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def seconds_of(text: str) -> float:
    """The seconds of '90s', '30m', '1h30m', '1.5h', '2d' or '1:30:00' (H:MM:SS).

    Errors: `ValueError` whose text is 'expected ..., got ...'; a number without a unit is refused,
    for schedulers take it for minutes and programs for seconds.
    """
    text = text.strip()
    clock = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,4}):(\d{2}):(\d{2})", text)
    parts = re.fullmatch(r"(?:\d{1,7}(?:\.\d{1,6})?[dhms])+", text)
    if clock:
        days, *rest = (int(part or 0) for part in clock.groups())
        seconds = days * 86_400.0 + rest[0] * 3600 + rest[1] * 60 + rest[2]
    elif parts:
        amounts = re.findall(r"([\d.]+)([dhms])", text)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in amounts)
    else:
        seconds = 0.0
    if seconds <= 0:
        raise ValueError(
            f"expected a time above 0 such as 90s, 30m, 1h30m or 1:30:00, got {text!r}"
        )
    return seconds


def in_words(seconds: float) -> str:
    """A duration in the unit that suits it: '0.8 s', '85 s', '6.2 min', '5 h', '12 days'."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    unit, size = ("min", 60) if seconds < 7200 else ("h", 3600)
    if seconds >= 72 * 3600:
        unit, size = "days", 86_400
    count = seconds / size
    return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"


def preset_time(
    preset: str, seconds: Mapping[str, float], projected: Mapping[str, float] | None = None
) -> str:
    """The time that a preset takes in words, with what it is when it was not measured; "" if
    neither is known."""
    if preset in seconds:
        return in_words(seconds[preset])
    if projected and preset in projected:
        return f"about {in_words(projected[preset])}, projected"
    return ""
