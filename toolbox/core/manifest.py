"""The manifest of a run, `run.json`, as it is read back: whole and as it was written, or refused.

Every reader of manifests, checkpoints and failure records goes through here, so that what is
damaged is found in one place and nothing that follows has to doubt what it was given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from toolbox.core.params import canonical_json, run_id, run_id_by_spelling

NAME = "run.json"
SEAL = "checksum"
"""The field that holds the SHA-256 of all others; manifests of versions up to 0.1 have none."""

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
TableName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class BadManifest(Exception):
    """A manifest that cannot be used; its text says why."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Value(_Part):
    value: JsonValue
    origin: str


class _Bytes(_Part):
    bytes: Count
    sha256: Sha256


class _Rows(_Bytes):
    rows: Count


class _Git(_Part):
    commit: str
    dirty: bool


class _Machine(_Part):
    host: str
    system: str
    cpu: str
    cores_allowed: int | None
    threads: Count


class _Code(_Part):
    sha256: str
    files: dict[str, Annotated[list[str], Field(min_length=2)]]


class _Diverged(_Part):
    repeat: Count
    step: int | None = None
    message: str
    cells: Annotated[int, Field(ge=1)] = 1
    cell: str = ""


class _Worker(_Part):
    cpu_seconds: float
    peak_memory_bytes: float


class Begun(_Part):
    """What every manifest has: that of a run at work, and all others."""

    schema_: int = Field(alias="schema")
    id: str
    study: str
    command: str
    preset: str
    params: dict[str, _Value]
    toolbox: str
    git: _Git | None
    argv: list[str]
    seed_derivation: str
    started: Time
    machine: _Machine
    scheduler: dict[str, str] | None
    code: _Code | None = None
    torch_device: str = ""
    diverged: list[_Diverged] = []
    files: dict[FileName, _Bytes] = {}
    workers: list[_Worker] = []


class Finished(Begun):
    """The manifest of a complete or diverged run."""

    status: Literal["complete", "diverged"]
    message: str
    resumed: list[str]
    ended: Time
    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: Count
    versions: dict[str, str]
    device: str
    tables: dict[TableName, _Rows]


class Failed(Begun):
    """What a failed run left; one that was refused has begun only."""

    status: Literal["failed"]
    message: str
    resumed: list[str] = []
    ended: Time | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: Count = 0
    versions: dict[str, str] = {}


class Saved(Begun):
    """The manifest inside a checkpoint."""

    resumed: list[str]
    rows: dict[TableName, Count]
    saved: Time
    again: bool = False
    loops: bool = False


def parse(text: str | bytes, kind: type[Begun]) -> dict[str, Any]:
    """A manifest from its JSON.

    Errors: `BadManifest` saying what is wrong with it.
    """
    try:
        document = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else _first_line(error)
        raise BadManifest(f"{NAME} is not JSON ({why})" if text else f"{NAME} is empty") from None
    return check(document, kind)


def check(document: Any, kind: type[Begun]) -> dict[str, Any]:
    """A manifest whose fields are there, of their types, and as they were written.

    Errors: `BadManifest` naming the first field that is not.
    """
    if not isinstance(document, dict):
        raise BadManifest(f"{NAME} is not a JSON object")
    seal = document.get(SEAL)
    try:
        kind.model_validate(document)
        # File names may hold bytes that are no text; other halves of characters are not shown.
        json.dumps(document, ensure_ascii=False).encode(errors="surrogateescape")
        if seal is not None and seal != _seal_of(document):
            raise BadManifest(f"{NAME} is not what the run wrote: its checksum differs")
        _check_id(document)
    except ValidationError as error:
        raise BadManifest(_sentence(document, error)) from None
    except (RecursionError, UnicodeError, OverflowError) as error:
        raise BadManifest(f"{NAME}: {_first_line(error)}") from None
    return document


def _check_id(document: Mapping[str, Any]) -> None:
    params = {name: entry["value"] for name, entry in document["params"].items()}
    for name, least in (("seed", 0), ("repeats", 1)):
        value = params.get(name)
        if type(value) is not int or value < least:
            raise BadManifest(f"{NAME}: params.{name} is {_short(value)}, not a count")
    about = (document["study"], document["command"], params)
    if document["id"] not in (run_id(*about), run_id_by_spelling(*about)):
        raise BadManifest(f"{NAME}: its id {_short(document['id'])} is not that of its parameters")
    for each in document.get("diverged", ()):
        if each["repeat"] >= params["repeats"]:
            raise BadManifest(f"{NAME}: diverged names repeat {each['repeat']}, which is not there")


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its checksum, as it is written."""
    whole = {name: value for name, value in document.items() if name != SEAL}
    return {**whole, SEAL: _seal_of(whole)}


def _seal_of(document: Mapping[str, Any]) -> str:
    text = canonical_json({name: value for name, value in document.items() if name != SEAL})
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, kind: type[Begun]) -> dict[str, Any]:
    """The manifest in a file.

    Errors: `BadManifest`, also when the file is missing or cannot be read.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise BadManifest(f"{path.name} is missing") from None
    except OSError as error:
        raise BadManifest(f"{path.name} cannot be read ({error.strerror})") from None
    return parse(text, kind)


def finished(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run's folder.

    Errors: `BadManifest`.
    """
    return load(folder / NAME, Finished)


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished run's folder, or None when there is no whole one."""
    try:
        return finished(folder)
    except BadManifest:
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"it holds {constant}")


def _sentence(document: Mapping[str, Any], error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "missing":
        return f"{NAME} lacks {key}"
    if key == "status":
        return (
            f"{NAME}: its status {_short(document.get('status'))} is none that this version knows"
        )
    return f"{NAME}: {key} is {_short(first['input'])} ({first['msg']})"


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
