"""What lies under outputs/ is read for what it is, whoever else is writing there."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from toolbox.core import atomic, checkpoint, manifest, store
from toolbox.core.atomic import is_stale
from toolbox.core.paths import RunPaths
from toolbox.core.pools import Pool, pools_of
from toolbox.core.spec import load_command
from toolbox.core.store import RunRecord
from toolbox.core.table import TableWriter

HOST = socket.gethostname()


def test_one_of_many_publishers_of_the_same_run_wins(tmp_path):
    paths = RunPaths(tmp_path / "coin" / "toss", "0123456789ab")
    wins: list[bool] = []
    ready = threading.Barrier(8)

    def publish(number):
        folder = paths.new_temporary()
        (folder / "run.json").write_text('{"status": "complete"}')
        (folder / "counts.csv").write_text(str(number))
        ready.wait()
        wins.append(paths.publish(folder, replace=False))

    threads = [threading.Thread(target=publish, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(wins) == {True: 1, False: 7}
    assert [path.name for path in paths.command_folder.iterdir()] == [paths.id]


def test_forced_replacements_that_race_leave_one_whole_result(tmp_path):
    paths = RunPaths(tmp_path / "coin" / "toss", "0123456789ab")
    errors: list[Exception] = []

    def publish(replace):
        try:
            for number in range(20):
                folder = paths.new_temporary()
                (folder / "run.json").write_text('{"status": "complete"}')
                (folder / "counts.csv").write_text(str(number))
                paths.publish(folder, replace=replace)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=publish, args=(n % 3 > 0,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [path.name for path in paths.command_folder.iterdir()] == [paths.id]
    assert manifest.read(paths.final) == {"status": "complete"}


def test_a_file_under_the_final_name_is_an_error_not_a_loop(tmp_path):
    paths = RunPaths(tmp_path, "0123456789ab")
    folder = paths.new_temporary()
    paths.final.write_text("a file")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        paths.publish(folder, replace=True)


@pytest.fixture
def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def make(folder: Path, name: str, age: float = 0.0) -> Path:
    path = folder / name
    path.mkdir()
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def test_a_temporary_is_stale_when_its_process_is_gone(tmp_path, dead_pid):
    day = 24 * 3600
    assert not is_stale(make(tmp_path, f".tmp-abc-{HOST}-{os.getpid()}-00"))
    assert not is_stale(make(tmp_path, f".tmp-abd-{HOST}-{os.getpid()}-00", 9 * day))
    assert is_stale(make(tmp_path, f".tmp-abc-{HOST}-{dead_pid}-00"))
    assert not is_stale(make(tmp_path, ".tmp-abc-node-17-1-00"))
    assert is_stale(make(tmp_path, ".tmp-abc-node-17-2-00", 1.1 * day))
    assert is_stale(tmp_path / ".tmp-abc-node-17-3-00")
    assert is_stale(make(tmp_path, ".tmp-nonsense"))


def test_a_process_of_another_user_is_alive(tmp_path, monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(atomic.os, "kill", refuse)
    assert not is_stale(make(tmp_path, f".tmp-abc-{HOST}-1-00"))


def manifest_of(status="complete", ended="2026-01-01", **params):
    entries = {name: {"value": v, "origin": "flag"} for name, v in params.items()}
    document = {"params": entries, "started": "2026-01-01", "ended": ended, "tables": {}}
    return {**document, "status": status} if status else document


def test_runs_of_every_status_are_listed_and_litter_is_not(tmp_path, dead_pid):
    folder = tmp_path / "coin" / "train"
    folder.mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    (folder / "README").write_text("mine")

    def place(name, manifest):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text(json.dumps(manifest))

    place("aaa", manifest_of("complete"))
    place("bbb", manifest_of("diverged"))
    place(f".tmp-ccc-{HOST}-{os.getpid()}-00", manifest_of(None))
    place(f".tmp-ddd-{HOST}-{dead_pid}-00", manifest_of(None))
    place(".old-eee-0011", manifest_of("complete"))
    (folder / "figures").mkdir()
    (folder / "fff.failed.json").write_text(json.dumps(manifest_of("failed")))
    (folder / "ggg.failed.json").write_text("{")
    with (folder / "hhh.checkpoint").open("wb") as handle:
        checkpoint.save(handle, manifest_of(None), None, [])
    (folder / "iii.checkpoint").write_text("cut")
    (folder / "iii.bad").write_text("cut")
    found = {run.id: run.state for run in store.runs(tmp_path)}
    assert found == {
        "aaa": "complete",
        "bbb": "diverged",
        "ccc": "running",
        "fff": "failed",
        "hhh": "interrupted",
    }
    assert list(store.runs(tmp_path, "coin", "toss")) == []
    assert list(store.runs(tmp_path / "absent")) == []


# ----------------------------------------------------------------------------------------- pools


def record(out: Path, seed: int, repeats: int, status: str = "complete", **params) -> RunRecord:
    """A run of `coin train` whose rows name their replicate: loss = 100 seed + repeat + x."""
    folder = out / "coin" / "train" / f"{len(list(out.glob('coin/train/*'))):03x}"
    folder.mkdir(parents=True)
    writer = TableWriter(folder / "curve.csv", load_command("coin", "train").tables["curve"])
    for repeat in range(repeats):
        loss = 100 * seed + repeat + params.get("x", 0)
        writer.write({"step": [0, 1], "loss": [loss, loss]}, seed=seed, repeat=repeat)
    manifest = manifest_of(status, folder.name, seed=seed, repeats=repeats, **params)
    manifest["tables"] = {"curve": writer.close()}
    (folder / "run.json").write_text(json.dumps(manifest))
    return next(run for run in store.runs(out) if run.id == folder.name)


def test_a_replicate_in_several_runs_counts_once(out):
    for seed, repeats in [(0, 3), (0, 5), (1, 1), (0, 1), (1, 2)]:
        record(out, seed, repeats)
    (pool,) = pools_of(out, "coin", "train")
    assert len(pool.runs) == 5
    frame = pool.read("curve")
    replicates = list(zip(frame["seed"], frame["repeat"], strict=True))
    expected = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]
    assert replicates == [key for key in expected for _ in range(2)]
    assert list(frame["loss"]) == [100 * s + r for s, r in expected for _ in range(2)]
    assert pool.params == {}


def test_finished_runs_of_equal_parameters_are_pooled_newest_last(out):
    record(out, 0, 1, x=2)
    record(out, 0, 1, x=1)
    record(out, 1, 1, x=1)
    record(out, 2, 1, "diverged", x=1)
    pools = pools_of(out, "coin", "train")
    assert [pool.params for pool in pools] == [{"x": 2}, {"x": 1}]
    assert pools[1].evidence.diverged == {(2, 0)}
    assert [sorted({*pool.read("curve")["seed"]}) for pool in pools] == [[0], [0, 1, 2]]


def test_cells_of_one_experiment_are_pooled_over_and_deduplicated_each(out):
    spec = load_command("coin", "train").model_copy(update={"pool_over": ("x",)})
    runs = [
        record(out, seed, repeats, x=x, y=1)
        for seed, repeats, x in [(0, 1, 10), (0, 2, 10), (0, 1, 20), (1, 1, 20)]
    ]
    pool = Pool("coin", "train", "p", tuple(runs), spec)
    assert pool.params == {"y": 1}
    frame = pool.read("curve")
    assert sorted(frame["loss"]) == [10, 10, 11, 11, 20, 20, 120, 120]
    assert frame["seed"].is_monotonic_increasing


def test_a_damaged_table_of_one_run_is_named(out):
    path = record(out, 0, 1).path / "curve.csv"
    path.write_text(path.read_text()[:-1])
    (pool,) = pools_of(out, "coin", "train")
    with pytest.raises(store.TableError, match=r"000/curve\.csv"):
        pool.read("curve")


@pytest.mark.parametrize("text", ["", "[]", '{"status": "complete"}', '{"status": "odd"}'])
def test_a_manifest_that_is_none_hides_no_other_run(out, text):
    record(out, 0, 1).path.joinpath("run.json").write_text(text)
    (out / "coin" / "train" / "abc.failed.json").write_text(text)
    there = out / "coin" / "train" / "def"
    there.mkdir()
    (there / "run.json").write_text(json.dumps(manifest_of()))
    assert [run.id for run in store.runs(out)] == ["def"]
