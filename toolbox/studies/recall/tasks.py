"""What the transformer commands have in common: the task of a run and its refusals."""

from __future__ import annotations

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import data
from .transformer import Facts

TEST_PROMPTS = 1024


def make_task(
    subjects: int, relations: int, answers: int, noise: int, length: int, facts: str
) -> data.Task:
    """The task; noise 0 stands for S + R, as in the paper.

    Errors: `ParameterError` for structured facts whose subjects cannot name all D answers.
    """
    if facts == "structured" and answers > subjects:
        raise ParameterError(
            "answers",
            answers,
            f"structured facts need at most as many as {{subjects}} {subjects}",
        )
    return data.Task(subjects, relations, answers, noise or subjects + relations, length)


def draw_facts(
    run: Run, task: data.Task, d: int, kind: str, evaluate: str, repeat: int, *stream: str | int
) -> Facts:
    """Facts, embeddings and test prompts of one replicate.

    evaluate : `facts`, every fact in as many contexts as make 1024 prompts, or `prompts`, the
               paper's 1024 random prompts
    stream : names further draws of the same replicate
    """
    if kind == "structured":
        table = data.structured_facts(task)
    else:
        table = data.random_facts(task, run.rng(repeat, "facts", *stream))
    contexts = -(-TEST_PROMPTS // task.facts) if evaluate == "facts" else 0
    generator = run.torch_generator(repeat, "embeddings", *stream, device="cpu")
    return Facts.draw(task, d, contexts, table, generator, run.device)
