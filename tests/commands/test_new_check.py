"""`toolbox new` and `toolbox check`: a study of one's own, from nothing to installed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toolbox.commands import check
from toolbox.core import places, spec

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-study.md"


@pytest.fixture
def made(cli, tmp_path, monkeypatch):
    """`toolbox new pendulum` in an empty folder, found by TOOLBOX_STUDIES."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    done = cli("new", "pendulum", "--arxiv", "2411.17668")
    assert done.stdout == "pendulum\n", done.stderr
    assert 'export TOOLBOX_STUDIES="$PWD/pendulum"' in done.stderr
    monkeypatch.setenv("TOOLBOX_STUDIES", str(place / "pendulum"))
    yield place / "pendulum"
    spec.load_study.cache_clear()
    for name in [name for name in sys.modules if name.startswith("toolbox.studies.pendulum")]:
        del sys.modules[name]


def test_it_runs_and_is_drawn_and_judged(made, cli):
    ran = cli("pendulum", "spread", "--repeats", "5")
    assert ran.code == 0, ran.stderr
    assert ran.stderr.count("supported") >= 2
    assert cli("plot", "pendulum", "--format", "svg").code == 0
    null = cli("verify", "--null", "pendulum")
    assert null.code == 0
    assert "arXiv:2411.17668" in cli("list", "pendulum").stdout
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=made, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout


def test_its_files_are_those_of_the_page(made):
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"`([\w/]+\.(?:py|yaml))`[^\n]*\n\n```\w+\n(.*?)```", page, flags=re.S)
    assert len(blocks) == 7
    for name, code in blocks:
        ours = code.replace("0000.00000", "2411.17668").replace("`walk", "`pendulum")
        ours = ours.replace("toolbox walk", "toolbox pendulum")
        ours = ours.replace("toolbox.studies.walk", "pendulum")
        own = "tests/test_pendulum.py" if "/" in name else f"pendulum/{name}"
        assert (made / own).read_text(encoding="utf-8") == ours, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Pendulum"], "small letters"),
        (["a-b"], "small letters"),
        (["class"], "small letters"),
        (["../x"], "small letters"),
        (["plot"], "is a command of toolbox"),
        (["gd"], "there is a study 'gd' already"),
        (["numpy"], "the name of an installed Python package"),
        (["full"], "is there already and not empty"),
        (["fine", "--arxiv", "1"], "--arxiv 1: expected an identifier"),
    ],
)
def test_what_cannot_be_made_is_refused(cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine\n")
    refused = cli("new", *words)
    assert refused.code == 2
    assert said in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_installed_as_a_package_it_needs_no_variable(made, tmp_path, monkeypatch):
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    install += ["--no-build-isolation", "--disable-pip-version-check", "--target", str(site)]
    done = subprocess.run([*install, str(made)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.delenv("TOOLBOX_STUDIES")
    words = [sys.executable, "-m", "toolbox", "pendulum", "spread", "--preset", "smoke"]
    there = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}"}
    ran = subprocess.run(
        words, cwd=tmp_path, env=there, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "pendulum/spread/" in ran.stdout
    both = subprocess.run(
        words, cwd=tmp_path, env={**there, "TOOLBOX_STUDIES": str(made)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert both.returncode == 2
    assert "two studies are called 'pendulum'" in both.stderr


def checked(few: str) -> tuple[int, str]:
    """Some of the tests of `toolbox check pendulum`: all take half a minute of processor time."""
    words = ["-k", few]
    code = (
        f"from toolbox.commands.check import check as c; raise SystemExit(c('pendulum', {words}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_the_check_passes_what_is_made_and_fails_what_is_broken(made):
    few = "same_bytes or tables_are_as_declared or light"
    code, said = checked(few)
    assert code == 0, said
    assert "3 passed" in said
    data = made / "pendulum" / "data.py"
    text = data.read_text()
    data.write_text(text.replace("rng.choice(", "np.random.default_rng().choice("))
    code, said = checked(few)
    assert code == 1
    assert "1 failed, 2 passed" in said
    assert "test_the_same_bytes" in said


@pytest.mark.slow
def test_the_whole_check_passes_what_is_made(made):
    assert check.check("pendulum") == 0


def test_the_check_says_what_it_needs(cli, made, monkeypatch):
    assert "no study 'nonsense'" in cli("check", "nonsense").stderr
    text = (made / "pendulum" / "study.yaml").read_text()
    (made / "pendulum" / "study.yaml").write_text(
        text.replace("statistic: exponent ", "statistic: exponentt ")
    )
    spec.load_study.cache_clear()
    assert "metrics.py has no function" in cli("check", "pendulum").stderr
    (made / "pendulum" / "study.yaml").write_text(
        text.replace("  spread:\n    about", "  x:\n    about")
    )
    spec.load_study.cache_clear()
    refused = cli("check", "pendulum")
    assert refused.code == 1
    assert "study.yaml and cli.py differ in the command 'spread'" in refused.stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(places, "inside", lambda: [ROOT / "toolbox" / "studies"])
    assert "pip install 'toolbox[check]'" in cli("check", "gd").stderr
