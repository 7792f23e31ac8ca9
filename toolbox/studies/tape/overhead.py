"""`tape overhead`: what an encoding costs, by formula, counted and measured."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as fn

from toolbox.core import compute, memory
from toolbox.core.run import Run

from . import counting
from .flags import Overhead
from .model import Decoder, Shape
from .names import ENCODINGS, is_tape

PAPER = Shape(32_000, 768, 12, 12, 3072, trained=1024)
LLAMA = Shape(32_000, 4096, 32, 32, 11_008, trained=4096)
"""Llama-2-7B."""
MEASURED = (("rope", "fast"), ("tape", "fast"), ("tape", "literal"), ("alibi", "fast"),
            ("fire", "fast"), ("t5", "fast"))  # fmt: skip


def overhead(run: Run, p: Overhead) -> None:
    """Formula rows of three shapes, counted numbers of the run's own, and a file of times."""
    tape = Shape(p.vocab, p.dim, p.layers, p.heads, p.ffn, "tape", p.position_size, p.length)
    pairs = 16.0 * p.batch * p.heads * p.layers * p.length**2
    tokens = 4.0 * p.batch * p.length * p.layers * (16 * p.dim + 6 * p.ffn + p.heads * tape.P * 4)
    weights = 16.0 * counting.parameters(tape)
    memory.need(2 * pairs + tokens + weights, "the steps that are measured", "batch", p.batch)
    shapes = {"155M": (PAPER, 1024), "Llama-2-7B": (LLAMA, 4096), "own": (tape, p.length)}
    for _ in run.cells([0], "formulas"):
        for name, (shape, N) in shapes.items():
            for pe in ENCODINGS:
                for form in ("fast", "literal") if is_tape(pe) else ("-",):
                    row = by_formula(replace(shape, pe=pe), N, form)
                    run.write("formula", {"shape": name, "pe": pe, "form": form, **row}, 0)
    times: list[dict[str, Any]] = run.kept([])
    for pe, form in run.cells(MEASURED, "encodings measured"):
        shape = replace(tape, pe=pe)
        with compute.one_thread():
            counted = saved_bytes(run, shape, p, form == "fast")
        row = {"pe": pe, "form": form, "params": counted[0], "saved_mb": counted[1] / 1e6}
        run.write("counted", row, 0)
        if p.steps:
            times.append({"pe": pe, "form": form, **timed(run, shape, p, form == "fast")})
    if times:
        with run.file("times.json") as path:
            path.write_text(json.dumps({"device": run.device, "times": times}, indent=1) + "\n")
        for row in times:
            ratio = row["ms_step"] / times[0]["ms_step"]
            run.say(
                f"{row['pe']} ({row['form']}): step {row['ms_step']:.1f} ms, "
                f"{ratio:.2f} times RoPE's"
            )


def by_formula(shape: Shape, N: int, form: str) -> dict[str, Any]:
    """Parameters and FLOPs of a forward pass on N tokens."""
    base, extra = counting.base_flops(shape, N), counting.extra_flops(shape, N, form == "fast")
    run = counting.extra_flops(shape, N, form == "fast", shape.layers - 1)
    added = counting.extra_parameters(shape)
    total = counting.parameters(shape)
    return {
        "length": N,
        "params": total,
        "extra_params": added,
        "params_ratio": total / (total - added),
        "flops": base + extra,
        "flops_ratio": (base + extra) / base,
        "flops_ratio_run": (base + run) / base,
    }


def model_of(run: Run, shape: Shape, fast: bool, device: str = "cpu") -> Decoder:
    """A model with random weights; the numbers do not matter here."""
    model = Decoder(shape, run.torch_generator(0, "weights"))
    model.fast = fast
    return model.to(device)


def saved_bytes(run: Run, shape: Shape, p: Overhead, fast: bool) -> tuple[int, int]:
    """Parameters that the program holds, and bytes that a forward pass keeps for the backward one,
    each stretch of memory once, weights not counted."""
    model = model_of(run, shape, fast)
    weights = {w.untyped_storage().data_ptr() for w in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in weights:
            kept[x.untyped_storage().data_ptr()] = x
        return x

    tokens = torch.zeros(p.batch, p.length, dtype=torch.long)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        fn.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
    size = sum(x.untyped_storage().nbytes() for x in kept.values())
    return sum(w.numel() for w in model.parameters()), size


def timed(run: Run, shape: Shape, p: Overhead, fast: bool) -> dict[str, float]:
    """Medians of forward, backward and whole step, in ms, and on CUDA the peak of memory."""
    model = model_of(run, shape, fast, run.device)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-4)
    tokens = torch.zeros(p.batch, p.length, dtype=torch.long, device=run.device)
    cuda = run.device.startswith("cuda")

    def now() -> float:
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    if cuda:
        torch.cuda.reset_peak_memory_stats()
    rows: list[list[float]] = []
    for _ in run.steps(p.steps + 1, rows):
        began = now()
        loss = fn.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        half = now()
        torch.autograd.backward(loss)
        back = now()
        optimiser.step()
        optimiser.zero_grad()
        rows.append([half - began, back - half, now() - began])
    forward, backward, step = (1e3 * statistics.median(c) for c in zip(*rows[1:], strict=True))
    measured = {"ms_forward": forward, "ms_backward": backward, "ms_step": step}
    if cuda:
        measured["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return measured
