"""Job arrays on a real scheduler. Every test reads only what a user would: files and exit codes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import ROOT, Cluster

pytestmark = pytest.mark.slurm

TOSS = "command: coin toss\naxes: {tosses: [100, 200, 300, 400]}\n"
SLOW = (
    "command: coin train\nfixed: {steps: 40, pause: 0.1}\naxes: {lr: [0.05, 0.1, 0.2]}\nseed: 3\n"
)


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        return path

    return write


def script(cluster: Cluster, file: Path, *options: Any) -> Path:
    path = file.with_suffix(".sh")
    path.write_text(cluster.toolbox("sweep", "script", file, "--mem", "200M", *options))
    return path


def states(cluster: Cluster, file: Path) -> list[str]:
    said = cluster.toolbox("sweep", "status", file, "--json", check=False)
    return [cell["state"] for cell in json.loads(said)["cells"]]


def manifests(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("*/*/[0-9a-f]*/run.json"))]


def tables(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.glob("*/*/[0-9a-f]*/*.csv"))
    }


def reference(cluster: Cluster, file: Path, place: Path) -> dict[str, bytes]:
    """The tables of the same sweep, run here, one cell after the other."""
    cluster.toolbox("sweep", "run", file, "--out", place, "--jobs", 1, "--threads", 1)
    return tables(place)


def into_the_loop(out: Path, cells: int) -> None:
    """Wait until the tables of so many cells are begun, and some steps more."""
    end = time.monotonic() + 60
    while len(list(out.glob("*/*/.tmp-*/curve.csv"))) < cells:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)


def test_an_array_of_four_completes_and_its_manifests_name_the_job(cluster, sweep, out):
    file = sweep(TOSS)
    job = cluster.sbatch(script(cluster, file))
    cluster.wait(job)
    assert states(cluster, file) == ["complete"] * 4
    assert cluster.exits(job) == ["0:0"] * 4
    found = [m["scheduler"] for m in manifests(out)]
    assert {s["array"] for s in found} == {job}
    assert {s["index"] for s in found} == {"0", "1", "2", "3"}
    assert {(s["kind"], s["restarts"]) for s in found} == {("slurm", "0")}
    assert all(s["node"] and s["job"] for s in found)
    assert {m["machine"]["threads"] for m in manifests(out)} == {1}


def test_the_throttle_holds(cluster, sweep, out):
    file = sweep("command: coin toss\naxes: {tosses: {range: {from: 1, to: 6, step: 1}}}\n")
    job = cluster.sbatch(script(cluster, file, "--parallel", 2))
    most = 0
    while cluster.queue(job):
        most = max(most, len(cluster.queue(job, "-t", "R")))
    assert 1 <= most <= 2
    assert states(cluster, file) == ["complete"] * 6


def test_a_failing_cell_stops_no_other_and_a_dependent_gather_reports_it(cluster, sweep, out):
    file = sweep("command: coin toss\naxes: {sides: [[head, tail], [one], [up, down]]}\n")
    job = cluster.sbatch(script(cluster, file))
    log = file.with_name("gather.log")
    after = cluster.sbatch(
        *("--mem=100M", f"--dependency=afterany:{job}", f"--output={log}"),
        f"--wrap=exec toolbox sweep gather {file} --to {file.with_suffix('.csv')}",
    )
    cluster.wait(job, after)
    assert states(cluster, file) == ["complete", "failed", "complete"]
    assert sorted(cluster.exits(job)) == ["0:0", "0:0", "2:0"]
    assert cluster.exits(after) == ["1:0"]
    assert "cell 1" in log.read_text()
    assert "a coin has two sides" in log.read_text()
    assert not file.with_suffix(".csv").exists()


@pytest.fixture(scope="module")
def uninterrupted(node, tmp_path_factory):
    """The tables of SLOW, made here without a stop."""
    place = tmp_path_factory.mktemp("uninterrupted")
    file = place / "grid.yaml"
    file.write_text(SLOW)
    return reference(node, file, place / "out")


def test_stopped_and_submitted_again_it_equals_an_uninterrupted_run(
    cluster, sweep, out, uninterrupted
):
    """One task of the array gets SIGTERM, one SIGUSR1, one SIGKILL."""
    file = sweep(SLOW)
    job_script = script(cluster, file)
    job = cluster.sbatch(job_script)
    cluster.until(lambda: states(cluster, file) == ["running"] * 3)
    into_the_loop(out, 3)
    cluster.call("scancel", f"{job}_0")
    for task, number in ((1, "USR1"), (2, "KILL")):
        cluster.call("scancel", "--batch", f"--signal={number}", f"{job}_{task}")
    cluster.wait(job)
    assert states(cluster, file) == ["interrupted", "interrupted", "missing"]
    assert {"75:0", "0:9"} <= set(cluster.exits(job))
    cluster.wait(cluster.sbatch(job_script))
    assert states(cluster, file) == ["complete"] * 3
    assert tables(out) == uninterrupted
    assert sorted(len(m["resumed"]) for m in manifests(out)) == [0, 1, 1]


def test_a_requeued_job_appends_to_its_log_and_resumes(cluster, sweep, out, uninterrupted):
    file = sweep(SLOW.replace("[0.05, 0.1, 0.2]", "[0.1]"))
    job = cluster.sbatch(script(cluster, file))
    cluster.until(lambda: states(cluster, file) == ["running"])
    into_the_loop(out, 1)
    cluster.call("scontrol", "requeue", f"{job}_0")
    cluster.until(lambda: cluster.queue(job, "-t", "PD"))
    cluster.until(lambda: states(cluster, file) == ["interrupted"])
    # A requeued job waits two minutes; this lets it go.
    cluster.call("scontrol", "update", f"JobId={job}_0", "StartTime=now")
    cluster.wait(job)
    assert states(cluster, file) == ["complete"]
    assert manifests(out)[0]["scheduler"]["restarts"] == "1"
    assert len(manifests(out)[0]["resumed"]) == 1
    log = (out / "logs" / f"grid-{job}_0.log").read_text()
    assert log.index("stopped by SIGTERM") < log.index("resuming from")
    assert tables(out).items() <= uninterrupted.items()


def test_two_arrays_may_write_the_same_cells_at_once(cluster, sweep, out, tmp_path):
    file = sweep(TOSS)
    job_script = script(cluster, file)
    jobs = [cluster.sbatch(job_script) for _ in range(2)]
    cluster.wait(*jobs)
    assert [cluster.exits(job) for job in jobs] == [["0:0"] * 4] * 2
    assert tables(out) == reference(cluster, file, tmp_path / "reference")
    assert not list(out.glob("*/*/.*"))


def test_submit_sends_only_what_is_not_complete(cluster, sweep, out, tmp_path):
    pytest.importorskip("submitit")
    file = sweep(TOSS)
    cluster.toolbox("sweep", "run", file, "--index", 2)
    # Three cells in two jobs.
    options = ("--mem", "200M", "--time", 5, "--parallel", 2, "--max-array", 2)
    job = cluster.toolbox("sweep", "submit", file, *options).strip()
    cluster.wait(job)
    assert states(cluster, file) == ["complete"] * 4
    assert len(cluster.exits(job)) == 2
    assert tables(out) == reference(cluster, file, tmp_path / "reference")
    assert cluster.toolbox("sweep", "submit", file) == "nothing to submit\n"


def test_a_cell_killed_for_memory_is_submitted_again_with_more(strict, sweep, out):
    pytest.importorskip("submitit")
    file = sweep("command: coin train\nfixed: {steps: 5, ballast: 400}\naxes: {lr: [0.1]}\n")
    job = strict.toolbox("sweep", "submit", file, "--mem", "300M", "--time", 5).strip()
    strict.wait(job)
    said = strict.toolbox("sweep", "status", file, check=False)
    assert f"killed for memory in job {job} with 300 MB" in " ".join(said.split())
    # The same line as before: what the cell had counts, not what is asked for.
    again = strict.call("toolbox", "sweep", "submit", file, "--mem", "300M", "--time", 5,
                        "--memory-factor", 4, check=False)  # fmt: skip
    assert "it gets 1200 MB" in again
    strict.wait(again.split()[0])
    assert states(strict, file) == ["complete"]
    assert manifests(out)[0]["scheduler"]["memory_mb"] == "1200"


def test_logs_of_a_job_may_lie_in_a_folder_with_spaces(cluster, sweep, out, tmp_path):
    logs = tmp_path / "my own 100% logs"
    job = cluster.sbatch(script(cluster, sweep(TOSS), "--logs", logs))
    cluster.wait(job)
    assert len(list(logs.glob(f"grid-{job}_[0-3].log"))) == 4


def test_a_submitted_job_that_is_cancelled_checkpoints(cluster, sweep, out):
    pytest.importorskip("submitit")
    file = sweep(SLOW.replace("[0.05, 0.1, 0.2]", "[0.1]"))
    job = cluster.toolbox("sweep", "submit", file, "--mem", "200M", "--time", 5).strip()
    cluster.until(lambda: states(cluster, file) == ["running"])
    assert cluster.toolbox("sweep", "submit", file) == "nothing to submit\n"  # it is at work
    into_the_loop(out, 1)
    cluster.call("scancel", job)
    cluster.wait(job)
    assert states(cluster, file) == ["interrupted"]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--parallel", 2, "--cpus", 2, "--time", "1-02:00:00", "--partition", "main"),
        ("--shards", 2, "--warn", 0, "--directive", "--comment=mine", "--directive", "--requeue"),
    ],
)
def test_the_printed_script_is_accepted(cluster, sweep, options):
    said = cluster.call(
        "sbatch", "--test-only", script(cluster, sweep(TOSS), *options), check=False
    )
    assert "to start at" in said


def test_shards_share_the_cells(cluster, sweep, out):
    file = sweep(TOSS)
    job = cluster.sbatch(script(cluster, file, "--shards", 3))
    cluster.wait(job)
    assert len(cluster.exits(job)) == 3
    assert states(cluster, file) == ["complete"] * 4


def test_plain_seeds_without_a_sweep_file_pool_by_themselves(cluster, out):
    example = ROOT / "examples" / "slurm_seeds.sh"
    words = ("coin", "toss", "--tosses", 2000, "--quiet")
    job = cluster.sbatch(f"--output={out}-%a.log", "--array=1-4", "--mem=100M", example, *words)
    cluster.wait(job)
    assert cluster.exits(job) == ["0:0"] * 4
    assert sorted(m["params"]["seed"]["value"] for m in manifests(out)) == [1, 2, 3, 4]
    (pool,) = json.loads(cluster.toolbox("verify", "coin", "toss", "--json"))
    assert pool["verdicts"][0]["replicates"] == 4


def test_sixty_four_cells_eight_at_a_time_are_all_valid(cluster, sweep, out):
    file = sweep(
        "command: gd anytime\npreset: smoke\nfixed: {lambda_grid: 100}\n"
        "axes:\n  T: {range: {from: 5, to: 20, step: 1}}\n  c: [0.9, 1.0, 1.1, 1.2]\n"
    )
    job = cluster.sbatch(script(cluster, file, "--parallel", 8))
    cluster.wait(job)
    assert states(cluster, file) == ["complete"] * 64
    cluster.toolbox("sweep", "gather", file, "--to", file.with_suffix(".csv"))  # verifies each
    assert len(list(out.glob("gd/anytime/*/run.json"))) == 64
    assert not list(out.glob("*/*/.*"))
