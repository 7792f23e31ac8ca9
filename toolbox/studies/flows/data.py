"""The data sets: inputs, one-hot targets, and the two losses on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolbox.core.errors import ParameterError

Criterion = Literal["mse", "ce"]

DATASETS = ("digits",)


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
    """n examples of the first `classes` classes of a data set.

    Errors: `ParameterError` for an unknown data set, or for more examples or classes than it has.
    """
    if dataset not in DATASETS:
        raise ParameterError("dataset", dataset, "is no data set", f"use {', '.join(DATASETS)}")
    if classes < 2:
        raise ParameterError("classes", classes, "is fewer than 2", "use 2 or more")
    if n < classes:
        raise ParameterError("n", n, f"is below {{classes}} {classes}", "raise it")
    return digits(n, classes)


def digits(n: int, classes: int) -> Data:
    """Handwritten digits of 8 x 8 pixels, the first n/classes of each class.

    All pixels together have mean 0 and variance 1 over the examples; pixels that are always white
    stay, as a constant input other than 0.
    """
    table = _csv("digits")
    images, labels = table[:, :-1].reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    kept = _first_of_each(labels, n, classes)
    images = images[kept]
    images = (images - images.mean()) / images.std()
    return _images(images, labels[kept], classes, f"{n} handwritten digits, 8 x 8 pixels")


def _csv(name: str) -> npt.NDArray[np.float64]:
    """The numbers of a data set that ships. It is in the installed package or in the checkout."""
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "data", package.parent / "data"):
        path = folder / f"{name}.csv"
        if path.is_file():
            return np.loadtxt(path, delimiter=",", skiprows=1)
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


def _images(
    images: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], classes: int, description: str
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
