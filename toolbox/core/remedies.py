"""What would test a claim that is not tested, and settle one that is inconclusive."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

from toolbox.core.where import compile_where


def flags_that_meet(requires: str, params: Mapping[str, Any]) -> str:
    """Flags with which `requires` would hold, '' where they cannot be read off it."""
    flags = []
    for part in _conjuncts(ast.parse(requires, mode="eval").body):
        if not compile_where(ast.unparse(part)).test(params):
            flags.append(_flag_for(part))
    return " ".join(flags) if all(flags) else ""


def readable(requires: str) -> bool:
    """Whether flags can be read off a condition, whatever the parameters are."""
    return all(map(_flag_for, _conjuncts(ast.parse(requires, mode="eval").body)))


def _conjuncts(tree: ast.expr) -> list[ast.expr]:
    return tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]


def _flag_for(part: ast.expr) -> str:
    """The flag that meets a comparison of one parameter with one value; '' for any other form."""
    match part:
        case ast.Name(id=name):
            return _spelt(name)
        case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id=name)):
            return _spelt(name, no=True)
        case ast.Compare(left=ast.Name(id=name), ops=[sign], comparators=[ast.Constant(bound)]):
            return _flag_for_bound(name, sign, bound)
        case ast.Compare(
            left=ast.Name(id=name),
            ops=[ast.In()],
            comparators=[ast.List([ast.Constant(first), *_])],
        ):
            return _flag_for_bound(name, ast.Eq(), first)
    return ""


def _flag_for_bound(name: str, sign: ast.cmpop, bound: Any) -> str:
    if isinstance(sign, ast.Eq) and isinstance(bound, bool):
        return _spelt(name, no=not bound)
    if isinstance(sign, ast.Gt | ast.Lt) and isinstance(bound, int):
        return f"{_spelt(name)} {bound + 1 if isinstance(sign, ast.Gt) else bound - 1}"
    if isinstance(sign, ast.Eq | ast.GtE | ast.LtE):
        whole = isinstance(bound, float) and bound.is_integer()
        return f"{_spelt(name)} {int(bound) if whole else bound}"
    return ""


def _spelt(name: str, no: bool = False) -> str:
    return ("--no-" if no else "--") + name.rstrip("_").replace("_", "-")


def more_replicates(n: int, at: tuple[float, float, float], bottom: float, top: float) -> str:
    """About how many replicates would settle it if the estimate stayed where it is."""
    measured, low, high = at
    half = max(measured - low, high - measured)
    distance = min(abs(measured - edge) for edge in (bottom, top) if math.isfinite(edge))
    if not math.isfinite(half) or distance == 0 or half == 0:
        return ""
    needed = math.ceil(n * (half / distance) ** 2)
    return f"about {needed} replicates, if the estimate stays" if n < needed <= 10_000 else ""
