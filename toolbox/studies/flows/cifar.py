"""CIFAR-10 from files that the user has: nothing is downloaded.

The python layout (data_batch_1 ... data_batch_5, pickles) and the binary layout (data_batch_1.bin
...) of <https://www.cs.toronto.edu/~kriz/cifar.html> are checked against the published checksums; a
.npz file has none, so only its shape is checked.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolbox.core.errors import ParameterError

Bytes = npt.NDArray[np.uint8]

PYTHON = {  # MD5
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
}
BINARY = {  # SHA-1
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
    "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
    "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
    "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
}
CHANNEL_MEAN = 255 * np.array([0.4914, 0.4822, 0.4465]).reshape(3, 1, 1)  # of the training set
CHANNEL_STD = 255 * np.array([0.2470, 0.2435, 0.2616]).reshape(3, 1, 1)
NAMES = (("images", "labels"), ("x_train", "y_train"), ("train_x", "train_y"))
WHERE = (
    "download cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it "
    "and name the folder cifar-10-batches-py that it holds"
)


def batches(data_dir: str | Path | None) -> Iterator[tuple[Bytes, npt.NDArray[np.int64]]]:
    """The training images, (n, 3, 32, 32), and labels, (n,), batch by batch in the published order.

    data_dir : the folder with the files, the folder that holds cifar-10-batches-py or
               cifar-10-batches-bin, or a .npz file with uint8 arrays called `images` and `labels`
               (or x_train and y_train), (n, 3, 32, 32) or (n, 32, 32, 3), and (n,)

    Errors: `ParameterError` when there are no such files, or they are not the published ones.
    """
    if not data_dir:
        raise ParameterError("dataset", "cifar10", "does not ship; {data_dir} must name it", WHERE)
    place = Path(data_dir)
    if place.suffix == ".npz" and place.is_file():
        yield _archive(place)
        return
    for folder in (place, place / "cifar-10-batches-py", place / "cifar-10-batches-bin"):
        for names, method in ((PYTHON, "md5"), (BINARY, "sha1")):
            if (folder / next(iter(names))).is_file():
                for name, checksum in names.items():
                    content = _verified(folder / name, method, checksum, str(data_dir))
                    yield _unpickled(content) if names is PYTHON else _records(content)
                return
    raise ParameterError("data_dir", str(data_dir), "holds no CIFAR-10", WHERE)


def _verified(path: Path, method: str, checksum: str, data_dir: str) -> bytes:
    """The file's bytes, if they are the published ones."""
    if not path.is_file():
        raise ParameterError("data_dir", data_dir, f"lacks the file {path.name}", WHERE)
    content = path.read_bytes()
    if hashlib.new(method, content, usedforsecurity=False).hexdigest() != checksum:
        raise ParameterError(
            "data_dir", data_dir, f"the {method.upper()} of {path.name} is not the published one, "
            "so the file is cut or altered", WHERE,
        )  # fmt: skip
    return content


def _records(content: bytes) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The binary layout: a byte for the label and 3072 for the image, one image after the other."""
    table = np.frombuffer(content, dtype=np.uint8).reshape(-1, 3073)
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0].astype(np.int64)


class _Arrays(pickle.Unpickler):
    """Reads arrays, lists, numbers and text, and refuses all else that a pickle can do."""

    def find_class(self, module: str, name: str) -> Any:
        """The four names that an array is made of."""
        if name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): codecs.encode,
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of images")
        return allowed[module, name]


def _unpickled(content: bytes) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """The python layout: a dictionary with `data`, (n, 3072), and `labels`."""
    batch = _Arrays(io.BytesIO(content), encoding="latin1").load()
    images = np.asarray(batch["data"], dtype=np.uint8)
    return images.reshape(-1, 3, 32, 32), np.asarray(batch["labels"], dtype=np.int64)


def _archive(path: Path) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """A .npz file; never unpickles."""
    wanted = "; save uint8 arrays images, (n, 3, 32, 32), and labels, (n,), with numpy.savez"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for images, labels in NAMES:
                if images in arrays and labels in arrays:
                    found = arrays[images], arrays[labels]
                    break
            else:
                raise ParameterError(
                    "data_dir", str(path), f"holds {', '.join(arrays)} and no images and labels",
                    wanted[2:],
                )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ParameterError("data_dir", str(path), f"cannot be read ({error})", "") from error
    pixels, classes = found
    if pixels.ndim == 4 and pixels.shape[3] == 3:
        pixels = pixels.transpose(0, 3, 1, 2)
    if pixels.shape[1:] != (3, 32, 32) or classes.size != len(pixels):
        raise ParameterError(
            "data_dir", str(path), f"images have shape {found[0].shape} and labels "
            f"{classes.shape}{wanted}",
        )  # fmt: skip
    return pixels, classes.reshape(-1).astype(np.int64)
