"""Options by the environment: only those of commands, misspelt ones are named, and blamed."""

from __future__ import annotations

import pytest

from toolbox.core.environment import prefix_of


def test_the_beginning_of_a_command_s_variables():
    assert prefix_of("gd", "anytime") == "TOOLBOX_GD_ANYTIME_"
    assert prefix_of("sweep", "some-thing") == "TOOLBOX_SWEEP_SOME_THING_"


@pytest.mark.parametrize(
    "name",
    ["VERSION", "HELP", "INSTALL_COMPLETION", "SHOW_COMPLETION", "COIN_HELP", "HOME", "X"],
)
@pytest.mark.parametrize("value", ["0.1.0", "1", "true", "", "bash"])
def test_what_is_no_option_of_a_command_does_nothing(cli, monkeypatch, name, value):
    plain = cli("coin", "toss", "--tosses", 100, "--quiet")
    monkeypatch.setenv(f"TOOLBOX_{name}", value)
    assert cli("coin", "toss", "--tosses", 100, "--quiet") == plain
    listed = cli("list")
    assert listed.code == 0
    assert listed.stderr == ""


def test_the_help_variable_of_a_command_does_nothing(cli, monkeypatch):
    monkeypatch.setenv("TOOLBOX_COIN_TOSS_HELP", "1")
    monkeypatch.setenv("TOOLBOX_LIST_HELP", "1")
    assert "Usage" not in cli("coin", "toss").stdout + cli("list").stdout


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TOOLBOX_COIN_TOSS_TOSSE", "TOOLBOX_COIN_TOSS_TOSSES"),
        ("TOOLBOX_COIN_TOSS_SED", "TOOLBOX_COIN_TOSS_SEED"),
        ("TOOLBOX_COIN_TOS_SEED", "TOOLBOX_COIN_TOSS_SEED"),
        ("TOOLBOX_THREAD", "TOOLBOX_THREADS"),
        ("TOOLBOX_OUTS", "TOOLBOX_OUT"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest_option(cli, monkeypatch, name, nearest):
    monkeypatch.setenv(name, "3")
    result = cli("coin", "toss", "--tosses", 100)
    assert result.code == 0
    assert f"toolbox: {name} is set, but toolbox coin toss has no such option" in result.stderr
    assert f"did you mean {nearest}?" in result.stderr
    assert cli("coin", "toss", "--tosses", 100, "--quiet").stderr == ""


def test_variables_of_other_commands_are_not_ours_to_judge(cli, monkeypatch):
    for name in ("COIN_TRAIN_STEPS", "COIN_TRAIN_NONSENSE", "GD_ANYTIME_T", "PLOT_X", "SWEEP_PLAN"):
        monkeypatch.setenv(f"TOOLBOX_{name}", "3")
    assert "is set" not in cli("coin", "toss", "--tosses", 100).stderr


def test_a_misspelt_variable_of_a_shared_command_is_named(cli, monkeypatch):
    monkeypatch.setenv("TOOLBOX_RUNS_FAILD", "1")
    assert "did you mean TOOLBOX_RUNS_FAILED?" in cli("runs").stderr


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("TOOLBOX_COIN_TOSS_TOSSES", "many", "coin toss"),
        ("TOOLBOX_COIN_TOSS_TOSSES", "0", "coin toss"),
        ("TOOLBOX_COIN_TOSS_SEED", "-1", "coin toss"),
        ("TOOLBOX_COIN_TOSS_PRESET", "huge", "coin toss"),
        ("TOOLBOX_COIN_TRAIN_OPTIMIZER", "lbfgs", "coin train"),
        ("TOOLBOX_COIN_TOSS_REPEATS", "0", "coin toss"),
        ("TOOLBOX_DEVICE", "tpu", "coin toss"),
        ("TOOLBOX_DEVICE", "cuda", "coin toss"),
        ("TOOLBOX_THREADS", "0", "coin toss"),
        ("TOOLBOX_CLEAN_YES", "maybe", "clean"),
        ("TOOLBOX_COIN_TOSS_QUIET", "maybe", "coin toss"),
        ("TOOLBOX_PLOT_FORMATS", "gif", "plot coin"),
    ],
)
def test_a_refused_value_is_blamed_on_its_variable(cli, monkeypatch, name, value, line):
    monkeypatch.setenv(name, value)
    result = cli(*line.split())
    assert result.code == 2
    assert result.stderr.startswith(f"toolbox: {name}={value}: ")
    assert len(result.stderr.splitlines()) == 1
    assert "--" not in result.stderr.partition(": ")[2].partition(": ")[0]


def test_a_flag_that_is_refused_is_blamed_although_a_variable_is_set(cli, monkeypatch):
    monkeypatch.setenv("TOOLBOX_COIN_TOSS_TOSSES", "10")
    result = cli("coin", "toss", "--tosses", "many")
    assert result.code == 2
    assert "--tosses" in result.stderr
    assert "TOOLBOX_" not in result.stderr


@pytest.mark.parametrize("line", ["plot", "verify", "sweep submit", "coin toss", "list"])
def test_help_says_once_that_options_come_from_the_environment(cli, monkeypatch, line):
    monkeypatch.setenv("COLUMNS", "80")
    page = cli(*line.split(), "--help").stdout
    assert "env var" not in page
    assert " ".join(page.split()).count("Every option can also be set by an environment") == 1
