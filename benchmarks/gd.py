"""The study gd against PEPit and against its own limits.

    pip install '.[dev]'
    python benchmarks/gd.py

1. `gd anytime` at T = 10,000 and 1,000,000 on one thread: seconds and peak memory of the whole
   process against the limits of 5 s (400 MB) and 60 s.
2. The worst case of the anytime schedule after N = 8, 16, 32 steps: our closed forms, our
   semidefinite program, and the same program through PEPit (the field's tool), with their values.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from toolbox.studies.gd import model
from toolbox.studies.gd.pep import worst_case_pep
from toolbox.studies.gd.worst_case import worst_case


def by_pepit(N: int) -> float:
    from PEPit import PEP
    from PEPit.functions import SmoothConvexFunction

    problem = PEP()
    f = problem.declare_function(SmoothConvexFunction, L=1.0)
    optimum = f.stationary_point()
    x = start = problem.set_initial_point()
    problem.set_initial_condition((start - optimum) ** 2 <= 1)
    for h in model.schedule("anytime", N).tolist():
        x = x - h * f.gradient(x)
    problem.set_performance_metric(f(x) - f(optimum))
    return float(problem.solve(verbose=0))


def timed(function: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Median seconds and the value."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        value = function()
        times.append(time.perf_counter() - started)
    return statistics.median(times), value


def against_pepit() -> None:
    print("N   closed form [s]   our SDP [s]   PEPit [s]   PEPit/SDP   PEPit/closed   values")
    for N in (8, 16, 32):
        closed, a = timed(lambda N=N: float(worst_case("anytime", [N]).tau[0]), 5)
        ours, b = timed(lambda N=N: worst_case_pep(model.schedule("anytime", N)).value, 3)
        peer, c = timed(lambda N=N: by_pepit(N), 3)
        print(
            f"{N:<3d} {closed:15.4f} {ours:13.3f} {peer:11.3f} {peer / ours:11.1f} "
            f"{peer / closed:14.0f}   {a:.9f} {b:.9f} {c:.9f}"
        )


def whole_runs() -> None:
    for T, limit in ((10_000, 5), (1_000_000, 60)):
        with tempfile.TemporaryDirectory() as out:
            words = f"-m toolbox gd anytime --T {T} --threads 1 --json --quiet --out {out}".split()
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, *words], check=True, capture_output=True, text=True
            )
            wall = time.perf_counter() - started
            manifest = json.loads(
                (Path(json.loads(done.stdout)["folder"]) / "run.json").read_text()
            )
        inside, memory = manifest["wall_seconds"], manifest["peak_memory_bytes"] / 1e6
        print(
            f"T = {T}: {inside:.1f} s in the run ({inside / limit:.2f} of {limit} s), "
            f"{wall:.1f} s with imports, {memory:.0f} MB"
        )


if __name__ == "__main__":
    whole_runs()
    against_pepit()
