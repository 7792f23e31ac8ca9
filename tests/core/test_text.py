"""Text that any stream can show."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from toolbox.core import text

TOYS = Path(__file__).parents[1] / "toy_toolbox.py"
COMMANDS = [
    ("list",),
    ("coin", "toss", "--help"),
    ("coin", "toss", "--tosses", "2000", "--repeats", "3"),
    ("verify", "coin"),
    ("plot", "coin", "toss", "--terminal"),
]


@pytest.mark.parametrize(
    ("character", "plain"),
    [("─", "-"), ("≤", "<="), ("é", "e"), ("²", "2"), ("θ", "theta"), ("Δ", "delta"), ("点", "?")],
)
def test_what_stands_for_a_character(character, plain):
    assert text.in_ascii(character) == plain


def test_lines_break_between_words_alone():
    said = text.wrapped("of a-hyphenated-word, " * 9, "  ", "    ", columns=40)
    assert {word for line in said.splitlines() for word in line.split()} == {
        "of",
        "a-hyphenated-word,",
    }
    assert max(map(len, said.splitlines())) <= 40
    flags = text.unbroken_flags("--alg prox --round --steps 100")
    for columns in range(40, 60):
        lines = text.wrapped("word " * 5 + flags, columns=columns).splitlines()
        assert sum("--alg prox" in line for line in lines) == 1
        assert sum("--steps 100" in line for line in lines) == 1


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    out = tmp_path_factory.mktemp("text")
    line = [sys.executable, str(TOYS), "coin", "toss", "--tosses", "2000", "--repeats", "4"]
    subprocess.run([*line, "--quiet", "--out", str(out)], check=True, capture_output=True)
    return out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_stream_of_ascii_gets_ascii(words, place):
    environment = {"PYTHONIOENCODING": "ascii", "TOOLBOX_OUT": str(place), "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, str(TOYS), *words],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
    )
    shown = (done.stdout + done.stderr).decode("ascii")
    assert "Traceback" not in shown
    assert "\\u" not in shown


@pytest.mark.parametrize("plain", [{"NO_COLOR": "1", "TERM": "xterm-256color"}, {"TERM": "dumb"}])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_terminal_that_wants_no_colours_gets_none(words, plain, place):
    shown = on_a_terminal(words, {"TOOLBOX_OUT": str(place), **plain})
    colours = [
        part for part in shown.split(b"\x1b[")[1:] if part.lstrip(b"0123456789;")[:1] == b"m"
    ]
    hues = [part for part in colours if part[:1] in b"3459" and part[1:2].isdigit()]
    assert not hues
    if plain["TERM"] == "dumb":
        assert b"\x1b" not in shown


def test_a_terminal_gets_colours(place):
    shown = on_a_terminal(("verify", "coin"), {"TOOLBOX_OUT": str(place), "TERM": "xterm"})
    assert b"\x1b[" in shown


def on_a_terminal(words, environment):
    """Everything that a command writes to a terminal."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM", "FORCE_COLOR")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, str(TOYS), *words],
        env={**kept, **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    process.wait()
    os.close(ours)
    return shown
