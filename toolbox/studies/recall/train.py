"""`recall train`: one transformer's learning curve, and what it hallucinates on the way."""

from __future__ import annotations

import math

import numpy as np

from toolbox.core.run import Run

from .cli import Train
from .ensemble import threads_for
from .tasks import draw_facts, make_task
from .transformer import Size, Transformer


def train(run: Run, p: Train) -> None:
    """One row per replicate and look.

    relation_accuracy counts every answer of the right relation as right: where it is 1 and the
    accuracy is not, the model hallucinates, an answer of the right kind about the wrong subject.
    """
    task = make_task(p.subjects, p.relations, p.answers, p.noise, p.length, p.facts)
    size = Size(p.dim, p.heads, p.head_dim, p.width)
    for repeat in run.replicates():
        drawn = draw_facts(run, task, p.dim, p.facts, p.evaluate, repeat)
        weights = run.torch_generator(repeat, "weights", p.heads, p.width, device="cpu")
        prompts = run.torch_generator(repeat, "prompts", device="cpu")
        model = Transformer(drawn, [size], [weights], [p.lr], p.batch, prompts, size.padded)
        with threads_for(model.largest()):
            for _ in run.steps(p.steps, model):
                model.step()
                if model.steps % p.every == 0 or model.steps == p.steps:
                    _look(run, repeat, model)


def _look(run: Run, repeat: int, model: Transformer) -> None:
    found = {name: float(values[0]) for name, values in model.evaluate().items()}
    run.check_finite(found["loss"], f"the loss at step {model.steps}")
    task = model.facts.task
    # log D while only the relation is known, and nothing at all is known above log RD.
    levels = {"log_answers": math.log(task.answers), "log_outputs": math.log(task.outputs)}
    run.write("curve", {"step": model.steps, **found, **levels}, repeat)
    shares = {
        "right": found["accuracy"],
        "right relation": found["relation_accuracy"],
        "hallucinated": found["relation_accuracy"] - found["accuracy"],
        "guessing in the relation (1/D)": 1 / task.answers,
    }
    run.write(
        "shares",
        {"step": model.steps, "answer": list(shares), "share": np.array(list(shares.values()))},
        repeat,
    )
