"""How many threads a run may use, and what is said of a scheduler that speaks of more."""

from __future__ import annotations

import pytest

from toolbox.core import machine


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(machine, "allowed_cores", lambda: 2)


@pytest.mark.parametrize(
    ("environment", "threads", "said"),
    [
        ({}, 2, ""),
        ({"SLURM_CPUS_PER_TASK": "1"}, 1, ""),
        ({"SLURM_CPUS_PER_TASK": "2"}, 2, ""),
        ({"SLURM_CPUS_PER_TASK": "64"}, 2, "SLURM_CPUS_PER_TASK=64"),
        ({"SLURM_CPUS_PER_TASK": "0"}, 2, ""),
        ({"SLURM_CPUS_PER_TASK": "many"}, 2, ""),
        ({"SGE_TASK_ID": "1", "NSLOTS": "1"}, 1, ""),
        ({"SGE_TASK_ID": "1", "NSLOTS": "8"}, 2, "NSLOTS=8"),
        ({"PBS_JOBID": "3", "NCPUS": "1"}, 1, ""),
        ({"NCPUS": "1"}, 2, ""),  # no job
        ({"LSB_JOBID": "3", "LSB_DJOB_NUMPROC": "4"}, 2, "LSB_DJOB_NUMPROC=4"),
    ],
)
def test_the_smaller_of_what_is_given_and_what_is_allowed(monkeypatch, environment, threads, said):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert machine.default_threads() == threads
    note = machine.threads_note()
    assert (said in note and "only 2 cores" in note) if said else note == ""


def test_a_run_says_it_and_takes_it(cli, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "64")
    said = "SLURM_CPUS_PER_TASK=64, but this process may use only 2 cores"
    result = cli("coin", "toss")
    assert said in result.stderr
    assert '"threads": 2' in (result.folder / "run.json").read_text()
    assert said not in cli("coin", "toss", "--seed", 1, "--threads", 3).stderr
    assert said not in cli("coin", "toss", "--seed", 2, "--quiet").stderr
