"""The life of a run: stopped, killed, refused or finished, it never leaves half a result."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from toolbox.core import atomic, checkpoint, saving, signals, table
from toolbox.core.errors import (
    Diverged,
    Interrupted,
    StudyError,
    TableError,
    ToolboxError,
    UsageError,
)
from toolbox.core.status import Status

TRAIN = ("coin", "train", "--steps", 12, "--repeats", 2, "--device", "cpu")
FULL = OSError(errno.ENOSPC, "No space left on device")


def names(out: Path) -> list[str]:
    """What lies in the folder of `coin train`."""
    return sorted(path.name for path in out.glob("coin/train/*"))


def rows(*losses: float) -> dict[str, Any]:
    return {"step": range(len(losses)), "loss": losses}


def good(run: Any) -> None:
    run.write("curve", rows(1.0, 0.5), 0)


@pytest.fixture
def reference(cli, out, tmp_path):
    """curve.csv of the run that nothing stopped, put out of the way."""
    folder = cli(*TRAIN).folder
    content = (folder / "curve.csv").read_bytes()
    assert content.count(b"\n") == 1 + 12 * 2
    shutil.rmtree(out)
    return content


# ------------------------------------------------------------------------- stops and resumption


@pytest.mark.parametrize("step", [0, 1, 6, 11])
def test_a_stopped_run_resumes_byte_for_byte(cli, out, stop_at, reference, step):
    stop_at(step)
    stopped = cli(*TRAIN)
    assert stopped.code == signals.RESUMABLE
    assert "stopped by SIGTERM at a step boundary; the same line resumes it" in stopped.stderr
    assert stopped.stdout == ""
    (name,) = names(out)
    assert name.endswith(".checkpoint")
    stop_at(None)
    resumed = cli(*TRAIN)
    assert "resuming from" in resumed.stderr
    assert (resumed.folder / "curve.csv").read_bytes() == reference
    assert names(out) == [resumed.folder.name]
    assert len(json.loads((resumed.folder / "run.json").read_text())["resumed"]) == 1


def test_a_run_stopped_three_times_resumes_byte_for_byte(cli, stop_at, reference):
    for _ in range(3):
        stop_at(3)
        assert cli(*TRAIN).code == signals.RESUMABLE
    stop_at(None)
    folder = cli(*TRAIN).folder
    assert (folder / "curve.csv").read_bytes() == reference
    assert len(json.loads((folder / "run.json").read_text())["resumed"]) == 3


def test_what_killed_attempts_at_a_run_left_goes_with_the_next(cli, out):
    folder = cli(*TRAIN).folder
    host, pid = atomic.temporary_sibling(out).name.rsplit("-", 3)[1:3]
    run = f".tmp-{folder.name}"
    gone = [f"{run}-{host}-999999999-a", f"{run}.checkpoint-{host}-999999999-b"]
    kept = [f"{run}-{host}-{pid}-c", f".tmp-another-{host}-999999999-d"]
    for name in (*gone, *kept):
        (folder.parent / name).mkdir() if name.endswith("a") else (folder.parent / name).touch()
    cli(*TRAIN, "--again")
    assert names(out) == sorted([folder.name, *kept])


def test_ctrl_c_exits_130_and_resumes_too(cli, stop_at, reference):
    stop_at(5, signal.SIGINT)
    assert cli(*TRAIN).code == signals.CTRL_C
    stop_at(None)
    assert (cli(*TRAIN).folder / "curve.csv").read_bytes() == reference


def test_a_killed_run_resumes_from_its_last_periodic_checkpoint(
    cli, out, monkeypatch, stop_at, reference
):
    class Killed(BaseException):
        """No handler of ours knows it, as none knows SIGKILL."""

    step = iter(range(100))

    def asked():
        if next(step) == 7:
            raise Killed

    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(saving, "COST", 0.0)
    monkeypatch.setattr(signals, "asked", asked)
    with pytest.raises(Killed):
        cli(*TRAIN)
    assert [name.rpartition(".")[2] for name in names(out)] == ["checkpoint"]
    stop_at(None)
    assert (cli(*TRAIN).folder / "curve.csv").read_bytes() == reference


def test_a_damaged_checkpoint_is_put_aside_and_said(cli, out, stop_at, reference):
    stop_at(5)
    cli(*TRAIN)
    (path,) = out.glob("coin/train/*.checkpoint")
    path.write_bytes(path.read_bytes()[:-100])
    stop_at(None)
    result = cli(*TRAIN)
    assert "starting afresh, the file is kept as" in result.stderr
    assert (result.folder / "curve.csv").read_bytes() == reference
    assert names(out) == sorted([result.folder.name, path.with_suffix(".bad").name])


def test_a_run_made_again_has_a_checkpoint_that_the_same_line_resumes(cli, out, stop_at, reference):
    folder = cli(*TRAIN).folder
    stop_at(5)
    stopped = cli(*TRAIN, "--again")
    assert stopped.code == signals.RESUMABLE
    stop_at(None)
    assert "already complete" in cli(*TRAIN).stderr  # the old result is there until then
    resumed = cli(*TRAIN, "--again")
    assert "resuming from" in resumed.stderr
    assert (resumed.folder / "curve.csv").read_bytes() == reference
    assert json.loads((folder / "run.json").read_text())["resumed"]
    assert names(out) == [folder.name]


def test_again_starts_afresh_and_drops_the_checkpoint(cli, out, stop_at, reference):
    stop_at(5)
    cli(*TRAIN)
    stop_at(None)
    result = cli(*TRAIN, "--again")
    assert "resuming" not in result.stderr
    assert (result.folder / "curve.csv").read_bytes() == reference
    assert names(out) == [result.folder.name]


def test_a_second_stop_ends_at_once_when_it_is_ctrl_c_again(launch, out):
    def experiment(run):
        good(run)
        signals._handle(signal.SIGINT, None)
        assert signals.asked() is signal.SIGINT
        signals._handle(signal.SIGINT, None)

    with pytest.raises(SystemExit) as stopped:
        launch(experiment)
    assert stopped.value.code == 130
    assert names(out) == []
    assert signals.asked() is None


# -------------------------------------------------------------------------------- full disks


def test_a_periodic_checkpoint_on_a_full_disk_does_not_end_the_run(
    cli, out, monkeypatch, reference
):
    def save(handle, *rest):
        handle.write(b"half")
        raise FULL

    monkeypatch.setattr(saving, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(saving, "COST", 0.0)
    monkeypatch.setattr(checkpoint, "save", save)
    result = cli(*TRAIN)
    assert "no checkpoint: cannot write" in result.stderr
    assert (result.folder / "curve.csv").read_bytes() == reference
    assert names(out) == [result.folder.name]


def test_a_stop_on_a_full_disk_is_a_failure_and_not_resumable(cli, out, monkeypatch, stop_at):
    def save(*rest):
        raise FULL

    monkeypatch.setattr(checkpoint, "save", save)
    stop_at(3)
    result = cli(*TRAIN)
    assert result.code == 1
    assert "No space left" in result.stderr
    assert [name for name in names(out) if not name.endswith(".failed.json")] == []


@pytest.mark.parametrize("method", ["write", "close"])
def test_a_table_on_a_full_disk_is_one_sentence_and_the_old_result_stays(
    cli, out, monkeypatch, method
):
    folder = cli(*TRAIN).folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refuse(*rest, **more):
        raise FULL

    monkeypatch.setattr(table.TableWriter, method, refuse)
    result = cli(*TRAIN, "--again", "--quiet")
    assert result.code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "cannot write" in result.stderr
    assert "No space left on device" in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(out) == sorted([folder.name, f"{folder.name}.failed.json"])


def test_an_output_place_that_cannot_be_written_is_refused_before_computing(launch, tmp_path):
    place = tmp_path / "file"
    place.write_text("I am no folder")

    def never(run):
        raise AssertionError

    with pytest.raises(ToolboxError, match=r"cannot write .* a part of it is a file"):
        launch(never, out=place)


# ------------------------------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    "error", [ToolboxError("no luck"), ValueError("a bug\nof two lines"), FULL, MemoryError()]
)
def test_a_failure_is_recorded_not_cached_and_forgotten_after_success(launch, out, error):
    def bad(run):
        good(run)
        raise error

    with pytest.raises((type(error), ToolboxError)):
        launch(bad)
    (name,) = names(out)
    assert name.endswith(".failed.json")
    manifest = json.loads((out / "coin/train" / name).read_text())
    assert manifest["status"] == "failed"
    assert str(error).partition("\n")[0] in manifest["message"]
    record, there = launch(good)
    assert not there
    assert record.status is Status.COMPLETE
    assert names(out) == [record.id]


def test_a_bug_of_ours_keeps_its_traceback_in_the_record(launch, out):
    def bug(run):
        raise IndexError("out of range")

    with pytest.raises(IndexError):
        launch(bug)
    (path,) = out.glob("coin/train/*.failed.json")
    assert "in bug" in json.loads(path.read_text())["message"]


@pytest.mark.parametrize("error", [UsageError("--sides: two"), Interrupted("stopped")])
def test_bad_usage_and_a_stop_are_no_failures(launch, out, error):
    def refuse(run):
        raise error

    with pytest.raises(type(error)):
        launch(refuse)
    assert names(out) == []


def test_a_diverged_run_is_kept_with_what_was_measured_and_exits_1(cli, out):
    asked = ("coin", "train", "--steps", 400, "--optimizer", "sgd", "--lr", 100, "--device", "cpu")
    for again in (False, True):
        result = cli(*asked)
        assert result.code == 1
        assert "diverged: the loss at step" in result.stderr
        assert ("already diverged" in result.stderr) is again
        folder = Path(result.stdout.strip())
        manifest = json.loads((folder / "run.json").read_text())
        assert manifest["status"] == "diverged"
        lines = (folder / "curve.csv").read_text().splitlines()
        assert 2 < len(lines) < 400
        assert manifest["tables"]["curve"]["rows"] == len(lines) - 1
        assert lines[-1].endswith(",inf")


def test_a_diverged_experiment_before_any_row_still_has_its_tables(launch):
    def diverge(run):
        run.check_finite(1.0, "the loss")
        run.check_finite(float("nan"), "the loss")

    record, _ = launch(diverge)
    assert record.status is Status.DIVERGED
    assert (record.path / "curve.csv").read_text() == "seed,repeat,step,loss\n"
    assert record.manifest["tables"]["curve"]["rows"] == 0


def test_a_run_that_is_there_is_not_computed_again(launch):
    first, _ = launch(good)

    def never(run):
        raise AssertionError

    second, there = launch(never)
    assert there
    assert second.manifest == json.loads((first.path / "run.json").read_text())


def test_again_replaces_the_result_and_leaves_nothing_beside_it(launch, out):
    launch(good)
    record, there = launch(lambda run: run.write("curve", rows(0.0), 0), again=True)
    assert not there
    assert (record.path / "curve.csv").read_text().count("\n") == 2
    assert names(out) == [record.id]


def test_a_replacement_killed_between_its_renames_is_undone(launch, out):
    record, _ = launch(good)
    record.path.rename(record.path.with_name(f".old-{record.id}-0011aabb"))

    def never(run):
        raise AssertionError

    recovered, there = launch(never)
    assert there
    assert recovered.status is Status.COMPLETE
    assert names(out) == [record.id]


def test_a_folder_without_a_whole_manifest_is_no_result_and_is_replaced_when_asked(launch, out):
    record, _ = launch(good)
    (record.path / "run.json").write_text('{"id": ')
    with pytest.raises(TableError, match=r"run.json is not JSON.*--again"):
        launch(good)
    assert (record.path / "run.json").read_text() == '{"id": '
    again, there = launch(good, again=True)
    assert not there
    assert names(out) == [again.id]


def test_an_empty_folder_under_the_name_of_a_run_is_no_result(launch, out):
    record, _ = launch(good)
    shutil.rmtree(record.path)
    record.path.mkdir()  # as Snakemake does
    assert launch(good)[0].path == record.path
    assert (record.path / "run.json").is_file()


def test_the_manifest_says_how_the_run_came_to_be(launch, monkeypatch):
    record, _ = launch(good, seed=5)
    manifest = json.loads((record.path / "run.json").read_text())
    assert manifest["status"] == "complete"
    assert manifest["params"]["seed"] == {"value": 5, "origin": "flag"}
    described = manifest["tables"]["curve"]
    assert described["rows"] == 2
    assert described["sha256"] == table.sha256(record.path / "curve.csv")
    assert described["bytes"] == (record.path / "curve.csv").stat().st_size
    assert manifest["argv"] == sys.argv
    assert manifest["started"] <= manifest["ended"]


def test_repetitions_of_an_exact_command_and_foreign_devices_are_refused(launch):
    with pytest.raises(UsageError, match="--device cuda: coin toss computes on cpu"):
        launch(good, command="toss", device="cuda")


def test_a_row_without_its_replicate_is_told_to_the_author(launch):
    with pytest.raises(StudyError, match="say which of the 2 replicates"):
        launch(lambda run: run.write("curve", rows(1.0)), repeats=2)


def test_diverged_is_an_outcome_only_when_the_experiment_says_so(launch):
    def experiment(run):
        raise Diverged("the loss is nan")

    record, _ = launch(experiment)
    assert record.manifest["message"] == "the loss is nan"


def socket_error(folder):
    return OSError("AF_UNIX path too long")


def too_many_processes(folder):
    return BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")


def other_file(folder):
    return FileNotFoundError(errno.ENOENT, "No such file or directory", "/nowhere/data.txt")


@pytest.mark.parametrize("inside_a_file", [False, True])
@pytest.mark.parametrize("error", [socket_error, too_many_processes, other_file])
def test_the_outputs_folder_is_not_blamed_for_another_error(launch, out, error, inside_a_file):
    def experiment(run):
        good(run)
        with run.file("model.bin") if inside_a_file else contextlib.nullcontext():
            raise error(run.folder)

    with pytest.raises(ToolboxError) as caught:
        launch(experiment)
    said = str(caught.value)
    assert "--out" not in said
    assert "cannot write" not in said
    assert error(None).args[-1].partition("'")[0] in said or "No such file" in said
    (failure,) = out.glob("coin/train/*.failed.json")
    assert "Traceback" in json.loads(failure.read_text())["message"]


def full(folder):
    return OSError(errno.ENOSPC, "No space left on device")


def in_the_folder(folder):
    return PermissionError(errno.EACCES, "Permission denied", str(folder / "model.bin"))


@pytest.mark.parametrize("error", [full, in_the_folder])
def test_the_outputs_folder_is_blamed_for_its_own_errors(launch, error):
    def experiment(run):
        raise error(run.folder)

    with pytest.raises(ToolboxError, match=r"cannot write .*--out"):
        launch(experiment)
