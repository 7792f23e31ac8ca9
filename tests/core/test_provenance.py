"""The manifest tells a stranger enough, and no secret."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import socket
import subprocess
import sys

import pytest

from toolbox.core import provenance

HOST = socket.gethostname()


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


def test_packages_are_those_whose_modules_were_imported_whatever_their_names():
    """A module may be named otherwise than its package, as yaml of PyYAML is."""
    code = (
        "import json, sys; from toolbox.core import provenance; "
        "before = provenance.end(0)['versions']; import yaml, cvxpy, dateutil; "
        "print(json.dumps([before, provenance.end(0)['versions']]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = json.loads(done.stdout)
    assert {"cvxpy", "clarabel", "PyYAML", "python-dateutil", "numpy", "scipy"} <= set(after)
    assert "cvxpy" not in before
    assert after["cvxpy"] == importlib.metadata.version("cvxpy")
    known = importlib.metadata.packages_distributions()
    assert set(after) <= {"python", *(name for names in known.values() for name in names)}


def test_no_secret_of_the_environment_is_written(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    text = json.dumps(provenance.begin([], 1))
    assert "hunter2" not in text
    assert '"OMP_NUM_THREADS": "3"' in text


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"SLURM_JOB_ID": "42", "SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "7",
             "SLURM_RESTART_COUNT": "2", "SLURMD_NODENAME": "n1"},
            ("slurm", "42", "40", "7", "2", "n1"),
        ),
        ({"SLURM_JOB_ID": "42"}, ("slurm", "42", "", "", "0", HOST)),
        (
            {"PBS_JOBID": "3[1].srv", "PBS_ARRAY_ID": "3[].srv", "PBS_ARRAY_INDEX": "1"},
            ("pbs", "3[1].srv", "3[].srv", "1", "0", HOST),
        ),
        ({"PBS_JOBID": "3", "PBS_ARRAYID": "4"}, ("pbs", "3", "", "4", "0", HOST)),
        (
            {"JOB_ID": "9", "SGE_TASK_ID": "2", "RESTARTED": "1"},
            ("sge", "9", "9", "2", "1", HOST),
        ),
        ({"JOB_ID": "9", "SGE_TASK_ID": "undefined"}, ("sge", "9", "", "", "0", HOST)),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "3"}, ("lsf", "5", "5", "3", "0", HOST)),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0"}, ("lsf", "5", "", "", "0", HOST)),
    ],
)  # fmt: skip
def test_the_job_of_a_scheduler_is_named(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    scheduler = provenance.begin([], 1)["scheduler"]
    keys = ("kind", "job", "array", "index", "restarts", "node")
    assert tuple(scheduler[key] for key in keys) == expected


def test_without_a_scheduler_no_job_is_named(monkeypatch):
    monkeypatch.setenv("JOB_ID", "9")  # other programs than Grid Engine set this
    assert provenance.begin([], 1)["scheduler"] is None


def test_a_strangers_repository_around_the_package_is_not_ours(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    inside = tmp_path / "venv" / "lib" / "toolbox"
    inside.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(inside / "core" / "provenance.py"))
    assert provenance.begin([], 1)["git"] is None


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.CalledProcessError(128, "git")])
def test_a_machine_without_git_runs_all_the_same(monkeypatch, error, tmp_path):
    def fail(*rest, **more):
        raise error

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "toolbox" / "core" / "x.py"))
    monkeypatch.setattr(provenance.subprocess, "run", fail)
    assert provenance.begin([], 1)["git"] is None
