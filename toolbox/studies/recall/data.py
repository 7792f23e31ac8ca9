"""Facts, prompts and embeddings.

Token ids: subjects 0..S-1, relations S..S+R-1, noise S+R..S+R+n-1, and EOS, the last id.
Answers D r..D (r+1) - 1 belong to relation r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Synthetic factual recall (paper, Section 4): S subjects, R relations, D answers each."""

    subjects: int
    relations: int
    answers: int
    noise: int
    length: int
    """T: one subject, one relation, T - 3 noise tokens and EOS."""

    @property
    def vocabulary(self) -> int:
        """S + R + noise + 1."""
        return self.subjects + self.relations + self.noise + 1

    @property
    def outputs(self) -> int:
        """R D answers."""
        return self.relations * self.answers

    @property
    def facts(self) -> int:
        """S R."""
        return self.subjects * self.relations


def random_facts(task: Task, rng: np.random.Generator) -> np.ndarray:
    """a(s, r) uniform in the D answers of r, independently, with replacement: (S, R)."""
    answers = rng.integers(task.answers, size=(task.subjects, task.relations))
    return task.answers * np.arange(task.relations) + answers


def structured_facts(task: Task) -> np.ndarray:
    """a(s, r) = D r + floor(s D / S): the subject alone decides the answer modulo D, (S, R)."""
    first_answer = np.arange(task.subjects) * task.answers // task.subjects
    return task.answers * np.arange(task.relations) + first_answer[:, None]


def prompts(
    task: Task, subject: Tensor, relation: Tensor, generator: torch.Generator, shuffle: bool = False
) -> Tensor:
    """Token ids of prompts about the given facts, (B, T), EOS last.

    subject, relation : (B,). The model has no positions, so subject and relation stand first
    unless `shuffle`, which puts everything but EOS in uniformly random order as the paper does.
    """
    size, device = len(subject), subject.device
    first = task.subjects + task.relations
    drawn = torch.randint(
        task.noise, (size, task.length - 3), generator=generator, device=device
    ).add_(first)
    end = torch.full((size, 1), task.vocabulary - 1, device=device)
    body = torch.cat([subject[:, None], relation[:, None] + task.subjects, drawn], dim=1)
    if shuffle:
        order = torch.rand(body.shape, generator=generator, device=device).argsort(dim=1)
        body = body.gather(1, order)
    return torch.cat([body, end], dim=1)


def random_queries(task: Task, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Subjects and relations, uniform: two (B,), on the generator's device."""
    device = generator.device
    subject = torch.randint(task.subjects, (batch,), generator=generator, device=device)
    relation = torch.randint(task.relations, (batch,), generator=generator, device=device)
    return subject, relation


def all_queries(task: Task, contexts: int, device: str) -> tuple[Tensor, Tensor]:
    """Every fact `contexts` times: two (S R contexts,)."""
    each = torch.arange(task.facts, device=device).repeat(contexts)
    return each // task.relations, each % task.relations


def counts(tokens: Tensor, vocabulary: int) -> Tensor:
    """How often each token occurs in each prompt, (B, vocabulary) in float32."""
    out = torch.zeros(len(tokens), vocabulary, device=tokens.device)
    return out.scatter_add_(1, tokens, torch.ones((), device=tokens.device).expand(tokens.shape))


def unit_rows(count: int, d: int, generator: torch.Generator, device: str) -> Tensor:
    """Embeddings of an associative memory: Gaussian rows scaled to unit length, (count, d)."""
    rows = torch.randn(count, d, generator=generator, device=generator.device)
    return torch.nn.functional.normalize(rows, dim=1).to(device)


def association(inputs: int, outputs: int | None) -> np.ndarray:
    """f(x): the identity, or floor(x M / N) onto M outputs, (N,)."""
    x = np.arange(inputs)
    return x if outputs is None else x * outputs // inputs
