"""A command that reads a file: the file by its place, its content as part of the run's name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from toolbox.core import cli as core_cli
from toolbox.core.options import option
from toolbox.core.params import params_of, run_id, run_id_by_spelling


@dataclass(frozen=True)
class Reading:
    file: Annotated[str, typer.Argument(help="A file.")] = "a.txt"
    last: Annotated[bool, typer.Option("--last/--first", help="Last.")] = True


def test_the_content_of_a_file_names_the_run(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    first = core_cli.contents_of({"file": str(path)})
    path.write_text("two")
    second = core_cli.contents_of({"file": str(path)})
    assert set(first) == set(second) == {"file_sha256"}
    assert first != second
    assert core_cli.contents_of({"file": str(tmp_path / "none")}) == {}
    assert core_cli.contents_of({"file": str(tmp_path)}) == {}


def test_a_folder_counts_by_the_files_in_it_that_are_read(tmp_path):
    within = ("a", "inner/a", "b")
    for folder in ("one/inner", "two", "three"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one/inner/a").write_text("x")
    (tmp_path / "two/a").write_text("x")
    (tmp_path / "two/notes").write_text("these are not read")
    (tmp_path / "three/a").write_text("y")
    one, two, three = (
        core_cli.contents_of({"data": str(tmp_path / name)}, within)
        for name in ("one", "two", "three")
    )
    assert set(one) == {"data_sha256"}
    assert one == two
    assert one != three
    (tmp_path / "two/b").write_text("z")
    assert core_cli.contents_of({"data": str(tmp_path / "two")}, within) != two
    assert core_cli.contents_of({"data": str(tmp_path)}, within) == {}
    assert core_cli.contents_of({"data": ""}, within) == {}
    # A file itself is its content, as without folders.
    path = str(tmp_path / "two/a")
    assert core_cli.contents_of({"data": path}, within) == core_cli.contents_of({"data": path})


def test_a_pipe_is_read_twice(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"one")
    os.close(writing)
    copy = core_cli.readable_twice(f"/dev/fd/{reading}")
    assert Path(copy).read_bytes() == Path(copy).read_bytes() == b"one"
    (tmp_path / "a.txt").write_text("one")
    plain = str(tmp_path / "a.txt")
    assert core_cli.readable_twice(plain) == plain
    assert core_cli.contents_of({"file": copy}) == core_cli.contents_of({"file": plain})
    assert core_cli.readable_twice("pydoc_data.topics") == "pydoc_data.topics"


def test_positional_and_off_flag_reach_typer():
    params = params_of(Reading)
    argument = option(params["file"], "Study", "TOOLBOX_A_B_")
    assert argument.default == "a.txt"
    shown = option(params["last"], "Study", "TOOLBOX_A_B_")
    decls = [meta.default for meta in shown.annotation.__metadata__]
    assert decls == ["--last/--first"]


def test_a_file_is_named_by_its_content_and_not_by_its_spelling():
    here, there = ({"file": name, "file_sha256": "ab"} for name in ("a.txt", "./a.txt"))
    assert run_id("scb", "fit", here) == run_id("scb", "fit", there)
    assert run_id("scb", "fit", here) != run_id("scb", "fit", {**here, "file_sha256": "cd"})
    # A file that could not be read, or no file at all, is still named by what was given.
    assert run_id("scb", "fit", {"file": "a"}) != run_id("scb", "fit", {"file": "b"})
    assert run_id_by_spelling("scb", "fit", here) != run_id_by_spelling("scb", "fit", there)
