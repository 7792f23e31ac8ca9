"""Loops that nest, search, end early and diverge come back byte for byte from every boundary."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from toolbox.core import saving, signals, states
from toolbox.core.errors import Interrupted, ToolboxError
from toolbox.core.status import Status


@dataclass
class Bracket:
    """A bisection."""

    low: int
    high: int
    tried: list[int] = field(default_factory=list)

    def ask(self):
        return (self.low + self.high) // 2 if self.high - self.low > 1 else None


class Weird:
    """An object that replaces its arrays instead of changing them."""

    def __init__(self):
        self.value = np.zeros(2)

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.value = state["value"]


def write(run, repeat, step, loss):
    run.write("curve", {"step": step, "loss": float(loss)}, repeat)


def training(run, repeat, count, rng, stop=math.inf):
    """Steps of every kind of state, with a break."""
    model = torch.nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.1, 0.2]]))
        model.bias.zero_()
    opt = torch.optim.Adam(model.parameters(), lr=0.1)
    array, weird, plain = np.zeros(3), Weird(), {"sum": 0.0, "list": []}
    for step in run.steps(count, model, opt, rng, array, weird, plain, label="training"):
        x = torch.tensor(rng.random(2) + random.random(), dtype=torch.float32)
        loss = model(x).square().sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        array += rng.random(3)
        weird.value = weird.value + array[:2]
        plain["sum"] += float(loss.detach())
        plain["list"] = [*plain["list"], len(plain["list"])]
        if step >= stop:
            break
        write(run, repeat, step, loss.detach())
    return plain["sum"] + array.sum() + weird.value.sum() + len(plain["list"])


def everything(run):
    """Rows before, between and after loops; cells in cells; a search; results kept in Python."""
    random.seed(7)
    write(run, 0, -1, 0.5)
    results = run.kept([])
    for repeat in run.replicates():
        rng = run.rng(repeat, "x")
        write(run, repeat, 100, rng.random())
        results.append(["before", repeat])
        here = run.kept({"total": 0.0})
        first = training(run, repeat, 3, rng)
        here["total"] += first
        write(run, repeat, 101, here["total"])
        second = training(run, repeat, None, rng, stop=2)
        bracket = Bracket(0, 9)
        for middle in run.search(bracket.ask, bracket, rng, label="trials"):
            write(run, repeat, 200 + len(bracket.tried), middle)
            score = sum(training(run, repeat, 1, rng) for _ in run.cells("ab", "halves", rng))
            bracket.tried.append(middle)
            if score + middle > 20:
                bracket.high = middle
            else:
                bracket.low = middle
        results.append([first, second, *bracket.tried])
        for _ in run.cells([], "nothing"):
            raise AssertionError
    for number, row in enumerate(results):
        write(run, 0, 300 + number, sum(x for x in row if not isinstance(x, str)))


def boundaries(launch, monkeypatch, experiment, **asked):
    """The tables of a run that nothing stops, and how many boundaries it has."""
    count = []
    monkeypatch.setattr(signals, "asked", lambda: count.append(1))
    record, _ = launch(experiment, repeats=2, **asked)
    table = (record.path / "curve.csv").read_bytes()
    shutil.rmtree(record.path)
    return table, len(count)


def test_every_boundary_resumes_byte_for_byte(launch, out, stop_at, monkeypatch):
    reference, count = boundaries(launch, monkeypatch, everything)
    assert count > 60
    for boundary in range(count):
        stop_at(boundary)
        with pytest.raises(Interrupted):
            launch(everything, repeats=2)
        stop_at(None)
        record, _ = launch(everything, repeats=2)
        assert (record.path / "curve.csv").read_bytes() == reference, boundary
        shutil.rmtree(record.path)


def test_a_run_stopped_again_and_again_resumes_byte_for_byte(launch, stop_at, monkeypatch):
    reference, _ = boundaries(launch, monkeypatch, everything)
    stops = 0
    while True:
        stop_at(3)
        try:
            record, _ = launch(everything, repeats=2)
            break
        except Interrupted:
            stops += 1
    assert stops > 15
    assert (record.path / "curve.csv").read_bytes() == reference


def test_large_states_of_ended_loops_lie_on_disk_and_leave_nothing(
    launch, out, stop_at, monkeypatch
):
    reference, count = boundaries(launch, monkeypatch, everything)
    monkeypatch.setattr(states, "SPOOL_BYTES", 0)
    for boundary in range(0, count, 7):
        stop_at(boundary)
        with pytest.raises(Interrupted):
            launch(everything, repeats=2)
        stop_at(None)
        record, _ = launch(everything, repeats=2)
        assert (record.path / "curve.csv").read_bytes() == reference, boundary
        assert {path.name for path in record.path.iterdir()} == {"run.json", "curve.csv"}
        shutil.rmtree(record.path)


# ---------------------------------------------------------------------------------- divergence


def some_diverge(run, bad=(1,), at=1):
    kept = run.kept([])
    for repeat in run.replicates():
        rng = run.rng(repeat, "x")
        for step in run.steps(3, rng):
            value = math.nan if repeat in bad and step == at else rng.random()
            run.check_finite(value, f"the loss at step {step}")
            write(run, repeat, step, value)
        kept.append(repeat)
    write(run, 0, 99, sum(kept))


def test_a_replicate_that_diverges_ends_alone(launch):
    record, _ = launch(some_diverge, repeats=3)
    lines = (record.path / "curve.csv").read_text().splitlines()[1:]
    steps = [tuple(map(int, line.split(",")[1:3])) for line in lines]
    assert steps == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (0, 99)]
    assert lines[-1].endswith(",2.0")  # replicates 0 and 2 were kept
    assert record.status is Status.COMPLETE
    (entry,) = record.manifest["diverged"]
    assert (entry["repeat"], entry["step"]) == (1, 2)
    assert entry["message"] == "the loss at step 1 is nan; the rows before it are kept"


def test_what_is_said_before_a_loop_is_said_once(launch, capsys):
    def talking(run):
        run.say("hello")
        for repeat in run.replicates():
            run.say(f"replicate {repeat}")
            run.check_finite(math.nan if repeat < 2 else 0.0, "the loss")
            write(run, repeat, 0, 0.0)

    launch(talking, repeats=3, quiet=False)
    assert capsys.readouterr().err.split("\n")[:4] == [
        "hello", "replicate 0", "replicate 1", "replicate 2",
    ]  # fmt: skip


def test_a_sound_replicate_has_the_rows_it_has_alone(launch):
    three, _ = launch(some_diverge, repeats=3)
    sound, _ = launch(lambda run: some_diverge(run, bad=()), repeats=3, seed=0, x=1)

    def of(record, repeat):
        lines = (record.path / "curve.csv").read_text().splitlines()
        return [line for line in lines if line.startswith(f"0,{repeat},") and ",99," not in line]

    for repeat in (0, 2):
        assert of(three, repeat) == of(sound, repeat)


def test_a_run_of_which_every_replicate_diverged_is_diverged(launch):
    record, _ = launch(lambda run: some_diverge(run, bad=(0, 1)), repeats=2)
    assert record.status is Status.DIVERGED
    assert record.manifest["message"].startswith("the loss at step 1 is nan")
    assert [each["repeat"] for each in record.manifest["diverged"]] == [0, 1]


def test_divergence_and_stops_together(launch, stop_at, monkeypatch):
    reference, count = boundaries(launch, monkeypatch, some_diverge)
    for boundary in range(count):
        stop_at(boundary)
        with pytest.raises(Interrupted):
            launch(some_diverge, repeats=2)
        stop_at(None)
        record, _ = launch(some_diverge, repeats=2)
        assert (record.path / "curve.csv").read_bytes() == reference, boundary
        assert [each["repeat"] for each in record.manifest["diverged"]] == [1]
        shutil.rmtree(record.path)


def test_a_cell_of_a_grid_diverges_alone_and_is_named(launch):
    jobs = [(repeat, rate) for repeat in range(2) for rate in (0.1, 1.0, 10.0)]

    def grid(run, worst=1.0):
        for repeat, rate in run.cells(jobs, "cells", replicate=lambda job: job[0]):
            run.check_finite(math.inf if rate > worst else 0.0, "the loss", step=5)
            write(run, repeat, int(rate * 10), rate)

    record, _ = launch(grid, repeats=2)
    assert (record.path / "curve.csv").read_text().count("\n") == 1 + 4
    assert record.status is Status.COMPLETE
    noted = [(each["repeat"], each["step"], each["cell"]) for each in record.manifest["diverged"]]
    assert noted == [(0, 5, "(0, 10.0)"), (1, 5, "(1, 10.0)")]
    nothing, _ = launch(lambda run: grid(run, worst=0.0), repeats=2, seed=1)
    assert nothing.status is Status.DIVERGED


def test_a_replicate_of_an_ensemble_diverges_alone(launch):
    def ensemble(run):
        alive = np.ones(3, bool)
        for step in run.steps(4, alive):
            loss = np.array([1.0, math.nan if step >= 1 else 1.0, math.inf if step >= 2 else 1.0])
            alive &= run.finite(loss, f"the loss at step {step + 1}")
            who = np.flatnonzero(alive)
            run.write("curve", {"repeat": who, "step": step, "loss": loss[who]})

    record, _ = launch(ensemble, repeats=3)
    assert record.status is Status.COMPLETE
    found = [(each["repeat"], each["step"]) for each in record.manifest["diverged"]]
    assert found == [(1, 2), (2, 3)]
    assert (record.path / "curve.csv").read_text().count("\n") == 1 + 3 + 2 + 1 + 1


def test_an_ensemble_ends_with_its_last_replicate(launch):
    def ensemble(run):
        for step in run.steps(4):
            run.finite(torch.full((2, 3), math.nan if step == 2 else 0.0), "the loss")
            run.write("curve", {"repeat": [0, 1], "step": step, "loss": 0.0})

    record, _ = launch(ensemble, repeats=2)
    assert record.status is Status.DIVERGED
    assert (record.path / "curve.csv").read_text().count("\n") == 1 + 4


def test_elsewhere_the_whole_run_diverges(launch):
    def whole(run):
        for step in run.steps(4):
            write(run, 0, step, 1.0)
            run.check_finite(math.nan if step == 2 else 0.0, "the loss")

    record, _ = launch(whole)
    assert record.status is Status.DIVERGED
    (entry,) = record.manifest["diverged"]
    assert (entry["repeat"], entry["step"]) == (0, 3)


# ------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize("value", [3, "text", (1, 2), 1.5, None, object()])
def test_a_state_that_cannot_change_in_place_is_refused(launch, value):
    with pytest.raises(TypeError, match="cannot be brought back in place"):
        launch(lambda run: list(run.steps(2, value)))


def test_a_loop_inside_steps_is_refused(launch):
    def nested(run):
        for _ in run.steps(2):
            for _ in run.cells(range(2), "inner"):
                pass

    with pytest.raises(TypeError, match=r"'inner' stands inside run\.steps 'steps'"):
        launch(nested)


@pytest.mark.parametrize(
    "other",
    [
        lambda run: list(run.steps(4, label="another")),
        lambda run: list(run.steps(4, [])),
        lambda run: list(run.steps(4, np.zeros(3))),
        lambda run: None,
    ],
)
def test_a_checkpoint_of_other_loops_is_refused_in_one_sentence(launch, stop_at, out, other):
    stop_at(2)
    with pytest.raises(Interrupted):
        launch(lambda run: list(run.steps(4, np.zeros(2))))
    stop_at(None)
    with pytest.raises(ToolboxError, match=r"\.checkpoint: .*; --again starts anew"):
        launch(other)
    assert len(list(out.glob("coin/train/*.checkpoint"))) == 1


# ----------------------------------------------------------------------------------- progress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def shown(launch, monkeypatch, capsys, experiment, **asked):
    clock = Clock()
    monkeypatch.setattr(saving.time, "monotonic", clock)

    def ticking(run):
        experiment(run, clock)
        run.write("curve", {"step": [0], "loss": [0.0], "repeat": [0]})

    launch(ticking, quiet=False, **asked)
    return [line for line in capsys.readouterr().err.splitlines() if re.search(r"\d/\d", line)]


def test_progress_of_nested_loops_ends_at_100_per_cent(launch, monkeypatch, capsys):
    def experiment(run, clock):
        for _ in run.replicates():
            for step in run.steps(10):
                clock.now += 4
                if step == 6:
                    break  # the rest of the replicate counts as done

    lines = shown(launch, monkeypatch, capsys, experiment, repeats=2)
    assert lines[0] == "replicates: 0/2, steps: 2/10 (10 %)"
    assert lines[-1] == "replicates: 2/2 (100 %)"
    shares = [int(re.search(r"(\d+) %", line)[1]) for line in lines]
    assert shares == sorted(shares)


def test_a_loop_that_ends_early_says_so(launch, monkeypatch, capsys):
    def experiment(run, clock):
        for step in run.steps(100, label="training"):
            clock.now += 4
            if step == 29:
                break

    lines = shown(launch, monkeypatch, capsys, experiment)
    assert lines[-1] == "training: 30/100 (ended early)"
    assert lines[-2].startswith("training: 2")


def test_a_short_run_says_nothing(launch, monkeypatch, capsys):
    assert shown(launch, monkeypatch, capsys, lambda run, clock: list(run.steps(1000))) == []


def test_progress_goes_on_after_a_resume(launch, monkeypatch, capsys, stop_at):
    def experiment(run, clock):
        for _ in run.steps(100, label="training"):
            clock.now += 4

    stop_at(80)
    with pytest.raises(Interrupted):
        shown(launch, monkeypatch, capsys, experiment)
    capsys.readouterr()
    stop_at(None)
    lines = shown(launch, monkeypatch, capsys, experiment)
    assert lines[-1] == "training: 100/100 (100 %)"
    assert all(int(re.search(r"(\d+) %", line)[1]) >= 80 for line in lines)


def test_the_command_line_says_which_replicates_diverged(cli, monkeypatch):
    from toolbox.studies.coin import toss

    def diverging(run, p):
        for repeat in run.replicates():
            run.check_finite(math.nan if repeat == 1 else 0.5, "the share")
            run.write("counts", {"side": ["head", "tail"], "count": [1, 1], "share": 0.5}, repeat)

    monkeypatch.setattr(toss, "toss", diverging)
    result = cli("coin", "toss", "--repeats", 3)
    assert result.code == 0
    assert "diverged: replicate 1 of 3: the share is nan" in result.stderr
    manifest = json.loads((result.folder / "run.json").read_text())
    assert manifest["status"] == "complete"
    monkeypatch.setattr(toss, "toss", lambda run, p: [
        run.check_finite(math.nan, "the share") for _ in run.replicates()
    ])  # fmt: skip
    result = cli("coin", "toss", "--repeats", 2, "--seed", 1)
    assert result.code == 1
    assert "diverged: the share is nan" in result.stderr
