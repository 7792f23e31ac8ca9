"""What can be the state of a loop, and how it is taken and put back.

An object that a loop is given must be one that changes in place: a torch module, optimiser or
anything else with `state_dict()` and `load_state_dict()`, a torch tensor, a numpy array, a torch or
numpy generator, a `random.Random`, or a dataclass, dict or list of such objects and plain values.

Encoded, a state is a tree of JSON values with a `Blob` for each array. No pickle is used.
"""

from __future__ import annotations

import dataclasses
import os
import random
import sys
import tempfile
import warnings
from pathlib import Path
from typing import IO, Any

SPOOL_BYTES = 1 << 26
"""A copied state larger than this lies on disk, not in memory."""
_CHUNK = 1 << 24


class StateMismatch(Exception):
    """A saved state that does not fit the object it is to be put into."""


class Blob:
    """The bytes of one array or tensor; `source` is a numpy array or a torch tensor, contiguous."""

    def __init__(self, source: Any) -> None:
        self.source = source

    @property
    def nbytes(self) -> int:
        """How many bytes there are."""
        return int(self.source.nbytes)

    def __reduce__(self) -> Any:
        return Blob, (self.array(),)

    def array(self) -> Any:
        """The bytes, a numpy array (n,) of uint8; a view where the source lies in memory."""
        import numpy as np

        flat = self.source.reshape(-1)
        if isinstance(flat, np.ndarray):
            return flat.view(np.uint8)
        import torch

        return flat.view(torch.uint8).cpu().numpy()


class Tree:
    """A state that is encoded already, as a worker sends it."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree


# ------------------------------------------------------------------------------------- encoding


def is_stateful(value: Any) -> bool:
    """Whether an object can be brought back in place."""
    return (
        _has_state_dict(value)
        or isinstance(value, dict | list | random.Random)
        or (dataclasses.is_dataclass(value) and not isinstance(value, type))
        or _is(value, "torch", "Tensor", "Generator")
        or _is(value, "numpy", "ndarray")
        or _is_numpy_generator(value)
    )


def encode(value: Any) -> Any:
    """The tree of a state; its blobs are views of the live arrays and tensors.

    Errors: `TypeError` naming a type that cannot be saved.
    """
    if _is(value, "torch", "Tensor"):
        order, laid = _laid_out(value.detach(), value.stride())
        kind = str(value.dtype).removeprefix("torch.")
        return {"$tensor": Blob(laid), "dtype": kind, "shape": list(value.shape), "order": order,
                "device": str(value.device)}  # fmt: skip
    if _is(value, "numpy", "generic", "ndarray"):
        return _encode_array(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tree):
        return {"$tree": value.tree}
    if isinstance(value, tuple):
        return {"$tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, random.Random):
        return {"$random": encode(value.getstate())}
    if _is_numpy_generator(value):
        return {"$generator": encode(value.bit_generator.state)}
    if _is(value, "torch", "Generator"):
        return {"$torch_generator": encode(value.get_state())}
    if _has_state_dict(value):
        return {"$object": encode(value.state_dict())}
    if isinstance(value, dict):  # optimisers key their state by integers
        return {"$dict": [[encode(k), encode(v)] for k, v in value.items()]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        names = [field.name for field in dataclasses.fields(value)]
        return {"$dataclass": kind, "fields": [[n, encode(getattr(value, n))] for n in names]}
    raise TypeError(
        f"a checkpoint cannot hold a {type(value).__name__}; give it state_dict() and "
        "load_state_dict(), or keep plain values"
    )


def _encode_array(value: Any) -> dict[str, Any]:
    import numpy as np

    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ValueError("object arrays cannot be saved in a checkpoint")
    order, laid = _laid_out(array, array.strides)
    described = np.lib.format.dtype_to_descr(array.dtype)
    return {"$array": Blob(laid), "dtype": described, "shape": list(array.shape), "order": order,
            "scalar": isinstance(value, np.generic)}  # fmt: skip


def _laid_out(value: Any, strides: tuple[int, ...]) -> tuple[list[int], Any]:
    """The order of the axes in memory, and the value with its axes in that order, contiguous.

    A transposed matrix is saved as it lies, so that products round alike after a resume.
    """
    order = sorted(range(value.ndim), key=lambda axis: -strides[axis])
    numpy = _is(value, "numpy", "ndarray")
    turned = value.transpose(order) if numpy else value.permute(order)
    whole = turned.flags.c_contiguous if numpy else turned.is_contiguous()
    if whole:
        return order, turned
    if numpy:
        import numpy as np

        return list(range(value.ndim)), np.ascontiguousarray(value).reshape(value.shape)
    return list(range(value.ndim)), value.contiguous()


# ------------------------------------------------------------------------------------- decoding


def decode(tree: Any, owned: bool = True) -> Any:
    """The plain values of a tree.

    owned : arrays and tensors are copies that may be written to; else read-only views of the blobs

    Errors: `StateMismatch` for what only an object that is there can take up.
    """
    if isinstance(tree, list):
        return [decode(item, owned) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tuple" in tree:
        return tuple(decode(item, owned) for item in tree["$tuple"])
    if "$dict" in tree:
        return {decode(key, owned): decode(item, owned) for key, item in tree["$dict"]}
    if "$tree" in tree:
        return Tree(tree["$tree"])
    if "$array" in tree:
        return _decode_array(tree, owned)
    if "$tensor" in tree:
        return _decode_tensor(tree, owned)
    if "$dataclass" in tree:
        value: Any = object.__new__(_dataclass(tree["$dataclass"]))
        for name, item in tree["fields"]:
            object.__setattr__(value, name, decode(item, owned))
        return value
    raise StateMismatch(f"a saved {next(iter(tree))[1:]} has no object to be put into")


def _decode_array(tree: dict[str, Any], owned: bool) -> Any:
    import numpy as np

    dtype = np.lib.format.descr_to_dtype(_hashable(tree["dtype"]))
    if dtype.hasobject:
        raise StateMismatch("an array of objects")
    shape, order = tree["shape"], tree["order"]
    raw = tree["$array"].array()
    turned = raw.view(dtype).reshape([shape[axis] for axis in order])
    if owned:
        turned = turned.copy()
    array = turned.transpose(np.argsort(order)) if order else turned
    return array[()] if tree["scalar"] else array


def _hashable(described: Any) -> Any:
    """JSON turns the tuples of a structured dtype's description into lists."""
    if isinstance(described, list):
        return [tuple(_hashable(item) if isinstance(item, list) else item for item in one)
                for one in described]  # fmt: skip
    return described


def _decode_tensor(tree: dict[str, Any], owned: bool) -> Any:
    import torch

    dtype, shape, order = getattr(torch, tree["dtype"]), tree["shape"], tree["order"]
    if not isinstance(dtype, torch.dtype):
        raise StateMismatch(f"torch has no type {tree['dtype']}")
    raw = tree["$tensor"].array()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a read-only array must not be written
        flat = torch.from_numpy(raw.copy() if owned and raw.size else raw)
    # `view` refuses to make no bytes into no numbers of another size.
    flat = flat.view(dtype) if raw.size else torch.empty(0, dtype=dtype)
    turned = flat.reshape([shape[axis] for axis in order])
    back = [order.index(axis) for axis in range(len(order))]
    value = turned.permute(back) if order else turned
    return value.to(tree["device"]) if owned else value


def _dataclass(spelled: str) -> type:
    """The class of a saved dataclass, of this package's own modules alone: nothing else is made."""
    module, _, path = spelled.partition(":")
    kind: Any = sys.modules.get(module) if module.startswith("toolbox.") else None
    for part in path.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise StateMismatch(f"there is no dataclass {spelled}")
    return kind


# -------------------------------------------------------------------------------- putting it back


def put_back(value: Any, tree: Any) -> None:
    """Bring an object back to a saved state, in place.

    Errors: `StateMismatch` when the state is of another kind or size.
    """
    if _merged(value, tree) is not value:
        raise StateMismatch(f"the saved state does not fit the {type(value).__name__} given")


def _merged(value: Any, tree: Any) -> Any:
    """`value` itself brought back in place where it can be, else the decoded tree."""
    if isinstance(tree, list) and isinstance(value, list):
        known = [*value, *[None] * len(tree)]
        value[:] = [_merged(old, item) for old, item in zip(known, tree, strict=False)]
        return value
    if not isinstance(tree, dict):
        return decode(tree)
    if "$object" in tree and _has_state_dict(value):
        # A module copies what it is given; an optimiser keeps it.
        module = "torch" in sys.modules and isinstance(value, sys.modules["torch"].nn.Module)
        value.load_state_dict(decode(tree["$object"], owned=not module))
        return value
    if "$dict" in tree and isinstance(value, dict):
        before = dict(value)
        value.clear()
        for key, item in tree["$dict"]:
            name = decode(key)
            value[name] = _merged(before.get(name), item)
        return value
    if "$tuple" in tree and isinstance(value, tuple) and len(value) == len(tree["$tuple"]):
        new = tuple(_merged(old, item) for old, item in zip(value, tree["$tuple"], strict=True))
        return value if all(a is b for a, b in zip(value, new, strict=True)) else new
    if "$tensor" in tree and _is(value, "torch", "Tensor"):
        return _into_tensor(value, tree)
    if "$array" in tree and _is(value, "numpy", "ndarray") and not tree["scalar"]:
        array = decode(tree, owned=False)
        if array.shape != value.shape or array.dtype != value.dtype or not value.flags.writeable:
            return decode(tree)
        value[...] = array
        return value
    if "$dataclass" in tree and dataclasses.is_dataclass(value):
        return _into_dataclass(value, tree)
    if "$generator" in tree and _is_numpy_generator(value):
        value.bit_generator.state = decode(tree["$generator"])
        return value
    if "$torch_generator" in tree and _is(value, "torch", "Generator"):
        value.set_state(decode(tree["$torch_generator"]).cpu())
        return value
    if "$random" in tree and isinstance(value, random.Random):
        value.setstate(decode(tree["$random"]))
        return value
    return decode(tree)


def _into_tensor(value: Any, tree: dict[str, Any]) -> Any:
    import torch

    saved = decode(tree, owned=False)
    if saved.shape != value.shape or saved.dtype != value.dtype:
        return decode(tree)
    with torch.no_grad():
        value.copy_(saved)
    return value


def _into_dataclass(value: Any, tree: dict[str, Any]) -> Any:
    kind = type(value)
    if tree["$dataclass"] != f"{kind.__module__}:{kind.__qualname__}":
        return decode(tree)
    new = {name: _merged(getattr(value, name), item) for name, item in tree["fields"]}
    if not kind.__dataclass_params__.frozen:
        for name, item in new.items():
            setattr(value, name, item)
        return value
    if all(_unchanged(getattr(value, name), item) for name, item in new.items()):
        return value
    return decode(tree)


def _unchanged(old: Any, new: Any) -> bool:
    return old is new or (
        type(old) is type(new) and isinstance(old, int | float | str) and old == new
    )


# ------------------------------------------------------------------------------------------ copies


def blobs_of(tree: Any) -> list[Blob]:
    """Every blob of a tree, in its order."""
    blobs: list[Blob] = []
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Blob):
            blobs.append(item)
        elif isinstance(item, dict):
            waiting.extend(reversed(item.values()))
        elif isinstance(item, list):
            waiting.extend(reversed(item))
    return blobs


def frozen(values: list[Any], folder: Path) -> list[Any]:
    """The trees of some states as they are now; later changes of the objects do not reach them.

    A large state is copied to a file in `folder` that vanishes with the process, not to memory.
    """
    trees = [encode(value) for value in values]
    blobs = blobs_of(trees)
    large = sum(blob.nbytes for blob in blobs) > SPOOL_BYTES
    with _spool(folder) if large else _Nothing() as handle:
        for blob in blobs:
            blob.source = blob.array().copy() if handle is None else _spooled(blob, handle)
    return trees


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None


def _spool(folder: Path) -> IO[bytes]:
    # Without a name from the start: a killed process leaves nothing.
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _spooled(blob: Blob, handle: IO[bytes]) -> Any:
    import numpy as np

    start = handle.seek(0, os.SEEK_END)
    write_bytes(handle, blob)
    if not blob.nbytes:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(handle, np.uint8, "r", start, (blob.nbytes,)))


def write_bytes(handle: IO[bytes], blob: Blob) -> None:
    """Write the bytes of a blob, without a second copy of them in memory."""
    array = blob.array()
    for start in range(0, array.size, _CHUNK):
        handle.write(memoryview(array[start : start + _CHUNK]))


# ------------------------------------------------------------------------------------------- kinds


def _is(value: Any, package: str, *names: str) -> bool:
    """Whether a value is of one of these classes; a package that is not imported made none."""
    module = sys.modules.get(package)
    return module is not None and isinstance(value, tuple(getattr(module, name) for name in names))


def _is_numpy_generator(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.random.Generator)


def _has_state_dict(value: Any) -> bool:
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")
