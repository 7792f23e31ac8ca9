"""The wheel and the source distribution, where there is no checkout."""

from __future__ import annotations

import json
import re
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from toolbox.version import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the sdist, as `python -m build` does, without the network."""
    if shutil.which("git") is None:
        pytest.skip("the sources are chosen by git's ignore file")
    place = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture(scope="module")
def fresh(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; its dependencies are those that are here already."""
    place = tmp_path_factory.mktemp("fresh")
    venv.create(place / "env", with_pip=False)
    (packages,) = (place / "env").glob("lib/python*/site-packages")
    (wheel,) = built.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    install += [
        "--no-compile",
        "--disable-pip-version-check",
        "--target",
        str(packages),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    others = [path for path in site.getsitepackages() if path != str(packages)]
    (packages / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    return place


def python(fresh: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [fresh / "env" / "bin" / "python", *words], cwd=fresh, env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_command_runs_there(fresh):
    where = python(fresh, "-c", "import toolbox; print(toolbox.__file__)").stdout
    assert str(fresh) in where
    done = python(fresh, "-m", "toolbox", "gd", "train", "--preset", "smoke")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("outputs/gd/train/")
    assert (fresh / done.stdout.strip() / "run.json").is_file()
    version = python(fresh, "-m", "toolbox", "--version").stdout
    assert version == f"toolbox {__version__}\n"
    report = python(fresh, "-m", "toolbox", "report", "gd")
    assert report.returncode == 0, report.stderr
    assert "gd train" in (fresh / "outputs" / "report.html").read_text(encoding="utf-8")


def test_the_first_cell_of_the_notebook_runs_there(fresh):
    cells = json.loads((ROOT / "examples" / "first_steps.ipynb").read_text())["cells"]
    first = next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = python(fresh, "-c", f"{first}\nprint(run.status)")
    assert done.stdout == "complete\n", done.stderr


def test_a_new_study_and_the_contract_suite_are_there(fresh):
    """The suite that the wheel ships tries a study that the wheel writes."""
    made = python(fresh, "-m", "toolbox", "new", "pendulum")
    assert made.returncode == 0, made.stderr
    code = (
        "import os; os.environ['TOOLBOX_STUDIES'] = 'pendulum'\n"
        "from toolbox.commands.check import check, folder\n"
        "print(folder())\n"
        "raise SystemExit(check('pendulum', ['-k', 'tables_are_as_declared or help_is_light']))\n"
    )
    done = python(fresh, "-c", code)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "site-packages/toolbox/contract\n" in done.stdout
    assert "2 passed" in done.stdout


def test_both_hold_what_they_need_and_no_more(built):
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("toolbox/studies/gd/study.yaml", "toolbox/data/alice.txt", "toolbox/py.typed",
                 "toolbox/template/pyproject.toml.txt", "toolbox/contract/check.ini"):  # fmt: skip
        assert name in names, name
    assert not [name for name in names if name.startswith(("tests/", "outputs/"))]
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        parts = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("CITATION.cff", "CONTRIBUTING.md", "tests/conftest.py", "docs/python.md",
                 "examples/first_steps.ipynb", ".ci/run", "data/alice.txt"):  # fmt: skip
        assert name in parts, name
    assert not [name for name in parts if name.startswith("outputs/") and "README" not in name]


def test_classifiers_and_the_workflow_name_the_same_versions_of_python():
    listed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert listed == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["project"]["requires-python"] == f">={listed[0]}"
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == listed
    assert job["steps"][-1]["run"] == ".ci/run"


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["project"]["license"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")))
def test_every_issue_form_is_yaml_with_a_name(path):
    form = yaml.safe_load(path.read_text())
    assert form.get("body") or path.name == "config.yml"
