"""A sweep of 208 cells on a real one-node Slurm, undisturbed and under fire.

    python benchmarks/sweep_on_slurm.py [--cells 208] [--chaos 2.0] [--seed 0]

Run as root with slurm-wlm and munge installed; about eight minutes on two cores. It starts the
private Slurm of tests/slurm/one_node.sh with as many CPUs as there are cores, and

1. times a cell alone: the median of seven `toolbox sweep run FILE --index i`, start-up included;
2. runs the sweep one cell after the other and gathers it: the reference;
3. submits it as an array and prints wall time / (cells x cell time / cores), to be at most 1.5;
4. submits it again elsewhere while every `--chaos` seconds a random task is cancelled (SIGTERM),
   told SIGUSR1, or its Python killed with SIGKILL; resubmits the same script until `sweep status`
   is 0, and prints how many attempts that took, that no cell is lost or there twice, and whether
   the gathered table equals the reference byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NODE = ROOT / "tests" / "slurm" / "one_node.sh"
SWEEP = """command: gd anytime
preset: smoke
axes:
  T: {{range: {{from: 100, to: {last}, step: 10}}}}
  c: {{range: {{from: 0.8, to: 2.2, step: 0.2}}}}
"""
TOOLBOX = [sys.executable, "-m", "toolbox"]


def call(*words: object, check: bool = True) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, cwd=ROOT)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def toolbox(*words: object, check: bool = True) -> str:
    return call(*TOOLBOX, *words, check=check)


def submit(script: Path) -> str:
    return call("sbatch", "--parsable", script).strip()


def held() -> list[str]:
    return call("squeue", "-h", "-r", "-o", "%i %t", check=False).splitlines()


def processes(out: Path) -> list[int]:
    """Pids of the cells of the sweep that writes to `out`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sweep" in words and b"run" in words and str(out).encode() in words:
            found.append(int(entry.parent.name))
    return found


def disturb(rng: random.Random, out: Path) -> str:
    running = [line.split()[0] for line in held() if line.endswith(" R")]
    if not running:
        return ""
    how = rng.choice(["scancel", "USR1", "kill -9", "scancel -s KILL"])
    task = rng.choice(running)
    if how == "kill -9":
        pids = processes(out)
        if not pids:
            return ""
        try:
            os.kill(rng.choice(pids), 9)
        except ProcessLookupError:
            return ""
    elif how == "scancel":
        call("scancel", task, check=False)
    else:
        signal = "USR1" if how == "USR1" else "KILL"
        call("scancel", "--batch", f"--signal={signal}", task, check=False)
    return how


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=208)
    parser.add_argument("--chaos", type=float, default=2.0, help="mean seconds between two blows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-undisturbed", action="store_true", help="leave out step 3")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["SLURM_TEST_CPUS"] = str(cores)
        call("bash", NODE, "up", place / "slurm")
        os.environ["SLURM_CONF"] = str(place / "slurm" / "slurm.conf")
        try:
            measure(place, asked, cores)
        finally:
            call("scancel", "--user=root", check=False)
            while any(line.endswith((" R", " CG")) for line in held()):
                time.sleep(0.2)
            call("bash", NODE, "down", place / "slurm")


def undisturbed(file: Path, out: Path, script: Path, ideal: float, reference: str) -> None:
    start = time.monotonic()
    submit(script)
    while held():
        time.sleep(0.2)
    wall = time.monotonic() - start
    same = toolbox("sweep", "gather", file, "--runs", out) == reference
    print(
        f"array, undisturbed: {wall:.0f} s, {wall / ideal:.2f} of cells x cell time / cores; "
        f"gathered table equal to the sequential one: {same}",
        flush=True,
    )


def measure(place: Path, asked: argparse.Namespace, cores: int) -> None:
    file = place / "grid.yaml"
    file.write_text(SWEEP.format(last=90 + 10 * max(1, asked.cells // 8)))
    cells = int(toolbox("sweep", "plan", file, "--count"))

    times = []
    for index in range(0, 7):
        start = time.monotonic()
        words = ("--index", index * (cells // 7), "--threads", 1, "--out", place / "alone")
        toolbox("sweep", "run", file, *words)
        times.append(time.monotonic() - start)
    cell = statistics.median(times)
    print(f"{cells} cells on {cores} cores; one cell alone {cell:.2f} s", flush=True)

    start = time.monotonic()
    toolbox("sweep", "run", file, "--jobs", 1, "--threads", 1, "--out", place / "sequential")
    print(f"one after the other, here: {time.monotonic() - start:.0f} s", flush=True)
    reference = toolbox("sweep", "gather", file, "--runs", place / "sequential")

    quiet, fire = place / "quiet", place / "fire"
    scripts = {}
    for out in (quiet, fire):
        scripts[out] = place / f"{out.name}.sh"
        scripts[out].write_text(
            toolbox("sweep", "script", file, "--mem", "100M", "--time", 30, "--out", out)
        )

    if not asked.skip_undisturbed:
        undisturbed(file, quiet, scripts[quiet], cells * cell / cores, reference)

    rng, blows, attempts = random.Random(asked.seed), Counter(), 0
    start = time.monotonic()
    while True:
        attempts += 1
        submit(scripts[fire])
        while held():
            time.sleep(rng.expovariate(1 / asked.chaos))
            blows[disturb(rng, fire)] += 1
        done = subprocess.run(
            [*TOOLBOX, "sweep", "status", str(file), "--json", "--out", str(fire)],
            capture_output=True, text=True,
        )  # fmt: skip
        left = Counter(c["state"] for c in json.loads(done.stdout)["cells"])
        print(f"  attempt {attempts}: {dict(left)}", flush=True)
        if done.returncode == 0:
            break
    wall = time.monotonic() - start
    del blows[""]
    folders = [p for p in (fire / "gd" / "anytime").iterdir() if not p.name.startswith(".")]
    resumed = sum(
        bool(json.loads((p / "run.json").read_text())["resumed"]) for p in folders if p.is_dir()
    )
    same = toolbox("sweep", "gather", file, "--runs", fire) == reference
    print(f"array, under fire: {dict(blows)}; complete after {attempts} submissions in "
          f"{wall:.0f} s ({wall / (cells * cell / cores):.2f}); "
          f"{len(folders)} entries for {cells} cells, "
          f"{resumed} cells resumed; gathered table equal: {same}")  # fmt: skip
    print(f"processes left: {processes(fire)}")


if __name__ == "__main__":
    main()
