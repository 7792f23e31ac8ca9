"""A checkpoint is one file, put in place by a rename: the state, every RNG, the tables so far.

It is a zip of JSON, .npy arrays and one torch file of tensors read with `weights_only=True`;
no pickle, so a checkpoint found on a shared disk cannot run code.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

_FORMAT = 1


class BadCheckpoint(Exception):
    """A checkpoint that cannot be used; its text says why."""


# What zipfile, json, numpy and torch raise over bytes that are not what they wrote.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    pickle.UnpicklingError,
    ValueError,
    LookupError,
    TypeError,
    EOFError,
    RuntimeError,  # NotImplementedError too
)


def save(handle: IO[bytes], manifest: dict[str, Any], state: Any, tables: Iterable[Path]) -> None:
    """Write a checkpoint.

    state : nested dicts, lists and tuples of numbers, text, None, numpy arrays, numpy Generators'
            `bit_generator.state`, torch tensors, and so any optimiser's `state_dict()`
    tables : the CSVs of the run's temporary folder, flushed
    """
    pack = _Pack()
    tree = pack.encode({"state": state, "rng": _rng_states()})
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("run.json", json.dumps(manifest, indent=1))
        archive.writestr("state.json", json.dumps({"format": _FORMAT, "tree": tree}))
        if pack.arrays:
            import numpy as np

            for name, array in pack.arrays.items():
                with archive.open(f"arrays/{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        if pack.tensors:
            import torch

            with archive.open("tensors.pt", "w", force_zip64=True) as member:
                torch.save(pack.tensors, member)
        for path in tables:
            archive.write(path, f"tables/{path.name}")


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest inside a checkpoint.

    Errors: `BadCheckpoint`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("run.json"))
            if not isinstance(manifest, dict):
                raise ValueError("its manifest is none")
            return manifest
    except (*_DAMAGE, OSError) as error:
        raise BadCheckpoint(f"{path} is not a whole checkpoint ({_first_line(error)})") from None


def load(path: Path, folder: Path) -> tuple[dict[str, Any], Any]:
    """Unpack the tables into `folder`, set the global RNGs, and return (manifest, state).

    Errors: `BadCheckpoint` for a file that is cut, foreign or of another format.
    """
    manifest = read_manifest(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if bad := archive.testzip():
                raise BadCheckpoint(f"{path}: its member {bad} is damaged")
            document = json.loads(archive.read("state.json"))
            if document["format"] != _FORMAT:
                raise BadCheckpoint(f"{path}: format {document['format']}, this is {_FORMAT}")
            tree = _Unpack(archive).decode(document["tree"])
            state, rng = tree["state"], tree["rng"]
            for name in archive.namelist():
                if name.startswith("tables/"):
                    (folder / Path(name).name).write_bytes(archive.read(name))
        _set_rng_states(rng)
    except _DAMAGE as error:
        raise BadCheckpoint(f"{path} is not a whole checkpoint ({_first_line(error)})") from None
    return manifest, state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


class _Pack:
    """Splits a nested state into JSON and the arrays and tensors that JSON cannot hold."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}

    def encode(self, value: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            name = f"t{len(self.tensors)}"
            self.tensors[name] = value.detach().cpu()
            return {"$tensor": name, "device": str(value.device)}
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
            name = f"a{len(self.arrays)}"
            self.arrays[name] = numpy.asarray(value)
            return {"$array": name, "scalar": isinstance(value, numpy.generic)}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple):
            return {"$tuple": [self.encode(item) for item in value]}
        if isinstance(value, list):
            return [self.encode(item) for item in value]
        if isinstance(value, dict):  # optimisers key their state by integers
            return {"$dict": [[self.encode(k), self.encode(v)] for k, v in value.items()]}
        raise TypeError(f"a checkpoint cannot hold a {type(value).__name__}")


class _Unpack:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        self.tensors: dict[str, Any] | None = None

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$tuple" in value:
            return tuple(self.decode(item) for item in value["$tuple"])
        if "$dict" in value:
            return {self.decode(k): self.decode(v) for k, v in value["$dict"]}
        if "$array" in value:
            import numpy as np

            raw = io.BytesIO(self.archive.read(f"arrays/{value['$array']}.npy"))
            array = np.load(raw, allow_pickle=False)
            return array[()] if value["scalar"] else array
        import torch

        if self.tensors is None:
            raw = io.BytesIO(self.archive.read("tensors.pt"))
            self.tensors = torch.load(raw, weights_only=True)
        return self.tensors[value["$tensor"]].to(value["device"])


def _rng_states() -> dict[str, Any]:
    """Python's, numpy's and torch's global generators; those not imported cannot have been used."""
    states: dict[str, Any] = {"python": random.getstate()}
    if numpy := sys.modules.get("numpy"):
        states["numpy"] = numpy.random.get_state(legacy=False)
    if torch := sys.modules.get("torch"):
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def _set_rng_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    if "numpy" in states:
        import numpy

        numpy.random.set_state(states["numpy"])
    if "torch" in states:
        import torch

        torch.set_rng_state(states["torch"])
        if "cuda" in states:
            torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
