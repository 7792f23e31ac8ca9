"""Every part of benchmarks/gpu.py runs through, at tiny sizes on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu.py"
slow = pytest.mark.slow


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], env=env, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("network", ["network float32"]),
        ("hierarchical", ["moments, d = 8"]),
        pytest.param(
            "multiindex", ["multiindex train, smoke", "multiindex identify, smoke"], marks=slow
        ),
        pytest.param("recall", ["recall scaling, smoke", "recall mlp, smoke"], marks=slow),
        pytest.param("icl", ["icl plateau, smoke", "same verdicts"], marks=slow),
    ],
)
def test_a_part_runs_through_alone_and_says_what_it_measured(part, rows):
    done = ran("--cpu", part)
    assert done.returncode == 0, done.stderr
    assert "nothing here says anything of a GPU" in done.stdout
    for row in rows:
        assert row in done.stdout


def test_what_there_is_no_time_for_is_named():
    done = ran("--cpu", "--minutes", "0.01", "multiindex")
    assert done.returncode == 0
    assert "not measured: multiindex: no time was left" in done.stdout
