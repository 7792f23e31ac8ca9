"""Expressions that cannot run code: the grammar of `toolbox.core.where` and `toolbox.core.formula`.

The text is parsed by `ast`, every node is held to a short list, and the tree is then walked by
hand; nothing is ever given to `eval`.

What an expression may hold: names (in `backticks` when they are no Python name), numbers, 'text',
True, False, `and or not`, `== != < <= > >=` also chained, `in [..]`, `not in [..]`, and
`+ - * / **` on numbers. A missing value passes no comparison but `!=`.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolbox.core.errors import UsageError

MAX_LENGTH = 1000
MAX_DEPTH = 40  # far beyond any expression a person writes, far below Python's recursion limit
MAX_INTEGER = 2**63 - 1  # what a column of integers can hold

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: lambda a, b: _power(a, b),
}
_WORDS = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    text : as written;  noun : what messages call it ("filter")
    names : the names that it reads, in order of appearance
    """

    text: str
    noun: str
    names: tuple[str, ...]
    _tree: ast.expr
    _columns: Mapping[str, str]  # identifier in the tree -> name

    def condition(self, get: Callable[[str], Any]) -> Any:
        """A truth value, or a boolean column where `get` returns pandas columns.

        Errors: `UsageError` for kinds that do not compare, such as a number with a text.
        """
        return self._walk(lambda walker: walker.condition(self._tree), get)

    def number(self, get: Callable[[str], Any]) -> Any:
        """A number; True counts 1. Errors: `UsageError`."""
        return self._walk(lambda walker: _number(walker.value(self._tree)), get)

    def _walk(self, act: Callable[["_Walker"], Any], get: Callable[[str], Any]) -> Any:
        walker = _Walker({key: get(name) for key, name in self._columns.items()})
        try:
            return act(walker)
        except OverflowError:
            why = "a number in it is too large"
        except (TypeError, ValueError, ZeroDivisionError) as error:
            why = str(error)
            for key, name in self._columns.items():
                why = why if key == name else why.replace(key, f"`{name}`")
        raise UsageError(f"The {self.noun} {self.text!r} cannot be computed: {why}.")


def compile_expression(text: str, noun: str, example: str) -> Expression:
    """Check an expression and make it ready to use.

    noun, example : what it is and how one is written, for messages

    Errors: `UsageError`, one sentence that names what is refused.
    """
    if len(text) > MAX_LENGTH:
        raise UsageError(f"A {noun} may have {MAX_LENGTH} characters; this one has {len(text)}.")
    source, quoted = _to_python(text.strip(), noun)
    try:
        with warnings.catch_warnings():  # `1 is 1` and odd escapes warn while they are parsed
            warnings.simplefilter("ignore")
            tree = ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        hint = " (compare with `==`)" if _has_single_equals(source) else ""
        raise UsageError(
            f"The {noun} {text!r} is no expression{hint}; write it like {example}."
        ) from None
    columns: dict[str, str] = {}
    _Checker(text, noun, source, quoted, columns).check(tree)
    return Expression(text, noun, tuple(dict.fromkeys(columns.values())), tree, columns)


def _to_python(text: str, noun: str) -> tuple[str, dict[str, str]]:
    """Outside of string literals, backticked names become identifiers."""
    out: list[str] = []
    quoted: dict[str, str] = {}
    stem = "q"
    while stem in text:  # a stem that no name of the expression can contain
        stem += "q"
    at = 0
    while at < len(text):
        char = text[at]
        if char in "'\"":
            end = at + 1
            while end < len(text) and text[end] != char:
                end += 2 if text[end] == "\\" else 1
            out.append(text[at : end + 1])
            at = end
        elif char == "`":
            end = text.find("`", at + 1)
            if end <= at + 1:
                raise UsageError(f"The {noun} {text!r} has a backtick that opens no name.")
            key = f"{stem}{len(quoted)}"
            quoted[key] = text[at + 1 : end]
            out.append(key)
            at = end
        else:
            out.append(char)
        at += 1
    return "".join(out), quoted


def _has_single_equals(source: str) -> bool:
    bare = source
    for pair in ("==", "!=", "<=", ">="):
        bare = bare.replace(pair, "")
    return "=" in bare


class _Checker:
    """Holds every node of the tree to the grammar; collects the names."""

    def __init__(
        self,
        text: str,
        noun: str,
        source: str,
        quoted: dict[str, str],
        columns: dict[str, str],
    ) -> None:
        self.text, self.noun = text, noun
        self.source, self.quoted, self.columns = source, quoted, columns

    def refuse(self, node: ast.expr, why: str) -> UsageError:
        part = ast.get_source_segment(self.source, node) or ""
        for key, name in self.quoted.items():
            part = part.replace(key, f"`{name}`")
        return UsageError(f"The {self.noun} {self.text!r} may not hold {part!r}: {why}.")

    def check(self, node: ast.expr, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise UsageError(
                f"The {self.noun} {self.text[:40]!r}... is nested deeper than {MAX_DEPTH} levels."
            )
        children: list[ast.expr] = []
        match node:
            case ast.Constant(value=value):
                self.constant(node, value)
            case ast.Name(id=name):
                column = self.quoted.get(name, name)
                if column.startswith("__"):
                    raise self.refuse(node, "names with two leading underscores are closed")
                self.columns[name] = column
            case ast.BoolOp(values=values):
                children = values
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                children = [operand]
            case ast.UnaryOp(op=sign) | ast.BinOp(op=sign) if type(sign) in _WORDS:
                raise self.refuse(node, f"write `{_WORDS[type(sign)]}`")
            case ast.BinOp(op=sign, left=left, right=right) if type(sign) in _ARITHMETIC:
                children = [left, right]
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                children = [left]
                for op, right in zip(ops, comparators, strict=True):
                    if isinstance(op, ast.In | ast.NotIn):
                        children += self.members(right)
                    elif type(op) in _COMPARE:
                        children.append(right)
                    else:
                        raise self.refuse(node, "`is` compares objects, use `==`")
            case _:
                kind = type(node).__name__
                raise self.refuse(
                    node, f"only names, values, comparisons and arithmetic are allowed, no {kind}"
                )
        for child in children:
            self.check(child, depth + 1)

    def constant(self, node: ast.expr, value: object) -> None:
        if value is None:
            raise self.refuse(node, "to keep the rows that have a value of x write `x == x`")
        if not isinstance(value, bool | int | float | str):
            raise self.refuse(node, "a value is a number, a text, True or False")
        if isinstance(value, int) and value > MAX_INTEGER:
            raise self.refuse(node, "an integer of this size does not fit a column")

    def members(self, node: ast.expr) -> list[ast.expr]:
        if not isinstance(node, ast.List):
            raise self.refuse(node, "the right side of `in` is a list of values such as [1, 2]")
        for each in node.elts:
            literal = each.operand if isinstance(each, ast.UnaryOp) else each
            if not isinstance(literal, ast.Constant):
                raise self.refuse(each, "a list holds values only")
        return node.elts


class _Walker:
    """Computes a checked tree; `values` holds columns (pandas Series) or single values."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def condition(self, node: ast.expr) -> Any:
        """A truth value per row; refuses a number or a text where a condition must stand."""
        value = self.value(node)
        if _kind(value) != "truth":
            raise TypeError(
                f"{ast.unparse(node)} is a {_kind(value)}, where a condition was expected"
            )
        if _is_column(value):
            return value.fillna(False).astype(bool)
        return bool(value)

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.values[name]
            case ast.BoolOp(op=joint, values=parts):
                join = operator.and_ if isinstance(joint, ast.And) else operator.or_
                result = self.condition(parts[0])
                for part in parts[1:]:
                    result = join(result, self.condition(part))
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                condition = self.condition(operand)
                return ~condition if _is_column(condition) else not condition
            case ast.UnaryOp(operand=operand):
                return -_number(self.value(operand))
            case ast.BinOp(op=arith, left=left, right=right):
                return _ARITHMETIC[type(arith)](
                    _number(self.value(left)), _number(self.value(right))
                )
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                first, result = self.value(left), None
                for op, other in zip(ops, comparators, strict=True):
                    if isinstance(op, ast.In | ast.NotIn):
                        assert isinstance(other, ast.List)
                        second: Any = [self.value(each) for each in other.elts]
                        passed = _within(first, second, isinstance(op, ast.NotIn))
                    else:
                        second = self.value(other)
                        passed = _compare(op, first, second)
                    result = passed if result is None else result & passed
                    first = second
                return result
        raise TypeError(
            f"{type(node).__name__} is not part of an expression"
        )  # the checker let none through


def _is_column(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "isin")


def _kind(value: Any) -> str:
    """`truth`, `number`, `text`, `missing` or `mixture`, of one value or of a whole column."""
    if not _is_column(value):
        if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
            return "truth"
        if value is None or isinstance(value, str):
            return "missing" if value is None else "text"
        return (
            "number" if isinstance(value, int | float) or hasattr(value, "__float__") else "mixture"
        )
    if value.dtype.kind == "b":
        return "truth"
    if value.dtype.kind in "iuf":
        return "number"
    kinds = {_kind(each) for each in value.dropna().unique()}
    return kinds.pop() if len(kinds) == 1 else ("mixture" if kinds else "missing")


def _number(value: Any) -> Any:
    if _kind(value) not in ("number", "truth"):
        raise TypeError(f"arithmetic needs numbers, not a {_kind(value)}")
    return value


def _power(base: Any, exponent: Any) -> Any:
    """In floating point: 9**9**9 overflows at once, where integers would compute for hours."""
    sides = (v.astype(float) if _is_column(v) else float(v) for v in (base, exponent))
    result = operator.pow(*sides)
    if isinstance(result, complex):
        raise ValueError("a fractional power of a negative number")
    return result


def _compare(op: ast.cmpop, a: Any, b: Any) -> Any:
    kinds = {_kind(a), _kind(b)}
    if kinds in ({"number", "text"}, {"truth", "text"}):
        # pandas answers False on every row here, and an empty figure explains nothing.
        raise TypeError(f"a {_kind(a)} does not compare with a {_kind(b)}")
    if "missing" in kinds and not (_is_column(a) or _is_column(b)):
        return isinstance(op, ast.NotEq)
    result = _COMPARE[type(op)](a, b)
    if not _is_column(result):
        return bool(result)
    return result.fillna(isinstance(op, ast.NotEq)).astype(bool)


def _within(value: Any, members: list[Any], negate: bool) -> Any:
    for each in members:
        if {_kind(value), _kind(each)} in ({"number", "text"}, {"truth", "text"}):
            raise TypeError(f"a {_kind(value)} is never the {_kind(each)} {each!r}")
    if _is_column(value):
        inside = value.isin(members)
        return ~inside if negate else inside
    return (value in members) != negate
