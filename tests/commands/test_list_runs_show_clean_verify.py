"""The shared commands that read `outputs/`."""

from __future__ import annotations

import json
import shlex
import shutil

import pandas as pd
import pytest
from started import TOYS

from toolbox.core.times import in_words, preset_time

# ------------------------------------------------------------------------------------------ list


def test_list_names_every_command_and_its_presets_and_claims(cli):
    assert "coin toss" in cli("list").stdout
    text = cli("list", "coin").stdout
    for part in (
        "On Coins",
        "preset smoke: tosses=100",
        "table counts",
        "claim fair",
        "figure loss",
    ):
        assert part in text
    document = json.loads(cli("list", "coin", "--json").stdout)
    assert document["coin"]["commands"]["toss"]["claims"]["fair"]["region"] == [0.48, 0.52]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.5, "0.5 s"),
        (42, "42 s"),
        (100, "100 s"),
        (375, "6.2 min"),
        (30_000, "8.3 h"),
        (4_000_000, "46 days"),
    ],
)
def test_a_time_is_shown_as_people_write_it(seconds, shown):
    assert in_words(seconds) == shown


def test_a_projected_time_says_so():
    assert preset_time("paper", {"small": 3.0}, {"paper": 7300.0}) == "about 2 h, projected"
    assert preset_time("small", {"small": 3.0}, {"paper": 7300.0}) == "3 s"
    assert preset_time("smoke", {"small": 3.0}) == ""


def test_a_time_is_measured_or_projected(studies, cli):
    text = (TOYS / "coin" / "study.yaml").read_text()
    mark, projected = "    presets:", "    projected: {smoke: 2}\n    presets:"
    studies("timed", study=text.replace(mark, projected, 1))
    assert "preset smoke [about 2 s, projected]" in cli("list", "timed").stdout
    studies("twice", study=text.replace(mark, "    seconds: {smoke: 1}\n" + projected, 1))
    said = "the time of preset 'smoke' is measured or projected, not both"
    assert said in cli("list", "twice").stderr


def test_list_of_an_unknown_study_names_those_that_exist(cli):
    result = cli("list", "coins")
    assert result.code == 2
    assert "no study 'coins'; the studies are" in result.stderr


# ------------------------------------------------------------------------------------------ runs


def test_runs_lists_every_status(cli, one_of_each):
    document = json.loads(cli("runs", "--json").stdout)
    assert {run["status"]: run["run"] for run in document} == one_of_each
    text = cli("runs").stdout
    assert "\x1b" not in text
    for status, run in one_of_each.items():
        (line,) = [line for line in text.splitlines() if run in line]
        assert status in line


def test_runs_failed_says_why_in_one_line(cli, one_of_each):
    text = cli("runs", "--failed").stdout
    assert "failed: no luck" in text
    assert "Traceback" not in text
    assert "diverged: the loss at step" in " ".join(text.split())
    assert one_of_each["complete"] not in text


def test_runs_shows_only_the_parameters_in_which_they_differ(cli, toss):
    toss("--tosses", 50)
    toss("--tosses", 60)
    text = cli("runs", "coin", "toss").stdout
    assert "tosses=50" in text
    assert "tosses=60" in text
    assert "bias=" not in text


def test_runs_of_an_empty_place_says_so(cli, out):
    result = cli("runs")
    assert (result.code, result.stdout.strip()) == (0, f"no run under {out}")
    assert cli("runs", "--json").stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------ show


def test_show_finds_a_run_by_a_prefix_and_by_its_folder(cli, toss, monkeypatch):
    folder = toss()
    expected = cli("show", folder.name)
    assert expected.code == 0
    assert str(folder) in expected.stdout
    assert cli("show", folder.name[:4]).stdout == expected.stdout
    assert cli("show", folder, "--out", "elsewhere").stdout.count("bias = 0.5") == 1
    monkeypatch.chdir(folder)
    assert cli("show", ".").code == 0


def test_show_refuses_what_names_several_or_none(cli, toss, monkeypatch, tmp_path):
    toss()
    toss("--seed", 1)
    monkeypatch.chdir(tmp_path)
    for ambiguous in ("", "."):
        assert cli("show", ambiguous).code == 2
    assert "is the beginning of several runs" in cli("show", "").stderr
    for absent in ("zzz", "/", "/tmp", str(tmp_path)):
        result = cli("show", absent)
        assert result.code == 2
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--sides", "über kopf,it's tails", "--bias", "0.1", "--seed", 12),
        ("--sides=-a,b", "--preset", "smoke", "--repeats", 2),
    ],
)
def test_the_line_that_show_gives_makes_the_same_run_again(cli, toss, out, tmp_path, arguments):
    folder = toss(*arguments)
    table = (folder / "counts.csv").read_bytes()
    (line,) = [
        line for line in cli("show", folder.name).stdout.splitlines() if line.startswith("again")
    ]
    words = shlex.split(line.removeprefix("again"))
    assert words[:3] == ["toolbox", "coin", "toss"]
    shutil.rmtree(out)
    again = cli(*words[1:]).folder
    assert again == folder
    assert (again / "counts.csv").read_bytes() == table


def test_show_works_for_every_status(cli, one_of_each):
    for status, run in one_of_each.items():
        result = cli("show", run)
        assert result.code == 0, result.stderr
        assert f"  {status}: " in result.stdout
        assert json.loads(cli("show", run, "--json").stdout)["study"] == "coin"


# ----------------------------------------------------------------------------------------- clean


def test_clean_removes_litter_and_never_a_result_or_a_living_process(cli, one_of_each, out):
    folder = out / "coin" / "toss"
    keep = {path.name for path in out.glob("coin/*/*") if not path.name.startswith("fa11ed")}
    (folder / ".tmp-dead").mkdir()
    (folder / f".old-{one_of_each['complete']}-00").mkdir()
    (folder / ".old-only0-00").mkdir()
    (folder / f"{one_of_each['complete']}.checkpoint").write_text("")
    (folder / "x.bad").write_text("")
    keep.add(".old-only0-00")  # the one copy of a result, until the same line brings it back
    before = {path.name for path in out.glob("coin/*/*")}
    listed = cli("clean").stdout
    assert listed.count("would remove") == 5
    assert "--yes" in listed
    assert {path.name for path in out.glob("coin/*/*")} == before
    assert cli("clean", "--yes").stdout.count("removed") == 5
    assert {path.name for path in out.glob("coin/*/*")} == keep
    assert "nothing to clean" in cli("clean", "--yes").stdout


# ---------------------------------------------------------------------------------------- verify


def test_verify_pools_seeds_and_supports_a_fair_coin(cli, toss):
    for seed in range(2):
        toss("--tosses", 100_000, "--seed", seed, "--repeats", 3)
    result = cli("verify", "coin", "toss", "--json")
    assert result.code == 0
    (pool,) = json.loads(result.stdout)
    (verdict,) = pool["verdicts"]
    assert (verdict["verdict"], verdict["replicates"]) == ("supported", 6)
    assert len(pool["runs"]) == 2
    # Standard error of the mean share: 0.5 / sqrt(600 000) = 0.00065; four of them.
    assert verdict["measured"] == pytest.approx(0.5, abs=0.0026)
    text = cli("verify").stdout
    assert "supported" in text
    assert "fair: The coin is fair. [Section 1; the paper's value: 0.5]" in text
    assert "the paper: 1 of 1 supported" in text


def test_verify_exits_3_when_a_claim_is_refuted(cli, toss):
    toss("--tosses", 10_000, "--repeats", 3, "--bias", 0.9)
    result = cli("verify", "coin")
    assert result.code == 3
    assert "refuted" in result.stdout


def test_verify_is_inconclusive_and_exits_0_with_few_seeds_or_a_small_scale(cli, toss):
    toss("--tosses", 10_000)
    toss("--tosses", 100, "--repeats", 5)
    result = cli("verify", "coin", "toss", "--pool", "all", "--json")
    assert result.code == 0
    reasons = [pool["verdicts"][0]["reason"] for pool in json.loads(result.stdout)]
    assert reasons == [
        "needs 3 seeds or repeats, has 1",
        "needs tosses >= 1000; here tosses = 100",
    ]
    newest = cli("verify", "coin", "toss").stdout
    assert "Not tested with these parameters; what would test it:\n  fair: --tosses 1000" in newest
    assert "--pool all judges 2 configurations" in " ".join(newest.split())
    assert "tosses=100 " in newest
    assert "bias" not in newest  # both pools agree in it
    result = cli("verify", "coin", "toss", "--pool", "zz")
    assert result.code == 2
    assert "--pool zz: no pool of coin toss begins so; there are" in result.stderr


def test_one_replicate_shows_its_value_and_that_it_is_one(cli, toss):
    toss("--tosses", 10_000)
    text = cli("verify", "coin").stdout
    assert "(1 seed)" in text
    assert "inf" not in text
    assert "inconclusive: needs 3 seeds or repeats, has 1; to settle it: --repeats 3" in text


def test_a_run_that_is_complete_already_gives_its_verdicts_too(cli, out):
    line = ("coin", "toss", "--tosses", 10_000, "--repeats", 3, "--out", out)
    first, again = (json.loads(cli(*line, "--json", "--quiet").stdout) for _ in range(2))
    assert again["already_there"]
    assert again["verdicts"] == first["verdicts"]
    assert again["verdicts"][0]["claim"] == "fair"
    told = cli(*line).stderr
    assert "already complete" in told
    assert "measured [95 % CI]" in told
    assert "measured [95 % CI]" not in cli(*line, "--quiet").stderr


def test_verify_refuses_a_table_that_was_edited_by_name(cli, toss):
    path = toss("--tosses", 10_000, "--repeats", 3) / "counts.csv"
    frame = pd.read_csv(path)
    frame.loc[0, "share"] = 0.9
    frame.to_csv(path, index=False)
    result = cli("verify", "coin")
    assert result.code == 1
    assert str(path) in result.stderr
    assert "truncated or edited" in result.stderr


def test_verify_of_nothing_says_what_to_do(cli, out):
    result = cli("verify", "coin", "toss")
    assert result.code == 2
    assert "no finished run of coin toss under" in result.stderr
    assert cli("verify", "coin", "tos").code == 2
    assert cli("verify", "coins").code == 2


@pytest.mark.parametrize("command", ["plot", "verify"])
def test_a_pool_that_is_not_there_is_answered_with_those_that_are(cli, command):
    assert cli("coin", "toss").code == 0
    result = cli(command, "coin", "toss", "--pool", "zz")
    assert result.code == 2
    assert result.stderr.startswith("toolbox: --pool zz: no pool of coin toss begins so; there are")
    (pool,) = result.stderr.split("there are ")[1].split()
    assert cli(command, "coin", "toss", "--pool", pool[:4]).code == 0
