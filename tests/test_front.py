"""The front page: every study is on it, none of them is imported, a broken one harms no other."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from toolbox.core.studies import docstring_of

ROOT = Path(__file__).parent.parent
TOY = Path(__file__).parent / "toys" / "coin"


def cli_with(*changes: tuple[str, str]) -> str:
    text = (TOY / "cli.py").read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


OPTION = 'tosses: Annotated[int, typer.Option(help="Tosses per replicate."), Ge(1), Le(100_000)]'
BROKEN = {
    "a package that is not there": cli_with(
        ("from annotated_types", "import numpyy\nfrom annotated_types")
    ),
    "a syntax error": cli_with(("class Toss:", "class Toss")),
    "a flag without Annotated": cli_with((OPTION, "tosses: int")),
    "a flag without a type": cli_with((f"{OPTION} = 1000", "tosses = 1000")),
    "a flag without help": cli_with(('typer.Option(help="Tosses per replicate.")', "Ge(0)")),
    "a default out of bounds": cli_with((f"{OPTION} = 1000", f"{OPTION} = 0")),
    "no group": cli_with(("app = study_app(__doc__)", "app = None")).replace(
        "@command(app)", "@(lambda f: f)"
    ),
    "a class that is not frozen": cli_with(("@dataclass(frozen=True)", "@dataclass")),
}
LINES = {
    "a package that is not there": 7,
    "a syntax error": 16,
    "a flag without Annotated": 19,
    "a flag without a type": 19,
    "a flag without help": 19,
    "a default out of bounds": 19,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_cli_is_one_sentence_for_who_asks_and_nothing_for_others(cli, studies, kind):
    folder = studies("broken", cli=BROKEN[kind])
    for words in (["broken"], ["broken", "toss"], ["broken", "--help"], ["broken", "toss", "-h"]):
        asked = cli(*words)
        assert asked.code == 1
        assert asked.stdout == ""
        assert len(asked.stderr.splitlines()) == 1
        line = LINES.get(kind)
        assert f"{folder / 'cli.py'}:{line or ''}" in asked.stderr
        assert "'broken'" in asked.stderr
    front = cli("--help")
    assert front.code == 0
    assert "broken" in front.stdout
    assert "gd" in front.stdout
    assert cli("coin", "toss", "--tosses", 100, "--quiet").stderr == ""
    assert cli("coin", "--help").code == cli("list").code == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("title: On Coins", "title: [On Coins"), None),
        (("title: On Coins", "titel: On Coins"), 1),
        (("region: [0.48, 0.52]", "region: [0.52, 0.48]"), None),
        (("table: counts", "table: count"), None),
    ],
)
def test_a_broken_study_yaml_is_one_sentence_and_all_others_go_on(cli, studies, change, line):
    text = (TOY / "study.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    folder = studies("broken", study=text.replace(*change))
    where = f"{folder / 'study.yaml'}:{line or ''}"
    assert cli("coin", "toss").code == 0
    for words in (["list"], ["list", "--json"], ["verify"]):
        result = cli(*words)
        assert result.code == 0
        assert "coin" in result.stdout
        assert result.stderr.count(where) == 1
        assert len(result.stderr.splitlines()) == 1
    for words in (["list", "broken"], ["verify", "broken"], ["broken", "toss"], ["plot", "broken"]):
        result = cli(*words)
        assert result.code == 2
        assert where in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert cli("coin", "toss", "--quiet").stderr == cli("runs").stderr == ""


def test_a_misspelt_name_is_answered_with_the_nearest_of_all(cli, studies):
    studies("pendulum")
    assert "Did you mean 'pendulum'?" in cli("pendulun").stderr
    assert "Did you mean 'verify'?" in cli("verfy").stderr


def test_the_sentence_of_a_study_is_read_from_the_beginning_of_its_file(tmp_path):
    path = tmp_path / "cli.py"
    for text, expected in (
        ('"""One.\n\nTwo."""\nimport numpy\n', "One.\n\nTwo."),
        ("# a comment\n\n'single'\n", "single"),
        ('r"""Raw \\d."""\nthis is ( no python', "Raw \\d."),
        ("import x\n'late'\n", ""),
        ("", ""),
        ('"""never closed', ""),
    ):
        path.write_text(text, encoding="utf-8")
        assert docstring_of(path) == expected
    assert docstring_of(tmp_path / "missing.py") == ""


def test_fifty_studies_cost_no_import(tmp_path):
    """What is imported for the front page does not depend on how many studies there are."""
    for number in range(50):
        folder = tmp_path / f"study{number}"
        folder.mkdir()
        (folder / "study.yaml").write_text("title: T\n", encoding="utf-8")
        (folder / "cli.py").write_text(f'"""Study {number}."""\nraise SystemExit("imported")\n')
    code = textwrap.dedent("""
        import sys, toolbox.studies
        toolbox.studies.__path__.append(sys.argv.pop())
        from toolbox.app import run
        code = run(sys.argv[1:])
        print("IMPORTED", len(sys.modules))
    """)

    def shown(*words: str, place: Path) -> tuple[str, int]:
        done = subprocess.run(
            [sys.executable, "-c", code, *words, str(place)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        page, _, count = done.stdout.partition("IMPORTED ")
        return page, int(count)

    page, many = shown("--help", place=tmp_path)
    assert all(f"Study {number}." in page for number in range(50))
    assert many == shown("--help", place=tmp_path / "empty")[1]
