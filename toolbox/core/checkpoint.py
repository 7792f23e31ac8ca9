"""A checkpoint is one file, put in place by a rename: the state, every RNG, the tables so far.

It is a zip of JSON, one member of raw numbers that is memory-mapped on loading, the tables and the
files. There is no pickle, so a checkpoint found on a shared disk cannot run code.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from toolbox.core import manifest as manifests
from toolbox.core import states
from toolbox.core.states import StateMismatch

_FORMAT = 2
_ALIGNED = 64  # bytes; where an array begins in the file
_DATA = "data.bin"


class BadCheckpoint(Exception):
    """A checkpoint that cannot be used; its text says why."""


# What zipfile, json, numpy and torch raise over bytes that are not what they wrote.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    StateMismatch,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,  # NotImplementedError too
)


def save(
    handle: IO[bytes],
    manifest: dict[str, Any],
    state: Any,
    tables: Iterable[Path],
    files: Iterable[Path] = (),
) -> None:
    """Write a checkpoint.

    state : a tree of `states.encode`; arrays are written from where they lie
    tables : the CSVs of the run's temporary folder, flushed;  files : its other files
    """
    tree = {"format": _FORMAT, "state": state, "rng": states.encode(rng_states())}
    blobs = states.blobs_of(tree)
    starts, end = [], 0
    for blob in blobs:
        starts.append(end)
        end += -(-blob.nbytes // _ALIGNED) * _ALIGNED
    at = {id(blob): [start, blob.nbytes] for blob, start in zip(blobs, starts, strict=True)}
    text = json.dumps(tree, default=lambda blob: {"$blob": at[id(blob)]})
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("run.json", json.dumps(manifest, indent=1))
        archive.writestr("state.json", text)
        if end:
            with archive.open(_DATA, "w", force_zip64=True) as member:
                for blob in blobs:
                    states.write_bytes(member, blob)
                    member.write(bytes(-blob.nbytes % _ALIGNED))
        for kind, paths in (("tables", tables), ("files", files)):
            for path in paths:
                archive.write(path, f"{kind}/{path.name}")
        archive.comment = seal_of(archive)


def seal_of(archive: zipfile.ZipFile) -> bytes:
    """A checksum over the members' own; it stands at the end of the file."""
    members = sorted((each.filename, each.file_size, each.CRC) for each in archive.infolist())
    return hashlib.sha256(json.dumps(members).encode()).hexdigest().encode()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest inside a checkpoint, whole; the members are those that were saved.

    Errors: `BadCheckpoint`.
    """
    try:
        return manifests.check(_document(path), manifests.Saved)
    except manifests.BadManifest as error:
        raise BadCheckpoint(f"{path} is damaged ({error})") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.comment != seal_of(archive):
                raise ValueError("it is not what the run saved: its checksum differs")
            manifest = json.loads(archive.read("run.json"))
            if not isinstance(manifest, dict):
                raise ValueError("its run.json is not a JSON object")
            return manifest
    except (*_DAMAGE, OSError) as error:
        raise BadCheckpoint(f"{path} is damaged ({_first_line(error)})") from None


@dataclass(frozen=True)
class Loaded:
    """What a checkpoint holds."""

    manifest: dict[str, Any]
    state: Any
    """A tree for `states.put_back` or `states.decode`; its arrays are read from the file."""
    rng: dict[str, Any]
    """For `set_rng_states`."""


def load(path: Path, folder: Path) -> Loaded:
    """Unpack tables and files into `folder`, and return the rest.

    Errors: `BadCheckpoint` for a file that is cut, foreign or of another format.
    """
    manifest = _document(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise BadCheckpoint(f"{path}: its member {bad} is damaged")
            blob = _blobs_in(path, archive)
            tree = json.loads(archive.read("state.json"), object_hook=blob)
            if tree["format"] != _FORMAT:
                raise BadCheckpoint(f"{path}: format {tree['format']}, this is {_FORMAT}")
            state, rng = tree["state"], states.decode(tree["rng"])
            for name in archive.namelist():
                if name.startswith(("tables/", "files/")):
                    with archive.open(name) as member, (folder / Path(name).name).open("wb") as out:
                        shutil.copyfileobj(member, out, 1 << 20)
    except _DAMAGE as error:
        raise BadCheckpoint(f"{path} is damaged ({_first_line(error)})") from None
    return Loaded(manifest, state, rng)


def _blobs_in(path: Path, archive: zipfile.ZipFile) -> Callable[[dict[str, Any]], Any]:
    """Turns {"$blob": [start, bytes]} into a blob that is mapped from the file when it is read."""
    start, size = 0, 0
    if _DATA in archive.namelist():
        member = archive.getinfo(_DATA)
        with path.open("rb") as handle:
            handle.seek(member.header_offset + 26)
            name, extra = struct.unpack("<HH", handle.read(4))
        start, size = member.header_offset + 30 + name + extra, member.file_size
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its {_DATA} is compressed")

    # One map for all, made at once: it holds on to this file when another takes its name.
    whole: Any = _mapped(path, start, size) if size else None

    def blob(value: dict[str, Any]) -> Any:
        if "$blob" not in value:
            return value
        first, count = value["$blob"]
        if not (first >= 0 and count >= 0 and first + count <= size):
            raise ValueError("an array lies outside of it")
        return states.Blob(_nothing() if whole is None else whole[first : first + count])

    return blob


def _nothing() -> Any:
    import numpy as np

    return np.zeros(0, np.uint8)


def _mapped(path: Path, start: int, size: int) -> Any:
    import numpy as np

    return np.asarray(np.memmap(path, np.uint8, "r", start, (size,)))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def rng_states() -> dict[str, Any]:
    """Python's, numpy's and torch's global generators; those not imported cannot have been used."""
    states_of: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        states_of["numpy"] = numpy.random.get_state(legacy=False)
    if torch := sys.modules.get("torch"):
        states_of["torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            states_of["cuda"] = torch.cuda.get_rng_state_all()
    return states_of


def set_rng_states(saved: dict[str, Any]) -> None:
    """Set the global generators to what they were when the checkpoint was made."""
    random.setstate(saved["python"])
    if "numpy" in saved:
        import numpy

        numpy.random.set_state(saved["numpy"])
    if "torch" in saved:
        import torch

        torch.set_rng_state(saved["torch"])
        if "cuda" in saved:
            torch.cuda.set_rng_state_all([state.cpu() for state in saved["cuda"]])
