"""The commands: who is compared with whom, what is censored, what is refused, and who computes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from toolbox.studies.icl import trainer
from toolbox.studies.icl.controls import arms as control_arms
from toolbox.studies.icl.metrics import (
    Ratio,
    all_relabelled,
    by_size,
    coin_delay,
    first_has_a_plateau,
    gain_of_all,
    ratio,
    several_rates,
    smallest_gain,
    target_has_a_plateau,
    transfer_gain,
    transfer_total,
)
from toolbox.studies.icl.names import DEFAULT_TASKS, KINDS
from toolbox.studies.icl.plan import check_tasks, chosen, member_tokens
from toolbox.studies.icl.plateau import arms, compare, own_best, ratio_text
from toolbox.studies.icl.results import median_text
from toolbox.studies.icl.table import mixes

from .settings import member, setting

TINY = (
    "--preset", "smoke", "--quiet", "--tasks", "parity2,linear", "--n", "4", "--steps", "40",
    "--window", "10",
)  # fmt: skip


def row(arm, lr=0.1, step=None, ran=1000, task="parity2", diverged=False):
    return {
        "arm": arm, "lr": lr, "task": task, "escape_step": pd.NA if step is None else step,
        "censored": step is None, "diverged": diverged, "steps_run": ran, "watched": True,
        "plateau": True,
    }  # fmt: skip


def frame(*rows):
    return pd.DataFrame(list(rows))


def read(out, table, command="plateau"):
    (path,) = (out / "icl" / command).glob(f"*/{table}.csv")
    return pd.read_csv(path)


def files(out):
    return {path.name: path.read_bytes() for path in (out / "icl").glob("*/*/*.csv")}


# ------------------------------------------------------------------------------- comparisons


def test_a_censored_run_bounds_a_ratio_from_the_side_that_it_can():
    early, late = frame(row("a", step=99)), frame(row("b", step=399))
    never = frame(row("c", ran=1000))
    assert ratio(late, early) == Ratio(4.0, "exact")
    assert ratio(never, early) == Ratio(10.0, "at least")
    assert ratio(late, never) == Ratio(0.4, "at most")
    assert ratio(never, never).bound == "none"
    assert math.isnan(ratio(never, never).value)
    assert ratio(frame(row("a")).iloc[:0], early).bound == "none"


def test_rates_are_compared_like_with_like_and_own_best_takes_each_at_its_best():
    table = frame(
        row("alone", 0.1, 999), row("together", 0.1, 99), row("duplicates", 0.1, 1999),
        row("alone", 0.2, 399), row("together", 0.2), row("duplicates", 0.2, 399),
    )  # fmt: skip
    at = compare(table, ("parity2",), (0.1, 0.2), 0.2).set_index("lr")
    assert at["ratio"].tolist() == [10.0, 0.4]
    assert at["bound"].tolist() == ["exact", "at most"]
    assert at["main"].tolist() == [False, True]
    assert at["duplicates_over_alone"].tolist() == [2.0, 1.0]
    (best,) = own_best(table, ("parity2",)).to_dict("records")
    assert (best["lr_alone"], best["lr_together"], best["ratio"]) == (0.2, 0.1, 4.0)
    assert best["rates"] == 2


def test_a_mean_over_mixes_with_a_censored_one_is_no_number():
    table = frame(row("mix", step=99), row("mix", step=199), row("mix", step=299), row("mix"))
    table["k"] = [1, 2, 2, 3]
    means = by_size({"escape": table})
    assert means.loc[[1, 2]].tolist() == [100.0, 250.0]
    assert math.isnan(means.loc[3])


@pytest.mark.parametrize("kind", ["Int64", "object"])
def test_what_a_transfer_costs_counts_the_steps_of_its_source(kind):
    # The source is trained to the end of its block of steps.
    source = row("source", step=291, ran=300)
    table = frame(source, row("scratch", step=799), row("checkpoint", step=99))
    table["escape_step"] = table["escape_step"].astype(kind)
    assert transfer_gain({"escape": table}) == 8.0
    assert transfer_total({"escape": table}) == 2.0
    late = frame(source, row("scratch"), row("checkpoint", step=99))
    late["escape_step"] = late["escape_step"].astype(kind)
    assert transfer_gain({"escape": late}) == 10.0  # a lower bound
    assert math.isnan(transfer_total({"escape": late}))
    gone = late.iloc[1:2]  # the source did not escape: no checkpoint
    assert math.isnan(transfer_gain({"escape": gone}))
    assert math.isnan(transfer_total({"escape": gone}))


@pytest.mark.parametrize("kind", ["Int64", "object"])
def test_a_control_that_is_censored_delays_at_least_so_much_and_never_at_most(kind):
    def at(**steps):
        table = frame(*(row(arm, step=step) for arm, step in steps.items()))
        table["escape_step"] = table["escape_step"].astype(kind)
        return {"escape": table}

    assert coin_delay(at(alone=99, coin=None)) == 10.0
    assert coin_delay(at(alone=99, coin=49)) == 0.5
    assert math.isnan(coin_delay(at(alone=None, coin=99)))
    assert math.isnan(coin_delay(at(alone=None, coin=None)))
    assert math.isnan(coin_delay(at(alone=99)))


def test_what_needs_a_plateau_does_not_apply_without_one():
    quick, slow = row("alone", step=99), row("alone", step=499, task="parity")
    both = {**quick, "plateau": False}, {**slow, "plateau": True}
    named = pd.DataFrame({"task": ["parity2", "parity"], "lr": 0.1, "main": True})
    for first, said in ((True, "parity2 has no plateau when trained alone"), (False, "")):
        tables = {"escape": frame(*both), "ratio": named.assign(first=[first, not first])}
        assert first_has_a_plateau(tables).partition(":")[0] == said
    assert several_rates(tables) == "one learning rate was tried"
    mixed = frame(*both, row("together", step=249), row("together", step=249, task="parity"))
    # parity2 gains nothing, having no plateau to lose.
    assert smallest_gain({"escape": mixed, "ratio": named.assign(first=False)}) == 2.0
    target = {**row("scratch", step=499), "plateau": True}
    assert target_has_a_plateau({"escape": frame({**quick, "plateau": False})})
    assert not target_has_a_plateau({"escape": frame({**quick, "plateau": False}, target)})


def test_a_diverged_training_bounds_nothing():
    lost, sound = frame(row("a", ran=5, diverged=True)), frame(row("b", step=99))
    assert ratio(lost, sound).bound == ratio(sound, lost).bound == "none"
    # It had left its plateau before.
    assert ratio(frame(row("a", step=399, diverged=True)), sound) == Ratio(4.0, "exact")


def test_the_control_of_the_table_turns_the_sizes_round():
    table = frame(*(row("mix", step=step) for step in (399, 199, 99))).assign(k=[1, 2, 3])
    assert gain_of_all({"escape": table}) == 4.0
    assert gain_of_all(all_relabelled({"escape": table})) == 0.25


def test_each_watched_task_is_trained_alone_and_copies_fill_the_whole_mix():
    found = arms(("parity2", "linear", "coin"), ("linear", "parity2"), (0.1, 0.2), True)
    assert [arm.lr for arm in found] == [0.1] * 4 + [0.2] * 4
    kinds = {arm.kind: arm for arm in found}
    assert kinds["duplicates"].tasks == ("linear",) * 3
    assert kinds["together"].tasks == ("parity2", "linear", "coin")
    assert kinds["together"].watch == ("linear", "parity2")
    assert [arm.tasks for arm in arms(("coin",), ("coin",), (0.1,), True)] == [("coin",)]


def test_a_target_has_the_same_share_beside_every_kind_of_helper():
    found = control_arms("parity2", ("conjunction", "linear"), KINDS, 0.1)
    assert [arm.kind for arm in found] == list(KINDS)
    for arm in found:
        assert arm.tasks[0] == "parity2"
        assert len(arm.tasks) == (1 if arm.kind == "alone" else 3)


def test_six_tasks_have_the_sixty_three_mixes_of_the_released_configurations():
    sizes = [len(mix) for mix in mixes("abcdef")]
    assert [sizes.count(k) for k in range(1, 7)] == [6, 15, 20, 15, 6, 1]
    assert sizes == sorted(sizes)


def test_all_default_tasks_are_defined_at_the_default_dimension():
    assert len(DEFAULT_TASKS) == 4
    assert chosen(["4"]) == DEFAULT_TASKS
    assert chosen(["2"]) == DEFAULT_TASKS[:2]
    check_tasks(DEFAULT_TASKS, setting(d=3))


# ------------------------------------------------------------------------------ the commands


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--tasks", "parity3"], "--tasks parity3"),
        (["--tasks", "5"], "--tasks 5"),
        (["--tasks", "0"], "--tasks 0"),
        (["--tasks", "parity7"], "--tasks parity7"),
        (["--heads", "3"], "--heads 3"),
        (["--batch", "3"], "--batch 3"),
        (["--window", "61"], "--window 61"),
        (["--threshold", "1"], "--threshold"),
        (["--watch", "coin"], "--watch coin"),
        (["--n", "1"], "--n"),
        (["--ncl", "repo"], "repo"),
        (["--precision", "bf16", "--device", "cpu"], "--precision bf16"),
        (["--precision", "tf32", "--device", "cpu"], "--precision tf32"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_sentence(cli, tmp_path, flags, named):
    done = cli("icl", "plateau", "--preset", "smoke", *flags, "--out", str(tmp_path))
    assert done.code == 2
    assert named in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_escape_is_empty_where_censored_and_marked_once_where_not(cli, tmp_path):
    flags = ("--threshold", "0.97", "--window", "3", "--repeats", "2")
    assert cli("icl", "plateau", *TINY, *flags, "--out", str(tmp_path)).code == 0
    escape, curve = read(tmp_path, "escape"), read(tmp_path, "curve")
    assert escape["escape_step"].isna().equals(escape["censored"])
    assert not escape["censored"].all()
    marks = curve[curve["at_escape"]]
    assert len(marks) == (~escape["censored"]).sum()
    both = marks.merge(escape, on=["repeat", "mix", "task", "lr"])
    assert (both["step"] >= both["escape_step"]).all()
    assert (both["step"] < both["escape_step"] + 5).all()
    mix = escape[(escape["arm"] == "together")]
    assert (mix["sequences"] == 4 * mix["steps_run"]).all()  # half of a batch of 8


@pytest.mark.parametrize("model", ["lstm", "gru", "mamba", "hyena"])
def test_every_backbone_trains_and_differs(cli, tmp_path, model):
    flags = ("--model", model, "--watch", "linear", "--no-duplicates", "--steps", "20")
    assert cli("icl", "plateau", *TINY, *flags, "--out", str(tmp_path)).code == 0
    curve = read(tmp_path, "curve")
    assert curve["loss_norm"].between(0.5, 2).all()
    rows = curve[curve["arm"] == "alone"]["loss_norm"]
    assert rows.nunique() == len(rows)


def test_a_process_for_each_core_gives_the_bytes_of_one_alone(cli, tmp_path, monkeypatch):
    flags = (*TINY, "--batch", "128", "--repeats", "2", "--steps", "20", "--no-duplicates")
    assert member_tokens(setting(n=4, batch=128)) > trainer.ENSEMBLE_TOKENS
    for threads in ("1", "2"):
        monkeypatch.setattr(trainer, "PROCESS_SECONDS", 0.0)
        out = tmp_path / threads
        assert cli("icl", "plateau", *flags, "--threads", threads, "--out", str(out)).code == 0
    assert files(tmp_path / "1") == files(tmp_path / "2")
    (manifest,) = (tmp_path / "2").rglob("run.json")
    workers = json.loads(manifest.read_text())["workers"]
    assert len(workers) == 2
    assert all(each["cpu_seconds"] > 0 and each["peak_memory_bytes"] > 10**7 for each in workers)


def test_small_models_are_stacked_by_replicate_and_large_ones_train_apart():
    members = [member(task, repeat=r) for task in ("coin", "linear") for r in (0, 1)]
    assert trainer.groups(setting(), members, "cpu") == [[0, 2], [1, 3]]
    large = setting(batch=4096)
    assert trainer.groups(large, members, "cpu") == [[0], [1], [2], [3]]
    assert trainer.groups(large, members, "cuda") == [[0, 2], [1, 3]]
    mixed = [member("coin"), member("coin", "linear")]
    assert trainer.groups(setting(per_task_batch=True), mixed, "cpu") == [[0], [1]]


def test_a_checkpoint_goes_on_from_where_the_source_was(cli, tmp_path):
    flags = (
        "--preset", "smoke", "--quiet", "--source", "linear", "--target", "linear", "--batch",
        "32", "--threshold", "0.9", "--window", "5", "--lr", "0.01", "--steps", "400", "--every",
        "5",
    )  # fmt: skip
    assert cli("icl", "transfer", *flags, "--out", str(tmp_path)).code == 0
    curve = read(tmp_path, "curve", "transfer")
    first = curve.groupby("arm")["loss_norm"].first()
    assert first["checkpoint"] < 0.95 < first["scratch"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_stopped_while_processes_train_it_resumes_byte_for_byte(tmp_path):
    root = Path(__file__).parents[3]
    argv = [
        sys.executable, "-m", "toolbox", "icl", "plateau", "--preset", "smoke", "--repeats", "3",
        "--until", "steps", "--steps", "1000", "--threads", "2",
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(root)}

    def start(out):
        return subprocess.Popen([*argv, "--out", str(out)], env=env, cwd=tmp_path)

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "cut")
    time.sleep(6)
    process.send_signal(signal.SIGTERM)
    code = process.wait()
    assert code in (0, 75)
    if code == 75:
        assert start(tmp_path / "cut").wait() == 0
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_line_has_the_median_ratio_with_its_interval_and_says_what_is_a_bound():
    six = pd.DataFrame({"ratio": [3.0, 2.0, 8.0, 4.0, 1.0, 5.0], "bound": ["exact"] * 6})
    six.loc[2, "bound"] = "at least"
    assert ratio_text(six) == "ratio 3.5 [1, 8]: 3, 2, >= 8, 4, 1, 5"
    assert ratio_text(six[:3]) == "ratio 3: 3, 2, >= 8"  # too few for an interval
    assert ratio_text(six[:1]) == "ratio 3"
    six.loc[1, ["ratio", "bound"]] = [float("nan"), "none"]
    assert ratio_text(six) == "ratio 3, ?, >= 8, 4, 1, 5"


@pytest.mark.parametrize(
    ("steps", "shown"),
    [
        ([7, 9, 5], "7 (3 of 3 seeds)"),
        ([7, None, 5], "7 (2 of 3 seeds)"),
        ([7675, None, None], "> 8000 (1 of 3 seeds)"),
        ([None], "> 8000"),
        ([7], "7"),
    ],
)
def test_a_median_counts_censored_runs_as_later_than_all(steps, shown):
    rows = pd.DataFrame({"escape_step": pd.array(steps, "Int64"), "steps_run": 8000})
    rows.loc[rows["escape_step"].notna(), "steps_run"] = 7680
    assert median_text(rows) == shown
