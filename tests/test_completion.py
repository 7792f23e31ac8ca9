"""Completion, driven as bash, zsh and fish drive it: by environment variables."""

from __future__ import annotations

import re
import shlex

import pytest

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(params=SHELLS)
def offered(request, cli, monkeypatch, capsys):
    """What the shell is offered behind a line: offered("toolbox plot ")."""

    def complete(line: str) -> set[str]:
        words = shlex.split(line)
        monkeypatch.setenv("_TOOLBOX_COMPLETE", f"complete_{request.param}")
        if request.param == "bash":
            monkeypatch.setenv("COMP_WORDS", line)
            monkeypatch.setenv("COMP_CWORD", str(len(words) - (not line.endswith(" "))))
        else:
            monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
            monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit):
            cli()
        monkeypatch.delenv("_TOOLBOX_COMPLETE")
        shown = capsys.readouterr()
        assert shown.err == ""
        if request.param == "zsh":
            return set(re.findall(r'^(?:_arguments \'\*: :\(\()?"([^"]*)"', shown.out, re.M))
        return {row.partition("\t")[0] for row in shown.out.splitlines() if row}

    return complete


@pytest.mark.parametrize("command", ["plot", "verify", "list", "runs"])
def test_studies_and_their_commands_behind_a_shared_command(
    offered, command, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert {"coin", "gd", "icl"} <= offered(f"toolbox {command} ")
    assert offered(f"toolbox {command} co") == {"coin"}
    if command != "list":
        assert offered(f"toolbox {command} coin ") == {"toss", "train"}
        assert offered(f"toolbox {command} coin to") == {"toss"}


def test_every_name_at_the_front_and_the_commands_of_a_study(offered):
    assert {"coin", "gd", "plot", "sweep", "clean"} <= offered("toolbox ")
    assert offered("toolbox coin ") == {"toss", "train"}
    assert {"plan", "submit"} <= offered("toolbox sweep ")
    assert "--tosses" in offered("toolbox coin toss --t")


def test_presets_devices_and_listed_values(offered):
    assert offered("toolbox coin toss --preset ") >= {"smoke", "small", "paper"}
    assert offered("toolbox coin toss --preset sm") == {"smoke", "small"}
    assert offered("toolbox coin train --optimizer ") == {"adam", "sgd"}
    assert offered("toolbox coin toss --device ") == {"auto", "cpu", "cuda"}


def test_a_list_is_completed_behind_its_commas(offered):
    assert offered("toolbox coin toss --sides ") == {"head", "tail", "edge"}
    assert offered("toolbox coin toss --sides head,") == {"head,tail", "head,edge"}
    assert offered("toolbox coin toss --sides head,t") == {"head,tail"}
    assert "silver" in offered("toolbox gd anytime --schedules ")
    assert offered("toolbox gd anytime --schedules silver,an") == {"silver,anytime"}


def test_runs_that_are_there(offered, cli, out):
    run = cli("coin", "toss").folder.name
    assert offered("toolbox show ") == {run}
    assert offered(f"toolbox show {run[:3]}") == {run}
    assert offered(f"toolbox show --out {out / 'elsewhere'} ") == set()


def test_figures_formats_pools_and_tables(offered, tmp_path, monkeypatch):
    assert offered("toolbox plot coin toss --figure ") == {"shares"}
    assert offered("toolbox plot coin --figure ") == {"shares", "loss"}
    assert offered("toolbox plot coin --format png,") == {"png,svg", "png,pdf"}
    assert offered("toolbox verify coin --pool ") == {"newest", "all"}
    assert "heatmap" in offered("toolbox plot coin --kind ")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my.csv").touch()
    monkeypatch.chdir(tmp_path)
    assert offered("toolbox plot her") == {"here/"}
    assert offered("toolbox plot here/") == {"here/my.csv"}


def test_a_broken_study_offers_nothing_and_says_nothing(offered, studies):
    studies("broken", cli="import numpyy\n", study="title: [")
    assert "broken" in offered("toolbox ")
    assert offered("toolbox broken ") == set()
    assert offered("toolbox plot broken ") == set()


def test_completion_is_light():
    """What the front page and the completion import is held light by test_house."""
    import subprocess
    import sys

    code = (
        "import os, sys\n"
        "os.environ['_TOOLBOX_COMPLETE'] = 'complete_zsh'\n"
        "os.environ['_TYPER_COMPLETE_ARGS'] = 'toolbox plot gd '\n"
        "from toolbox.app import run\n"
        "try: run([])\n"
        "except SystemExit: pass\n"
        "print('IMPORTED', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.partition("IMPORTED ")[2].split())
    assert "anytime" in done.stdout
    assert not imported & {"numpy", "torch", "pandas", "toolbox.studies.gd.cli"}
