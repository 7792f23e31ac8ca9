"""The manifest tells a stranger enough, and no secret."""

from __future__ import annotations

import datetime
import json
import subprocess

import pytest

import toolbox
from toolbox.core import provenance


def test_times_are_utc_and_sort_as_text():
    stamps = [provenance.now() for _ in range(3)]
    assert stamps == sorted(stamps)
    assert datetime.datetime.fromisoformat(stamps[0]).utcoffset() == datetime.timedelta(0)


def test_what_is_written_is_json_and_names_versions_of_what_was_imported():
    import numpy as np

    begun, ended = provenance.begin(["toolbox", "x"], 3), provenance.end(1.23456)
    json.dumps([begun, ended], allow_nan=False)
    assert begun["argv"] == ["toolbox", "x"]
    assert begun["machine"]["threads"] == 3
    assert ended["wall_seconds"] == 1.235
    assert ended["versions"]["numpy"] == np.__version__
    assert ended["peak_memory_bytes"] > 10_000_000  # bytes, not kilobytes


def test_no_secret_of_the_environment_is_written(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    text = json.dumps(provenance.begin([], 1))
    assert "hunter2" not in text
    assert '"OMP_NUM_THREADS": "3"' in text


def test_the_job_of_a_scheduler_is_named(monkeypatch):
    assert provenance.begin([], 1)["scheduler"] is None
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    scheduler = provenance.begin([], 1)["scheduler"]
    assert (scheduler["kind"], scheduler["job"], scheduler["index"]) == ("slurm", "42", "7")


def test_a_strangers_repository_around_the_package_is_not_ours(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / "venv" / "lib" / "toolbox"
    inside.mkdir(parents=True)
    monkeypatch.setattr(toolbox, "__file__", str(inside / "__init__.py"))
    assert provenance.begin([], 1)["git"] is None


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(128, "git")])
def test_a_machine_without_git_runs_all_the_same(monkeypatch, error, tmp_path):
    def fail(*rest, **more):
        raise error

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(toolbox, "__file__", str(tmp_path / "toolbox" / "__init__.py"))
    monkeypatch.setattr(provenance.subprocess, "run", fail)
    assert provenance.begin([], 1)["git"] is None
