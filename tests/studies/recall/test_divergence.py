"""A training that is no longer finite is marked, and the sound ones beside it go on."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from toolbox.app import run
from toolbox.studies.recall import data
from toolbox.studies.recall.ensemble import Budget, train
from toolbox.studies.recall.linear_attention import LinearAttention
from toolbox.studies.recall.memory import Memory, Shape
from toolbox.studies.recall.transformer import Transformer


class Plain:
    """The steps of a run that nothing stops."""

    def steps(self, count, *states, label=""):
        return iter(range(count))


def done(tmp_path, *words):
    code = run(["recall", *words, "--quiet", "--threads", "1", "--out", str(tmp_path)])
    (folder,) = (path.parent for path in tmp_path.glob("recall/*/*/run.json"))
    return code, json.loads((folder / "run.json").read_text()), folder


def poisoned(monkeypatch, kind, chosen):
    """The members that `chosen(model)` names get a NaN among their weights at the third step."""
    step = kind.step

    def broken(self):
        step(self)
        if self.steps == 3:
            with torch.no_grad():
                for member in chosen(self):
                    self.flat[member, 0] = float("nan")

    monkeypatch.setattr(kind, "step", broken)


def test_a_member_that_diverges_leaves_and_changes_nothing_for_the_others(monkeypatch):
    def generator(repeat, N):
        return torch.Generator().manual_seed(1000 * repeat + N)

    def outcome():
        model = Memory(Shape(8), 20, [0, 1, 2], (10.0,), generator, "cpu")
        return train(Plain(), model, Budget(64, 4, 1.0, early=False))

    sound = outcome()
    poisoned(monkeypatch, Memory, lambda model: [2])
    found = outcome()
    assert found.diverged.tolist() == [False, False, True]
    assert found.stopped[2] == 4
    assert np.isnan(found.accuracy[2])
    assert found.accuracy[:2].tolist() == sound.accuracy[:2].tolist()


def test_a_cell_of_the_grid_is_marked_and_the_others_keep_their_numbers(monkeypatch, tmp_path):
    words = ["tradeoff", "--preset", "smoke", "--repeats", "2"]
    _, _, folder = done(tmp_path / "sound", *words)
    sound = pd.read_csv(folder / "cells.csv")
    poisoned(monkeypatch, Transformer, lambda model: [1] if model.shape.heads == 4 else [])
    code, manifest, folder = done(tmp_path / "broken", *words)
    cells = pd.read_csv(folder / "cells.csv")
    assert code == 0
    assert [
        (each["repeat"], each["cell"], each["step"], each["cells"]) for each in manifest["diverged"]
    ] == [(0, "H = 4, m = 16", 64, 4), (1, "H = 4, m = 16", 64, 4)]
    bad = (cells["H"] == 4) & (cells["m"] == 16)
    assert cells.loc[bad, "accuracy"].isna().all()
    pd.testing.assert_frame_equal(cells[~bad], sound[~bad])


@pytest.mark.parametrize(
    ("words", "kind", "table"),
    [
        (["linear", "--method", "trained"], Memory, "capacity"),
        (["mlp"], Memory, "capacity"),
        (["scaling", "--lr", "0.01"], Transformer, "scaling"),
    ],
)
def test_a_search_whose_training_diverges_has_no_capacity(
    words, kind, table, monkeypatch, tmp_path
):
    """Neither 'learnt' nor 'not learnt': the cell is marked, and the other cells have theirs."""
    name = words[0]
    first = {"linear": 8, "mlp": 8, "scaling": 4}[name]

    def chosen(model):
        here = model.shape.d == first if name == "scaling" else model.keys.shape[2] == first
        only = name != "mlp" or model.shapes["W1"][1] == 8
        return [0] if here and only else []

    poisoned(monkeypatch, kind, chosen)
    code, manifest, folder = done(tmp_path, *words, "--preset", "smoke")
    assert code == 0
    (entry,) = manifest["diverged"]
    assert entry["cells"] == 2
    assert entry["step"] > 0
    assert len(pd.read_csv(folder / f"{table}.csv")) == 1
    trials = pd.read_csv(folder / "trials.csv")
    assert trials["accuracy"].isna().sum() == 1


def test_a_rate_that_diverges_beside_one_that_learns_is_a_trial_without_accuracy(
    monkeypatch, tmp_path
):
    """One rate that succeeds is enough."""
    poisoned(monkeypatch, Memory, lambda model: [0] if model.rate[0] == 5 else [])
    words = ["linear", "--preset", "smoke", "--method", "trained", "--lr", "5,1000"]
    code, manifest, folder = done(tmp_path, *words)
    trials = pd.read_csv(folder / "trials.csv")
    assert code == 0
    assert "diverged" not in manifest
    assert trials.loc[trials["lr"] == 5, "accuracy"].isna().all()
    assert len(pd.read_csv(folder / "capacity.csv")) == 2


def test_a_size_of_a_curve_that_diverges_ends_alone(monkeypatch, tmp_path):
    poisoned(monkeypatch, Memory, lambda model: [1] if len(model.labels) == 20 else [])
    words = ["curve", "--preset", "smoke", "--repeats", "2", "--every", "2"]
    code, manifest, folder = done(tmp_path, *words)
    rows = pd.read_csv(folder / "curve.csv")
    (entry,) = manifest["diverged"]
    assert code == 0
    assert (entry["repeat"], entry["cell"], entry["step"]) == (1, "N = 20", 4)
    ends = rows.groupby(["repeat", "N"])["step"].max()
    assert ends[1, 20] == 2
    assert (ends.drop((1, 20)) == 128).all()


def test_a_replicate_of_sequential_that_diverges_keeps_its_rows(monkeypatch, tmp_path):
    step, steps = LinearAttention.step, []

    def broken(self, counts, labels, lr):
        step(self, counts, labels, lr)
        steps.append(0)
        if len(steps) == 100:
            self.a[1] = float("inf")

    monkeypatch.setattr(LinearAttention, "step", broken)
    code, manifest, folder = done(tmp_path, "sequential", "--preset", "smoke", "--repeats", "2")
    rows = pd.read_csv(folder / "curve.csv")
    (entry,) = manifest["diverged"]
    assert code == 0
    assert (entry["repeat"], entry["step"]) == (1, 128)
    ends = rows[rows["source"] == "sgd"].groupby("repeat")["step"].max()
    assert ends.tolist() == [1200, 96]
    assert np.isfinite(rows["loss_total"]).all()


def test_a_rate_at_its_bound_leaves_the_first_row_of_sequential(tmp_path):
    words = ["sequential", "--preset", "smoke", "--lr", "1000"]
    code, manifest, folder = done(tmp_path, *words)
    rows = pd.read_csv(folder / "curve.csv")
    assert code == 1
    assert manifest["status"] == "diverged"
    assert rows["step"].tolist() == [0]
    # Before the first step every answer is equally likely.
    task = data.Task(16, 4, 8, 20, 32)
    assert rows["loss_total"][0] == pytest.approx(np.log(task.outputs), abs=1e-5)
