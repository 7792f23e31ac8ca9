"""Fork servers where $TMPDIR is too long for a socket."""

from __future__ import annotations

import pytest

from toolbox.core.errors import ToolboxError
from toolbox.core.processes import short_folder

LONG = "/tmp/" + 71 * "x"


def test_the_usual_folder_is_kept_while_it_is_short_enough(tmp_path):
    assert short_folder(str(tmp_path)[:1] or "/") == "/"
    assert short_folder("/tmp", ["/var/tmp"]) == "/tmp"


def test_a_long_one_gives_way_to_the_first_that_can_be_written():
    assert len(LONG) == 76
    assert short_folder(LONG, ["/nowhere", "/tmp"]) == "/tmp"
    with pytest.raises(ToolboxError, match="TMPDIR"):
        short_folder(LONG, ["/nowhere"])


@pytest.mark.parametrize("length", [76, 90, 150])
def test_cells_run_side_by_side_under_a_long_tmpdir(interpreter, tmp_path, length):
    """A socket's path takes 107 bytes, of which multiprocessing needs 32."""
    folder = tmp_path / "x"
    folder = folder.with_name("x" * (length - len(str(tmp_path)) - 1))
    folder.mkdir()
    assert len(str(folder)) == length
    sweep = tmp_path / "grid.yaml"
    sweep.write_text("command: coin toss\naxes: {tosses: [10, 20]}\n")
    result = interpreter("sweep", "run", sweep, "--jobs", 2, TMPDIR=str(folder))
    assert (result.code, result.stdout) == (0, "2 complete\n"), result.stderr
    assert not list(folder.iterdir())
