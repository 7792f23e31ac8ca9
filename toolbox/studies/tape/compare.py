"""`tape pointer`, `passkey`, `add` and `lm`: encodings trained from scratch, on equal terms.

All encodings of a replicate start from the same base weights and see the same batches for the same
number of steps; each has the same learning rates to choose from, by its loss at the training
length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolbox.core import memory
from toolbox.core.crew import Worker
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import corpus, counting, tasks, training
from . import encodings as en
from .flags import Add, Lm, Passkey, Pointer, Scratch
from .model import Decoder, Shape
from .names import ENCODINGS, SCRATCH
from .tasks import Batch

VALIDATION = 100
"""Sequences on which the loss is compared that chooses the learning rate."""
TEST_BATCH = 50
RECORDED = 10
"""Points of a training curve."""


@dataclass(frozen=True)
class Job:
    """One training: an encoding, a learning rate, a replicate."""

    p: Scratch
    repeat: int
    pe: str
    lr: float
    vocab: int

    def __str__(self) -> str:
        return f"{self.pe} at rate {self.lr:g}"


def compare(run: Run, p: Scratch, vocab: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Train all; writes the tables `runs` and `training`, yields the chosen trainings' results."""
    training.known_encodings("pe", p.pe, SCRATCH)
    if p.tune and len(p.lrs) > 1 and len(set(p.lrs)) < len(p.lrs):
        raise ParameterError("lrs", p.lrs, "names one twice", "name each once")
    for pe in p.pe:
        if pe.startswith("abacus") and not isinstance(p, Add):
            raise ParameterError("pe", pe, "numbers digits, which this task lacks", "leave it out")
        Shape(vocab, p.dim, p.layers, p.heads, p.ffn, base_of(pe), p.position_size)
    longest = max([*lengths_of(p), p.train_length]) + 30
    rows = max(p.batch, TEST_BATCH)
    pairs = 24.0 * p.layers * p.heads * rows * longest**2
    wide = 4.0 * p.layers * rows * longest * (20 * p.dim + 6 * p.ffn)
    weights = 16.0 * (p.layers * (4 * p.dim**2 + 3 * p.dim * p.ffn) + 2 * vocab * p.dim)
    state = 4.0 * rows * longest * max(4 * p.heads, p.position_size) * p.layers
    state += 16.0 * max(4 * p.heads, p.position_size) * (p.dim + p.heads**2) * p.layers
    memory.need(pairs + wide + weights + state, "the activations of a step", "batch", p.batch)
    rates = p.lrs if p.tune else p.lrs[:1]
    jobs = [
        Job(p, repeat, pe, lr, vocab)
        for repeat in range(run.repeats) for pe in p.pe for lr in rates
    ]  # fmt: skip
    waiting: list[Any] = run.kept([])
    few = p.steps * len(jobs) < 200
    with run.crew(1 if few else None) as crew:
        mapped = crew.map(train, jobs, "trainings", replicate=lambda job: job.repeat)
        for job, outcome in mapped:
            for row in outcome["curve"]:
                run.write("training", {"pe": job.pe, "lr": job.lr, **row}, job.repeat)
            waiting.append(outcome)
            if job.lr != rates[-1]:
                continue
            best = min(range(len(waiting)), key=lambda i: waiting[i]["val_loss"])
            for index, each in enumerate(waiting):
                facts = {k: each[k] for k in ("val_loss", "val_accuracy", "params", "z_max")}
                row = {"pe": job.pe, "lr": each["lr"], **facts, "chosen": index == best}
                run.write("runs", row, job.repeat)
            chosen = waiting[best]
            waiting.clear()
            yield job, chosen


def base_of(pe: str) -> str:
    """The encoding of a name; abacus is digit embeddings and nothing else, abacus-rope both."""
    return {"abacus": "nope", "abacus-rope": "rope"}.get(pe, pe)


def lengths_of(p: Scratch) -> tuple[int, ...]:
    """Tokens of the sequences at which a command tests."""
    if isinstance(p, Add):
        return (3 * p.grid + 4,)
    return p.lengths  # type: ignore[attr-defined, no-any-return]


def train(worker: Worker, job: Job) -> dict[str, Any]:
    """One training and its tests."""
    p, repeat = job.p, job.repeat
    abacus = 0
    if isinstance(p, Add) and job.pe.startswith("abacus"):
        # A sum has a digit more than its operands.
        abacus = p.offsets + max(p.grid, p.train_length) + 2
    trained = 3 * p.train_length + 4 if isinstance(p, Add) else p.train_length
    shape = Shape(
        job.vocab, p.dim, p.layers, p.heads, p.ffn, base_of(job.pe), p.position_size, trained,
        abacus=abacus,
    )  # fmt: skip
    model = Decoder(shape, worker.torch_generator(repeat, "weights", device="cpu"))
    model = model.to(worker.device)
    optimiser = training.optimiser(model, job.lr, p.tape_lr_mult)
    schedule = training.Schedule(p.steps, p.warmup)
    rng = worker.rng(repeat, "batches")
    # Draws of the encoding's own come from a stream of their own: the batches stay the same.
    positions_rng = worker.rng(repeat, "positions")
    curve: list[dict[str, Any]] = []
    texts = corpus.corpus(p.text, max(p.lengths)) if isinstance(p, Lm) else None
    every = max(1, p.steps // RECORDED)
    for step in worker.steps(p.steps, model, optimiser, rng, positions_rng, curve):
        batch = drawn(p, rng, texts)
        positions = digits = None
        n = batch.tokens.shape[1] - 1
        if job.pe == "randpe":
            positions = en.random_positions(n, trained, positions_rng)
        if abacus:
            digits = abacus_of(batch, int(positions_rng.integers(p.offsets + 1)), worker.device)  # type: ignore[attr-defined]
        loss = training.step(
            model, optimiser, batch, schedule(step), worker.device, positions, digits
        )
        worker.check_finite(loss, f"the loss of {job} at step {step + 1}")
        if (step + 1) % every == 0:
            curve.append({"step": step + 1, "loss": float(loss)})
    tested: list[dict[str, Any]] = []
    cells = list(tests(p))
    check = worker.rng(repeat, "validation")
    outcome: dict[str, Any] = {}
    for index in worker.steps(len(cells) + 1, tested, outcome, check, label="tests"):
        if index < len(cells):
            tested += test(worker, job, model, cells[index], texts, bool(abacus))
            continue
        batch = drawn(p, check, texts, VALIDATION)
        digits = abacus_of(batch, 0, worker.device) if abacus else None
        hit, val_loss = training.right(model, batch, worker.device, digits)
        tokens = torch.from_numpy(batch.tokens[:20]).to(worker.device)
        outcome |= {
            "lr": job.lr, "val_loss": val_loss, "val_accuracy": training.accuracy(hit, batch),
            "params": counting.parameters(shape) + abacus * p.dim,
            "z_max": training.largest_state(model, tokens),
        }  # fmt: skip
    return {**outcome, "curve": curve, "tested": tested}


def abacus_of(batch: Batch, offset: int, device: str) -> torch.Tensor:
    """Indices of Abacus embeddings: the digits' places plus an offset; 0 at other tokens."""
    index = tasks.abacus(batch.tokens[:, :-1])
    return torch.from_numpy(np.where(index > 0, index + offset, 0)).to(device)


def drawn(p: Scratch, rng: np.random.Generator, texts: Any, size: int | None = None) -> Batch:
    """A training batch, or of that size one for validation."""
    size = p.batch if size is None else size
    if isinstance(p, Add):
        return tasks.addition(rng, size, p.train_length)
    if isinstance(p, Lm):
        part = texts.train if size == p.batch else texts.validation
        return text_batch(corpus.windows(rng, part, size, p.train_length))
    n = int(rng.integers(p.train_length // 2, p.train_length + 1))
    if isinstance(p, Passkey):
        return tasks.passkey(rng, size, n, p.digits)
    return tasks.pointer(rng, size, n)


def text_batch(tokens: np.ndarray) -> Batch:
    """Every token but the first is an answer."""
    answers = np.ones(tokens.shape, dtype=bool)
    answers[:, 0] = False
    return Batch(tokens, answers)


DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def tests(p: Scratch) -> Iterator[Any]:
    """What is tested one after the other: lengths, pairs of a length and a depth, or of lengths."""
    if isinstance(p, Add):
        yield from ((a, b) for a in range(1, p.grid + 1) for b in range(1, p.grid + 1))
    elif isinstance(p, Passkey):
        yield from ((n, depth) for n in p.lengths for depth in DEPTHS)
    else:
        yield from p.lengths  # type: ignore[attr-defined]


def test(
    worker: Worker, job: Job, model: Decoder, cell: Any, texts: Any, abacus: bool
) -> list[dict[str, Any]]:
    """The rows of one test; the same sequences for every encoding of a replicate."""
    p, device = job.p, worker.device
    if isinstance(p, Lm):
        rows = corpus.ending(texts.test, p.tests, max(p.lengths), cell)
        return [{"length": cell, **perplexity(model, rows, device)}]
    rng = worker.rng(job.repeat, "test", *map(str, np.atleast_1d(cell)))
    hits: list[np.ndarray] = []
    losses: list[float] = []
    left = p.tests
    while left:
        size = min(left, TEST_BATCH)
        left -= size
        if isinstance(p, Add):
            batch = tasks.addition(rng, size, cell)
        elif isinstance(p, Passkey):
            batch = tasks.passkey(rng, size, cell[0], p.digits, cell[1])
        else:
            batch = tasks.pointer(rng, size, cell)
        digits = abacus_of(batch, 0, device) if abacus else None
        hit, loss = training.right(model, batch, device, digits)
        if isinstance(p, Add | Passkey):
            hits.append(training.exact(hit, batch))
        else:
            hits.append(hit[batch.answers[:, 1:]])
        losses.append(loss)
    row: dict[str, Any] = {"accuracy": float(np.concatenate(hits).mean())}
    if isinstance(p, Add):
        inside = max(cell) <= p.train_length
        return [{"len_a": cell[0], "len_b": cell[1], "n": p.tests, **row, "in_dist": inside}]
    if isinstance(p, Passkey):
        return [{"length": cell[0], "depth": cell[1], "n": p.tests, **row}]
    return [{"length": cell, **row, "loss": float(np.mean(losses))}]


@torch.no_grad()
def perplexity(model: Decoder, rows: np.ndarray, device: str) -> dict[str, float]:
    """Perplexity over all tokens of the windows, and over their last 32, the same at any length."""
    losses = []
    for start in range(0, len(rows), 8):
        tokens = torch.from_numpy(rows[start : start + 8]).to(device)
        logits = model(tokens[:, :-1])
        losses.append(
            torch.nn.functional.cross_entropy(
                logits.transpose(1, 2), tokens[:, 1:], reduction="none"
            ).double().cpu()
        )  # fmt: skip
    loss = torch.cat(losses)
    return {"ppl": math.exp(loss.mean()), "ppl_last32": math.exp(loss[:, -32:].mean())}


def pointer(run: Run, p: Pointer) -> None:
    """Accuracy against length."""
    least = 2 * (tasks.SYMBOLS + 1)
    if p.train_length < least:
        raise ParameterError(
            "train_length", p.train_length, f"is below {least}",
            "the shortest sequences have half of it, and the marker needs 8 symbols behind it",
        )  # fmt: skip
    for job, outcome in compare(run, p, tasks.POINTER_VOCAB):
        for row in outcome["tested"]:
            run.write("accuracy", {"pe": job.pe, **row}, job.repeat)


def passkey(run: Run, p: Passkey) -> None:
    """Accuracy against length and depth."""
    shortest = min(p.train_length // 2, *p.lengths)
    if p.digits + 1 > shortest:
        raise ParameterError(
            "digits", p.digits, f"do not fit into the shortest sequences of {shortest} tokens",
            "give fewer digits or longer sequences",
        )  # fmt: skip
    for job, outcome in compare(run, p, tasks.PASSKEY_VOCAB):
        for row in outcome["tested"]:
            run.write("accuracy", {"pe": job.pe, **row}, job.repeat)


def add(run: Run, p: Add) -> None:
    """Accuracy for each pair of operand lengths."""
    for job, outcome in compare(run, p, tasks.ADD_VOCAB):
        for row in outcome["tested"]:
            run.write("grid", {"pe": job.pe, **row}, job.repeat)
        for inside, name in ((True, "in distribution"), (False, "out of distribution")):
            cells = [row["accuracy"] for row in outcome["tested"] if row["in_dist"] is inside]
            if cells:
                means = {"pe": job.pe, "part": name, "accuracy": float(np.mean(cells))}
                run.write("means", means, job.repeat)


def lm(run: Run, p: Lm) -> None:
    """Perplexity against length."""
    texts = corpus.corpus(p.text, max(p.lengths))
    if p.train_length + 1 > texts.validation.size:
        raise ParameterError(
            "train_length", p.train_length, "is longer than the validation text", "lower it"
        )
    for _ in run.cells([0], "texts"):
        facts = {"source": p.text, "vocab": texts.vocab, **corpus.facts(p.text)}
        for repeat in range(run.repeats):
            run.write("text", facts, repeat)
    for job, outcome in compare(run, p, texts.vocab):
        for row in outcome["tested"]:
            run.write("perplexity", {"pe": job.pe, **row}, job.repeat)


assert set(ENCODINGS) < set(SCRATCH)
