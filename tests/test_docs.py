"""The documentation does what it says: its code runs, its lines are those that CI runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import toolbox.studies
from toolbox.core.spec import load_study
from toolbox.core.studies import study_names

ROOT = Path(__file__).parents[1]


@pytest.fixture
def walk(tmp_path):
    """The study of docs/adding-a-study.md, made of the page's own code blocks."""
    page = (ROOT / "docs" / "adding-a-study.md").read_text(encoding="utf-8")
    folder = tmp_path / "studies" / "walk"
    folder.mkdir(parents=True)
    blocks = re.findall(r"`([\w/]+\.(?:py|yaml))`[^\n]*\n\n```\w+\n(.*?)```", page, flags=re.S)
    for name, code in blocks:
        target = folder / name if "/" not in name else tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(code, encoding="utf-8")
    toolbox.studies.__path__.append(str(folder.parent))
    yield folder
    toolbox.studies.__path__.remove(str(folder.parent))
    load_study.cache_clear()
    for name in [name for name in sys.modules if name.startswith("toolbox.studies.walk")]:
        del sys.modules[name]


def test_the_study_of_the_page_works_as_the_page_says(walk, cli, tmp_path):
    assert sorted(path.name for path in walk.iterdir()) == [
        "__init__.py", "cli.py", "data.py", "metrics.py", "spread.py", "study.yaml",
    ]  # fmt: skip
    ran = cli("walk", "spread", "--repeats", "5")
    assert ran.code == 0, ran.stderr
    assert "supported" in ran.stderr
    assert cli("plot", "walk", "spread", "--format", "svg").code == 0
    assert "diffusion" in cli("verify", "walk").stdout
    for words in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *words, "--config", str(ROOT / "pyproject.toml")]
        done = subprocess.run([*ruff, str(walk)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    test = tmp_path / "tests" / "studies" / "walk" / "test_data.py"
    code = compile(test.read_text(encoding="utf-8"), str(test), "exec")
    scope: dict[str, object] = {}
    exec(code, scope)
    scope["test_the_mean_squared_distance_is_the_number_of_steps"]()


def test_the_readme_has_the_two_lines_and_ci_runs_the_second():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert len(lines) == 2
    assert lines[0].endswith("toolbox gd anytime --T 10000")
    assert ".venv/bin/python -m pytest" in lines[1]
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_command_in_the_readme_exists(cli):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    studies = "|".join(study_names())
    named = set(re.findall(rf"toolbox ({studies}) ([a-z-]+)", readme))
    assert named
    for study, command in named:
        assert command in load_study(study).commands, f"toolbox {study} {command}"


PAGES = ["python.md", "building-blocks.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    """Its blocks of code, one after the other, in one namespace."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M)
    assert blocks
    scope: dict[str, object] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, page, "exec"), scope)


RESULTS = ROOT / "docs" / "results" / "README.md"
PAGES = sorted((ROOT / "docs" / "studies").glob("*.md"))


@pytest.mark.skipif(not RESULTS.exists(), reason="the gallery is not in this checkout")
def test_the_readme_has_the_rows_of_the_gallery():
    """Paper, headline, verdicts and minutes; links lead to docs/results from there."""
    index = RESULTS.read_text(encoding="utf-8")
    rows = [line for line in index.splitlines() if line.startswith("| [")]
    assert len(rows) == len(list((ROOT / "docs" / "results").glob("*.md"))) - 1
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for row in rows:
        assert row.replace("](", "](docs/results/", 1) in readme, row


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_page_of_a_study_is_what_the_study_declares(path, cli):
    written = cli("list", path.stem, "--format", "markdown").stdout
    assert path.read_text(encoding="utf-8") == written, (
        f"write it again: toolbox list {path.stem} --format markdown > {path.relative_to(ROOT)}"
    )


def test_every_study_has_a_page_and_the_index_names_it():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for study in study_names():
        if (ROOT / "toolbox" / "studies" / study).is_dir():
            assert f"(studies/{study}.md)" in index, f"docs/README.md does not name {study}"
            assert ROOT / "docs" / "studies" / f"{study}.md" in PAGES
