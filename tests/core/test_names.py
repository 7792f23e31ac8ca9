"""Names that no system takes are one sentence, wherever they are given."""

from __future__ import annotations

import pytest

LONG = "x" * 300
COMMANDS = [
    ("runs",), ("clean",), ("verify", "coin"), ("plot", "coin"), ("show", "ab"), ("coin", "toss"),
    ("sweep", "status", "none.yaml"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_folder_that_cannot_be_one_is_refused_by_every_command(cli, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    for place in ("", tmp_path / "file", tmp_path / "file" / "x", LONG):
        result = cli(*command, "--out", place)
        assert result.code == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("toolbox: --out")
        assert len(line) < 350


@pytest.mark.parametrize(
    "command",
    [
        ("plot", f"{LONG}.csv", "--x", "a", "--y", "b"), ("show", LONG), ("list", LONG),
        ("verify", LONG), ("plot", LONG), ("sweep", "plan", f"{LONG}.yaml"),
        ("coin", "toss", "--config", f"{LONG}.yaml"), ("coin", "toss", "--scratch", LONG),
    ],
    ids=lambda command: " ".join(command)[:20],
)  # fmt: skip
def test_a_name_over_255_characters_is_one_sentence(cli, command):
    result = cli(*command)
    assert result.code in (1, 2)
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("toolbox: ")
