"""Tables may grow on another disk; what is published is the same, whole, and leaves no litter."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from toolbox.core import atomic, scratch


@pytest.fixture
def disk(tmp_path):
    """A folder on another file system than the outputs."""
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs /dev/shm to be a file system of its own")
    folder = shm / f"toolbox-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []
    folder.rmdir()


@pytest.fixture
def grown(monkeypatch):
    """Where tables of the runs of this test grew."""
    seen = []
    real = scratch.bring_home
    monkeypatch.setattr(scratch, "bring_home", lambda a, b: (seen.append(a), real(a, b)))
    return seen


@pytest.mark.parametrize("asked", ["flag", "TMPDIR"])
def test_on_another_disk_the_result_is_the_same(
    cli, out, tmp_path, disk, grown, monkeypatch, asked
):
    plain = cli("coin", "toss", "--out", tmp_path / "plain").folder
    monkeypatch.setenv("TMPDIR", str(disk)) if asked == "TMPDIR" else None
    flags = ["--scratch", disk] if asked == "flag" else []
    folder = cli("coin", "toss", *flags).folder
    assert [path.parent for path in grown] == [disk]
    assert (folder / "counts.csv").read_bytes() == (plain / "counts.csv").read_bytes()
    assert sorted(p.name for p in folder.iterdir()) == ["counts.csv", "run.json"]
    assert not list(out.glob("*/*/.tmp-*"))


def test_stopped_and_resumed_on_scratch_it_equals_an_uninterrupted_run(
    cli, out, tmp_path, disk, grown, stop_at
):
    plain = cli("coin", "train", "--steps", 9, "--out", tmp_path / "plain").folder
    stop_at(5)
    assert cli("coin", "train", "--steps", 9, "--scratch", disk).code == 75
    assert list(disk.iterdir()) == []
    stop_at(None)
    folder = cli("coin", "train", "--steps", 9, "--scratch", disk).folder
    assert (folder / "curve.csv").read_bytes() == (plain / "curve.csv").read_bytes()
    assert len(json.loads((folder / "run.json").read_text())["resumed"]) == 1


def test_on_the_same_disk_scratch_is_not_used(cli, tmp_path, grown):
    cli("coin", "toss", "--scratch", tmp_path)
    assert grown == []


def test_a_scratch_that_is_not_there_is_refused_before_any_computation(cli, out, monkeypatch):
    result = cli("coin", "toss", "--scratch", "/nowhere")
    assert result.code == 2
    assert "--scratch /nowhere" in result.stderr
    assert not list(out.glob("*/*/*"))
    monkeypatch.setenv("TMPDIR", "/nowhere")  # a default that cannot be used is passed over
    assert cli("coin", "toss").code == 0


def test_what_a_killed_attempt_left_on_this_node_goes(cli, disk, grown):
    run = cli("coin", "toss", "--scratch", disk).folder.name
    left = disk / f".tmp-{run}-{atomic._machine()}-{2**22 + 1}.0-abc"
    left.mkdir()
    cli("coin", "toss", "--scratch", disk, "--again")
    assert not left.exists()
