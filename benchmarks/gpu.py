"""What a GPU brings: seconds, ratios and memory on one card, each part by name.

    PYTHONPATH=. python benchmarks/gpu.py [PART ...] [--minutes 6]
    PYTHONPATH=. python benchmarks/gpu.py --cpu      # tiny sizes on a CPU, to try the script

from a bare checkout, without network; torch and the dependencies of the program are all it needs,
and `transformers` where GPT-2 is to be compared. What time or a missing package does not allow is
named in the end as not measured. The parts, in the order in which they are run:

    network       a step of the paper's network of `icl` (12 layers, 256 wide, 240 tokens, 64
                  prompts), 7 members, in every precision, compiled or not; its memory; and seven
                  GPT-2 of `transformers` one after another, bf16 and fused Adam
    hierarchical  the moments, on the card against this machine's cores
    multiindex    `multiindex train` and `identify` at `small`, card against two cores
    recall        `recall scaling` and `mlp` at `small`, card against two cores
    icl           `icl plateau` at `small`, card against two cores, and whether verdicts agree

A command is timed from its start to its end, imports and the start of CUDA included.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TASKS = ("linear", "sparse-linear", "quadratic", "leaky-relu", "parity2", "parity3")
PEAK = 990e12
"""Products in bf16 that an H100 can do in a second."""


@dataclass
class Report:
    """What was measured, what was not, and the time that is left."""

    cpu: bool
    end: float
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def device(self) -> str:
        return "cpu" if self.cpu else "cuda"

    @property
    def left(self) -> float:
        return self.end - time.monotonic()

    def row(self, what: str, measured: str, ratio: str = "", target: str = "") -> None:
        self.rows.append((what, measured, ratio, target))
        print("  " + "  ".join(each for each in self.rows[-1] if each), flush=True)

    def not_measured(self, what: str, why: str) -> None:
        self.missing.append(f"{what}: {why}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", default=[])
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--minutes", type=float, default=6.0)
    p = parser.parse_args()
    report = Report(p.cpu, time.monotonic() + 60 * p.minutes)
    import torch

    if p.cpu:
        torch.set_num_threads(1)
        print("on a CPU at tiny sizes: nothing here says anything of a GPU")
    elif not torch.cuda.is_available():
        sys.exit("no GPU here; --cpu tries the script at tiny sizes")
    else:
        from toolbox.core import compute

        compute.set_policy("cuda")
        print(torch.cuda.get_device_name(), "torch", torch.__version__)
    for name in p.parts or PARTS:
        print(name, flush=True)
        if report.left < 5:
            report.not_measured(name, "no time was left")
            continue
        PARTS[name](report)
    print()
    widths = [max(len(row[i]) for row in report.rows) for i in range(4)] if report.rows else []
    for row in report.rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
    for line in report.missing:
        print(f"not measured: {line}")


# ------------------------------------------------------------------------------------ network


def network(report: Report) -> None:
    import torch

    from toolbox.core import compute
    from toolbox.studies.icl.ensemble import BLOCK, Ensemble
    from toolbox.studies.icl.plan import Arm, Member

    arms = [(task,) for task in TASKS] + [TASKS]
    members = [Member(Arm("+".join(tasks), "", tasks, 1e-4, tasks), 0) for tasks in arms]
    ways = [("bf16", False), ("bf16", True), ("tf32", False), ("tf32", True), ("float32", False)]
    targets = {"bf16": "at most 25 ms, 10 GiB", "tf32": "at most 60 ms"}
    best: dict[str, float] = {}
    for precision, compiled in [("float32", False)] if report.cpu else ways:
        name = f"network {precision}{', compiled' if compiled else ''}"
        if report.left < (90 if compiled else 20):
            report.not_measured(name, "no time was left")
            continue
        if compiled and importlib.util.find_spec("triton") is None:
            report.not_measured(name, "torch.compile needs triton")
            continue
        s = paper(report.cpu, precision)
        on_card = report.device == "cuda"
        if on_card:
            torch.cuda.reset_peak_memory_stats()
        began = now(report)
        with compute.products(precision):
            stack = Ensemble(s, members, 0, report.device, captured=True, compiled=compiled)
            for _ in range(BLOCK):
                stack.advance()
            first = now(report) - began
            began = now(report)
            for _ in range(BLOCK):
                stack.advance()
            seconds = (now(report) - began) / BLOCK
        memory = torch.cuda.max_memory_allocated() / 2**30 if on_card else 0.0
        best[precision] = min(seconds, best.get(precision, seconds))
        rate = 3 * flops(s) * len(members) / seconds
        said = f"{1e3 * seconds:.1f} ms a step of 7 members, {rate / 1e12:.3g} TFLOP/s"
        share = f"{rate / PEAK:.1%} of {PEAK / 1e12:.0f}" if on_card else ""
        extra = f"{memory:.1f} GiB, first {BLOCK} steps {first:.0f} s" if on_card else ""
        report.row(name, "; ".join(each for each in (said, extra) if each), share,
                   targets.get(precision, ""))  # fmt: skip
        del stack
        if on_card:
            torch.cuda.empty_cache()
    precision = "float32" if report.cpu else "bf16"
    if importlib.util.find_spec("transformers") is None:
        report.not_measured("seven GPT-2", "`transformers` is not installed")
    elif report.left < 15:
        report.not_measured("seven GPT-2", "no time was left")
    else:
        seconds = 7 * gpt2_step(report, paper(report.cpu, precision), members[-1])
        ratio = f"{seconds / best[precision]:.1f} times ours" if precision in best else ""
        report.row("seven GPT-2", f"{1e3 * seconds:.1f} ms a step each", ratio, "at least 8")


def paper(tiny: bool, precision: str) -> Any:
    from toolbox.studies.icl.cli import Plateau

    sizes: dict[str, int] = dict(d=10, n=120, batch=64, embd=256, layers=12, heads=8)
    if tiny:
        sizes = dict(d=4, n=6, batch=8, embd=16, layers=2, heads=2)
    return Plateau(**sizes, init_std=0.02, lr=1e-4, steps=10**6, until="steps", precision=precision)


def flops(s: Any) -> float:
    """Of the matrix products of one member's step, forward."""
    T, e = 2 * s.n, s.embd
    return float(s.batch * s.layers * (24 * T * e * e + 4 * T * T * e))


def gpt2_step(report: Report, s: Any, member: Any) -> float:
    """Seconds of a step of one GPT-2 on the prompts of the mix."""
    import torch
    from icl import gpt2  # benchmarks/icl.py, beside this script
    from torch.nn import functional as F

    from toolbox.studies.icl.prompts import Prompts, tokens_of

    model = gpt2(s).to(report.device)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    prompts = Prompts(s, member, 0)
    block = prompts.block(4)
    tokens, y = (each.to(report.device) for each in (tokens_of(block.x, block.y, s.token), block.y))
    cast = torch.autocast(report.device, torch.bfloat16, enabled=s.precision == "bf16")

    def step(i: int) -> None:
        with cast:
            out = model(tokens[i % 4])
        loss = F.mse_loss(out.float(), y[i % 4])
        adam.zero_grad()
        loss.backward()
        adam.step()

    for i in range(5):
        step(i)
    began = now(report)
    for i in range(20):
        step(i)
    return (now(report) - began) / 20


def now(report: Report) -> float:
    import torch

    if report.device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


# ------------------------------------------------------------------------------- hierarchical


def hierarchical(report: Report) -> None:
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from toolbox.core import compute
    from toolbox.studies.hierarchical import data, links, moments

    workers = 1 if report.cpu else len(os.sched_getaffinity(0))

    def stream(block: int) -> Any:
        return np.random.default_rng([0, block])

    for d in (8,) if report.cpu else (32, 64, 96):
        if report.left < 30:
            report.not_measured(f"moments, d = {d}", "no time was left")
            continue
        task = data.make_task(np.random.default_rng(0), d, "flat", links.parse("p2", 2))
        rates = {}
        block = 2048 if report.cpu else moments.BLOCK
        with ThreadPoolExecutor(workers) as pool, compute.one_thread():
            # Where the card computes, its cores draw; where the cores compute, few blocks say it.
            for device, blocks in ((report.device, 2 * moments.WINDOW), ("", workers)):
                moment = moments.Moment.start(task, stream, 1000)
                if device:  # the first products start libraries
                    moments.grow(moment, task, stream, 100, pool, workers, device)
                stop = moment.n + blocks * block
                began, before = now(report), moment.n
                while moment.n < stop:
                    moments.grow(moment, task, stream, stop, pool, workers, device)
                rates[device] = (moment.n - before) / (now(report) - began)
        card, cores = rates[report.device], rates[""]
        report.row(f"moments, d = {d}", f"{card:.3g} samples a second, {cores:.3g} on {workers} "
                   "cores", f"{card / cores:.1f} times")  # fmt: skip


# ------------------------------------------------------------------------------- the commands


def commands(*lines: str, target: str = "at least 1") -> Callable[[Report], None]:
    """Card against two cores, from the start of the command to its end."""

    def measure(report: Report) -> None:
        preset = "smoke" if report.cpu else "small"
        for line in lines:
            found = {}
            for device in (report.device, "cpu"):
                if (done := timed(report, line, preset, device)) is None:
                    where = "the card" if device == "cuda" else "two cores"
                    report.not_measured(f"{line}, {preset}, {where}", "it did not end in time")
                    continue
                found[device, len(found)] = done
            said = ", ".join(f"{done[0]:.1f} s on {device}" for (device, _), done in found.items())
            ratio = ""
            if len(found) == 2:
                (card, ours), (cores, theirs) = found.values()
                agree = "same verdicts" if ours and ours == theirs else "verdicts differ or none"
                ratio = f"{cores / card:.2f} times as fast, {agree}"
            report.row(f"{line}, {preset}", said or "nothing", ratio, target)

    return measure


def timed(report: Report, line: str, preset: str, device: str) -> tuple[float, Any] | None:
    """Seconds of a run, and its verdicts by claim."""
    with tempfile.TemporaryDirectory() as out:
        program = [sys.executable, "-m", "toolbox"]
        words = [*line.split(), "--preset", preset, "--device", device, "--quiet", "--out", out]
        cores = "1" if report.cpu else "2"
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        began = time.perf_counter()
        try:
            done = subprocess.run(
                [*program, *words, "--threads", cores], env=env, cwd=ROOT, capture_output=True,
                text=True, timeout=max(1.0, report.left), check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None
        seconds = time.perf_counter() - began
        if done.returncode:
            report.not_measured(f"toolbox {' '.join(words)}", done.stderr.strip()[-300:])
            return None
        judged = subprocess.run(
            [*program, "verify", *line.split(), "--out", out, "--json"], env=env, cwd=ROOT,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return seconds, verdicts(json.loads(judged.stdout or "null"))


def verdicts(found: Any) -> list[tuple[str, str]]:
    """Claim and verdict of every claim, wherever in the answer they stand."""
    if isinstance(found, dict):
        if "verdict" in found:
            return [(str(found.get("claim", found.get("id"))), str(found["verdict"]))]
        return [pair for value in found.values() for pair in verdicts(value)]
    return [pair for value in found for pair in verdicts(value)] if isinstance(found, list) else []


PARTS: dict[str, Callable[[Report], None]] = {
    "network": network,
    "hierarchical": hierarchical,
    "multiindex": commands("multiindex train", "multiindex identify"),
    "recall": commands("recall scaling", "recall mlp"),
    "icl": commands("icl plateau", target="at most 12 s on the card, same verdicts"),
}


if __name__ == "__main__":
    main()
