"""The rules of the house: who imports whom, how long a file is, what help may import."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "toolbox"
HEAVY = {"torch", "numpy", "scipy", "pandas", "matplotlib", "cvxpy", "plotext"}
FILES = sorted(PACKAGE.rglob("*.py"))
LIGHT = [
    PACKAGE / "app.py",
    PACKAGE / "__main__.py",
    PACKAGE / "api.py",
    PACKAGE / "finished.py",
    *PACKAGE.glob("studies/*/cli.py"),
]
LIGHT += [*PACKAGE.glob("commands/*.py"), *PACKAGE.glob("commands/sweep/*.py")]


def test_the_import_contracts_hold():
    from importlinter.cli import lint_imports

    before = Path.cwd()
    os.chdir(ROOT)
    try:
        assert lint_imports(config_filename="pyproject.toml", no_cache=True, verbose=False) == 0
    finally:
        os.chdir(before)


def test_no_file_is_longer_than_400_lines():
    longest = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {str(path): n for path, n in longest.items() if n > 400} == {}


def top_level_imports(path: Path) -> set[str]:
    """The packages that importing the file imports, TYPE_CHECKING blocks and bodies left out."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_line_imports_nothing_heavy_at_its_top(path):
    assert not top_level_imports(path) & HEAVY


def imported_by(*words: str) -> set[str]:
    """The modules that a command line imports, in a process of its own."""
    code = "import sys; from toolbox.app import run\ntry: run(sys.argv[1:])\nfinally: "
    code += "print('IMPORTED', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.partition("IMPORTED ")[2].split())


def of_studies(modules: set[str]) -> set[str]:
    return {name.split(".")[2] for name in modules if name.startswith("toolbox.studies.")}


STUDIES = sorted(path.parent.name for path in PACKAGE.glob("studies/*/study.yaml"))


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], ["list", "--help"]], ids=str)
def test_the_front_page_imports_no_study_and_nothing_heavy(words):
    modules = imported_by(*words)
    assert "toolbox.app" in modules
    assert not modules & HEAVY
    assert not of_studies(modules)
    assert "toolbox.commands.sweep" not in modules
    # All of ours: the front door, errors, names, environment, help, streams, the place of outputs,
    # the shared commands' flags and what they share, the version, the places of studies.
    assert len([name for name in modules if name.startswith("toolbox")]) <= 15


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_imports_no_other_and_nothing_heavy(study):
    modules = imported_by(study, "--help")
    assert of_studies(modules) == {study}
    assert not modules & HEAVY


ONE_HOME = {
    "difflib": ["core/suggest.py"],
    "SLURM_JOB_ID": ["core/scheduler.py"],
    "PBS_JOBID": ["core/scheduler.py"],
    "LSB_JOBID": ["core/scheduler.py"],
    '"forkserver"': ["core/processes.py"],
}


@pytest.mark.parametrize("word", sorted(ONE_HOME))
def test_suggestions_schedulers_and_fork_servers_have_one_module(word):
    found = [path for path in FILES if word in path.read_text(encoding="utf-8")]
    assert [str(path.relative_to(PACKAGE)) for path in found] == ONE_HOME[word]


def test_every_study_has_the_files_of_a_study():
    for folder in PACKAGE.glob("studies/*/study.yaml"):
        for name in ("__init__.py", "cli.py"):
            assert (folder.parent / name).is_file()
