"""Configuration files mean what they say, or are refused with file and line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.core.errors import UsageError
from toolbox.core.strict_yaml import load_mapping


def load(folder: Path, content: str | bytes) -> Any:
    path = folder / "file.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return load_mapping(path)


def refusal(folder: Path, content: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder, content)
    text = str(caught.value)
    assert "file.yaml" in text
    assert "\n" not in text
    assert len(text) < 1000
    return text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("-3.", -3.0),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("+7", 7),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-02", "2020-01-02"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("'5'", "5"),
        ("e5", "e5"),
        ("[1, [2, x]]", [1, [2, "x"]]),
    ],
)
def test_a_scalar_is_what_the_core_schema_of_yaml_1_2_says(tmp_path, text, value):
    read = load(tmp_path, f"key: {text}\n")["key"]
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_read(tmp_path):
    assert math.isnan(load(tmp_path, "key: .nan\n")["key"])


@settings(max_examples=50, deadline=None)
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_prints_is_read_back(tmp_path_factory, number):
    assert load(tmp_path_factory.mktemp("yaml"), f"key: {number!r}\n")["key"] == number


def test_duplicate_keys_are_refused_at_any_depth_with_both_lines(tmp_path):
    assert "file.yaml:3: duplicate key 'a' (first on line 1)" in refusal(
        tmp_path, "a: 1\nb: 2\na: 3\n"
    )
    deep = "top:\n  list:\n    - {x: 1}\n    - x: 1\n      'x': 2\n"
    assert "file.yaml:5: duplicate key 'x' (first on line 4)" in refusal(tmp_path, deep)


def test_keys_that_look_alike_as_words_are_duplicates(tmp_path):
    assert "duplicate key '1'" in refusal(tmp_path, "1: a\n'1': b\n")


def test_a_key_that_is_no_word_is_refused(tmp_path):
    assert "file.yaml:2: a key must be a word" in refusal(tmp_path, "a: 1\n? [x, y]\n: 2\n")
    assert "a key must be a word" in refusal(tmp_path, "? {x: y}\n: 2\n")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# a comment\n", "---\n"])
def test_lines_are_counted_right(tmp_path, newline, start):
    content = (start + "a: 1\n\nb:\n  c: 2\n").replace("\n", newline)
    mapping = load(tmp_path, content)
    above = start.count("\n")
    assert mapping == {"a": 1, "b": {"c": 2}}
    assert mapping.where("a").endswith(f"file.yaml:{above + 1}")
    assert mapping.where("b").endswith(f"file.yaml:{above + 3}")
    assert mapping["b"].where("c").endswith(f"file.yaml:{above + 4}")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: 1\n\tb: 2\n", "file.yaml:2: not valid YAML"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "file.yaml:2: not valid YAML"),
        ("- 1\n- 2\n", "file.yaml:1: expected `name: value` lines, got list"),
        ("word\n", "expected `name: value` lines, got str 'word'"),
        (b"a: \xff\n", "not UTF-8 text (byte 3)"),
        ("a: 1\n".encode("utf-16"), "not UTF-8"),
        (b"a: \x00\n", "not valid YAML"),
        ("a: *nobody\n", "not valid YAML"),
        ("a: &x [*x]\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system [true]\n", "file.yaml:1: not valid YAML"),
        ("a: !!int word\n", "not valid YAML"),
        ("a: !!int [1]\n", "not valid YAML"),
        ("a: !!bool maybe\n", "not valid YAML"),
        ("a: !!timestamp never\n", "not valid YAML"),
        ("a: " + "9" * 5000 + "\n", "not valid YAML"),
        ("a: " + "[" * 100_000, "not valid YAML"),
    ],
)
def test_what_is_no_mapping_in_yaml_is_refused_in_one_line(tmp_path, content, expected):
    assert expected in refusal(tmp_path, content)


@pytest.mark.parametrize("top", ["t: *v8\n", ""])
def test_a_few_anchors_cannot_grow_to_gigabytes(tmp_path, top):
    lines = ["v0: &v0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]
    lines += [f"v{i}: &v{i} [{', '.join([f'*v{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "anchors repeated" in refusal(tmp_path, "\n".join(lines) + "\n" + top)


def test_a_few_anchors_are_welcome(tmp_path):
    assert load(tmp_path, "a: &x {b: 1}\nc: *x\n") == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize("content", ["", "\n\n", "# nothing\n", "---\n"])
def test_an_empty_file_says_nothing_and_is_an_empty_mapping(tmp_path, content):
    assert load(tmp_path, content) == {}


def test_missing_files_folders_and_huge_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot be read"):
        load_mapping(tmp_path / "absent.yaml")
    with pytest.raises(UsageError, match="cannot be read"):
        load_mapping(tmp_path)
    assert "the limit is" in refusal(tmp_path, "a: 1\n" + "#" * 2_000_000)
    with pytest.raises(UsageError, match="the limit is"):
        load_mapping(Path("/dev/zero"))
