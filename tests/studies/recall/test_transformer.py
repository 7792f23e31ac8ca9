"""The table of tokens against attention written out, and the symmetries of the task."""

import math

import numpy as np
import pytest
import torch

from toolbox.studies.recall import data
from toolbox.studies.recall.transformer import (
    FAR,
    Facts,
    Size,
    Transformer,
    by_prompt,
    by_table,
    initial,
)

TASK = data.Task(subjects=6, relations=5, answers=4, noise=11, length=12)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def facts(d, contexts=4):
    table = data.random_facts(TASK, np.random.default_rng(0))
    return Facts.draw(TASK, d, contexts, table, generator(1), "cpu")


def model(sizes, rates=None, padded=None, seed=2, batch=64):
    generators = [generator(seed + 10 * size.heads + size.width) for size in sizes]
    rates = rates or [0.01] * len(sizes)
    return Transformer(facts(sizes[0].d), sizes, generators, rates, batch, generator(3), padded)


def written_out(weights, held, tokens, heads, head_dim):
    """softmax(x_t K_h Q_h^T x_T / sqrt d_h), the way the paper writes it: logits (B, R D)."""
    x = held.embedding[tokens]
    outs = []
    for h in range(heads):
        own = slice(h * head_dim, (h + 1) * head_dim)
        query, key, value = (x @ weights[name][:, own] for name in ("Q", "K", "V"))
        score = (key * query[:, -1:]).sum(-1) / math.sqrt(head_dim)
        outs.append((torch.softmax(score, 1)[..., None] * value).sum(1))
    out = torch.cat(outs, 1) @ weights["O"]
    hidden = torch.relu(out @ weights["W1"] + weights["b"])
    return (out + hidden @ weights["W2"]) @ held.unembedding


@pytest.mark.parametrize(("heads", "width"), [(1, 0), (3, 16), (4, 1)])
def test_the_table_of_tokens_is_attention_written_out(heads, width):
    size = Size(8, heads, 3, width)
    one = model([size], padded=size.padded)
    for _ in range(5):
        one.step()
    weights = {name: value[0] for name, value in one.parameters().items()}
    subject, relation = data.random_queries(TASK, 50, generator(4))
    tokens = data.prompts(TASK, subject, relation, generator(5), shuffle=True)
    expected = written_out(weights, one.facts, tokens, size.padded.heads, 3)
    found = one.logits(data.counts(tokens, TASK.vocabulary))[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_positions_and_names_of_noise_do_not_matter():
    """A prompt is its counts (positions); renaming noise with its embeddings changes nothing."""
    one = model([Size(8, 2, 4, 16)])
    subject, relation = data.random_queries(TASK, 20, generator())
    tokens = data.prompts(TASK, subject, relation, generator())
    order = torch.randperm(TASK.length - 1, generator=generator(6))
    moved = torch.cat([tokens[:, order], tokens[:, -1:]], 1)
    counted = data.counts(tokens, TASK.vocabulary)
    assert torch.equal(data.counts(moved, TASK.vocabulary), counted)
    before = one.logits(counted)
    names = torch.arange(TASK.vocabulary)
    first = TASK.subjects + TASK.relations
    names[first:-1] = first + torch.randperm(TASK.noise, generator=generator(7))
    one.facts.embedding[names] = one.facts.embedding.clone()
    assert torch.allclose(
        one.logits(data.counts(names[tokens], TASK.vocabulary)), before, atol=1e-5
    )


def test_padding_is_exact_and_stays_zero():
    size, into = Size(8, 3, 4, 20), Size(8, 4, 4, 128)
    plain, padded = model([size]), model([size], padded=into)
    for _ in range(30):
        plain.step()
        padded.step()
    small, large = plain.parameters(), padded.parameters()
    assert torch.allclose(small["O"], large["O"][:, :12], atol=1e-3)
    assert (large["O"][:, 12:] == 0).all()
    assert (large["V"][:, :, 12:] == 0).all()
    assert (large["W1"][:, :, 20:] == 0).all()
    assert (large["W2"][:, 20:] == 0).all()
    assert (large["b"][:, :, 20:] == 0).all()


@pytest.mark.parametrize(("d", "heads", "head_dim"), [(8, 3, 4), (32, 1, 8), (16, 1, 4)])
def test_a_cell_alone_has_the_numbers_of_the_grid(d, heads, head_dim):
    sizes = [Size(d, heads, head_dim, m) for m in (0, 8, 32)]
    into = sizes[0].padded
    sizes.append(Size(d, into.heads, head_dim, 8))
    together = model(sizes, padded=into)
    alone = model(sizes[2:3], padded=into)
    for step in range(40):
        together.step()
        alone.step()
        if step == 20:
            together.keep(torch.tensor([0, 2]))
    assert torch.equal(together.flat[1], alone.flat[0])


def test_the_gradient_is_that_of_the_cross_entropy():
    size = Size(8, 2, 4, 16)
    ours, reference = model([size]), model([size])
    flat = reference.flat.detach().clone().requires_grad_()
    adam = torch.optim.Adam([flat], lr=0.01)
    for _ in range(10):
        ours.step()
        reference.flat = flat
        counts, labels = reference.pieces(reference.draw())[0]
        adam.zero_grad()
        torch.nn.functional.cross_entropy(reference.logits(counts)[0], labels).backward()
        adam.step()
    assert torch.allclose(ours.flat, flat, atol=2e-4)


def test_initial_scales():
    weights = initial(Size(64, 8, 16, 256), Size(64, 8, 16, 256), generator(), "cpu")
    expected = {"Q": 1 / 16, "K": 1 / 16, "V": 1 / 16, "O": 1 / 64, "W1": 1 / 64, "W2": 1 / 256}
    for name, variance in expected.items():
        assert weights[name].var().item() == pytest.approx(variance, rel=0.1), name
    assert (weights["b"] == 0).all()


def test_a_memory_that_ignores_the_subject_scores_the_relation_marginal():
    """Without its subjects' embeddings a model can learn only p(answer | relation)."""
    held = facts(16, contexts=20)
    held.embedding[: TASK.subjects] = 0
    size = Size(16, 4, 8, 32)
    one = Transformer(held, [size], [generator(2)], [0.01], 256, generator(3))
    for _ in range(600):
        one.step()
    found = one.evaluate()
    own = held.answers.view(TASK.subjects, TASK.relations) % TASK.answers
    counts = torch.stack([(own == k).sum(0) for k in range(TASK.answers)]).double()
    shares = counts / TASK.subjects
    best = float(shares.max(0).values.mean())
    entropy = float(-(shares.clamp(min=1e-12).log() * shares).sum(0).mean())
    assert found["relation_accuracy"][0] > 0.999
    assert found["accuracy"][0] == pytest.approx(best, abs=0.06)
    assert found["loss"][0] == pytest.approx(entropy, abs=0.1)
    assert found["loss_relation"][0] < 0.02


def test_parameter_counts():
    size = Size(d=32, heads=8, head_dim=4, width=64)
    assert (size.attention, size.mlp, size.parameters) == (1024, 2048, 4 * 1024 + 2 * 2048)


def over_positions(counts, score, value):
    """Plain softmax attention over the positions of each prompt, in double precision."""
    E, _, H, d_h = value.shape
    score, value = score.double(), value.double()
    out = torch.zeros(E, len(counts), H, d_h, dtype=torch.float64)
    rows = []
    for row in counts.long():
        tokens = torch.repeat_interleave(torch.arange(len(row)), row)
        share = score[:, tokens].softmax(dim=1)
        rows.append((share[..., None] * value[:, tokens]).sum(dim=1))
    out = torch.stack(rows, dim=1)
    return out.flatten(2)


@pytest.mark.parametrize("spread", [1.0, 50.0, 59.0, 100.0, 275.0, 551.0, 1000.0])
def test_attention_is_softmax_over_positions_at_any_spread_of_the_scores(spread):
    """Forward and gradient; the prompts include ones whose tokens all lie far below the best."""
    generator = torch.Generator().manual_seed(0)
    E, B, V, H, d_h = 2, 40, 30, 2, 3
    counts = torch.zeros(B, V)
    for row in range(B):
        drawn = torch.randint(0, V, (6,), generator=generator)
        counts[row] += torch.bincount(drawn, minlength=V)
    base = torch.rand(E, V, H, generator=generator)
    base = (base - base.amin(dim=1, keepdim=True)) / (base.amax(dim=1) - base.amin(dim=1))[:, None]
    outward = torch.randn(E, B, H * d_h, generator=generator)
    grown = torch.randn(E, V, H, d_h, generator=generator)
    attention = by_table if spread <= FAR else by_prompt
    results = []
    for compute in (attention, over_positions):
        score = (spread * base).clone().requires_grad_()
        value = grown.clone().requires_grad_()
        found = compute(counts, score, value)
        (found * outward.to(found)).sum().backward()
        results.append((found.detach().double(), score.grad.double(), value.grad.double()))
    for ours, plain in zip(*results, strict=True):
        assert torch.isfinite(ours).all()
        assert torch.allclose(ours, plain, atol=2e-5 * (1 + spread / 60))
