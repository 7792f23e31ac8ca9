"""Layers of values: flag > environment > config > preset > default, and where each came from."""

from __future__ import annotations

import json

import pytest

from toolbox.core.errors import UsageError
from toolbox.core.presets import preset_values
from toolbox.core.run import Run


def params_of(result):
    manifest = json.loads((result.folder / "run.json").read_text())
    return {name: (e["value"], e["origin"]) for name, e in manifest["params"].items()}


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "my.yaml"
        path.write_text(text)
        return path

    return write


def test_each_layer_overrides_those_below_it(cli, config, monkeypatch):
    toss = ("coin", "toss")
    assert params_of(cli(*toss))["tosses"] == (1000, "default")
    smoke = (*toss, "--preset", "smoke")
    assert params_of(cli(*smoke))["tosses"] == (100, "preset smoke")
    layered = (*smoke, "--config", config("tosses: 200\n"))
    assert params_of(cli(*layered))["tosses"] == (200, "config")
    monkeypatch.setenv("TOOLBOX_COIN_TOSS_TOSSES", "300")
    assert params_of(cli(*layered))["tosses"] == (300, "environment")
    assert params_of(cli(*layered, "--tosses", 400))["tosses"] == (400, "flag")


def test_the_order_on_the_command_line_does_not_matter(cli, config):
    path = config("tosses: 200\n")
    one = cli("coin", "toss", "--config", path, "--preset", "smoke", "--bias", "0.25")
    two = cli(
        "coin",
        "toss",
        "--bias",
        "1/4".replace("1/4", "2.5e-1"),
        "--preset",
        "smoke",
        "--config",
        path,
    )
    assert one.folder == two.folder
    assert params_of(one)["tosses"] == (200, "config")


def test_a_config_may_set_lists_seed_and_repeats(cli, config):
    path = config("sides: [up, down]\nseed: 7\nrepeats: 2\nbias: 3e-1\n")
    params = params_of(cli("coin", "toss", "--config", path))
    assert params["sides"] == (["up", "down"], "config")
    assert params["seed"] == (7, "config")
    assert params["repeats"] == (2, "config")
    assert params["bias"] == (0.3, "config")


def test_the_same_values_are_the_same_run_whatever_layer_they_come_from(cli, config):
    by_flag = cli("coin", "toss", "--tosses", 1000, "--bias", "1e-3", "--sides", "a, b")
    by_config = cli("coin", "toss", "--config", config("bias: 0.001\nsides: [a, b]\n"))
    assert by_flag.folder == by_config.folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ntoses: 5\n", "my.yaml:2: toses: no such parameter; did you mean 'tosses'?"),
        ("xyz: 5\n", "my.yaml:1: xyz: no such parameter (there are tosses, bias, sides"),
        ("tosses: many\n", "my.yaml:1: tosses: expected an integer >= 1"),
        ("bias: .5\ntosses: true\n", "my.yaml:2: tosses: expected an integer"),
        ("tosses: 0\n", "my.yaml:1: tosses: expected an integer >= 1"),
        ("tosses:\n", "my.yaml:1: tosses: expected an integer"),
        ("bias: 1:30\n", "my.yaml:1: bias: expected a finite number"),
        ("sides: ['a,b', c]\n", "my.yaml:1: sides: expected words without commas"),
        ("tosses: 5\nbias: 0.5\ntosses: 6\n", "my.yaml:3: duplicate key 'tosses'"),
        ("out: /tmp\n", "my.yaml:1: out: no such parameter"),
        ("- tosses\n", "my.yaml:1: expected `name: value` lines"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused_with_file_and_line(cli, config, text, expected):
    result = cli("coin", "toss", "--config", config(text))
    assert result.code == 2
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_config_that_is_not_there_is_refused(cli, tmp_path):
    result = cli("coin", "toss", "--config", tmp_path / "none.yaml")
    assert result.code == 2
    assert "none.yaml: cannot be read" in result.stderr


def test_an_unknown_preset_is_refused_with_those_that_exist(cli):
    result = cli("coin", "toss", "--preset", "huge")
    assert (result.code, result.stdout) == (2, "")
    assert "--preset huge: coin toss has smoke, small, paper" in result.stderr


def test_a_wrong_value_in_the_environment_is_refused(cli, monkeypatch):
    monkeypatch.setenv("TOOLBOX_COIN_TOSS_TOSSES", "many")
    result = cli("coin", "toss")
    assert result.code == 2
    assert "expected an integer >= 1" in result.stderr


def test_a_preset_that_does_not_fit_its_command_is_refused_with_its_line():
    with pytest.raises(UsageError, match=r"study\.yaml:9: tosses: no such parameter"):
        preset_values("coin", "toss", "smoke", {})


def test_an_experiment_receives_typed_values(launch):
    seen = {}

    def experiment(run: Run):
        seen.update(seed=run.seed, repeats=run.repeats)
        run.write("curve", {"step": [0], "repeat": [0], "loss": [0.0]})

    launch(experiment, seed=3, repeats=2)
    assert seen == {"seed": 3, "repeats": 2}
