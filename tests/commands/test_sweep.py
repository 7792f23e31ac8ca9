"""`toolbox sweep` as a user and as a job types it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from toolbox.commands.sweep.index import chosen
from toolbox.commands.sweep.options import megabytes, minutes, plain_name
from toolbox.core.errors import UsageError
from toolbox.core.scheduler import array_index

ROOT = Path(__file__).parents[2]
TOSS = "command: coin toss\naxes: {tosses: [100, 200, 300]}\n"
MIXED = "command: coin train\nfixed: {steps: 40, optimizer: sgd}\naxes: {lr: [0.1, 1.0e+38, 0.2]}\n"


@pytest.fixture
def file(tmp_path):
    def write(text=TOSS):
        path = tmp_path / "grid.yaml"
        path.write_text(text)
        return path

    return write


# ----------------------------------------------------------------------------------------- index


@pytest.mark.parametrize(
    ("environment", "index"),
    [
        ({}, None),
        ({"SLURM_ARRAY_TASK_ID": "0"}, 0),
        ({"TOOLBOX_INDEX": "4", "SLURM_ARRAY_TASK_ID": "2"}, 4),
        ({"PBS_ARRAY_INDEX": "7"}, 7),
        ({"PBS_ARRAYID": "7"}, 7),
        ({"SGE_TASK_ID": "undefined"}, None),
        ({"SGE_TASK_ID": "1"}, 0),
        ({"LSB_JOBINDEX": "0"}, None),
        ({"LSB_JOBINDEX": "3"}, 2),
        ({"TOOLBOX_INDEX": "", "SGE_TASK_ID": "9"}, 8),
    ],
)
def test_the_index_is_read_as_each_scheduler_writes_it(environment, index):
    found = array_index(environment)
    assert (found and found.from_zero) == index


@pytest.mark.parametrize(
    "environment", [{"SGE_TASK_ID": "0"}, {"TOOLBOX_INDEX": "-1"}, {"PBS_ARRAY_INDEX": "1-2"}]
)
def test_an_index_that_is_none_names_its_variable(environment):
    with pytest.raises(UsageError, match=next(iter(environment))):
        array_index(environment)


@pytest.mark.parametrize("size", [0, 1, 7, 20])
@pytest.mark.parametrize("parts", [1, 3, 7, 30])
def test_shards_are_a_partition(size, parts):
    shards = [chosen(size, None, f"{part}/{parts}") for part in range(parts)]
    assert sorted(i for shard in shards for i in shard) == list(range(size))
    assert all(i % parts == part for part, shard in enumerate(shards) for i in shard)


@pytest.mark.parametrize(
    "flags",
    [("--index", 3), ("--index", -1), ("--index", "x"), ("--shard", "3/3"), ("--shard", "1"),
     ("--shard", "0/0"), ("--index", 0, "--shard", "0/2")],
)  # fmt: skip
def test_a_place_outside_the_grid_is_refused(cli, file, flags, out):
    result = cli("sweep", "run", file(), *flags)
    assert result.code == 2
    assert flags[0] in result.stderr
    assert not out.exists()


def test_an_index_out_of_range_says_the_size_and_an_empty_shard_exits_0(cli, file, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    said = cli("sweep", "run", file()).stderr
    assert "SLURM_ARRAY_TASK_ID=3: the sweep has 3 cells, 0 to 2" in said
    result = cli("sweep", "run", file(), "--shard", "4/5")
    assert result.code == 0
    assert "empty" in result.stdout


@pytest.mark.parametrize(("name", "first"), [("SGE_TASK_ID", 1), ("LSB_JOBINDEX", 1)])
def test_an_index_out_of_range_is_told_as_its_scheduler_counts(cli, file, monkeypatch, name, first):
    monkeypatch.setenv(name, "5")
    result = cli("sweep", "run", file())
    assert result.code == 2
    assert f"{name}=5: the sweep has 3 cells, {first} to {2 + first}" in result.stderr


# ------------------------------------------------------------------------------------------- run


def test_the_array_index_picks_the_cell_and_is_not_the_seed(cli, file, monkeypatch, out):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    folder = cli("sweep", "run", file()).folder
    params = json.loads((folder / "run.json").read_text())["params"]
    assert params["tosses"] == {"value": 200, "origin": "sweep"}
    assert params["seed"]["value"] > 1
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    plan = json.loads(cli("sweep", "plan", file(), "--json").stdout)["cells"]
    assert [cell["state"] for cell in plan] == ["missing", "complete", "missing"]
    assert plan[1]["path"] == str(folder)
    assert cli("sweep", "plan", file(), "--count").stdout == "3\n"


def test_one_diverging_cell_stops_no_other_and_jobs_change_no_number(interpreter, file, tmp_path):
    tables = []
    for jobs in (1, 3):
        out = tmp_path / str(jobs)
        result = interpreter(
            "sweep", "run", file(MIXED), "--jobs", jobs, "--threads", 1, TOOLBOX_OUT=str(out)
        )
        assert result.code == 1
        assert result.stdout == "2 complete, 1 diverged\n"
        assert "cell 1 (lr=1e+38)" in result.stderr
        tables.append({p.parent.name: p.read_bytes() for p in out.glob("*/*/*/curve.csv")})
        again = interpreter("sweep", "run", file(MIXED), TOOLBOX_OUT=str(out))
        assert (again.code, again.stdout) == (1, result.stdout)
        assert "0 to run" in again.stderr
    assert tables[0] == tables[1]
    assert len(tables[0]) == 3


def test_a_cell_that_refuses_its_parameters_is_failed_with_its_line(cli, interpreter, file):
    path = file("command: coin toss\naxes: {sides: [[a, b], [one]]}\n")
    assert interpreter("sweep", "run", path).code == 1
    status = cli("sweep", "status", path)
    assert status.code == 1
    assert "failed: --sides one: a coin has two sides" in status.stdout
    assert "1 complete, 1 failed" in status.stdout
    assert cli("sweep", "run", path, "--index", 1).code == 2


def children(pid: int) -> list[int]:
    """The processes of the cells: the children of the fork server, which is a child of `pid`."""

    def of(parent):
        return [
            int(p) for task in Path(f"/proc/{parent}/task").glob("*")
            for p in (task / "children").read_text().split()
        ]  # fmt: skip

    return [cell for server in of(pid) for cell in of(server)]


SLOW = "command: coin train\nfixed: {steps: 40, pause: 0.05}\naxes: {lr: [0.1, 0.2]}\n"


@pytest.fixture
def started(file, out):
    """`sweep run` in two workers, both at work."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "toy_toolbox.py"), "sweep", "run", str(file(SLOW)),
         "--jobs", "2", "--threads", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while len([p for p in out.glob("*/*/.tmp-*/curve.csv") if p.stat().st_size > 500]) < 2:
        # A row is buffered, so the file shows nothing; both folders and a second are enough.
        if len(list(out.glob("*/*/.tmp-*/curve.csv"))) == 2:
            time.sleep(0.5)
            break
        assert time.monotonic() < end
        time.sleep(0.02)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_a_killed_cell_takes_nobody_with_it_and_goes_on_at_the_next_call(
    started, interpreter, file, cli, out, tmp_path
):
    os.kill(children(started.pid)[0], signal.SIGKILL)
    stdout, stderr = started.communicate(timeout=60)
    assert started.returncode == 75
    assert stdout == "1 complete, 1 missing\n"
    assert "killed by SIGKILL" in stderr
    assert "an attempt was killed" in cli("sweep", "status", file(SLOW)).stdout
    assert interpreter("sweep", "run", file(SLOW), "--threads", 1).stdout == "2 complete\n"
    reference = tmp_path / "reference"
    interpreter("sweep", "run", file(SLOW), "--jobs", 1, "--threads", 1, TOOLBOX_OUT=str(reference))
    for path in reference.glob("*/*/*/curve.csv"):
        assert (out / path.relative_to(reference)).read_bytes() == path.read_bytes()


def test_a_stop_is_handed_on_to_the_cells_which_checkpoint(started, cli, file, out):
    started.send_signal(signal.SIGTERM)
    stdout, stderr = started.communicate(timeout=60)
    assert started.returncode == 75, stderr
    assert stdout == "2 interrupted\n"
    assert len(list(out.glob("*/*/*.checkpoint"))) == 2
    assert not list(out.glob("*/*/.tmp-*"))


FAILING = (
    "command: coin train\nfixed: {optimizer: sgd, pause: 0.05}\n"
    "axes:\n  zip: {lr: [1.0e+38, 0.1, 0.2, 0.3], steps: [5, 600, 601, 602]}\n"
)


def test_the_first_failure_stops_the_others_when_asked_to(interpreter, file, out):
    result = interpreter("sweep", "run", file(FAILING), "--jobs", 2, "--threads", 1,
                   "--stop-at-first-failure")  # fmt: skip
    assert result.code == 1, result.stderr
    assert "cell 0" in result.stderr
    assert "--stop-at-first-failure: 1 cells at work are stopped, 2 are not begun" in result.stderr
    # Stopped at its first boundary or before it had begun.
    assert result.stdout in ("1 interrupted, 1 diverged, 2 missing\n", "1 diverged, 3 missing\n")
    assert not list(out.glob("*/*/.tmp-*"))


def test_a_limit_is_of_each_cell_and_the_next_call_goes_on(interpreter, file, out):
    path = file(SLOW.replace("steps: 40", "steps: 60"))  # 3 s each
    result = interpreter("sweep", "run", path, "--jobs", 2, "--threads", 1, "--limit", "1s")
    assert (result.code, result.stdout) == (75, "2 interrupted\n"), result.stderr
    assert interpreter("sweep", "run", path, "--jobs", 2, "--threads", 1).stdout == "2 complete\n"
    alone = interpreter("sweep", "run", file(SLOW), "--index", 0, "--threads", 1, "--limit", "1s")
    assert alone.code == 75
    assert "stopped by its time limit (--limit)" in alone.stderr
    assert interpreter("sweep", "run", path, "--limit", "30").code == 2


def test_a_damaged_cell_is_made_again(cli, file):
    folder = cli("sweep", "run", file(), "--index", 0).folder
    whole = (folder / "counts.csv").read_bytes()
    (folder / "counts.csv").write_bytes(whole[:-3])
    assert cli("sweep", "status", file()).stdout.count("corrupt") == 2
    result = cli("sweep", "run", file(), "--index", 0)
    assert "cell 0 is made again" in result.stderr
    assert (folder / "counts.csv").read_bytes() == whole


# ---------------------------------------------------------------------------------------- gather


@pytest.fixture
def done(cli, file):
    for index in range(3):
        cli("sweep", "run", file(), "--index", index)
    return file()


def test_gather_writes_every_cell_in_order(cli, done, out, tmp_path):
    frame = pd.read_csv(io.StringIO(cli("sweep", "gather", done).stdout))
    assert list(frame)[:5] == ["cell", "run", "tosses", "seed", "repeat"]
    assert list(frame["cell"]) == [0, 0, 1, 1, 2, 2]
    assert (frame.groupby("cell")["count"].sum() == [100, 200, 300]).all()
    table = tmp_path / "sub" / "all.csv"
    assert cli("sweep", "gather", done, "--to", table, "--out", out).stdout == f"{table}\n"
    assert table.read_text() == cli("sweep", "gather", done).stdout
    earlier = cli("sweep", "gather", done, "--out", "all.csv")
    assert earlier.code == 2
    assert "--out all.csv: --out names the folder" in earlier.stderr
    assert "--to all.csv" in earlier.stderr
    pytest.importorskip("pyarrow")
    parquet = tmp_path / "all.parquet"
    assert cli("sweep", "gather", done, "--to", parquet).code == 0
    pd.testing.assert_frame_equal(pd.read_parquet(parquet), frame, check_dtype=False)


def test_gather_names_the_missing_and_the_corrupt_and_writes_nothing(cli, done, out, tmp_path):
    folders = [
        out / "coin" / "toss" / cell["run"]
        for cell in json.loads(cli("sweep", "plan", done, "--json").stdout)["cells"]
    ]
    for path in folders[0].iterdir():
        path.unlink()
    folders[0].rmdir()
    # The size is right, the content is not: only reading the table shows it.
    text = (folders[1] / "counts.csv").read_text()
    (folders[1] / "counts.csv").write_text(text.replace("head", "haed"))
    table = tmp_path / "all.csv"
    result = cli("sweep", "gather", done, "--to", table)
    assert result.code == 1
    assert "1 missing:\n  cell 0" in result.stderr
    assert "1 corrupt:\n  cell 1" in result.stderr
    assert not table.exists()
    assert cli("sweep", "gather", done, "--to", table, "--allow-partial").code == 0
    assert set(pd.read_csv(table)["cell"]) == {2}


def test_gather_refuses_mixed_schemas_even_in_part(cli, done, out):
    folder = next((out / "coin" / "toss").iterdir())
    manifest = json.loads((folder / "run.json").read_text())
    old = (folder / "counts.csv").read_text().replace("share", "ratio")
    (folder / "counts.csv").write_text(old)
    (folder / "run.json").write_text(json.dumps(manifest))
    result = cli("sweep", "gather", done, "--allow-partial")
    assert result.code == 1
    assert "mixed schemas" in result.stderr
    assert "ratio" in result.stderr


@pytest.mark.parametrize("flags", [("--to", "x.txt"), ("--table", "curve")])
def test_gather_refuses_what_it_cannot_do(cli, done, flags):
    result = cli("sweep", "gather", done, *flags)
    assert result.code == 2
    assert flags[0] in result.stderr


# --------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge", "lsf"])
def test_a_printed_script_runs_its_cell(cli, file, scheduler, tmp_path, out):
    """Under bash, with what the scheduler would set; the flags themselves nobody reads here."""
    path = file("command: gd schedule\naxes: {T: [5, 6, 7]}\n")
    text = cli("sweep", "script", path, "--scheduler", scheduler, "--parallel", 2).stdout
    script = tmp_path / "job.sh"
    script.write_text(text)
    place = {
        "slurm": {"SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "1"},
        "pbs": {"PBS_ARRAY_INDEX": "2", "PBS_O_WORKDIR": str(tmp_path), "PBS_JOBID": "1[2]"},
        "sge": {"SGE_TASK_ID": "3", "JOB_ID": "1"},
        "lsf": {"LSB_JOBINDEX": "3", "LSB_JOBID": "1"},
    }[scheduler]
    environment = {k: v for k, v in os.environ.items() if k != "TOOLBOX_OUT"}
    done = subprocess.run(
        ["bash", str(script)], env={**environment, **place}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = out.glob("*/*/*/run.json")
    written = json.loads(manifest.read_text())
    assert written["params"]["T"]["value"] == 7
    assert written["scheduler"]["kind"] == scheduler
    assert written["scheduler"]["index"] == next(iter(place.values()))
    assert (out / "logs").is_dir()


def test_what_is_asked_of_a_script_stands_in_it(cli, file):
    flags = ("--time", "1-02:00:00", "--mem", "8G", "--cpus", 4, "--parallel", 5)
    flags += ("--partition", "long", "--warn", 300, "--shards", 2, "--directive=--gres=gpu:1")
    text = cli("sweep", "script", file(), *flags).stdout
    for line in (
        "#SBATCH --array=0-1%5", "#SBATCH --time=26:00:00", "#SBATCH --mem=8192M",
        "#SBATCH --cpus-per-task=4", "#SBATCH --signal=B:USR1@300", "#SBATCH --partition=long",
        "#SBATCH --open-mode=append", "#SBATCH --gres=gpu:1",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert text.splitlines()[-1].startswith("exec ")
    assert text.splitlines()[-1].endswith("--threads 4 --shard $SLURM_ARRAY_TASK_ID/2")


GPUS = {
    "slurm": "#SBATCH --gres=gpu:2",
    "pbs": "#PBS -l select=1:ncpus=1:mem=4096mb:ngpus=2",
    "sge": "#$ -l gpu=2",
    "lsf": '#BSUB -gpu "num=2"',
}


@pytest.mark.parametrize("scheduler", sorted(GPUS))
def test_gpus_are_asked_of_the_scheduler_and_used(cli, file, scheduler):
    path = file("command: coin train\naxes: {lr: [0.1, 0.2]}\n")
    lines = cli("sweep", "script", path, "--scheduler", scheduler, "--gpus", 2).stdout.splitlines()
    assert GPUS[scheduler] in lines
    assert "--device cuda" in lines[-1]
    plain = cli("sweep", "script", path, "--scheduler", scheduler).stdout
    assert "cuda" not in plain
    assert GPUS[scheduler] not in plain.splitlines()


def test_gpus_for_a_command_without_a_use_for_them_are_refused(cli, file):
    for verb in ("script", "submit"):
        result = cli("sweep", verb, file(), "--gpus", 1)
        assert result.code == 2
        assert "--gpus 1: coin toss computes on cpu alone" in result.stderr


LOGS = {
    "slurm": '#SBATCH --output="{}/grid-%A_%a.log"',
    "pbs": '#PBS -o "{}/"',
    "sge": '#$ -o "{}/grid-$JOB_ID.$TASK_ID.log"',
    "lsf": '#BSUB -o "{}/grid-%J_%I.log"',
}


@pytest.mark.parametrize("scheduler", sorted(LOGS))
def test_a_folder_of_logs_with_spaces_is_quoted(cli, file, scheduler, tmp_path):
    logs = tmp_path / "my own logs"
    text = cli("sweep", "script", file(), "--scheduler", scheduler, "--logs", logs).stdout
    assert LOGS[scheduler].format(logs) in text.splitlines()
    refused = cli("sweep", "script", file(), "--logs", tmp_path / "a\n#SBATCH --wrap=b")
    assert refused.code == 2
    assert "--logs" in refused.stderr


def test_a_percent_sign_in_the_folder_of_logs_is_none_of_slurm_s_own(cli, file, tmp_path):
    text = cli("sweep", "script", file(), "--logs", tmp_path / "50%j").stdout
    assert f"--output={tmp_path}/50%%j/grid-%A_%a.log" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90m", 90),
        ("2h", 120),
        ("90s", 2),
        ("1:30:00", 90),
        ("1-00:00:00", 1440),
        ("2:30", 3),
        ("00:00:01", 1),
    ],
)
def test_time_limits(text, expected):
    assert minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-5", "0h", "1 h", "h", "1:2:3:4", "::"])
def test_what_is_no_time_limit(text):
    with pytest.raises(UsageError, match="--time"):
        minutes(text)


def test_sizes_and_names():
    assert [megabytes(text) for text in ("500M", "4G", "1gb")] == [500, 4096, 1024]
    for text in ("", "0M", "4", "4T", "-1G"):
        with pytest.raises(UsageError, match="--mem"):
            megabytes(text)
    assert [plain_name(text) for text in ("a-b", "1st", "x" * 30)] == ["a_b", "s_1st", "x" * 15]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--warn", 120, "--time", 2), "--warn"),
        (("--mem", "4"), "--mem"),
        (("--time", "x"), "--time"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["script", "submit"])
def test_limits_that_cannot_be_are_refused(cli, file, verb, flags, said):
    result = cli("sweep", verb, file(), *flags)
    assert result.code == 2
    assert said in result.stderr


# ---------------------------------------------------------------------------------------- submit


def test_submit_here_runs_what_is_missing_in_the_background(interpreter, cli, file):
    pytest.importorskip("submitit")
    path = file("command: gd schedule\naxes: {T: [5, 6, 7]}\n")
    cli("sweep", "run", path, "--index", 1)
    result = interpreter("sweep", "submit", path, "--local", "--parallel", 1)
    assert result.code == 0, result.stderr
    assert result.stdout.strip().isdecimal()
    assert "submitted 2 cells in 1 jobs" in result.stderr
    end = time.monotonic() + 60
    while cli("sweep", "status", path).code != 0:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert cli("sweep", "submit", path).stdout == "nothing to submit\n"


def test_submit_without_slurm_says_what_else_there_is(cli, file, monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    result = cli("sweep", "submit", file())
    assert result.code == 2
    assert "--local" in result.stderr


def test_a_process_that_ends_before_a_cell_begins_is_a_failed_submission(interpreter, file):
    """The background processes are `python -m toolbox`, which does not know the toy studies."""
    pytest.importorskip("submitit")
    result = interpreter("sweep", "submit", file(), "--local", "--parallel", 2)
    assert result.code == 1
    assert result.stdout == ""
    assert "2 of 2 jobs ended before a cell began" in result.stderr
    assert "no study 'coin'" in result.stderr
    assert "submitted" not in result.stderr


# ------------------------------------------------------------------------------ memory and time


COSTLY = (
    "command: coin toss\naxes: {tosses: [100, 200, 3000, 4000]}\n"
    "memory: 2 * tosses\ntime: tosses / 50\n"
)


def test_plan_shows_what_cells_need_and_a_script_asks_for_the_most(cli, file):
    path = file(COSTLY)
    plan = cli("sweep", "plan", path)
    assert "MB" in plan.stdout
    assert "8000" in plan.stdout
    cells = json.loads(cli("sweep", "plan", path, "--json").stdout)["cells"]
    assert [(c["memory_mb"], c["minutes"]) for c in cells] == [
        (200, 2), (400, 4), (6000, 60), (8000, 80),
    ]  # fmt: skip
    lines = cli("sweep", "script", path).stdout.splitlines()
    assert "#SBATCH --mem=8000M" in lines
    assert "#SBATCH --time=01:22:00" in lines
    # Cells 0 and 2 share a job, and 1 and 3.
    lines = cli("sweep", "script", path, "--shards", 2).stdout.splitlines()
    assert "#SBATCH --time=01:26:00" in lines
    lines = cli("sweep", "script", path, "--mem", "1G", "--time", "2h").stdout.splitlines()
    assert {"#SBATCH --mem=1024M", "#SBATCH --time=02:00:00"} <= set(lines)
    lines = cli("sweep", "script", file()).stdout.splitlines()
    assert {"#SBATCH --mem=4096M", "#SBATCH --time=01:00:00"} <= set(lines)


class FakeSlurm:
    """`sbatch`, `squeue`, `sacct` and `scontrol` that answer what they are told to."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.jobs = folder, {}
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        self.program("squeue", "exit 0")
        self.program("srun", "exit 1")  # submitit asks whether it is there
        copy = f'n=$(ls {folder} | grep -c "^job"); for f; do cp "$f" {folder}/job$n.sh; done'
        self.program("sbatch", f"{copy}; echo Submitted batch job 10$n")

    def program(self, name, text):
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def accounting(self, *rows):
        rows = "\\n".join(rows)
        self.program("sacct", f"printf '{rows}\\n'")
        self.program("scontrol", "exit 1")

    def no_accounting(self, **states):
        self.program("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
        cases = " ".join(f"{job[1:]}) echo JobId={job[1:]} {state} ;;"
                         for job, state in states.items())  # fmt: skip
        self.program("scontrol", f"case $5 in {cases} *) exit 1 ;; esac")

    @property
    def scripts(self):
        return [path.read_text() for path in sorted(self.folder.glob("job*.sh"))]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    return FakeSlurm(tmp_path / "bin", monkeypatch)


def killed(cli, path, out, index, job, memory):
    """Leave what a killed attempt at a cell leaves."""
    cell = json.loads(cli("sweep", "plan", path, "--json").stdout)["cells"][index]
    folder = out / "coin" / "toss" / f".tmp-{cell['run']}-othernode-77-abcd{job}"
    folder.mkdir(parents=True)
    scheduler = {"kind": "slurm", "job": str(job), "array": "1", "index": "0", "restarts": "0"}
    if memory is not None:
        scheduler["memory_mb"] = str(memory)
    (folder / "run.json").write_text(json.dumps({"scheduler": scheduler}))


def test_cells_go_in_arrays_by_their_memory(cli, file, slurm):
    result = cli("sweep", "submit", file(COSTLY))
    assert result.code == 0, result.stderr
    assert result.stdout == "100\n101\n102\n"

    def asked(name):
        lines = [
            dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", text, re.M)) for text in slurm.scripts
        ]
        return [line.get(name) for line in lines]

    assert asked("mem") == ["200M", "400M", "8000M"]
    assert asked("time") == ["4", "6", "82"]  # two minutes for the warning on top
    assert asked("array") == [None, None, "0-1%2"]
    assert "4 cells in 4 jobs" in result.stderr
    assert "102: 2 cells, 8000 MB, 82 min per job" in result.stderr


def test_flags_go_before_formulas_and_gpus_are_asked_for(cli, file, slurm):
    path = file("command: coin train\naxes: {lr: [0.1, 0.2]}\nmemory: 100\ntime: 5\n")
    result = cli("sweep", "submit", path, "--mem", "1G", "--time", "2h", "--gpus", 1)
    assert result.code == 0, result.stderr
    (script,) = slurm.scripts
    for line in ("--mem=1024M", "--time=120", "--gres=gpu:1"):
        assert f"#SBATCH {line}" in script.splitlines()


@pytest.mark.parametrize("accounting", [True, False])
def test_cells_killed_for_memory_get_more_the_next_time(cli, file, out, slurm, accounting):
    path = file()
    if accounting:
        # 43 had a step, as submitit's jobs have: then the job itself failed.
        slurm.accounting("41|OUT_OF_MEMORY", "42|TIMEOUT", "43|FAILED", "43.0|OUT_OF_MEMORY")
    else:
        slurm.no_accounting(j41="JobState=OUT_OF_MEMORY", j42="JobState=TIMEOUT",
                            j43="JobState=FAILED DerivedExitCode=0:125")  # fmt: skip
    killed(cli, path, out, 0, 41, 3000)
    killed(cli, path, out, 0, 43, 6000)  # the attempt after it, with more
    killed(cli, path, out, 1, 42, 3000)  # ended by its time limit
    status = cli("sweep", "status", path).stdout
    assert "missing: killed for memory in job 43 with 6000 MB" in " ".join(status.split())
    result = cli("sweep", "submit", path, "--mem", "3000M")
    assert result.code == 0, result.stderr
    said = "cell 0 (tosses=100) was killed for memory in job 43 with 6000 MB; it gets 12000 MB"
    assert said in result.stderr
    assert result.stderr.count("killed for memory") == 1
    assert ["--mem=3000M" in slurm.scripts[0], "--mem=12000M" in slurm.scripts[1]] == [True, True]
    assert "--array=0-1%2" in slurm.scripts[0]
    assert cli("sweep", "submit", path, "--memory-factor", 1.5).code == 0
    assert "--mem=9000M" in slurm.scripts[-1]


def test_a_job_that_does_not_know_its_memory_had_what_the_file_says(cli, file, out, slurm):
    path = file(COSTLY)
    slurm.accounting("41|OUT_OF_MEMORY")
    killed(cli, path, out, 2, 41, None)
    assert "with 6000 MB; it gets 12000 MB" in cli("sweep", "submit", path).stderr


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"scheduler": 3}', '{"scheduler": null}'])
def test_a_damaged_leftover_is_no_sign_of_a_kill(cli, file, out, slurm, content):
    path = file()
    slurm.accounting("41|OUT_OF_MEMORY")
    killed(cli, path, out, 0, 41, 3000)
    (left,) = out.glob("*/*/.tmp-*/run.json")
    left.write_text(content)
    result = cli("sweep", "submit", path)
    assert result.code == 0, result.stderr
    assert "killed for memory" not in result.stderr


# -------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize(
    ("script", "place"),
    [
        ("slurm_seeds.sh", {"SLURM_ARRAY_TASK_ID": "5"}),
        ("pbs_seeds.sh", {"PBS_ARRAY_INDEX": "5", "PBS_O_WORKDIR": "."}),
        ("pbs_seeds.sh", {"PBS_ARRAYID": "5", "PBS_O_WORKDIR": "."}),
        ("sge_seeds.sh", {"SGE_TASK_ID": "5"}),
    ],
)
def test_the_example_scripts_run(script, place, tmp_path, out):
    toolbox = tmp_path / "toolbox"
    toolbox.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/toy_toolbox.py "$@"\n')
    toolbox.chmod(0o755)
    environment = {**os.environ, **place, "COMMAND": "coin toss"}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    words = ["coin", "toss"] if script.startswith("slurm") else []
    done = subprocess.run(
        ["bash", str(ROOT / "examples" / script), *words],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads((Path(done.stdout.strip()) / "run.json").read_text())
    assert written["params"]["seed"]["value"] == 5


@pytest.mark.parametrize("name", ["stepsizes.yaml", "seeds.yaml"])
def test_the_example_sweeps_are_valid(cli, name):
    assert cli("sweep", "plan", ROOT / "examples" / name).code == 0
