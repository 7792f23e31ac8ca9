"""`tape defects`: faults found in public code of the paper, written anew and measured.

Read at github.com/VITA-Group/TAPE and github.com/zhuconv/arithmetic. Whether the published numbers
come from this state of the code is not known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from toolbox.core import compute, memory
from toolbox.core.crew import Worker
from toolbox.core.run import Run

from . import adapters, tasks, training
from . import encodings as en
from .faults import FAULTS, influence, leak, with_fault
from .flags import Defects
from .model import Decoder, Shape

SPREAD, SHARPNESS = 0.3, 20.0
"""As in `tape check`: any weights, and queries and keys that make positions matter."""
LENGTH = 16


def defects(run: Run, p: Defects) -> None:
    """Exact facts of each fault, then additions trained with and without them."""
    pairs = 30.0 * p.layers * p.heads * p.batch * (3 * max(p.grid, p.train_length) + 4) ** 2
    wide = 4.0 * p.layers * p.batch * (3 * p.train_length + 4) * (30 * p.dim + 6 * p.ffn)
    shape = shape_of(p)
    weights = 24.0 * p.layers * (4 * p.dim**2 + 3 * p.dim * p.ffn)
    weights += 24.0 * p.layers * shape.P * (p.dim + p.heads**2)
    memory.need(pairs + wide + weights, "the activations of a step", "batch", p.batch)
    for repeat in run.replicates():
        with compute.one_thread():
            for name, code, value in exact(run, p, repeat):
                run.write("exact", {"fact": name, "code": code, "value": value}, repeat)
    jobs = [(repeat, p, fault) for repeat in range(run.repeats) for fault in FAULTS]
    with run.crew(1 if p.steps * len(jobs) < 200 else None) as crew:
        mapped = crew.map(train, jobs, "trainings", replicate=lambda job: job[0])
        for (repeat, _, _), rows in mapped:
            for row in rows:
                run.write("trained", row, repeat)


def shape_of(p: Defects, pe: str = "tape") -> Shape:
    """The model of all parts."""
    return Shape(tasks.ADD_VOCAB, p.dim, p.layers, p.heads, p.ffn, pe, p.position_size)


def exact(run: Run, p: Defects, repeat: int) -> list[tuple[str, str, float]]:
    """(fact, code, value): what each fault does to one model with random weights."""

    def made(pe: str = "tape") -> Decoder:
        model = Decoder(shape_of(p, pe), run.torch_generator(repeat, "weights"))
        generator = run.torch_generator(repeat, "matrices")
        with torch.no_grad():
            for layer in model.stack:
                layer.q.weight.mul_(SHARPNESS)
                layer.k.weight.mul_(SHARPNESS)
                for weight in layer.update.parameters() if layer.update else ():
                    weight.normal_(0, SPREAD, generator=generator)
        return model

    draws = run.torch_generator(repeat, "tokens")
    tokens = torch.randint(tasks.ADD_VOCAB, (8, LENGTH), generator=draws)
    noise = torch.randn(1, p.heads, LENGTH, p.dim // p.heads, generator=draws)
    measured = []
    for fault in FAULTS:
        model = with_fault(made(), fault)
        measured.append(("positions replaced by noise", fault, influence(model, tokens, noise)))
        measured.append(("later tokens changed", fault, leak(model, tokens, tasks.ADD_VOCAB)))
        with torch.no_grad():
            a, b = model(tokens), made("nope")(tokens)
        measured.append(("difference from NoPE", fault, float((a - b).abs().max() / b.abs().max())))
    for code, method in (("correct", "tape"), ("released", "tape-frozen")):
        measured.append(("movement of W_a in adaptation", code, moved(run, p, repeat, method)))
    rng = run.rng(repeat, "positions")
    for code, trained in (("correct", LENGTH), ("released", LENGTH / en.RANDPE_STRETCH)):
        drawn = en.random_positions(LENGTH, int(trained), rng)
        distance = (drawn - torch.arange(LENGTH)).abs().max()
        measured.append(("random positions less their index", code, float(distance)))
    return measured


def moved(run: Run, p: Defects, repeat: int, method: str) -> float:
    """Largest entry of W_a after some steps of adaptation; it starts at 0."""
    base = Decoder(shape_of(p, "rope"), run.torch_generator(repeat, "base"))
    model = adapters.adapted(base, method, 2.0, 8, run.torch_generator(repeat, "adapters"))
    optimiser = training.optimiser(model, 0.01, 1.0, decay=0.0)
    rng = run.rng(repeat, "adaptation")
    for _ in range(3):
        training.step(model, optimiser, tasks.addition(rng, 8, 2), 1.0, "cpu")
    weights = [w for name, w in model.named_parameters() if name.endswith("w_a")]
    return max(float(weight.detach().abs().max()) for weight in weights)


def train(worker: Worker, job: tuple[int, Defects, str]) -> list[dict[str, Any]]:
    """A model with one fault trained on additions; rows of two parts of the grid."""
    repeat, p, fault = job
    generator = worker.torch_generator(repeat, "weights", device="cpu")
    model = with_fault(Decoder(shape_of(p), generator), fault)
    optimiser = training.optimiser(model, p.lr, p.tape_lr_mult)
    schedule = training.Schedule(p.steps, min(100, 1 + p.steps // 4))
    rng = worker.rng(repeat, "batches")
    last: list[float] = []
    for step in worker.steps(p.steps, model, optimiser, rng, last):
        batch = tasks.addition(rng, p.batch, p.train_length)
        loss = training.step(model, optimiser, batch, schedule(step), "cpu")
        worker.check_finite(loss, f"the loss of {fault} at step {step + 1}")
        last[:] = [*last[-19:], float(loss)]
    cells = [(a, b) for a in range(1, p.grid + 1) for b in range(1, p.grid + 1)]
    hits: list[Any] = []
    for index in worker.steps(len(cells), hits, label="tests"):
        batch = tasks.addition(
            worker.rng(repeat, "test", *map(str, cells[index])), p.tests, cells[index]
        )
        hit, _ = training.right(model, batch, "cpu")
        forced = float(training.exact(hit, batch).mean())
        hits.append([max(cells[index]) <= p.train_length, forced, decoded(model, batch)])
    rows = []
    for inside, part in ((True, "in distribution"), (False, "out of distribution")):
        mine = [each[1:] for each in hits if each[0] is inside]
        if mine:
            forced, free = np.mean(mine, axis=0)
            rows.append({
                "code": fault, "part": part, "forced": float(forced), "decoded": float(free),
                "loss": float(np.mean(last)),
            })  # fmt: skip
    return rows


@torch.no_grad()
def decoded(model: Decoder, batch: tasks.Batch) -> float:
    """Share of sums that are right when each token is chosen with those behind it still hidden."""
    tokens = torch.from_numpy(batch.tokens)
    answers = torch.from_numpy(batch.answers)
    text = torch.where(answers, tasks.PAD, tokens)
    for column in answers.any(0).nonzero().flatten().tolist():
        best = model(text[:, :-1])[:, column - 1].argmax(-1)
        text[:, column] = torch.where(answers[:, column], best, text[:, column])
    return float((text == tokens).all(1).double().mean())
