"""A real one-node Slurm for the whole module, stopped by its recorded pids."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CPUS = 8  # more than there may be: what is tested is bookkeeping, not speed


def reason_to_skip() -> str:
    missing = [p for p in ("slurmctld", "slurmd", "munged", "sbatch") if shutil.which(p) is None]
    if missing:
        return f"{', '.join(missing)} not installed (apt-get install slurm-wlm slurm-client munge)"
    return "" if os.geteuid() == 0 else "a private Slurm can only be started as root"


class Cluster:
    """What a user types, with what her job would see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "TOOLBOX_"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            # The checkout under test and the toy studies, in every Python of every job.
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE / "site")]),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "TERM": "dumb",
        }
        toolbox = folder / "bin" / "toolbox"
        toolbox.parent.mkdir(exist_ok=True)
        toolbox.write_text(f'#!/bin/sh\nexec {sys.executable} -m toolbox "$@"\n')
        toolbox.chmod(0o755)

    def call(self, *words: Any, check: bool = True) -> str:
        done = subprocess.run(
            list(map(str, words)),
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=100,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout + ("" if check else done.stderr)

    def toolbox(self, *words: Any, check: bool = True) -> str:
        return self.call("toolbox", *words, check=check)

    def sbatch(self, *words: Any) -> str:
        said = self.call("sbatch", *words)
        return re.findall(r"\d+", said)[0]

    def queue(self, job: str, *more: str) -> list[str]:
        """Ids of the job's tasks that the scheduler still holds: pending, running, completing."""
        said = self.call(
            "squeue", "-h", "-r", "-o", "%i", "-t", "PD,R,CG", "-j", job, *more, check=False
        )
        return [] if "Invalid job id" in said else said.split()

    def wait(self, *jobs: str, seconds: float = 90) -> None:
        """Until the scheduler holds none of the jobs; `sbatch --wait` polls too seldom."""
        self.until(lambda: not any(self.queue(job) for job in jobs), seconds)

    def until(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.call("squeue", "-a")
            time.sleep(0.1)

    def exits(self, job: str) -> list[str]:
        """ExitCode of each task of a job, as Slurm keeps it: '0:0', '75:0', '0:9'."""
        shown = self.call("scontrol", "--oneliner", "show", "job", job)
        return re.findall(r" ExitCode=(\d+:\d+)", shown)


@contextlib.contextmanager
def one_node(folder: Path, **options: str) -> Iterator[Cluster]:
    environment = {**os.environ, "SLURM_TEST_CPUS": str(CPUS), **options}
    script = str(HERE / "one_node.sh")

    def run(verb: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(["bash", script, verb, str(folder)], env=environment, timeout=60)

    # Another process may take a port between the moment it was found free and its use.
    if run("up").returncode != 0:
        run("down")
        assert run("up").returncode == 0
    cluster = Cluster(folder)
    yield cluster
    cluster.call("scancel", "--user=root", check=False)
    cluster.until(lambda: not cluster.call("squeue", "-h", "-t", "R,CG"), 20)
    assert run("down").returncode == 0


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := reason_to_skip():
        pytest.skip(reason)
    with one_node(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def strict(tmp_path_factory: pytest.TempPathFactory, out: Path) -> Iterator[Cluster]:
    """A node that kills jobs beyond their memory."""
    reason = reason_to_skip()
    if not reason and not os.access("/sys/fs/cgroup/memory/cgroup.procs", os.W_OK):
        reason = "no cgroup (v1) of memory that can be written"
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("strict")
    with one_node(folder, SLURM_TEST_MEMORY="1") as cluster:
        cluster.environment["TOOLBOX_OUT"] = str(out)
        yield cluster


@pytest.fixture
def cluster(node: Cluster, out: Path) -> Iterator[Cluster]:
    node.environment["TOOLBOX_OUT"] = str(out)
    yield node
    assert orphans(out) == [], "a job's process outlived its job"


def orphans(out: Path) -> list[str]:
    """Command lines of live processes that were started for this test's outputs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(out) in line and "toolbox" in line and "pytest" not in line:
            found.append(line)
    return found
