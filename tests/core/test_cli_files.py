"""A command that reads a file: the file by its place, its content as part of the run's name."""

from __future__ import annotations

from typing import Annotated

import typer

from toolbox.core import cli as core_cli
from toolbox.core.params import params_of


def experiment(
    run: object,
    file: Annotated[str, typer.Argument(help="A file.")] = "a.txt",
    last: Annotated[bool, typer.Option("--last/--first", help="Last.")] = True,
) -> None: ...


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


def test_positional_and_off_flag_reach_typer():
    params = params_of(experiment)
    argument = core_cli._option(params["file"], "Study")
    assert argument.default == "a.txt"
    option = core_cli._option(params["last"], "Study")
    decls = [meta.default for meta in option.annotation.__metadata__]
    assert decls == ["--last/--first"]
