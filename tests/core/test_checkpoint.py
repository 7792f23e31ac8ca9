"""A checkpoint brings back exactly what was saved, or is refused; it never runs code."""

from __future__ import annotations

import json
import math
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.core import checkpoint, states
from toolbox.core.checkpoint import BadCheckpoint


def saved(folder: Path, state: Any, tables: tuple[Path, ...] = ()) -> Path:
    path = folder / "x.checkpoint"
    with path.open("wb") as handle:
        checkpoint.save(handle, {"id": "x"}, states.encode(state), tables)
    return path


def round_trip(folder: Path, state: Any) -> Any:
    loaded = checkpoint.load(saved(folder, state), folder)
    manifest, back = loaded.manifest, states.decode(loaded.state)
    assert manifest == {"id": "x"}
    return back


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.floats(allow_nan=False))
nested = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.integers(), st.text()), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(state=nested)
def test_nested_states_come_back_equal_with_their_types(tmp_path_factory, state):
    back = round_trip(tmp_path_factory.mktemp("c"), state)
    assert back == state
    assert repr(back) == repr(state)  # a tuple is no list, 1 is no 1.0, True is no 1


def test_words_that_the_format_uses_are_ordinary_keys(tmp_path):
    state = {"$tensor": "t0", "$array": {"$tuple": [1]}, "$dict": {}}
    assert round_trip(tmp_path, state) == state


def test_values_that_are_not_finite_come_back(tmp_path):
    back = round_trip(tmp_path, [math.inf, -math.inf, math.nan])
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.int16).reshape(2, 3),
        np.asfortranarray(np.eye(3)[:, :2]),
        np.array(1.5),
        np.array([], dtype=np.float32),
        np.array([1 + 2j]),
        np.array(["ab", "c"]),
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
    ],
)
def test_numpy_arrays_and_scalars_keep_type_shape_and_bits(tmp_path, array):
    back = round_trip(tmp_path, {"a": array})["a"]
    assert type(back) is type(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox"])
def test_numpy_generators_go_on_where_they_were(tmp_path, kind):
    generator = np.random.Generator(getattr(np.random, kind)(5))
    generator.random(7)
    state = round_trip(tmp_path, generator.bit_generator.state)
    expected = generator.random(5)
    other = np.random.Generator(getattr(np.random, kind)(0))
    other.bit_generator.state = state
    assert np.array_equal(other.random(5), expected)


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "bfloat16", "float16", "int64", "bool", "complex64", "uint8"],
)
def test_tensors_keep_type_shape_and_bits(tmp_path, dtype):
    dtype = getattr(torch, dtype)
    tensor = torch.tensor([[0, 1], [1, 3]]).to(dtype).T
    back = round_trip(tmp_path, (tensor, torch.zeros(0, 2, dtype=dtype)))
    assert back[0].dtype == dtype
    assert torch.equal(back[0], tensor)
    assert back[1].shape == (0, 2)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimisers_go_on_where_they_were(tmp_path, name):
    def make() -> tuple[torch.Tensor, torch.optim.Optimizer]:
        w = torch.ones(3, requires_grad=True)
        extra = {"momentum": 0.9} if name == "SGD" else {}
        return w, getattr(torch.optim, name)([w], lr=0.1, **extra)

    def step(w: torch.Tensor, opt: torch.optim.Optimizer) -> None:
        opt.zero_grad()
        (w**2).sum().backward()
        opt.step()

    w, opt = make()
    step(w, opt)
    state = round_trip(tmp_path, {"w": w, "opt": opt.state_dict()})
    step(w, opt)
    other_w, other = make()
    with torch.no_grad():
        other_w.copy_(state["w"])
    other.load_state_dict(state["opt"])
    step(other_w, other)
    assert torch.equal(w, other_w)


def test_every_global_generator_goes_on_where_it_was(tmp_path):
    def draw() -> tuple[float, float, float, float]:
        return random.gauss(0, 1), np.random.rand(), np.random.randn(), float(torch.randn(()))

    random.gauss(0, 1)  # leaves a second value waiting, which is a part of the state
    np.random.randn()
    path = saved(tmp_path, None)
    expected = draw()
    draw()
    checkpoint.set_rng_states(checkpoint.load(path, tmp_path).rng)
    assert draw() == expected


def test_tables_are_put_back(tmp_path):
    table = tmp_path / "curve.csv"
    table.write_text("a\n1\n")
    path = saved(tmp_path, None, (table,))
    table.unlink()
    checkpoint.load(path, tmp_path)
    assert table.read_text() == "a\n1\n"


def test_what_cannot_be_saved_is_said(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a object"):
        saved(tmp_path, {"a": object()})
    with pytest.raises(ValueError, match=r"[Oo]bject arrays cannot be saved"):
        saved(tmp_path, np.array([object()]))


@pytest.fixture
def small(tmp_path):
    """A checkpoint with a table, an array and a tensor, and its bytes."""
    table = tmp_path / "curve.csv"
    table.write_text("a\n1\n")
    path = saved(tmp_path, {"a": np.arange(3), "t": torch.ones(2)}, (table,))
    return path, path.read_bytes()


def test_a_checkpoint_cut_anywhere_is_refused_and_touches_no_generator(small, tmp_path):
    path, whole = small
    before = random.getstate()
    for length in [*range(0, len(whole), 211), *range(len(whole) - 200, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadCheckpoint, match=r"x\.checkpoint"):
            checkpoint.load(path, tmp_path)
    assert random.getstate() == before


def test_a_checkpoint_with_one_byte_changed_is_refused_or_the_same(small, tmp_path):
    path, whole = small
    refused = 0
    start = whole.index(b"PK\x01\x02")  # the directory of the archive, and some of the rest
    for position in [*range(0, start, 499), *range(start, len(whole))]:
        changed = bytearray(whole)
        changed[position] ^= 0x55
        path.write_bytes(changed)
        try:
            state = states.decode(checkpoint.load(path, tmp_path).state)
        except BadCheckpoint:
            refused += 1
        else:
            assert state["a"].tolist() == [0, 1, 2]
            assert state["t"].tolist() == [1, 1]
    assert refused > 100


def test_a_checkpoint_can_make_nothing_but_numbers_and_our_own_dataclasses(small, tmp_path):
    path, _ = small
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(members["state.json"])
    array = {
        "dtype": "|O",
        "shape": [1],
        "order": [0],
        "scalar": False,
        "$array": {"$blob": [0, 8]},
    }
    for tree in (
        {"$dataclass": "os:mkdir", "fields": []},
        {"$dataclass": "toolbox.core.store:shutil.rmtree", "fields": []},
        {"$dataclass": "toolbox.core.run:nothing", "fields": []},
        {"$object": {"$dict": []}},
        array,
        array | {"dtype": "<f8", "$array": {"$blob": [0, 1 << 40]}},
        {
            "$tensor": {"$blob": [0, 8]},
            "dtype": "load",
            "shape": [1],
            "order": [0],
            "device": "cpu",
        },
    ):
        with zipfile.ZipFile(path, "w") as archive:
            for name, whole in members.items():
                text = json.dumps({**document, "state": tree}).encode()
                archive.writestr(name, text if name == "state.json" else whole)
            archive.comment = checkpoint.seal_of(archive)  # as who means harm would
        with pytest.raises((BadCheckpoint, states.StateMismatch)):
            states.decode(checkpoint.load(path, tmp_path).state)


@pytest.mark.parametrize(
    ("member", "content"),
    [
        ("state.json", {"format": 99, "state": None, "rng": {}}),
        ("state.json", []),
        ("state.json", {"format": 2, "state": None}),
        ("run.json", []),
    ],
)
def test_a_foreign_document_is_refused(small, tmp_path, member, content):
    path, _ = small
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, whole in {**members, member: json.dumps(content).encode()}.items():
            archive.writestr(name, whole)
        archive.comment = checkpoint.seal_of(archive)
    with pytest.raises(BadCheckpoint, match=r"x\.checkpoint"):
        checkpoint.load(path, tmp_path)


def test_the_tables_of_a_checkpoint_stay_inside_the_folder(small, tmp_path):
    path, _ = small
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tables/../../escaped.csv", "a\n")
        archive.comment = checkpoint.seal_of(archive)
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    checkpoint.load(path, folder)
    assert not (tmp_path / "escaped.csv").exists()
