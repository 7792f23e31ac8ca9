"""YAML without its traps: the 1.2 core schema, no duplicate keys, and a line for every key.

PyYAML reads `1e-3` as text, `on` as True, `1_000` and `1:30` as numbers, and keeps the last of two
equal keys in silence. A preset that means something else than it says costs a night of compute,
so files are read by the core schema of YAML 1.2 (010 is ten, 1_000 is text), and duplicates
refused.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from toolbox.core.errors import UsageError

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 100
_MAX_NODES = 200_000


class Mapping(dict[str, Any]):
    """A dict read from YAML that remembers the file and the line of each key."""

    file: Path
    lines: dict[str, int]

    def where(self, key: str) -> str:
        """`file:line` of a key, to begin an error message with."""
        return f"{self.file}:{self.lines.get(key, 1)}"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with the resolvers of the YAML 1.2 core schema."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.?[0-9]*)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
    )


def _mapping(loader: Any, node: yaml.MappingNode) -> Mapping:
    result = Mapping()
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable) or isinstance(key, (list, dict)):
            raise UsageError(f"{loader.name}:{line}: a key must be a word, got {key!r}")
        key = str(key)
        if key in result:
            raise UsageError(
                f"{loader.name}:{line}: duplicate key {key!r} (first on line {lines[key]}); "
                "keep one of the two"
            )
        result[key] = loader.construct_object(value_node, deep=True)
        lines[key] = line
    result.file, result.lines = Path(loader.name), lines
    return result


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
# The 1.1 readers of these two would take 010 for eight and 1_0 for ten.
_Loader.add_constructor(
    "tag:yaml.org,2002:int",
    lambda loader, node: int(node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10)),
)
_Loader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda loader, node: float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan")),
)


def _check_size(text: str) -> None:
    """Refuse what would exhaust the stack or, through aliases of aliases, the memory."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            total += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
        if len(open_nodes) > _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH}")
        if total > _MAX_NODES:
            raise ValueError(f"more than {_MAX_NODES} values, anchors repeated")


def load_mapping(path: Path) -> Mapping:
    """Read a YAML file whose top level is a mapping.

    Errors: `UsageError` naming file and line for a missing, unreadable, huge, non-UTF-8 or
    malformed file, for a duplicate key, and for a top level that is no mapping.
    """
    try:
        with path.open("rb") as handle:
            content = handle.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise UsageError(f"{path}: this is no configuration; the limit is {_MAX_BYTES} bytes")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give a YAML file") from None
    try:
        _check_size(text)
        loader = _Loader(text)
        loader.name = str(path)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        # A value that its explicit tag does not fit (`!!bool maybe`) raises any of these.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path}: not valid YAML: {reason[:200]}") from None
    if value is None:
        value = Mapping()
        value.file, value.lines = path, {}
    if not isinstance(value, Mapping):
        got = f"{type(value).__name__} {str(value)[:40]!r}"
        raise UsageError(f"{path}:1: expected `name: value` lines, got {got}")
    return value
