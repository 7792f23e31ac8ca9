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

from tests.manifests import manifest_of, resealed
from toolbox.core import atomic, checkpoint, manifest, store
from toolbox.core.atomic import is_stale
from toolbox.core.errors import TableError
from toolbox.core.manifest import sealed
from toolbox.core.paths import RunPaths
from toolbox.core.pools import Pool, pools_of, survey
from toolbox.core.spec import load_command
from toolbox.core.store import RunRecord
from toolbox.core.table import TableWriter, sha256


def temporary(run: str, pid: int, start: str | None = None, here: str = "") -> str:
    """The name of a temporary folder that a process of this host made."""
    start = atomic._start_of(pid) if start is None else start
    return f".tmp-{run}-{here or atomic._machine()}-{pid}.{start}-00"


def test_one_of_many_publishers_of_the_same_run_wins(tmp_path):
    paths = RunPaths(tmp_path / "coin" / "toss", "0123456789ab")
    wins: list[bool] = []
    ready = threading.Barrier(8)

    def publish(number):
        folder = paths.new_temporary()
        (folder / "run.json").write_text(json.dumps(manifest_of()))
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
                (folder / "run.json").write_text(json.dumps(manifest_of()))
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
    assert manifest.read(paths.final) == manifest_of()


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


DAY = 24 * 3600


def test_a_temporary_is_stale_when_its_process_is_gone(tmp_path, dead_pid):
    me = os.getpid()
    assert not is_stale(make(tmp_path, temporary("abc", me)))
    assert not is_stale(make(tmp_path, temporary("abd", me), 9 * DAY))
    assert is_stale(make(tmp_path, temporary("abc", dead_pid)))
    assert is_stale(make(tmp_path, temporary("abe", me, start="1"))), "another had this number"
    own = make(tmp_path, atomic.temporary_sibling(tmp_path / "a-b.png").name)
    assert not is_stale(own)


def test_of_another_host_or_boot_only_a_day_without_a_write_tells(tmp_path, dead_pid):
    for host in ("0000aaaa", socket.gethostname()):  # the latter as versions up to 0.1 named them
        name = temporary("abc", dead_pid, here=host)
        assert not is_stale(make(tmp_path, name))
        assert is_stale(make(tmp_path, name.replace("abc", "abd"), 1.1 * DAY))
        busy = make(tmp_path, name.replace("abc", "abe"))
        (busy / "rows.csv").write_text("")
        os.utime(busy, (0, 0))
        assert not is_stale(busy)
    assert is_stale(tmp_path / temporary("abf", 1, here="0000aaaa"))
    assert is_stale(make(tmp_path, ".tmp-nonsense"))


def test_hosts_of_one_name_are_told_apart_by_machine_boot_and_container(monkeypatch):
    def identity(machine="m", boot="b", space="pid:[1]", name="node1"):
        files = {"/etc/machine-id": machine, "/proc/sys/kernel/random/boot_id": boot}
        monkeypatch.setattr(Path, "read_text", lambda path, **_: files[str(path)])
        monkeypatch.setattr(Path, "readlink", lambda path: Path(space))
        monkeypatch.setattr(atomic.socket, "gethostname", lambda: name)
        return atomic._machine.__wrapped__()

    assert identity() == identity()
    others = {identity(machine="n"), identity(boot="c"), identity(space="pid:[2]"), identity()}
    assert len(others) == 4


def test_a_process_of_another_user_is_alive(tmp_path, monkeypatch):
    def refuse(pid, number):
        raise PermissionError

    monkeypatch.setattr(atomic.os, "kill", refuse)
    assert not is_stale(make(tmp_path, temporary("abc", 1)))


def test_the_next_attempt_at_a_run_removes_what_killed_ones_left(tmp_path, dead_pid):
    paths = RunPaths(tmp_path, "0123456789ab")
    for name in (paths.id, f"{paths.id}.checkpoint"):
        make(tmp_path, temporary(name, dead_pid))
    alive = make(tmp_path, temporary(paths.id, os.getpid()))
    other = make(tmp_path, temporary("0000456789ab", dead_pid))
    mine = paths.new_temporary()
    assert set(tmp_path.iterdir()) == {alive, other, mine}


def test_a_damaged_result_is_never_replaced_without_being_asked(tmp_path):
    paths = RunPaths(tmp_path, "0123456789ab")
    paths.final.mkdir()
    paths.new_temporary().rename(tmp_path / "fresh")
    (paths.final / "curve.csv").write_text("mine")
    for replace in (False, True):
        fresh = paths.new_temporary()
        (fresh / "run.json").write_text(json.dumps(manifest_of()))
        if replace:
            assert paths.publish(fresh, replace=True)
            assert not (paths.final / "curve.csv").exists()
        else:
            with pytest.raises(TableError, match=r"run.json is missing.*--again"):
                paths.publish(fresh, replace=False)
            assert (paths.final / "curve.csv").read_text() == "mine"


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
    place(temporary("ccc", os.getpid()), manifest_of(None))
    place(temporary("ddd", dead_pid), manifest_of(None))
    place(".old-eee-0011", manifest_of("complete"))
    (folder / "figures").mkdir()
    (folder / "fff.failed.json").write_text(json.dumps(manifest_of("failed")))
    (folder / "ggg.failed.json").write_text("{")
    with (folder / "hhh.checkpoint").open("wb") as handle:
        checkpoint.save(handle, manifest_of("interrupted"), None, [])
    (folder / "iii.checkpoint").write_text("cut")
    (folder / "iii.bad").write_text("cut")
    found = {run.id: run.state for run in store.runs(tmp_path)}
    assert found == {
        "aaa": "complete",
        "bbb": "diverged",
        "ccc": "running",
        "fff": "failed",
        "ggg": "damaged",
        "hhh": "interrupted",
        "iii": "damaged",
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
    ended = f"2026-01-01T{int(folder.name, 16):04d}"
    manifest = manifest_of(status, ended, seed=seed, repeats=repeats, **params)
    manifest = sealed({**manifest, "tables": {"curve": writer.close()}})
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


def test_every_replicate_that_is_judged_has_the_same_cells(out):
    """Five replicates of four sizes and, later, three of two of them: the three are left out."""
    spec = load_command("coin", "train").model_copy(update={"pool_over": ("sizes",)})
    whole = [record(out, seed, 1, sizes=[6, 9, 14, 22]) for seed in range(5)]
    part = record(out, 9, 3, sizes=[9, 14])
    pool = Pool("coin", "train", "p", (*whole, part), spec)
    assert pool.evidence.left_out == {(9, 0), (9, 1), (9, 2)}
    # Also where those with fewer sizes are the more numerous.
    more = record(out, 10, 3, sizes=[9, 14])
    pool = Pool("coin", "train", "p", (*whole, part, more), spec)
    assert pool.evidence.left_out == {(seed, repeat) for seed in (9, 10) for repeat in range(3)}


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


def test_a_damaged_run_is_named_counted_and_left_out_and_the_rest_is_pooled(out):
    damaged = [record(out, seed, 1).path for seed in range(7)]
    sound = record(out, 7, 1).path
    table = damaged[0] / "curve.csv"
    table.write_text(table.read_text()[:-1])
    table = damaged[1] / "curve.csv"
    table.write_text(table.read_text().replace("100", "101"))
    (damaged[2] / "curve.csv").unlink()
    (damaged[3] / "run.json").unlink()
    (damaged[3]).rename(damaged[3].with_name("0123456789ab"))
    (damaged[4] / "run.json").write_text("")
    document = json.loads((damaged[5] / "run.json").read_text())
    del document["params"]["seed"]
    (damaged[5] / "run.json").write_text(json.dumps(sealed(document)))
    resealed(damaged[6] / "run.json", status="odd")
    found = survey(out, "coin", "train")
    assert [[run.id for run in pool.runs] for pool in found.pools] == [[sound.name]]
    reasons = {run.id: run.damage for run in found.left_out}
    assert len(reasons) == 7
    for name, part in (
        ("000", "curve.csv has "),
        ("001", "other bytes"),
        ("002", "curve.csv is missing"),
        ("0123456789ab", "run.json is missing"),
        ("004", "run.json is empty"),
        ("005", "params.seed is None"),
        ("006", "status 'odd' is none that this version knows"),
    ):
        assert part in reasons[name]
    assert found.pools[0].read("curve")["seed"].unique().tolist() == [7]


def test_a_run_of_another_version_is_left_out_but_not_damaged(out):
    older = record(out, 0, 1)
    table = older.path / "curve.csv"
    table.write_text("seed,repeat,step\n0,0,1\n")
    described = {"rows": 1, "bytes": table.stat().st_size, "sha256": sha256(table)}
    resealed(older.path / "run.json", tables={"curve": described})
    (found,) = survey(out, "coin", "train").left_out
    assert "made by another version" in found.damage
    assert [run.checked().state for run in store.runs(out)] == ["complete"]


def test_a_manifest_that_was_changed_is_told_by_its_checksum_and_an_old_one_by_its_id(out):
    path = record(out, 0, 1).path / "run.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "ended": "2027-01-01"}))
    assert [run.damage for run in store.runs(out)] == [
        "run.json is not what the run wrote: its checksum differs"
    ]
    del document["checksum"]
    path.write_text(json.dumps(document))
    assert [run.damage for run in store.runs(out)] == [""]
    document["params"]["seed"]["value"] = 5
    path.write_text(json.dumps(document))
    assert "is not that of its parameters" in next(store.runs(out)).damage


@pytest.mark.parametrize("text", ["", "[]", '{"status": "complete"}', '{"status": "odd"}'])
def test_a_manifest_that_is_none_hides_no_other_run(out, text):
    record(out, 0, 1).path.joinpath("run.json").write_text(text)
    (out / "coin" / "train" / "abc.failed.json").write_text(text)
    there = out / "coin" / "train" / "def"
    there.mkdir()
    (there / "run.json").write_text(json.dumps(manifest_of()))
    found = {run.id: run.state for run in store.runs(out)}
    assert found == {"000": "damaged", "abc": "damaged", "def": "complete"}
