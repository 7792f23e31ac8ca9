"""Which code computed a run: a hash over the syntax of its study and of `toolbox.core`.

Comments, formatting and docstrings do not count. A file whose bytes are known from a manifest is
not parsed again, so that 'already complete' stays quick.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from toolbox.core.studies import study_file

_SHORT = 16
"""Hexadecimal digits kept of each file's hash; the hash over all is whole."""


def code_of(study: str) -> dict[str, Any] | None:
    """{"sha256": over all, "files": {"gd/model.py": [hash of the syntax, hash of the bytes]}}.

    None where the sources are not there, as in a package of compiled files alone.
    """
    files = {name: [_syntax(path, stamp(path)), _raw(path, stamp(path))]
             for name, path in _sources(study).items()}  # fmt: skip
    if not files:
        return None
    text = "\n".join(f"{name} {syntax}" for name, (syntax, _) in files.items())
    return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "files": files}


def changed_since(recorded: Mapping[str, Any] | None, study: str) -> list[str] | None:
    """The files that differ from what a manifest recorded; None where it recorded nothing."""
    if not recorded:
        return None
    sources, files = _sources(study), recorded["files"]
    if not sources:
        return None
    differing = [
        name
        for name, path in sources.items()
        if name in files
        and _raw(path, stamp(path)) != files[name][1]
        and _syntax(path, stamp(path)) != files[name][0]
    ]
    return sorted({*differing, *(files.keys() ^ sources.keys())})


def difference(
    earlier: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> list[str] | None:
    """The files in which two records of code differ; None where the earlier one is missing."""
    if now is None:
        return []
    if earlier is None:
        return None
    a, b = earlier["files"], now["files"]
    return sorted({*(a.keys() ^ b.keys()), *(n for n in a.keys() & b.keys() if a[n][0] != b[n][0])})


def shown(names: Iterable[str], most: int = 3) -> str:
    """The first few names as text: "gd/model.py, core/run.py and 2 more"."""
    listed = list(names)
    if len(listed) <= most:
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most} more"


def other_code(study: str, manifests: Iterable[Mapping[str, Any]]) -> str:
    """ "2 of 5 runs were made by other code (gd/model.py); ...", or nothing.

    Runs of versions that did not record their code are not counted as other.
    """
    changes = [changed_since(manifest.get("code"), study) for manifest in manifests]
    other = [names for names in changes if names]
    if not other:
        return ""
    names = sorted({name for each in other for name in each})
    of = "this run" if len(changes) == 1 else f"{len(other)} of {len(changes)} runs"
    verb = "were" if len(other) > 1 else "was"
    return f"{of} {verb} made by other code ({shown(names)} changed since); --again computes anew"


def _sources(study: str) -> dict[str, Path]:
    """Name in messages -> file, in the order of names."""
    core = Path(__file__).parent
    files = {f"core/{path.relative_to(core)}": path for path in core.rglob("*.py")}
    folder = study_file(study).parent
    files |= {f"{study}/{path.relative_to(folder)}": path for path in folder.rglob("*.py")}
    return dict(sorted(files.items()))


def stamp(path: Path) -> tuple[int, int]:
    """What tells that a file has changed, for the functions that remember what they read of it."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@functools.cache
def _raw(path: Path, stamp: tuple[int, int]) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_SHORT]


@functools.cache
def _syntax(path: Path, stamp: tuple[int, int]) -> str:
    try:
        text = _text_of(parsed(path, stamp))
    except SyntaxError:
        return _raw(path, stamp)
    return hashlib.sha256(text.encode()).hexdigest()[:_SHORT]


@functools.cache
def parsed(path: Path, stamp: tuple[int, int]) -> ast.Module:
    """The syntax tree of a file. Errors: `SyntaxError`."""
    return ast.parse(path.read_bytes())


def syntax_of(source: bytes) -> str:
    """The syntax tree as text, without positions, comments and docstrings.

    Fields that are empty are left out, so that a Python that adds one changes nothing.
    """
    return _text_of(ast.parse(source))


def _text_of(tree: ast.Module) -> str:
    parts: list[str] = []
    _write(tree, parts.append)
    return "".join(parts)


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _write(node: Any, say: Any) -> None:
    if isinstance(node, ast.AST):
        say(f"({type(node).__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in ("ctx", "type_comment", "kind"):
                continue
            if name == "body" and isinstance(node, _DOCUMENTED):
                first = value[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    value = value[isinstance(first.value.value, str) :]
            say(f" {name}=")
            _write(value, say)
        say(")")
    elif isinstance(node, list):
        say("[")
        for item in node:
            _write(item, say)
        say("]")
    else:
        say(f"{node!r},")
