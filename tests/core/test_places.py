"""Where studies are found: the package, folders of one's own, installed packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import toolbox
from toolbox.core import places, spec

TOY = Path(__file__).parents[1] / "toys" / "coin"


@pytest.fixture
def make(monkeypatch, tmp_path):
    """Copies of the toy study, outside of the package: make("mine/walk") or make of a package."""
    made = []
    spec.load_study.cache_clear()
    places._declared.cache_clear()
    monkeypatch.setattr(spec, "tell_once", spec.tell_once.__wrapped__)

    def one(name: str, **changed: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(TOY, folder)
        for stem, text in changed.items():
            ending = ".yaml" if stem == "study" else ".py"
            (folder / f"{stem}{ending}").write_text(text, encoding="utf-8")
        made.append(folder.name)
        return folder

    yield one
    places._declared.cache_clear()
    spec.load_study.cache_clear()
    for name in [
        name for name in sys.modules if name.split(".")[2:3] and name.split(".")[2] in made
    ]:
        del sys.modules[name]


@pytest.fixture
def declare(monkeypatch, tmp_path):
    """Install packages that declare a study: declare("walk", "walk")."""
    site = tmp_path / "site"

    def one(name: str, package: str) -> None:
        info = site / f"toolbox_{name}-1.0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        text = (
            f"[console_scripts]\nx = y:z\n\n[toolbox.studies]\n{name} = {package}\n[other]\na = b\n"
        )
        (info / "entry_points.txt").write_text(text)
        monkeypatch.syspath_prepend(site)

    return one


def test_a_folder_of_ones_own_has_studies(make, monkeypatch, tmp_path, cli, out):
    make("mine/pendulum")
    make("alone/spring")
    monkeypatch.setenv("TOOLBOX_STUDIES", f"{tmp_path}/mine:{tmp_path}/alone/spring:")
    assert {"pendulum", "spring", "gd", "coin"} <= set(places.discover().folders)
    page = cli("--help")
    assert page.stderr == ""
    assert "pendulum" in page.stdout
    ran = cli("pendulum", "toss", "--tosses", "20")
    assert ran.folder.parent == out / "pendulum" / "toss"
    assert toolbox.run("spring toss", tosses=20).study == "spring"
    assert cli("verify", "pendulum").code == 0
    assert cli("plot", "pendulum", "toss").code == 0
    assert sys.modules["toolbox.studies.pendulum"].__file__ == str(
        tmp_path / "mine" / "pendulum" / "__init__.py"
    )


def test_processes_find_it_too(make, monkeypatch, tmp_path, shell):
    """In a process of its own, and in the processes that a sweep starts."""
    make("mine/pendulum")
    ours = {"TOOLBOX_STUDIES": str(tmp_path / "mine")}
    grid = tmp_path / "grid.yaml"
    grid.write_text("command: pendulum toss\naxes: {tosses: [10, 20]}\n")
    done = shell("sweep", "run", grid, "--jobs", "2", **ours)
    assert done.code == 0, done.stderr
    assert shell("runs", "pendulum", **ours).stdout.count("complete") == 2


def test_an_installed_package_declares_one(make, declare, tmp_path, cli):
    make("site/pkg/pendulum")
    (tmp_path / "site" / "pkg" / "__init__.py").write_text("raise SystemExit('imported')\n")
    declare("pendulum", "pkg.pendulum")
    assert places.discover().folders["pendulum"] == tmp_path / "site" / "pkg" / "pendulum"
    assert cli("pendulum", "toss", "--tosses", "20").code == 0


def test_the_same_folder_found_twice_is_one_study(make, declare, monkeypatch, tmp_path):
    make("site/pendulum")
    declare("pendulum", "pendulum")
    monkeypatch.setenv("TOOLBOX_STUDIES", str(tmp_path / "site"))
    found = places.discover()
    assert found.refused == {}
    assert "pendulum" in found.folders


def test_two_of_the_same_name_are_refused_by_name(make, monkeypatch, tmp_path, cli):
    make("one/pendulum")
    make("two/pendulum")
    make("two/spring")
    monkeypatch.setenv("TOOLBOX_STUDIES", f"{tmp_path}/one:{tmp_path}/two")
    refused = cli("pendulum", "toss")
    assert refused.code == 2
    said = refused.stderr.splitlines()[0]
    assert "two studies are called 'pendulum'" in said
    assert f"{tmp_path}/one/pendulum" in said
    assert f"{tmp_path}/two/pendulum" in said
    assert cli("spring", "toss", "--tosses", "20").code == 0
    with pytest.raises(toolbox.UsageError, match="two studies are called 'pendulum'"):
        toolbox.run("pendulum toss")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"study": "title: [\n"}, "study.yaml:"),
        ({"study": "title: T\n"}, "authors: Field required"),
        ({"cli": '"""Broken."""\n\nraise ValueError("no")\n'}, "cli.py:3: the study"),
        ({"cli": '"""Broken."""\n\nimport nonsense_of_mine\n'}, "cli.py:3: the study"),
        ({"cli": '"""Broken."""\n\ndef (:\n'}, "cli.py:3: the study"),
    ],
)
def test_a_broken_one_costs_a_sentence_and_no_other(
    make, monkeypatch, tmp_path, cli, changed, said
):
    make("mine/broken", **changed)
    monkeypatch.setenv("TOOLBOX_STUDIES", str(tmp_path / "mine"))
    assert cli("--help").code == 0
    assert cli("coin", "toss", "--tosses", "20").code == 0
    assert "coin toss" in cli("list").stdout
    refused = cli("broken", "toss")
    assert refused.code in (1, 2)
    told = refused.stderr.splitlines()
    assert len([line for line in told if said in line]) == 1
    assert "Traceback" not in refused.stderr


def test_what_is_not_there_costs_a_sentence(declare, monkeypatch, tmp_path, cli):
    declare("ghost", "no_package_of_this_name")
    monkeypatch.setenv("TOOLBOX_STUDIES", f"{tmp_path}/missing")
    done = cli("coin", "toss", "--tosses", "20")
    assert done.code == 0
    told = [line for line in done.stderr.splitlines() if line.startswith("toolbox: ")]
    assert len(told) == 2
    assert f"there is no folder {tmp_path}/missing" in told[0]
    assert "toolbox_ghost declares the study 'ghost'" in told[1]


def test_a_study_cannot_bear_the_name_of_a_command(make, monkeypatch, tmp_path, cli):
    make("mine/verify")
    make("mine/not-a-name")
    monkeypatch.setenv("TOOLBOX_STUDIES", str(tmp_path / "mine"))
    said = cli("runs").stderr
    assert "a study cannot be called 'verify'" in said
    assert "'not-a-name' cannot be the name of a study" in said


def test_a_broken_study_imports_nothing_heavy_for_help(make, tmp_path):
    make("mine/pendulum")
    code = (
        "import sys\nfrom toolbox.app import run\nrun(['--help'])\nprint('IMPORTED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(TOY.parents[2]), "TOOLBOX_STUDIES": str(tmp_path / "mine")},
    )  # fmt: skip
    imported = set(done.stdout.partition("IMPORTED ")[2].split())
    assert not imported & {"numpy", "importlib.metadata", "toolbox.studies.pendulum"}
