"""Tables of any kind as a figure reads them: nothing shifts, is dropped or becomes text unsaid."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.commands.reading import Reading, read
from toolbox.commands.render.panels import arrange
from toolbox.core.errors import UsageError
from toolbox.core.figure import FigureSpec

TEXT = "step,loss,acc\n100,0.9,0.1\n200,0.8,0.2\n300,0.7,0.3\n"


@pytest.fixture
def table(tmp_path):
    def write(content, name="t.csv", labels=(), **reading):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read(str(path), Reading(**reading), labels)

    return write


def same(frame):
    expected = pd.read_csv(io.StringIO(TEXT))
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), expected)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.replace(",", "\t").encode(),
        TEXT.replace(",", "|").encode(),
        TEXT.replace(",", "   ").encode(),
        TEXT.replace(",", ";").replace(".", ",").encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-16"),
        b"\xef\xbb\xbf" + TEXT.encode(),
        b"\n\n" + TEXT.encode() + b"\n\n",
        gzip.compress(TEXT.encode(), mtime=0),  # no time, so that the case has one name
        bz2.compress(TEXT.encode()),
        lzma.compress(TEXT.encode()),
    ],
)
def test_a_table_is_known_by_what_it_is(table, content):
    same(table(content)[0])


def test_parquet_keeps_a_named_index_and_categories(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(io.StringIO(TEXT)).assign(o=pd.Categorical(["a", "b", "a"]))
    frame.set_index("step").to_parquet(tmp_path / "t.parquet")
    found, notes = read(str(tmp_path / "t.parquet"), Reading(), ["o"])
    same(found.drop(columns="o"))
    assert found["o"].tolist() == ["a", "b", "a"]
    assert notes == []


def test_a_trailing_separator_shifts_no_column(table):
    frame, notes = table(TEXT.replace("0.1\n", "0.1,\n").replace("0.2\n", "0.2,\n")[:-1] + ",\n")
    same(frame)
    assert notes == ["every row ends in a separator that the header lacks; it is ignored"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2,3\n4,5,6\n", r"t\.csv:2: 3 fields, but the header names 2"),
        ("a,b\n1,2,\n4,5\n", r"t\.csv:2: 3 fields"),
        ("a,b\n1,2\n\n4\n5,6\n", r"t\.csv:4: 1 field, but .* a row is cut"),
        ("a,b\n1,2\n4", r"t\.csv:3: .* the file is cut"),
        ('a,b\n"1\n2",3\n4\n', r"t\.csv:4: 1 field"),
        ('a,b\n1,"2\n4,5\n', r"t\.csv:2: a quote that opens here is never closed"),
        ("a,b,a\n1,2,3\n", r"t\.csv:1: the column name 'a' stands twice \(columns 1 and 3\)"),
        ("\na, b,b \n1,2,3\n", r"t\.csv:2: the column name 'b' stands twice"),
        (b"a,b\n1,2\n3,\xe9\n", r"t\.csv:3: byte 0xe9 is no UTF-8"),
        ("", "empty"),
        ("\n \n", "empty"),
        (gzip.compress(TEXT.encode(), mtime=0)[:-9], "cut or damaged"),
        (b"PAR1 and no more", "Parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(table, content, said):
    with pytest.raises(UsageError, match=said):
        table(content)


@settings(max_examples=60, deadline=None)
@given(
    widths=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    quoted=st.booleans(),
    ending=st.sampled_from(["", "\n"]),
)
def test_every_row_of_another_length_is_found(tmp_path_factory, widths, quoted, ending):
    cell = '"1"' if quoted else "1"
    lines = ["a,b,c", *(",".join([cell] * width) for width in widths)]
    path = tmp_path_factory.mktemp("rows") / "t.csv"
    path.write_text("\n".join(lines) + ending)
    wrong = [at + 2 for at, width in enumerate(widths) if width != 3]
    if wrong:
        with pytest.raises(UsageError, match=rf"t\.csv:{wrong[0]}: "):
            read(str(path), Reading())
    else:
        assert len(read(str(path), Reading())[0]) == len(widths)


def test_labels_are_text_as_written(table):
    content = "s,y,o\n1,1,None\n1,2,NA\n1,3,nan\n1,4,null\n1,5,007\n"
    frame, _ = table(content, labels=["o"])
    assert frame["o"].tolist() == ["None", "NA", "nan", "null", "007"]
    plot = arrange(frame, FigureSpec(x="s", y="y", hue="o"), {})
    assert set(plot.hues) == {"None", "NA", "nan", "null", "007"}
    assert table("s,y\n1,NA\n2,3\n")[0]["y"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "reading", "expected"),
    [
        ('a,b\n"1,000",2\n"10,000",3\n', {"thousands": ","}, [1000, 10000]),
        ("a;b\n1 000;2\n10 000;3\n", {"thousands": " "}, [1000, 10000]),
        ("a;b\n1.000;0,5\n10.000;0,25\n", {"thousands": "."}, [1000, 10000]),
        ('a,b\n"1,5",2\n"2,5",3\n', {"decimal": ","}, [1.5, 2.5]),
        ("a b\n1 2\n3 4\n", {"sep": "space"}, [1, 3]),
        ("a:b\n1:2\n3:4\n", {"sep": ":"}, [1, 3]),
        ("a;b\n0,500;2\n0,250;3\n", {}, [0.5, 0.25]),
    ],
)
def test_numbers_are_read_as_asked(table, content, reading, expected):
    assert table(content, **reading)[0]["a"].tolist() == expected


def test_a_thousand_is_never_taken_for_one(table):
    frame, notes = table("a;b\n1.000;0,5\n10.000;0,25\n")
    assert notes == ["numbers are read with decimal commas; --decimal . reads otherwise"]
    assert frame["b"].tolist() == [0.5, 0.25]
    with pytest.raises(UsageError, match=r"'1\.000' on line 2; --thousands \. reads it as one"):
        arrange(frame, FigureSpec(x="b", y="a"), {})


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({"sep": "ab"}, "--sep 'ab': give one character"),
        ({"sep": ",", "decimal": ","}, "differ"),
        ({"decimal": ".", "thousands": "."}, "differ"),
    ],
)
def test_marks_that_cannot_be_told_apart_are_refused(table, reading, said):
    with pytest.raises(UsageError, match=said):
        table(TEXT, **reading)


# ------------------------------------------------------------------------------- text on the x axis


def drawn(frame, x="x", **more):
    return arrange(frame, FigureSpec(x=x, y="y", **more), {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('x,y\n"500",1\n"1,000",2\n', "'1,000' on line 3 is no number; --thousands , reads"),
        ("x,y\n1,1\n2,2\ntotal,3\n", "numbers and text, .*'total' on line 4 is no number"),
        ("x,y\n1,1\n2\x00,2\n", r"'2\\x00' on line 3 is no number"),
        ("x,y\na,1\nb,2\n", "holds text, .*'a' on line 2"),
        ("x,y\n2024-01-01,1\nlater,2\n", "dates and text, .*'later' on line 3 is no date"),
        ("x,y\n01/02/2024,1\n", "may begin with the day or the month"),
    ],
)
def test_categories_are_never_made_unsaid(table, content, said):
    plot = drawn(table(content)[0])
    (note,) = plot.notes
    assert re.search(said, note), note
    assert plot.categories


def test_rows_are_chosen_before_numbers_are_looked_for(table):
    frame, _ = table("x,y\n1,1\n2,2\n10,3\ntotal,6\n")
    plot = drawn(frame, where="x != 'total'")
    assert plot.categories is None
    assert plot.panels[0].curves[0].line[0].tolist() == [1, 2, 10]


@pytest.mark.parametrize(
    "days",
    [
        ("2024-01-01", "2024-01-02", "2024-03-01"),
        ("2024/01/01", "2024/01/02", "2024/03/01"),
        ("01.01.2024", "02.01.2024", "01.03.2024"),
        ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("2024-01-01 02:00+02:00", "2024-01-02 02:00+02:00", "2024-03-01 02:00+02:00"),
    ],
)
def test_dates_stand_at_their_distances(table, days):
    rows = "".join(f"{day},{at}\n" for at, day in enumerate(days))
    plot = drawn(table(f"x,y\n{rows}")[0])
    assert plot.dates
    assert (plot.panels[0].curves[0].line[0] - 19723).tolist() == [0, 1, 60]
    assert plot.notes[0].startswith("'x' is read as dates")


def test_a_header_that_stands_twice_is_named_with_its_line(table):
    frame, _ = table(TEXT + TEXT)
    with pytest.raises(UsageError, match=r"not 'loss' on line 5 \(the header again\)"):
        arrange(frame, FigureSpec(x="step", y="loss"), {})
