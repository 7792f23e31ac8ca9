"""A state of 2 GiB is saved and resumed where memory for a second copy of it does not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BASE = 0.3
"""GiB that Python, torch and pandas take before anything is trained."""
TRAIN = """
import json, resource, sys, time
from pathlib import Path

import torch

GiB = 1 << 30
resource.setrlimit(resource.RLIMIT_DATA, (int({limit} * GiB), int({limit} * GiB)))

from toolbox.core import signals
from toolbox.core.errors import Interrupted
from toolbox.core.execute import Request, execute

torch.set_num_threads(1)
stop_before, out = int(sys.argv[1]), Path(sys.argv[2])
seen = []


def experiment(run):
    model = torch.nn.ParameterList([torch.zeros({count}) for _ in range(4)])
    opt = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.5, foreach=False)
    for step in run.steps(3, model, opt):
        for parameter in model:
            parameter.grad = torch.ones(()).expand_as(parameter)
        opt.step()
        run.write("curve", {{"step": step, "loss": float(model[-1][-1])}}, 0)
        if step + 1 == stop_before:
            signals._asked = signals.signal.SIGTERM


params = {{"seed": 0, "repeats": 1}}
request = Request("coin", "train", params, dict.fromkeys(params, "flag"), "small", out, "cpu", 1,
                  False, False, True)
began = time.monotonic()
with signals.defer():
    try:
        record, _ = execute(request, experiment)
        found = (record.path / "curve.csv").read_text()
    except Interrupted:
        found = "interrupted"
print(json.dumps([found, time.monotonic() - began,
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def train(out: Path, stop_before: int, gib: float, limit: float) -> tuple[str, float, int]:
    """Rows or 'interrupted', seconds, and the largest resident memory.

    gib : size of the state, half of it parameters and half momentum
    limit : of the memory that a process may write to, in GiB
    """
    code = TRAIN.format(limit=limit, count=int(gib * 2**30 / 2 / 4 / 4))
    toys = Path(__file__).parents[1] / "toys"
    code = f"import toolbox.studies; toolbox.studies.__path__.append({str(toys)!r})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code, str(stop_before), str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def resumed(tmp_path: Path, gib: float, limit: float) -> None:
    whole, _, _ = train(tmp_path / "whole", 9, gib, limit)
    assert whole.count("\n") == 4
    stopped, _, _ = train(tmp_path / "stopped", 2, gib, limit)
    assert stopped == "interrupted"
    (path,) = (tmp_path / "stopped").glob("coin/train/*.checkpoint")
    assert path.stat().st_size > gib * 2**30
    again, _, _ = train(tmp_path / "stopped", 9, gib, limit)
    assert again == whole
    assert not list((tmp_path / "stopped").glob("coin/train/*.checkpoint"))


def test_a_quarter_of_a_gibibyte_needs_no_second_copy(tmp_path):
    resumed(tmp_path, 0.25, 0.25 + BASE + 0.15)


@pytest.mark.slow
def test_two_gibibytes_on_a_machine_of_four(tmp_path):
    resumed(tmp_path, 2, 4)
