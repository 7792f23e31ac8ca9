"""One layer of softmax attention and MLP on frozen embeddings (paper, Section 4).

The query is always EOS and the embeddings are frozen, so a head's score and value depend on the
token alone, and a prompt enters through the counts c_v of its tokens only: the head's output is
sum_v c_v exp(s_v) V^T x_v / sum_v c_v exp(s_v), exactly. One product of counts with a table does
the attention of all heads and prompts; no (B, T, d) tensor is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import data
from .ensemble import Ensemble

FAR = 60.0
"""Spread of the scores over the vocabulary from which on `exp` may underflow in single precision,
also in a gradient."""
CHUNK = 2048  # prompts of the test set held as counts at a time
WIDTH_STEP = 128


@dataclass(frozen=True)
class Size:
    """H heads of dimension d_h on embeddings of dimension d, and an MLP of width m (0: none)."""

    d: int
    heads: int
    head_dim: int
    width: int

    @property
    def attention(self) -> int:
        """d d_h H, the heat map's axis."""
        return self.d * self.head_dim * self.heads

    @property
    def mlp(self) -> int:
        """d m, the heat map's axis."""
        return self.d * self.width

    @property
    def parameters(self) -> int:
        """4 H d_h d + 2 m d, the axis of the scaling figure."""
        return 4 * self.attention + 2 * self.mlp

    @property
    def padded(self) -> Size:
        """The shape that this one is computed in, see `initial`: heads to a power of two, two at
        least, width to a multiple of 128. It depends on this size alone, so that a cell trained by
        itself and one trained in a grid go through the same arithmetic. (With one head, products
        with a single column are rounded differently in an ensemble than alone.)"""
        heads = max(2, 1 << (self.heads - 1).bit_length())
        width = -(-max(self.width, 1) // WIDTH_STEP) * WIDTH_STEP
        return Size(self.d, heads, self.head_dim, width)


def initial(size: Size, into: Size, generator: torch.Generator, device: str) -> dict[str, Tensor]:
    """Weights of one model: Q, K, V ~ N(0, 1/d_h), O ~ N(0, 1/d), MLP LeCun normal, b = 0.

    Heads and hidden units beyond `size` are zero on both of their sides, so their gradients vanish
    and Adam leaves them at zero: padding is exact.
    """

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return torch.randn(rows, columns, generator=generator, device=generator.device) * scale

    def padded(block: Tensor, rows: int, columns: int) -> Tensor:
        out = torch.zeros(rows, columns, device=block.device)
        out[: block.shape[0], : block.shape[1]] = block
        return out

    d, of_heads, room, width = (
        size.d,
        size.heads * size.head_dim,
        into.heads * into.head_dim,
        size.width,
    )
    weights = {name: normal(d, of_heads, size.head_dim**-0.5) for name in ("Q", "K", "V")}
    out = {name: padded(block, d, room) for name, block in weights.items()}
    out["O"] = padded(normal(of_heads, d, d**-0.5), room, d)
    out["W1"] = padded(normal(d, width, d**-0.5), d, into.width)
    out["W2"] = padded(normal(width, d, max(width, 1) ** -0.5), into.width, d)
    out["b"] = torch.zeros(1, into.width)
    return {name: value.to(device) for name, value in out.items()}


@dataclass
class Facts:
    """What the members of an ensemble have in common: task, facts, embeddings, test prompts."""

    task: data.Task
    answers: Tensor
    """a(s, r): (S R,)."""
    embedding: Tensor
    """x_v ~ N(0, 1/d): (V, d)."""
    unembedding: Tensor
    """(d, R D)."""
    tokens: Tensor
    """Test prompts, (n, T)."""
    labels: Tensor
    """(n,)."""

    @classmethod
    def draw(
        cls,
        task: data.Task,
        d: int,
        contexts: int,
        table: np.ndarray,
        generator: torch.Generator,
        device: str,
    ) -> Facts:
        """Embeddings, and as test set every fact in `contexts` random contexts.

        contexts = 0 stands for the paper's 1024 random prompts. All is drawn on the CPU, so that a
        run on a GPU sees what one on a CPU sees.
        """
        answers = torch.from_numpy(table).flatten()
        embedding = torch.randn(task.vocabulary, d, generator=generator) / d**0.5
        unembedding = torch.randn(task.outputs, d, generator=generator) / d**0.5
        if contexts:
            subject, relation = data.all_queries(task, contexts, "cpu")
        else:
            subject, relation = data.random_queries(task, 1024, generator)
        tokens = data.prompts(task, subject, relation, generator)
        labels = answers[subject * task.relations + relation]
        parts = (answers, embedding, unembedding.T.contiguous(), tokens, labels)
        return cls(task, *(part.to(device) for part in parts))


def by_table(counts: Tensor, score: Tensor, value: Tensor) -> Tensor:
    """Softmax attention of every prompt through one table of the vocabulary, (E, B, H d_h).

    counts : (B, V);  score : (E, V, H);  value : (E, V, H, d_h)
    All prompts share one shift, the largest score of the vocabulary: right while no score lies
    more than `FAR` below it.
    """
    E, V, H, d_h = value.shape
    weight = torch.exp(score - score.detach().amax(dim=1, keepdim=True))
    # With columns to a multiple of four every member's matrix begins at 16 bytes: elsewhere MKL
    # may round otherwise, and a member alone have other numbers than in an ensemble.
    spare = weight.new_zeros(E, V, -H * (d_h + 1) % 4)
    table = torch.cat([(value * weight[..., None]).flatten(2), weight, spare], dim=2)
    sums = torch.bmm(counts.expand(E, -1, -1), table)
    over, under = sums[..., : H * d_h], sums[..., H * d_h : H * (d_h + 1)]
    return (over.view(E, -1, H, d_h) / under[..., None]).flatten(2)


def by_prompt(counts: Tensor, score: Tensor, value: Tensor) -> Tensor:
    """The same with a shift for every prompt, the largest score among its own tokens: slower, and
    right at any spread of the scores."""
    E, V, H, _ = value.shape
    count, token = counts.topk(int((counts > 0).sum(dim=1).max()), dim=1)  # (B, K)
    heads = []
    for h in range(H):
        logits = score[:, :, h][:, token] + count.log()  # (E, B, K), -inf where there is no token
        share = logits.softmax(dim=2)
        dense = score.new_zeros(E, len(counts), V).scatter(2, token.expand(E, -1, -1), share)
        heads.append(torch.bmm(dense, value[:, :, h]))
    return torch.stack(heads, dim=2).flatten(2)


class Transformer(Ensemble):
    """E models on the same facts and the same stream of prompts."""

    def __init__(
        self,
        facts: Facts,
        sizes: Sequence[Size],
        generators: Sequence[torch.Generator],
        rates: Sequence[float],
        batch: int,
        stream: torch.Generator,
        padded: Size | None = None,
    ) -> None:
        """sizes, generators (of the weights), rates : one per member; stream : of the prompts."""
        device = str(facts.embedding.device)
        self.shape = padded or sizes[0]
        drawn = [
            initial(size, self.shape, generator, device)
            for size, generator in zip(sizes, generators, strict=True)
        ]
        super().__init__({k: torch.stack([one[k] for one in drawn]) for k in drawn[0]}, rates)
        self.facts, self.size, self.stream = facts, batch, stream

    def draw(self) -> tuple[Tensor, ...]:
        """Fresh prompts, the same for all members: tokens (B, T) and the numbers of their facts
        (B,), on the CPU."""
        task = self.facts.task
        assert self.stream is not None
        subject, relation = data.random_queries(task, self.size, self.stream)
        tokens = data.prompts(task, subject, relation, self.stream)
        return tokens, subject * task.relations + relation

    def pieces(self, drawn: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Counts (B, V) and labels (B,)."""
        tokens, facts = drawn
        return [(data.counts(tokens, self.facts.task.vocabulary), self.facts.answers[facts])]

    def logits(self, inputs: Tensor) -> Tensor:
        """inputs : (B, V) counts. Returns (E, B, R D)."""
        p = self.parameters()
        E, V, H, d_h = (
            self.members,
            len(self.facts.embedding),
            self.shape.heads,
            self.shape.head_dim,
        )
        x = self.facts.embedding.expand(E, -1, -1)
        query = torch.bmm(x[:, -1:], p["Q"])
        # K_h q_h first: (E, d, H) instead of keys of every token.
        towards = (p["K"] * query).view(E, self.shape.d, H, d_h).sum(dim=3)
        score = torch.bmm(x, towards) / d_h**0.5
        value = torch.bmm(x, p["V"]).view(E, V, H, d_h)
        spread = (score.detach().amax(dim=1) - score.detach().amin(dim=1)).amax(dim=1)
        far = spread > FAR  # (E,); by member, so that a member's numbers are its own
        if self.failed is not None:  # in a captured step, which cannot look
            self.failed.logical_or_(far.any())
            mixed = by_table(inputs, score, value)
        elif not bool(far.any()):
            mixed = by_table(inputs, score, value)
        else:
            mixed = score.new_zeros(E, len(inputs), H * d_h)
            for members, attention in ((~far, by_table), (far, by_prompt)):
                chosen = members.nonzero()[:, 0]
                if len(chosen):
                    found = attention(inputs, score[chosen], value[chosen])
                    mixed = mixed.index_copy(0, chosen, found)
        out = torch.bmm(mixed, p["O"])
        if self.shape.width:
            hidden = torch.baddbmm(p["b"], out, p["W1"]).relu()
            out = torch.baddbmm(out, hidden, p["W2"])
        return torch.bmm(out, self.facts.unembedding.expand(E, -1, -1))

    def largest(self) -> int:
        """The counts, the heads, the hidden layer or the logits."""
        task, shape = self.facts.task, self.shape
        attention = shape.heads * (shape.head_dim + 1)
        return self.size * max(task.vocabulary, attention, shape.width, task.outputs)

    @torch.no_grad()
    def accuracy(self) -> np.ndarray:
        """Share of the test prompts answered rightly, (E,)."""
        return self.evaluate()["accuracy"]

    @torch.no_grad()
    def evaluate(self) -> dict[str, np.ndarray]:
        """On the test prompts, (E,) each: accuracy, relation accuracy (the answer is one of the
        relation's), loss, and the loss of the relation alone."""
        self.settle()
        D, n = self.facts.task.answers, len(self.facts.labels)
        sums = torch.zeros(4, self.members, dtype=torch.float64, device=self.flat.device)
        for at in range(0, n, CHUNK):
            tokens, labels = self.facts.tokens[at : at + CHUNK], self.facts.labels[at : at + CHUNK]
            log_p = self.logits(data.counts(tokens, self.facts.task.vocabulary)).log_softmax(dim=2)
            guess = log_p.argmax(dim=2)
            of_relation = labels[:, None] // D * D + torch.arange(D, device=labels.device)
            kind = log_p.gather(2, of_relation.expand(self.members, -1, -1)).logsumexp(dim=2)
            right = log_p.gather(2, labels.expand(self.members, -1)[..., None])[..., 0]
            parts = (guess == labels, guess // D == labels // D, -right, -kind)
            sums += torch.stack([part.double().sum(dim=1) for part in parts])
        names = ("accuracy", "relation_accuracy", "loss", "loss_relation")
        return dict(zip(names, (sums / n).cpu().numpy(), strict=True))
