"""A file of a run is published, checked, resumed and brought home like a table."""

from __future__ import annotations

import shutil

import pytest

from tests.core.test_scratch import disk, grown  # noqa: F401
from toolbox.core import files, store
from toolbox.core.errors import Interrupted, TableError, ToolboxError


def experiment(run):
    for repeat in run.replicates():
        with run.file(f"model-{repeat}.bin") as path:
            path.write_bytes(bytes(run.rng(repeat, "x").bytes(1000)))
        for step in run.steps(3):
            run.write("curve", {"step": step, "loss": 0.0}, repeat)
        with run.file("last.txt") as path:
            path.write_text(f"replicate {repeat}\n")


def published(record):
    return {
        path.name: path.read_bytes() for path in record.path.iterdir() if path.suffix != ".json"
    }


def test_files_are_in_the_manifest_and_are_checked_when_read(launch, out):
    record, _ = launch(experiment, repeats=2)
    assert set(record.manifest["files"]) == {"model-0.bin", "model-1.bin", "last.txt"}
    (found,) = store.runs(out)
    assert found.file("last.txt").read_text() == "replicate 1\n"
    path = record.path / "model-0.bin"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(TableError, match=r"model-0\.bin holds other bytes"):
        found.file("model-0.bin")
    path.unlink()
    with pytest.raises(TableError, match=r"model-0\.bin is missing"):
        found.file("model-0.bin")
    with pytest.raises(TableError, match="wrote no such file"):
        found.file("other.bin")
    with pytest.raises(TableError, match=r"model-0\.bin is missing"):
        launch(experiment, repeats=2)


def test_show_lists_files(cli, launch, out):
    record, _ = launch(experiment)
    shown = cli("show", record.id, "--out", out).stdout
    assert f"{record.path / 'model-0.bin'}  1000 bytes" in shown


def test_every_boundary_resumes_with_the_same_files(launch, stop_at):
    record, _ = launch(experiment, repeats=2)
    reference = published(record)
    shutil.rmtree(record.path)
    for boundary in range(8):
        stop_at(boundary)
        with pytest.raises(Interrupted):
            launch(experiment, repeats=2)
        stop_at(None)
        record, _ = launch(experiment, repeats=2)
        assert published(record) == reference
        assert len(record.manifest["files"]) == 3
        shutil.rmtree(record.path)


def test_files_come_home_from_another_disk(launch, disk, grown, monkeypatch):  # noqa: F811
    reference = published(launch(experiment)[0])
    monkeypatch.setenv("TMPDIR", str(disk))
    record, _ = launch(experiment, again=True)
    assert len(grown) == 1
    assert published(record) == reference


@pytest.mark.parametrize("name", ["run.json", "curve.csv", "../x", "a/b", ".hidden", "", "-x"])
def test_a_name_that_cannot_be_used_is_refused(launch, name):
    def write(run):
        with run.file(name) as path:
            path.write_text("")

    with pytest.raises(ValueError, match="cannot be the name of a file"):
        launch(write)


def test_a_file_that_fails_half_way_is_not_published(launch, out):
    def failing(run):
        with run.file("model.bin") as path:
            path.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(ToolboxError, match=r"cannot write .*model\.bin: No space left"):
        launch(failing)
    assert [path.suffix for path in out.glob("coin/train/*")] == [".json"]


def test_a_file_that_was_not_written_is_said(launch):
    def nothing(run):
        with run.file("model.bin"):
            pass

    with pytest.raises(ToolboxError, match=r"cannot write .*model\.bin: No such file"):
        launch(nothing)
    assert files.is_name("model.safetensors")
