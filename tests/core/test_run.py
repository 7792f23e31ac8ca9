"""What an experiment is given."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from toolbox.core import run as run_module
from toolbox.core import saving, signals
from toolbox.core.errors import Diverged, Interrupted, StudyError, ToolboxError, UsageError


def inside(launch, check, **asked):
    """Call `check` with a live run, and let the run finish."""

    def experiment(run):
        check(run)
        run.write("curve", {"step": [0], "loss": [0.0], "repeat": [0]})

    return launch(experiment, **asked)[0]


def test_rows_of_several_replicates_bear_their_repeat(launch):
    def check(run):
        run.write("curve", {"repeat": range(3), "step": 7, "loss": np.arange(3.0)})
        run.write("curve", pd.DataFrame({"step": [8, 9], "loss": [0.5, 0.25]}), 2)

    record = inside(launch, check, seed=4, repeats=3)
    frame = pd.read_csv(record.path / "curve.csv").head(5)
    assert frame["repeat"].tolist() == [0, 1, 2, 2, 2]
    assert frame["step"].tolist() == [7, 7, 7, 8, 9]
    assert set(frame["seed"]) == {4}


def test_an_undeclared_table_is_told_to_the_author(launch):
    with pytest.raises(StudyError, match=r"test_run.py:\d+: run.write\('curves'\).*'curve'\?"):
        inside(launch, lambda run: run.write("curves", {"x": [1]}, 0))


def test_no_checkpoint_is_made_within_a_minute_and_then_as_its_cost_allows(launch, monkeypatch):
    class Clock:
        now, cost = 0.0, 5.0

    monkeypatch.setattr(run_module.time, "monotonic", lambda: Clock.now)
    made = []

    def check(run):
        def save(*rest):
            made.append(Clock.now)
            Clock.now += Clock.cost

        monkeypatch.setattr(saving.checkpoint, "save", save)
        run._saver.last = Clock.now
        run._loops.due = 0.0
        for Clock.now in run.cells((0, 30, 59, 61, 100, 120, 165, 167), "seconds"):
            pass
        assert run.checkpoint_path.exists()

    record = inside(launch, check)
    # 5 s each: the next may come 100 s after the end of the one at 61.
    assert made == [61, 167]
    assert not record.path.with_suffix(".checkpoint").exists()


@pytest.mark.parametrize(
    "value",
    [math.inf, -math.inf, math.nan, np.float32("nan"), np.array([1, np.inf]),
     torch.tensor([[0.0, math.nan]], requires_grad=True), torch.tensor(math.inf).bfloat16()],
)  # fmt: skip
def test_the_first_value_that_is_not_finite_ends_a_run(launch, value):
    def check(run):
        with pytest.raises(Diverged, match=r"the loss at step 3 is (-?inf|nan); the rows before"):
            run.check_finite(value, "the loss at step 3")

    inside(launch, check)


@pytest.mark.parametrize("value", [1e308, 3, np.int64(2), np.ones(2), torch.ones(2)])
def test_finite_values_pass(launch, value):
    inside(launch, lambda run: run.check_finite(value, "the loss"))


def test_a_device_that_is_not_here_is_refused_with_those_that_are(launch):
    with pytest.raises(
        UsageError, match=r"--device cuda:99: there is no such device here; use .*cpu"
    ):
        inside(launch, lambda run: run.device, device="cuda:99")


def test_the_device_that_was_used_is_in_the_manifest(launch):
    assert inside(launch, lambda run: run.device).manifest["torch_device"] == "cpu"


def test_the_flag_of_a_stop_does_not_outlive_the_run(launch, stop_at):
    with pytest.raises(SystemExit):
        inside(launch, lambda run: [signals._handle(2, None), signals._handle(2, None)])
    assert signals.asked() is None
    inside(launch, lambda run: list(run.cells([0], "cells")))


def test_messages_go_to_stderr_and_not_under_quiet(launch, capsys):
    inside(launch, lambda run: run.say("hello"), quiet=False)
    assert capsys.readouterr() == ("", "hello\n")
    inside(launch, lambda run: run.say("hello"), quiet=True, seed=1)
    assert capsys.readouterr() == ("", "")


def test_a_checkpoint_of_another_device_is_kept_and_named(launch, out, stop_at, monkeypatch):
    stop_at(0)
    with pytest.raises(Interrupted):
        inside(launch, lambda run: [run.device for _ in run.cells([0], "cells")])
    (path,) = out.glob("coin/train/*.checkpoint")
    elsewhere = {**run_module.checkpoint.read_manifest(path), "torch_device": "xpu"}
    monkeypatch.setattr(run_module.checkpoint, "read_manifest", lambda _: elsewhere)
    with pytest.raises(ToolboxError, match="made on --device xpu, this is cpu; resume it there"):
        inside(launch, lambda run: None)
    assert path.exists()
