"""Two runs or pools side by side."""

from __future__ import annotations

import json

import pytest

from tests.manifests import resealed


@pytest.fixture
def two(cli):
    """Runs of the same command with other parameters."""
    return [cli("coin", "toss", "--tosses", n, "--repeats", 3).folder for n in (50, 100_000)]


def test_what_differs_stands_side_by_side_and_the_rest_is_counted(cli, two):
    resealed(two[1] / "run.json", toolbox="9.9", git={"commit": "f" * 40, "dirty": True})
    result = cli("diff", two[0].name, two[1])
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines]
    assert ["tosses", "50", "|", "100000"] in rows
    assert any(row[:1] == ["fair"] and "supported" in row for row in rows)
    assert any(row[:1] == ["toolbox"] and row[-1] == "9.9" for row in rows)
    assert "ffffffffffff + changes" in result.stdout
    assert not any(row[:1] == ["seed"] for row in rows)
    (header,) = (line for line in lines if line.startswith("parameters"))
    equal = len(json.loads((two[0] / "run.json").read_text())["params"]) - 1
    assert header == f"parameters ({equal} equal)"


def test_json_holds_everything(cli, two):
    document = json.loads(cli("diff", two[0].name, two[1].name, "--json").stdout)
    assert document["parameters"]["tosses"] == {"a": "50", "b": "100000"}
    assert document["parameters"]["seed"] == {"a": "0", "b": "0"}
    assert set(document) >= {"what", "code", "versions", "machine", "verdicts", "changed_files"}
    assert document["changed_files"] == []
    assert document["verdicts"]["fair"]["b"].startswith("supported")


def test_pools_are_compared_as_verify_judges_them(cli, two):
    cli("coin", "toss", "--tosses", 100_000, "--repeats", 3, "--seed", 1)
    pools = json.loads(cli("verify", "coin", "toss", "--pool", "all", "--json").stdout)
    big = next(pool for pool in pools if pool["params"]["tosses"] == 100_000)
    document = json.loads(cli("diff", two[0].name, big["pool"], "--json").stdout)
    assert document["parameters"]["seed"] == {"a": "0", "b": "0, 1"}
    (verdict,) = big["verdicts"]
    assert document["verdicts"]["fair"]["b"] == (
        f"supported {verdict['measured']:.4g} [{verdict['low']:.4g}, {verdict['high']:.4g}]"
    )


def test_code_that_differs_is_named(cli, two):
    manifest = json.loads((two[1] / "run.json").read_text())
    code = manifest["code"]
    name = next(iter(code["files"]))
    code["files"][name][0] = "other"
    resealed(two[1] / "run.json", code={**code, "sha256": "other"})
    assert f"changed: {name}" in cli("diff", two[0].name, two[1].name).stdout


def test_runs_of_two_commands_and_unfinished_ones_can_be_compared(cli, two, stop_at, out):
    stop_at(0)
    cli("coin", "train", "--device", "cpu")
    stop_at(None)
    (stopped,) = out.glob("coin/train/*.checkpoint")
    result = cli("diff", two[0].name, stopped.stem)
    assert result.code == 0
    assert "interrupted" in result.stdout
    assert "optimizer" in result.stdout


def test_names_that_are_none_or_many_and_damaged_runs_are_one_sentence(cli, two):
    for pair in (("zzz", two[0].name), ("", two[0].name), (two[0].name, "/nowhere")):
        result = cli("diff", *pair)
        assert result.code == 2
        assert len(result.stderr.splitlines()) == 1
    (two[1] / "counts.csv").write_text("")
    result = cli("diff", two[0].name, two[1].name)
    assert result.code == 1
    assert "counts.csv has 0 bytes" in result.stderr
