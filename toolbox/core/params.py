"""Parameters of a command: read from its dataclass, parsed strictly, hashed canonically.

A field of a frozen dataclass in `cli.py` is the single definition of a parameter (type, bounds,
default, help); a dataclass that others inherit from defines what several commands share.
Flags, environment variables, `--config` files and presets all pass through `Param.parse`, so that
a value means the same wherever it stands.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

Bound = Ge | Gt | Le | Lt
_SYMBOL = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}
_FORM = "write Annotated[TYPE, typer.Option(help=...), bounds]"
_WORD = {Ge: "at least", Gt: "above", Le: "at most", Lt: "below"}


@dataclass(frozen=True)
class Param:
    """One parameter as its field declares it.

    `kind` is int, float, str or bool; `choices` is set for a `Literal`; `many` for a
    `tuple[kind, ...]`, written with commas on the command line and as a list in YAML.
    """

    name: str
    kind: type
    default: Any
    help: str
    many: bool = False
    choices: tuple[str, ...] = ()
    bounds: tuple[Bound, ...] = ()
    positional: bool = False
    """Given by its place, not by a flag: a `typer.Argument`."""
    off: str = ""
    """The flag that turns a bool off, where it is not `--no-NAME`."""
    known: Callable[[], Iterable[str]] | None = field(default=None, compare=False)
    """Words that can be given, for the shell's completion: `typer.Option(autocompletion=...)`."""

    @property
    def flag(self) -> str:
        """The option's name on the command line; of a positional one, its name in the help."""
        if self.positional:
            return self.name.upper()
        return "--" + self.name.rstrip("_").replace("_", "-")

    @property
    def off_flag(self) -> str:
        """The flag that turns a bool off."""
        return self.off or "--no-" + self.flag[2:]

    @property
    def expectation(self) -> str:
        """What a value must be, in words: 'a finite number > 1'."""
        if self.choices:
            one = "one of " + ", ".join(self.choices)
        else:
            noun = {int: "an integer", float: "a finite number", str: "text", bool: "true or false"}
            one = " ".join([noun[self.kind], " and ".join(self._range)]).strip()
        return f"a list, each {one}" if self.many else one

    @property
    def values(self) -> str:
        """What can be given, for the help page: 'Integer, 1 to 256' or 'One of adam, sgd'."""
        if self.choices:
            return ("Comma-separated, of " if self.many else "One of ") + ", ".join(self.choices)
        noun = {int: "integer", float: "number", str: "word"}[self.kind]
        if self.many:
            noun = f"comma-separated {noun}s"
        elif self.kind is str:
            noun = "text"
        return ", ".join(filter(None, [noun.capitalize(), self._interval]))

    @property
    def _interval(self) -> str:
        """The bounds in words: '1 to 256', 'above 0, at most 10'."""
        closed = [type(bound) for bound in self.bounds] == [Ge, Le]
        if closed:
            return " to ".join(f"{_limit(bound):g}" for bound in self.bounds)
        return ", ".join(f"{_WORD[type(bound)]} {_limit(bound):g}" for bound in self.bounds)

    @property
    def _range(self) -> list[str]:
        return [f"{_SYMBOL[type(b)]} {_limit(b):g}" for b in self.bounds]

    def parse(self, value: Any) -> Any:
        """Turn a flag's text or a YAML value into this parameter's type.

        Errors: `ValueError` whose text is 'expected ..., got ...'.
        """
        if not self.many:
            return self._parse_one(value)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        elif not isinstance(value, (list, tuple)):
            value = [value]
        if not value:
            raise ValueError(f"expected {self.expectation}, got an empty list")
        parsed = tuple(self._parse_one(part) for part in value)
        for part in parsed:  # a YAML list may hold what a flag could not say again
            if isinstance(part, str) and (not part or "," in part or part != part.strip()):
                raise ValueError(
                    f"expected words without commas or outer spaces in the list, got {part!r}"
                )
        repeated = {part for part in parsed if parsed.count(part) > 1}
        if repeated:
            raise ValueError(f"expected distinct values, got {repeated.pop()!r} twice")
        return parsed

    def _parse_one(self, value: Any) -> Any:
        problem = ValueError(f"expected {self.expectation}, got {value!r}")
        if self.kind is bool:
            if isinstance(value, bool):
                return value
            raise problem
        if self.kind is str:
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise problem
            return value
        # `T: true` must not become T = 1, as int() has it, nor `1_0` ten, as float() has it.
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise problem
        if isinstance(value, str) and "_" in value:
            raise problem
        try:
            number = self._number(value)
        except (ValueError, OverflowError):
            raise problem from None
        if not all(_holds(bound, number) for bound in self.bounds):
            raise problem
        return number

    def _number(self, value: int | float | str) -> int | float:
        if self.kind is int:
            if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
                return int(value)
            if isinstance(value, int):
                return value
            number = float(value)  # 1e4 is an integer to everyone but int()
            if not number.is_integer() or abs(number) > 2**53:
                raise ValueError
            return int(number)
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
        return number + 0.0  # -0.0 and 0.0 are the same parameter

    def text(self, value: Any) -> str:
        """The value as it would be typed on the command line."""
        if self.many:
            return ",".join(self._text_one(v) for v in value)
        return self._text_one(value)

    def words(self, value: Any) -> list[str]:
        """The words of a command line that give it this value."""
        if self.positional:
            return [self.text(value)]
        if self.kind is bool:
            return [self.flag if value else self.off_flag]
        return [self.flag, self.text(value)]

    def _text_one(self, value: Any) -> str:
        return repr(value) if isinstance(value, float) else str(value)


def _limit(bound: Bound) -> Any:
    match bound:
        case Ge(ge=limit) | Gt(gt=limit) | Le(le=limit) | Lt(lt=limit):
            return limit


def _holds(bound: Bound, x: Any) -> bool:
    match bound:
        case Ge(ge=limit):
            return bool(x >= limit)
        case Gt(gt=limit):
            return bool(x > limit)
        case Le(le=limit):
            return bool(x <= limit)
        case Lt(lt=limit):
            return bool(x < limit)


def params_of(parameters: type) -> dict[str, Param]:
    """The parameters that a frozen dataclass declares: its own fields first, then inherited ones.

    A field is `name: Annotated[TYPE, typer.Option(help=...), bounds...] = default`, TYPE being
    int, float, str, bool, a `Literal` of strings, or `tuple[int|float|str, ...]`, the bounds being
    `Ge Gt Le Lt` of annotated_types. With `typer.Argument(help=...)` instead of the option it is
    given by its place; `typer.Option("--on/--off", help=...)` names the flag that turns a bool off,
    and `autocompletion=` a function of nothing that lists the words which the shell completes.

    Errors: `TypeError` or `ValueError` naming a field that is not of this form.
    """
    hints = get_type_hints(parameters, include_extras=True)
    defaults = {field.name: field.default for field in fields(parameters)}
    declared = [name for base in parameters.__mro__ for name in inspect.get_annotations(base)]
    for name, value in vars(parameters).items():
        # A field without a type is none: it would be no flag, without a word.
        plain = isinstance(value, (bool, int, float, str, tuple)) and not name.startswith("__")
        if plain and name not in declared:
            raise TypeError(f"parameter {name}: {_FORM} = default")
    return {name: _param(name, hints[name], defaults[name]) for name in dict.fromkeys(declared)}


def _param(name: str, annotation: Any, default: Any) -> Param:
    if not get_args(annotation) or default is MISSING:
        raise TypeError(f"parameter {name}: {_FORM} = default")
    base, *extras = get_args(annotation)
    options = [extra for extra in extras if hasattr(extra, "param_decls")]
    bounds = tuple(extra for extra in extras if isinstance(extra, Bound))
    many = get_origin(base) is tuple
    if many:
        base = get_args(base)[0]
    choices = tuple(get_args(base)) if get_origin(base) is Literal else ()
    kind = str if choices else base
    if len(options) != 1 or not options[0].help or kind not in (int, float, str, bool):
        raise TypeError(f"parameter {name}: {_FORM}")
    positional = type(options[0]).__name__ == "ArgumentInfo"  # core imports no Typer here
    pair = str(options[0].default).partition("/")[2] if kind is bool else ""
    known = options[0].autocompletion
    param = Param(name, kind, None, options[0].help, many, choices, bounds, positional, pair, known)
    try:
        return replace(param, default=param.parse(default))
    except ValueError as error:
        raise ValueError(f"parameter {name}: its default does not fit: {error}") from None


def canonical_json(value: Any) -> str:
    """JSON that is equal for equal values: sorted keys, no spaces, shortest float form, no NaN.

    Independent of dict order, host, path and of how a number was written (1e-3 or 0.001).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_id(study: str, command: str, params: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that name a run: a hash of everything that changes its numbers.

    A file is named by its content: where `text_sha256` stands, the spelling of `text` does not
    count, so that `a.txt` and `./a.txt` are one run.
    """
    counting = {key: value for key, value in params.items() if f"{key}_sha256" not in params}
    return _hash(study, command, counting)


def run_id_by_spelling(study: str, command: str, params: Mapping[str, Any]) -> str:
    """The id that versions up to 0.1 gave a run: a file counted by its spelling as well."""
    return _hash(study, command, params)


def _hash(study: str, command: str, params: Mapping[str, Any]) -> str:
    text = canonical_json({"study": study, "command": command, "params": dict(params)})
    return hashlib.sha256(text.encode()).hexdigest()[:12]
