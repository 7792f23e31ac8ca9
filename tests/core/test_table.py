"""A table reads back as what was written, or is refused by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.core.errors import TableError
from toolbox.core.spec import TableSpec
from toolbox.core.table import _UNSAFE_TEXT, TableWriter, read_table


def spec_of(**types: str) -> TableSpec:
    """A table with these columns; a trailing '?' makes one optional."""
    columns = {
        name: {
            "meaning": name,
            "role": "metric",
            "type": kind.rstrip("?"),
            "optional": kind.endswith("?"),
        }
        for name, kind in types.items()
    }
    return TableSpec.model_validate({"rows": "a row", "columns": columns})


def round_trip(folder: Any, rows: Any, **types: str) -> pd.DataFrame:
    spec, path = spec_of(**types), folder / "table.csv"
    writer = TableWriter(path, spec)
    try:
        writer.write(rows, seed=3, repeat=1)
        described = writer.close()
    finally:
        writer.abandon()
    assert described["rows"] == len(pd.read_csv(path))
    return read_table(path, spec.all_columns, described)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(), min_size=1, max_size=20))
def test_floats_come_back_to_the_last_bit(tmp_path_factory, values):
    back = round_trip(tmp_path_factory.mktemp("t"), {"x": values}, x="float")["x"].to_numpy().copy()
    bits = np.asarray(values, dtype=float)
    bits[np.isnan(bits)] = back[np.isnan(back)] = np.nan
    assert back.tobytes() == bits.tobytes()


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.text(st.characters(codec="utf-8"), max_size=5), min_size=1, max_size=5))
def test_text_comes_back_or_is_refused(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("t")
    if any("\r" in text or text in _UNSAFE_TEXT for text in values):
        with pytest.raises(ValueError, match="would read back"):
            round_trip(folder, {"x": values}, x="str")
    else:
        assert list(round_trip(folder, {"x": values}, x="str")["x"]) == values


@pytest.mark.parametrize("word", ["NA", "nan", "", "null", "None", "N/A"])
def test_a_word_that_other_readers_take_for_missing_is_refused(tmp_path, word):
    with pytest.raises(ValueError, match="would read back as missing"):
        round_trip(tmp_path, {"x": ["fine", word]}, x="str")


def test_ints_bools_and_constants_keep_their_types(tmp_path):
    rows = {"n": [2**62 + 1, -1], "ok": [True, False], "name": "gd"}
    back = round_trip(tmp_path, rows, n="int", ok="bool", name="str")
    assert list(back.columns) == ["seed", "repeat", "n", "ok", "name"]
    assert list(back["n"]) == [2**62 + 1, -1]
    assert back["ok"].dtype == bool
    assert list(back["name"]) == ["gd", "gd"]
    assert set(back["seed"]) == {3}
    assert set(back["repeat"]) == {1}


def test_an_optional_cell_may_be_empty(tmp_path):
    rows = {"n": [1, None], "ok": [None, True], "x": [math.nan, math.inf], "s": [None, "a"]}
    back = round_trip(tmp_path, rows, n="int?", ok="bool?", x="float?", s="str?")
    assert back["n"].isna().tolist() == [False, True]
    assert back["ok"].isna().tolist() == [True, False]
    assert back["s"].isna().tolist() == [True, False]
    assert back["n"][0] == 1
    assert math.isinf(back["x"][1])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("int", [1, None]),
        ("int", [1.5, 2.0]),
        ("int?", [1.5, None]),
        ("int", [math.inf]),
        ("bool", ["False", "True"]),
        ("bool", [2, 0]),
        ("bool", [True, None]),
        ("str", ["a", None]),
        ("float", ["fast"]),
    ],
)
def test_a_value_that_its_column_cannot_hold_is_refused_not_bent(tmp_path, kind, values):
    with pytest.raises((ValueError, TypeError)):
        round_trip(tmp_path, {"x": values}, x=kind)


@pytest.mark.parametrize("values", [[1.0, 2.0], np.array([1, 2], dtype=np.int8)])
def test_whole_numbers_of_another_type_are_ints(tmp_path, values):
    assert list(round_trip(tmp_path, {"x": values}, x="int")["x"]) == [1, 2]


def test_missing_and_undeclared_columns_are_refused_by_name(tmp_path):
    message = "no column 'y' is declared, the declared column 'x' is missing"
    with pytest.raises(ValueError, match=message):
        round_trip(tmp_path, {"y": [1.0]}, x="float")


def test_a_column_reads_the_same_in_whatever_chunks_it_was_written(tmp_path):
    spec, texts = spec_of(x="float", n="int?"), []
    for number, chunks in enumerate([[[1.0, 0.5, 3.0]], [[1.0], [0.5], [3.0]]]):
        path = tmp_path / f"{number}.csv"
        writer = TableWriter(path, spec)
        for chunk in chunks:
            writer.write(
                {"x": chunk, "n": [1 if v == 0.5 else None for v in chunk]}, repeat=0, seed=0
            )
        writer.close()
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_scalars_alone_make_one_row(tmp_path):
    assert len(round_trip(tmp_path, {"x": 1.0, "n": 2}, x="float", n="int")) == 1


def test_a_table_without_rows_reads_back_empty(tmp_path):
    assert round_trip(tmp_path, {"x": [], "n": [], "s": []}, x="float", n="int?", s="str").empty


@pytest.fixture
def written(tmp_path):
    spec, path = spec_of(x="float"), tmp_path / "table.csv"
    writer = TableWriter(path, spec)
    writer.write({"x": [0.1, 0.2]}, seed=0, repeat=0)
    return path, spec, writer.close()


def test_a_table_cut_at_any_byte_is_refused_by_name(written):
    path, spec, described = written
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError, match=r"table\.csv .*truncated or edited|other bytes"):
            read_table(path, spec.all_columns, described)


def test_a_table_with_one_byte_changed_is_refused_by_name(written):
    path, spec, described = written
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises(TableError, match=r"table\.csv"):
            read_table(path, spec.all_columns, described)


def test_a_missing_table_and_one_of_other_columns_are_refused_by_name(written):
    path, _, described = written
    with pytest.raises(TableError, match=r"columns seed, repeat, x are not the declared"):
        read_table(path, spec_of(y="float").all_columns, described)
    path.unlink()
    with pytest.raises(TableError, match=r"table\.csv is missing"):
        read_table(path, spec_of(x="float").all_columns, described)
