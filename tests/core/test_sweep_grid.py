"""A sweep file becomes cells: the expansion, the strictness, the seeds, the states."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolbox.core import atomic
from toolbox.core.errors import UsageError
from toolbox.core.params import Param, run_id
from toolbox.core.sweep.axes import values_of
from toolbox.core.sweep.grid import load_sweep
from toolbox.core.sweep.seeds import cell_seed
from toolbox.core.sweep.state import states

INT, FLOAT = Param("n", int, 1, ""), Param("x", float, 1.0, "")


@pytest.fixture
def load(tmp_path):
    def call(text):
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        return load_sweep(path)

    return call


# ------------------------------------------------------------------------------------------ axes


def test_a_range_meets_its_end_and_is_what_one_would_type():
    assert values_of(FLOAT, {"range": {"from": 0.1, "to": 0.5, "step": 0.1}}) == [
        0.1, 0.2, 0.3, 0.4, 0.5,
    ]  # fmt: skip
    assert values_of(INT, {"range": {"from": 9, "to": 0, "step": -4}}) == [9, 5, 1]


@given(
    st.integers(-1000, 1000), st.integers(1, 50), st.integers(0, 60), st.sampled_from([1, 10, 1000])
)
def test_a_range_is_exact_arithmetic(start, step, count, scale):
    body = {"from": start / scale, "to": (start + count * step) / scale, "step": step / scale}
    expected = [(start + k * step) / scale for k in range(count + 1)]
    assert values_of(FLOAT, {"range": body}) == expected


@given(st.floats(1e-6, 1e3), st.floats(1.01, 1e6), st.integers(2, 40))
def test_a_logspace_is_geometric_and_keeps_its_ends(low, factor, num):
    values = values_of(FLOAT, {"logspace": {"from": low, "to": low * factor, "num": num}})
    assert (len(values), values[0], values[-1]) == (num, low, low * factor)
    for k, value in enumerate(values):
        assert value == pytest.approx(low * factor ** (k / (num - 1)), rel=1e-9)


def test_a_logspace_of_integers_rounds_and_refuses_what_collapses():
    body = {"from": 10, "to": 1000, "num": 4}
    assert values_of(INT, {"logspace": body}) == [10, 46, 215, 1000]
    with pytest.raises(ValueError, match="integers; lower num"):
        values_of(INT, {"logspace": {"from": 1, "to": 4, "num": 9}})


@pytest.mark.parametrize(
    "written",
    [
        3, "3", None, [], [1, 1], [1, "1"], [1, "two"], [True], {}, {"linspace": {}},
        {"geomspace": {}},
        {"linspace": {"from": 0, "to": 1}}, {"linspace": {"from": 0, "to": 10, "num": 1}},
        {"linspace": {"from": 0, "to": 3, "num": 9}}, {"linspace": {"from": 5, "to": 5, "num": 2}},
        {"range": [1, 2, 3]}, {"range": {"from": 1, "to": 2}},
        {"range": {"from": 1, "to": 2, "step": 0}}, {"range": {"from": 1, "to": 2, "step": -1}},
        {"range": {"from": 0, "to": 1e9, "step": 1}}, {"range": {"from": 1, "to": "b", "step": 1}},
        {"range": {"from": 1, "to": math.inf, "step": 1}},
        {"range": {"from": 1, "to": math.nan, "step": 1}},
        {"logspace": {"from": 0, "to": 1, "num": 3}},
        {"logspace": {"from": 1, "to": 10, "num": 1}},
        {"logspace": {"from": 1, "to": 10, "num": 2.5}},
    ],
)  # fmt: skip
def test_what_is_no_axis_is_refused(written):
    with pytest.raises(ValueError, match=r"expected|range|linspace|logspace|needs"):
        values_of(INT, written)


def test_a_linspace_keeps_its_ends_and_is_what_one_would_type():
    def space(param, low, high, num):
        return values_of(param, {"linspace": {"from": low, "to": high, "num": num}})

    assert space(FLOAT, 0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert space(FLOAT, -0.3, 0.3, 5) == [-0.3, -0.15, 0, 0.15, 0.3]
    assert space(FLOAT, 1, 0, 3) == [1, 0.5, 0]
    assert space(INT, 1, 10, 4) == [1, 4, 7, 10]
    assert space(INT, 0, 10, 4) == [0, 3, 7, 10]


@given(st.floats(-1e3, 1e3), st.floats(0.01, 1e6), st.integers(2, 40))
def test_a_linspace_has_equal_differences(low, length, num):
    values = values_of(FLOAT, {"linspace": {"from": low, "to": low + length, "num": num}})
    assert (len(values), values[0], values[-1]) == (num, low, low + length)
    for k, value in enumerate(values):
        expected = low + length * k / (num - 1)
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-9 * (abs(low) + length))


# ------------------------------------------------------------------------------------------ grid


EXCLUDING = "command: coin train\naxes: {steps: [10, 20, 30], lr: [0.1, 0.2]}\nseed: 3\nexclude: "


def test_excluded_cells_are_left_out_and_the_others_stay_what_they_were(load):
    every = load(EXCLUDING.partition("exclude")[0])
    sweep = load(EXCLUDING + "[steps > 20 and lr > 0.1, 'steps * lr == 1']\n")
    left = [(c.params["steps"], c.params["lr"]) for c in sweep.cells]
    assert left == [(10, 0.2), (20, 0.1), (20, 0.2), (30, 0.1)]
    assert sweep.excluded == 2
    assert [cell.index for cell in sweep.cells] == [0, 1, 2, 3]
    assert {cell.id for cell in sweep.cells} < {cell.id for cell in every.cells}
    # Also by a parameter that is no axis.
    assert load(EXCLUDING + "optimizer != 'adam'").excluded == 0


def test_memory_and_time_are_formulas_of_each_cell_s_parameters(load):
    sweep = load(
        EXCLUDING + "steps == 20\nmemory: 100 + steps ** 2 / 7\ntime: 2 * (lr < 0.2) + 1\n"
    )
    assert [sweep.megabytes(cell) for cell in sweep.cells] == [115, 115, 229, 229]
    assert [sweep.minutes(cell) for cell in sweep.cells] == [3, 1, 3, 1]
    assert load(EXCLUDING + "steps == 20\nmemory: 500").megabytes(sweep.cells[0]) == 500
    plain = load(EXCLUDING + "steps == 20")
    assert plain.megabytes(plain.cells[0]) is plain.minutes(plain.cells[0]) is None


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "exclude: stepps > 10",
            "grid.yaml:4: exclude: No parameter 'stepps'; did you mean 'steps'",
        ),
        ("exclude: 3", "grid.yaml:4: exclude: expected a filter"),
        ("exclude: steps", "exclude: The filter 'steps' cannot be computed"),
        ("exclude: steps == 'a'", "a number does not compare with a text"),
        ("exclude: steps > 1", "exclude: leaves out all 6 cells"),
        ("memory: 100 * step", "grid.yaml:4: memory: No parameter 'step'; did you mean 'steps'"),
        ("memory: [1]", "memory: expected a number or a formula"),
        ("memory: 20 - steps", "memory: The formula '20 - steps' is 0 at steps = 20"),
        ("memory: 4G", "memory: The formula '4G' is no expression"),
        ("time: 0", "time: The formula '0' is 0, where"),
        ("time: __import__('os')", "may not hold"),
    ],
)
def test_what_is_no_filter_and_no_formula_names_its_line(load, line, said):
    text = "command: coin train\naxes: {steps: [10, 20, 30], lr: [0.1, 0.2]}\nseed: 3\n"
    with pytest.raises(UsageError) as caught:
        load(text + line)
    assert said in str(caught.value)


def test_the_grid_is_the_product_and_the_last_axis_is_fastest(load):
    sweep = load(
        "command: coin train\nfixed: {optimizer: sgd}\n"
        "axes:\n  zip: {steps: [10, 20], pause: [0, 0.1]}\n  lr: [0.1, 0.2]\nrepeats: 2\n"
    )
    rows = [(c.params["steps"], c.params["pause"], c.params["lr"]) for c in sweep.cells]
    assert rows == [(10, 0.0, 0.1), (10, 0.0, 0.2), (20, 0.1, 0.1), (20, 0.1, 0.2)]
    assert [cell.index for cell in sweep.cells] == [0, 1, 2, 3]
    assert {(c.params["optimizer"], c.params["repeats"]) for c in sweep.cells} == {("sgd", 2)}
    assert sweep.cells[0].origins == {
        "steps": "sweep", "pause": "sweep", "lr": "sweep", "optimizer": "sweep", "seed": "sweep",
        "ballast": "default", "repeats": "sweep",
    }  # fmt: skip


def test_columns_that_advance_together_may_repeat_a_value(load):
    sweep = load("command: coin toss\naxes: {zip: {bias: [0.1, 0.1, 0.2], tosses: [10, 20, 10]}}")
    assert [(c.params["bias"], c.params["tosses"]) for c in sweep.cells] == [
        (0.1, 10), (0.1, 20), (0.2, 10),
    ]  # fmt: skip


def test_a_cell_is_the_run_of_the_plain_command_line(load, cli, out):
    sweep = load("command: coin toss\npreset: smoke\nfixed: {seed: 5}\naxes: {bias: [0.25, 3e-1]}")
    for cell, bias in zip(sweep.cells, ("0.25", "0.3"), strict=True):
        plain = cli("coin", "toss", "--preset", "smoke", "--seed", 5, "--bias", bias)
        assert plain.folder.name == cell.id
        document = json.loads((plain.folder / "run.json").read_text())
        written = {name: entry["value"] for name, entry in document["params"].items()}
        assert written == json.loads(json.dumps(cell.params))
    assert [one.state for one in states(sweep, out)] == ["complete"] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "command: expected"),
        ("command: coin", "command: expected"),
        ("command: coin flip", "grid.yaml:1: command: coin has no command 'flip'"),
        ("command: dice toss", "grid.yaml:1: command: no study 'dice'"),
        ("command: coin toss\naxis: {}", "grid.yaml:2: axis: no such key; did you mean 'axes'"),
        ("command: coin toss\npreset: large", "grid.yaml:2: preset: --preset large"),
        ("command: coin toss\nfixed: {toses: 3}", "no such parameter; did you mean 'tosses'"),
        ("command: coin toss\nfixed: {tosses: 0}", "grid.yaml:2: tosses: expected an integer >= 1"),
        ("command: coin toss\nfixed:\n  bias: 0.1\n  bias: 0.2", "grid.yaml:4: duplicate key"),
        ("command: coin toss\naxes:\n  tosses: 5", "grid.yaml:3: tosses: expected a list"),
        ("command: coin toss\naxes: {bias: [0.1, 2]}", "bias: expected a finite number > 0"),
        ("command: coin toss\naxes: {bias: [.nan]}", "bias: expected a finite number"),
        ("command: coin toss\naxes: {sides: {range: {from: 1, to: 2, step: 1}}}", "list them"),
        ("command: coin toss\naxes: {zip: {bias: [0.1]}}", "two or more axes"),
        ("command: coin toss\naxes: {zip: {bias: [0.1], tosses: [1, 2]}}", "unequal length"),
        (
            "command: coin toss\naxes: {zip: {bias: [0.1, 0.2, 0.1], tosses: [1, 1, 1]}}",
            "bias 0.1, tosses 1 stands there more than once",
        ),
        ("command: coin toss\nfixed: {bias: 0.1}\naxes: {bias: [0.1]}", "keep one"),
        ("command: coin toss\naxes: {bias: [0.1], zip: {bias: [0.2], tosses: [1]}}", "keep one"),
        ("command: coin toss\nrepeats: 2\naxes: {repeats: [1, 2]}", "keep one"),
        ("command: coin toss\nseeds: 2\naxes: {seed: [1, 2]}", "keep one"),
        ("command: coin toss\nseed: 2\nfixed: {seed: 1}", "keep one"),
        ("command: coin toss\nseeds: [1, 2]", "seeds: expected"),
        ("command: coin toss\nseeds: 0", "expected a count"),
        ("command: coin toss\nseed: -1", "seed: expected an integer >= 0"),
        ("command: coin toss\nfixed: [1]", "fixed: expected `name: value` lines"),
        ("command: gd anytime\nrepeats: 3", "is exact"),
        ("command: gd anytime\nseeds: 3", "is exact"),
        (
            "command: coin toss\nseeds: 1000\naxes: {tosses: {range: {from: 1, to: 999, step: 1}}}",
            "999000 cells; the limit is",
        ),
    ],
)
def test_a_bad_file_is_refused_by_line_and_key(load, text, said):
    with pytest.raises(UsageError, match=r"grid.yaml:\d+: ") as caught:
        load(text)
    assert said in str(caught.value)


# ----------------------------------------------------------------------------------------- seeds


def test_seeds_derive_from_the_root_and_the_cell_and_from_nothing_else(load):
    text = "command: coin toss\naxes: {{bias: [{}]}}\nseeds: {}\nseed: {}\nrepeats: {}\n"

    def seeds(*values):
        return {
            (c.params["bias"], i): c.params["seed"]
            for i, c in enumerate(load(text.format(*values)).cells)
        }

    few, more = seeds("0.1, 0.2", 1, 0, 1), seeds("0.3, 0.2, 0.1", 1, 0, 1)
    assert few[0.1, 0] == more[0.1, 2]
    assert few[0.2, 1] == more[0.2, 1]
    assert seeds("0.1, 0.2", 1, 0, 5) == few  # more repetitions keep those that are there
    assert set(few.values()) < set(seeds("0.1, 0.2", 3, 0, 1).values())  # and so do more seeds
    assert not set(few.values()) & set(seeds("0.1, 0.2", 1, 1, 1).values())
    many = seeds("0.1, 0.2, 0.3", 100, 0, 1)
    assert len(set(many.values())) == 300
    assert all(0 <= seed <= 10**15 for seed in many.values())


def test_the_seed_of_a_cell_is_pinned_for_ever():
    params = {"tosses": 10, "bias": 0.5, "sides": ("a", "b"), "seed": 3, "repeats": 7}
    first = cell_seed(0, "coin", "toss", params)
    assert first == cell_seed(0, "coin", "toss", {**params, "seed": 0, "repeats": 1})
    assert first != cell_seed(0, "coin", "toss", params, 1)
    assert first == 287791473740563


def test_a_seed_that_is_given_is_taken_and_an_exact_command_keeps_its_own(load):
    assert [c.params["seed"] for c in load("command: coin toss\naxes: {seed: [4, 9]}").cells] == [
        4, 9,
    ]  # fmt: skip
    assert load("command: coin toss\nfixed: {seed: 7}").cells[0].params["seed"] == 7
    exact = load("command: gd anytime\naxes: {T: [100]}").cells[0]
    assert exact.params["seed"] == 0
    assert exact.id == run_id("gd", "anytime", exact.params)


# ---------------------------------------------------------------------------------------- states


@pytest.fixture
def one(load, out):
    sweep = load("command: coin train\nfixed: {steps: 5, seed: 0}")
    return lambda: states(sweep, out)[0]


def test_a_cell_goes_from_missing_over_interrupted_to_complete(one, cli, stop_at, out):
    assert one().state == "missing"
    stop_at(3)
    assert cli("coin", "train", "--steps", 5).code == 75
    assert one().state == "interrupted"
    stop_at(None)
    folder = cli("coin", "train", "--steps", 5).folder
    assert one().state == "complete"
    (folder / "curve.csv").write_text("cut")
    assert one().state == "corrupt"
    assert "curve.csv has 3 bytes" in one().message


def test_a_diverged_cell_and_a_failed_one_say_why(load, cli, out, monkeypatch):
    sweep = load("command: coin train\nfixed: {steps: 50, optimizer: sgd, seed: 0, lr: 1e38}")
    cli("coin", "train", "--steps", 50, "--optimizer", "sgd", "--lr", "1e38")
    found = states(sweep, out)[0]
    assert found.state == "diverged"
    assert "the loss at step" in found.message


def test_a_temporary_folder_is_running_only_while_its_process_lives(one, out):
    folder = out / "coin" / "train" / one().cell.id
    folder = atomic.temporary_sibling(folder)
    folder.mkdir(parents=True)
    assert one().state == "running"
    gone = folder.with_name(f".tmp-{one().cell.id}-{atomic._machine()}-{2**22 + 1}.0-a")
    folder.rename(gone)
    assert one().state == "missing"
    assert "killed" in one().message


def test_a_job_of_another_node_is_running_while_slurm_holds_it(one, out, tmp_path, monkeypatch):
    folder = out / "coin" / "train" / f".tmp-{one().cell.id}-elsewhere-17-a"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"scheduler": {"kind": "slurm", "job": "42"}}))
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    for held, state in (("41 42", "running"), ("41", "missing")):
        squeue.write_text(f"#!/bin/sh\necho {held} | tr ' ' '\\n'\n")
        squeue.chmod(0o755)
        assert one().state == state
    squeue.write_text("#!/bin/sh\nexit 1\n")  # it cannot be asked: the age decides
    assert one().state == "running"


def test_an_empty_folder_that_a_workflow_engine_made_is_no_damage(one, out):
    Path(out / "coin" / "train" / one().cell.id).mkdir(parents=True)
    assert one().state == "missing"
