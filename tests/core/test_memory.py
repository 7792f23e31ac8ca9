"""Memory that cannot be had is one sentence: before the work where it is known, after it else."""

from __future__ import annotations

import concurrent.futures.process
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from toolbox.core import memory
from toolbox.core.errors import ParameterError, ToolboxError

TOY = Path(__file__).parents[1] / "toy_toolbox.py"
TB = 1 << 40


def of_numpy():
    np.ones((1 << 24, 1 << 24))


def of_numpy_beyond_any_machine():
    np.ones((1 << 40, 1 << 40))


def of_torch():
    torch.ones(1 << 50)


def of_torch_beyond_any_machine():
    torch.ones(1 << 40, 1 << 40)


def of_a_range():
    np.arange(1e30)


def of_python():
    bytes(1 << 60)


def of_a_worker_that_was_killed():
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        pool.submit(os._exit, 9).result()


def of_a_worker():
    try:
        np.ones((1 << 24, 1 << 24))
    except MemoryError as error:
        raise KeyError("worker") from error


LACKING = [of_numpy, of_numpy_beyond_any_machine, of_torch, of_torch_beyond_any_machine, of_a_range,
           of_python, of_a_worker_that_was_killed, of_a_worker]  # fmt: skip


@pytest.mark.parametrize("ask", LACKING)
def test_a_lack_of_memory_anywhere_is_one_sentence_and_a_failure(launch, out, ask):
    with pytest.raises(ToolboxError) as caught:
        launch(lambda run: ask())
    assert caught.value.exit_code == 1
    assert caught.value.__cause__ is None
    sentence = str(caught.value)
    assert "needs more memory than there is here" in sentence
    assert "\n" not in sentence
    (record,) = out.glob("coin/train/*.failed.json")
    assert json.loads(record.read_text())["message"].splitlines()[0] == sentence


@pytest.mark.parametrize(
    "error", [ValueError("step must be positive"), RuntimeError("mat1 and mat2"), KeyError("x")]
)
def test_other_errors_are_not_taken_for_it(launch, error):
    assert memory.exhausted(error) == ""

    def fail(run):
        raise error

    with pytest.raises(type(error)):
        launch(fail)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not enforce the limit")
def test_a_process_below_a_limit_ends_with_one_sentence(out):
    script = (
        "import resource, runpy, sys; import numpy as np; import toolbox.core.run as r;"
        "r.Run.replicates = lambda self: np.ones(1 << 34);"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 34, 1 << 34));"
        f"sys.argv = [{str(TOY)!r}, 'coin', 'train', '--device', 'cpu'];"
        "r.Run.steps = lambda self, *a, **k: np.ones(1 << 34);"
        f"runpy.run_path({str(TOY)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("toolbox: coin train needs more memory than there is here")


def test_what_cannot_be_had_is_refused_before_the_work():
    memory.need(1 << 20, "the weights", "width", 8)
    with pytest.raises(ParameterError) as caught:
        memory.need(1000 * TB, "the weights", "width", 10**8)
    assert caught.value.exit_code == 2
    text = caught.value.with_flags(lambda name: f"--{name}")
    assert text.startswith("--width 100000000: the weights need 1.1 PB of memory, and this process")
    with pytest.raises(ParameterError, match=r"1\.0e\+400|inf|e\+"):
        memory.need(float("inf"), "the weights", "width", 10**8)


def group(folder: Path, most: str, used: int, idle: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(most)
    (folder / "memory.current").write_text(str(used))
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {idle}\n")


def test_the_tightest_control_group_counts_and_files_that_can_go_do_not(tmp_path):
    root, own = tmp_path / "cgroup", tmp_path / "self"
    own.write_text("0::/job/step\n")
    group(root / "job", "1000", 400, 100)
    group(root / "job" / "step", "max", 300)
    group(root, "5000", 100)
    assert min(memory._in_the_groups(root, own)) == 700
    group(root / "job" / "step", "500", 300)
    assert min(memory._in_the_groups(root, own)) == 200
    own.write_text("1:name=systemd:/x\n4:cpu,memory:/slurm/job_1\n")
    old = root / "memory" / "slurm" / "job_1"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("900\n")
    (old / "memory.usage_in_bytes").write_text("200\n")
    assert list(memory._in_the_groups(root, own)) == [700]
    own.write_text("")
    assert list(memory._in_the_groups(root, own)) == []


def test_there_is_memory_here():
    there = memory.available()
    assert there is not None
    assert 1 << 25 < there < 1 << 50


@pytest.mark.parametrize(
    ("size", "text"), [(5e5, "0.5 MB"), (1.5e9, "1.5 GB"), (2.34e12, "2.34 TB")]
)
def test_sizes_are_shown_as_people_write_them(size, text):
    assert memory.in_words(size) == text
