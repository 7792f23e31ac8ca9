"""Mistakes of a study's author, found before a run and told in one sentence with file and line.

Names are read from the syntax trees: nothing of the study is imported for it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from toolbox.core import code
from toolbox.core.errors import StudyError
from toolbox.core.spec import CommandSpec, load_study, yaml_line
from toolbox.core.studies import study_file
from toolbox.core.suggest import did_you_mean

_REPLICATE = {"seed", "repeat"}


def check(study: str, command: str) -> None:
    """What can be seen before a run of a command.

    Errors: `StudyError` for a file that is no Python, a function that `metrics.py` lacks, a table
    or a column that `study.yaml` does not declare.
    """
    for path in sorted(study_file(study).parent.rglob("*.py")):
        _check_writes(study, path)
    check_claims(study, load_study(study).commands[command])


def check_claims(study: str, spec: CommandSpec, module: ModuleType | None = None) -> None:
    """Whether `metrics.py` has every function that the claims of a command name.

    module : `metrics.py` where it is imported already; else its names are read from the file

    Errors: `StudyError` with the line of the claim.
    """
    if not spec.claims:
        return
    path = study_file(study).with_name("metrics.py")
    if module is not None:
        known = set(dir(module))
    else:
        known = set(_names(_tree(path))) if path.is_file() else set()
    if "*" in known:  # of `from x import *`: only importing tells
        return
    for claim, key, name in _functions(spec):
        if name not in known:
            raise StudyError(
                f"{_line_of(study, claim, key, name)}: {key} of the claim {claim!r}: metrics.py "
                f"has no function {name!r}{did_you_mean(name, known)}"
            )


def caller() -> str:
    """`file:line` of the study's code that called into `toolbox.core`."""
    core = str(Path(__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(core):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _functions(spec: CommandSpec) -> Iterator[tuple[str, str, str]]:
    """(claim, key in study.yaml, function) of everything that is looked up in metrics.py."""
    for claim, declared in spec.claims.items():
        yield claim, "statistic", declared.statistic
        if declared.applies:
            yield claim, "applies", declared.applies
        for rule in declared.control:
            if rule.change == "function":
                yield claim, "control", rule.name


def _line_of(study: str, claim: str, key: str, function: str) -> str:
    """`file:line` at which a claim names a function."""
    for command, spec in load_study(study).commands.items():
        if (claim, key, function) in _functions(spec):
            return yaml_line(study, "commands", command, "claims", claim, key)
    return str(study_file(study))


def _tree(path: Path) -> ast.Module:
    try:
        return code.parsed(path, code.stamp(path))
    except SyntaxError as error:
        raise StudyError(f"{path}:{error.lineno}: not valid Python: {error.msg}") from None


def _names(tree: ast.Module) -> Iterator[str]:
    """What a module defines or imports at its top."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (each.asname or each.name for each in names)
            case ast.Name(id=name, ctx=ast.Store()):
                yield name


def _check_writes(study: str, path: Path) -> None:
    """Every `run.write("table", {"column": ...})` names what some command declares."""
    declared: dict[str, list[set[str]]] = {}
    for spec in load_study(study).commands.values():
        for name, table in spec.tables.items():
            declared.setdefault(name, []).append(set(table.columns) | _REPLICATE)
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="run"), attr="write"),
                args=[ast.Constant(value=str(name)), *rest],
            ):
                where = f"{path}:{node.lineno}: run.write({name!r})"
                if name not in declared:
                    raise StudyError(
                        f"{where}: study.yaml declares no table {name!r}"
                        + did_you_mean(name, declared)
                    )
                if rest and isinstance(rest[0], ast.Dict):
                    _check_columns(where, rest[0], declared[name])


def _check_columns(where: str, columns: ast.Dict, declared: list[set[str]]) -> None:
    """declared : the columns of every table of that name"""
    given = {key.value for key in columns.keys if isinstance(key, ast.Constant)}
    whole = len(given) == len(columns.keys)  # without a `**more` or a computed name
    every = set().union(*declared)
    unknown = sorted(str(name) for name in given - every)
    if unknown:
        raise StudyError(
            f"{where}: study.yaml declares no column {unknown[0]!r} in it"
            + did_you_mean(unknown[0], every)
        )
    if whole and not any(given | _REPLICATE == each for each in declared):
        nearest = min(declared, key=lambda each: len(each ^ (given | _REPLICATE)))
        missing = ", ".join(sorted(nearest - given - _REPLICATE))
        raise StudyError(f"{where}: the declared {missing} is missing")
