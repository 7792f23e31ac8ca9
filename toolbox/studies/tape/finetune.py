"""`tape finetune`: pre-train RoPE at N, adapt to 2 N by each method on equal terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from toolbox.core import memory
from toolbox.core.crew import Worker
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import adapters, corpus, tasks, training
from .compare import perplexity, text_batch
from .flags import Finetune
from .model import Decoder, Shape
from .names import METHODS
from .tasks import Batch

FACTOR = 2.0
RATES = {"longlora": 3e-3, "full": 1e-3}
"""Learning rates where --rates does not give them; other methods take OTHERS."""
OTHERS = 1e-2
GRID = (1 / 3, 1.0, 3.0)
"""With --tune every method tries so many times its learning rate."""
KEY_DIGITS = 4
TEST_BATCH = 50
METRICS = ("accuracy", "acc_pointer", "acc_recall", "ppl", "ppl_last32")
DIVISOR = 8
"""Input lengths in adaptation are multiples of it: LongLoRA has 4 groups of even size."""
BEHIND = {"pointer-recall": 25, "passkey": KEY_DIGITS + 1, "lm": 1}
"""Tokens of a sequence besides its n."""


@dataclass(frozen=True)
class Job:
    """One adaptation; state is the pre-trained model's."""

    p: Finetune
    repeat: int
    method: str
    lr: float
    vocab: int
    state: dict[str, torch.Tensor]

    def __str__(self) -> str:
        return f"{self.method} at rate {self.lr:g}"


def finetune(run: Run, p: Finetune) -> None:
    """One base model per replicate; every method from there, with the same batches."""
    training.known_encodings("methods", p.methods, METHODS)
    if "embnorm" not in p.methods:
        raise ParameterError(
            "methods", ",".join(p.methods), "leave out embnorm",
            "every other row contains what it does; without it a gain means nothing",
        )  # fmt: skip
    if p.n % 16:
        raise ParameterError("n", p.n, "is no multiple of 16", "LongLoRA needs whole groups")
    vocab = {"pointer-recall": tasks.RECALL_VOCAB, "passkey": tasks.PASSKEY_VOCAB}.get(p.task, 0)
    if p.task == "lm":
        vocab = corpus.corpus(p.text, 3 * p.n).vocab
    shape = shape_of(p, vocab)
    rows, longest = max(p.batch, p.adapt_batch, TEST_BATCH), 3 * p.n + 25
    pairs = 24.0 * p.layers * p.heads * rows * longest**2
    wide = 4.0 * p.layers * rows * longest * (24 * p.dim + 6 * p.ffn + 4 * shape.P)
    weights = 24.0 * (p.layers * (4 * p.dim**2 + 3 * p.dim * p.ffn) + 2 * vocab * p.dim)
    weights += 24.0 * p.layers * (shape.P * (p.dim + p.heads**2) + 8 * p.rank * p.dim)
    memory.need(pairs + wide + weights, "the activations of a step", "batch", p.batch)
    few = (p.pretrain + p.steps * len(p.methods)) * run.repeats < 300
    bases: dict[int, Any] = run.kept({})
    with run.crew(1 if few else None) as crew:
        jobs = [(repeat, p, vocab) for repeat in range(run.repeats)]
        bases_of = crew.map(pretrain, jobs, "base models", replicate=lambda job: job[0])
        for (repeat, _, _), result in bases_of:
            bases[repeat] = result["state"]
            run.write("base", result["base"], repeat)
            if result["curve"]["step"]:
                run.write("training", result["curve"], repeat)
    adaptations = [
        Job(p, repeat, method, lr, vocab, state)
        for repeat, state in sorted(bases.items())
        for method in p.methods
        for lr in rates_of(p, method)
    ]
    waiting: list[Any] = run.kept([])
    with run.crew(1 if few else None) as crew:
        mapped = crew.map(adapt, adaptations, "adaptations", replicate=lambda job: job.repeat)
        for job, result in mapped:
            if result["curve"]["step"]:
                run.write("training", result["curve"], job.repeat)
            waiting.append(result)
            if job.lr != rates_of(p, job.method)[-1]:
                continue
            best = min(range(len(waiting)), key=lambda i: waiting[i]["run"]["val_loss"])
            for index, each in enumerate(waiting):
                row = {"method": job.method, **each["run"], "chosen": index == best}
                run.write("runs", row, job.repeat)
            for row in waiting[best]["tested"]:
                run.write("lengths", {"method": job.method, **row}, job.repeat)
            waiting.clear()


def shape_of(p: Finetune, vocab: int) -> Shape:
    """The base model's shape."""
    return Shape(vocab, p.dim, p.layers, p.heads, p.ffn, "rope", p.position_size, p.n)


def rates_of(p: Finetune, method: str) -> tuple[float, ...]:
    """The learning rates that a method tries; methods without training have one of 0."""
    if method in METHODS[:2]:
        return (0.0,)
    rate = RATES.get(method, OTHERS) * p.rate_scale
    return tuple(rate * factor for factor in GRID) if p.tune else (rate,)


def sizes(p: Finetune) -> list[int]:
    """n of the adaptation batches, N to 2 N, so that inputs are multiples of 8."""
    behind = BEHIND[p.task] - 1
    inputs = np.arange(p.n + behind, 2 * p.n + behind + 1)
    lengths = [int(size) - behind for size in inputs if size % DIVISOR == 0]
    return [lengths[-1]] if p.task == "lm" else lengths[:: max(1, len(lengths) // 4)]


def draw(p: Finetune, rng: np.random.Generator, texts: Any, size: int, n: int) -> Batch:
    """A batch of the task with n tokens of content; of the text's training part."""
    if p.task == "lm":
        return text_batch(corpus.windows(rng, texts.train, size, n))
    if p.task == "passkey":
        return tasks.passkey(rng, size, n, KEY_DIGITS)
    return tasks.pointer_recall(rng, size, n)


def pretrain(worker: Worker, job: tuple[int, Finetune, int]) -> dict[str, Any]:
    """A RoPE model at length N, its accuracies there, and its curve.

    The pointer-recall task has a curriculum: 3/16 of the steps pointer questions on short texts,
    as many both kinds on short texts, then both kinds on texts up to N.
    """
    repeat, p, vocab = job
    texts = corpus.corpus(p.text, 3 * p.n) if p.task == "lm" else None
    model = Decoder(shape_of(p, vocab), worker.torch_generator(repeat, "weights", device="cpu"))
    model = model.to(worker.device)
    optimiser = training.optimiser(model, p.lr, 1.0)
    schedule = training.Schedule(p.pretrain, min(100, 1 + p.pretrain // 4), 0.7, 0.02)
    rng = worker.rng(repeat, "pretraining")
    curve: dict[str, list[Any]] = {"method": [], "lr": [], "step": [], "loss": []}
    every = max(1, p.pretrain // 20)
    for step in worker.steps(p.pretrain, model, optimiser, rng, curve):
        if p.task == "pointer-recall":
            early = 16 * step < 6 * p.pretrain
            low, high = (9 * p.n // 16, 3 * p.n // 4) if early else (5 * p.n // 8, p.n)
            n = int(rng.integers(low, high + 1))
            batch = tasks.pointer_recall(rng, p.batch, n, 16 * step < 3 * p.pretrain)
        else:
            n = p.n if p.task == "lm" else int(rng.integers(p.n // 2, p.n + 1))
            batch = draw(p, rng, texts, p.batch, n)
        loss = training.step(model, optimiser, batch, schedule(step), worker.device)
        worker.check_finite(loss, f"the loss of the base model at step {step + 1}")
        if (step + 1) % every == 0:
            record(curve, "pre-training", p.lr, step + 1, float(loss))
    (tested,) = [test(worker, p, repeat, model, texts, p.n)]
    base = {"length": p.n, **{k: v for k, v in tested.items() if k != "length"}}
    state = {name: weight.cpu() for name, weight in model.state_dict().items()}
    return {"state": state, "base": base, "curve": curve}


def record(curve: dict[str, list[Any]], method: str, lr: float, step: int, loss: float) -> None:
    """One more row of the table `training`."""
    for name, value in (("method", method), ("lr", lr), ("step", step), ("loss", loss)):
        curve[name].append(value)


def adapt(worker: Worker, job: Job) -> dict[str, Any]:
    """One adaptation and its tests; LongLoRA attends in groups in training alone."""
    p, repeat = job.p, job.repeat
    texts = corpus.corpus(p.text, 3 * p.n) if p.task == "lm" else None
    base = Decoder(shape_of(p, job.vocab))
    base.load_state_dict(job.state)
    generator = worker.torch_generator(repeat, "adapters", device="cpu")
    model = adapters.adapted(base, job.method, FACTOR, p.rank, generator).to(worker.device)
    trained, total = adapters.sizes(model)
    curve: dict[str, list[Any]] = {"method": [], "lr": [], "step": [], "loss": []}
    if job.lr:
        optimiser = training.optimiser(model, job.lr, p.tape_lr_mult, decay=0.0)
        schedule = training.Schedule(p.steps, min(10, 1 + p.steps // 4), 0.5, 0.05)
        rng = worker.rng(repeat, "adaptation")
        lengths = sizes(p)
        every = max(1, p.steps // 20)
        for step in worker.steps(p.steps, model, optimiser, rng, curve):
            batch = draw(p, rng, texts, p.adapt_batch, int(rng.choice(lengths)))
            loss = training.step(model, optimiser, batch, schedule(step), worker.device)
            worker.check_finite(loss, f"the loss of {job} at step {step + 1}")
            if (step + 1) % every == 0:
                record(curve, job.method, job.lr, step + 1, float(loss))
    model.groups = 0
    tested: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}
    lengths = [p.n, 3 * p.n // 2, 2 * p.n, 3 * p.n]
    for index in worker.steps(len(lengths) + 1, tested, facts, label="tests"):
        if index < len(lengths):
            tested.append(test(worker, p, repeat, model, texts, lengths[index]))
        else:
            val_loss = validation(worker, p, repeat, model, texts)
            facts |= {"lr": job.lr, "val_loss": val_loss, "trained": trained, "total": total}
    return {"run": facts, "tested": tested, "curve": curve}


def validation(worker: Worker, p: Finetune, repeat: int, model: Decoder, texts: Any) -> float:
    """The loss at 2 N on sequences that are neither trained nor tested."""
    if p.task == "lm":
        rows = corpus.ending(texts.validation, 16, 2 * p.n, 2 * p.n)
        return math.log(perplexity(model, rows, worker.device)["ppl"])
    rng = worker.rng(repeat, "validation")
    parts = [draw(p, rng, texts, TEST_BATCH, 2 * p.n) for _ in range(2)]
    return float(np.mean([training.right(model, each, worker.device)[1] for each in parts]))


def test(
    worker: Worker, p: Finetune, repeat: int, model: Decoder, texts: Any, n: int
) -> dict[str, Any]:
    """The row of one length; the same sequences for every method of a replicate."""
    nothing = dict.fromkeys(METRICS, math.nan)
    if p.task == "lm":
        rows = corpus.ending(texts.test, p.tests, 3 * p.n, n)
        return {"length": n, **nothing, **perplexity(model, rows, worker.device)}
    rng = worker.rng(repeat, "test", str(n))
    hits, kinds, losses = [], [], []
    left = p.tests
    while left:
        batch = draw(p, rng, None, min(left, TEST_BATCH), n)
        left -= len(batch.tokens)
        hit, loss = training.right(model, batch, worker.device)
        losses.append(loss)
        wanted = batch.answers[:, 1:]
        if p.task == "passkey":
            hits.append(training.exact(hit, batch))
            continue
        assert batch.kinds is not None
        hits.append(hit[wanted])
        kinds.append(batch.kinds[:, 1:][wanted])
    right = np.concatenate(hits)
    measured = {"length": n, **nothing, "accuracy": float(right.mean())}
    if kinds:
        kind = np.concatenate(kinds)
        for name, which in (("acc_pointer", 0), ("acc_recall", 1)):
            measured[name] = (
                float(right[kind == which].mean()) if (kind == which).any() else math.nan
            )
    # Of the answers alone: comparable between methods, not with a language model's.
    return {**measured, "ppl": math.exp(float(np.mean(losses)))}
