"""Seconds per training step of one transformer of `recall tradeoff`: ours against the plain way.

Run it as

    python benchmarks/recall.py [--heads 8] [--width 64] [--steps 200] [--threads 1]

from the repository. Each way trains the same network (S = R = 16, D = 8, d = 16, d_h = 4, T = 16,
batch 256, fresh prompts each step, Adam) in this one process, in turns, five times. Printed is the
median time of a step of one model, and how many times longer it is than ours in an ensemble of
five cells, as `tradeoff` trains them:

    ensemble   ours, five cells of a heat map at once, time per cell
    alone      ours, one cell
    plain      torch, full (B, T, d) tensors with shuffled positions, torch.optim.Adam
    flax       the same network in flax and optax, jitted (only where both are installed: it is what
               the paper's code uses)

It also prints the largest difference between our logits and those of `plain` for equal weights.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    if args.threads == 1:  # XLA has no other switch
        os.environ.setdefault(
            "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        )
    ways = {**ours(args.heads, args.width), "plain": plain(args.heads, args.width)}
    try:
        ways["flax"] = flax_way(args.heads, args.width)
    except ImportError as error:
        print(f"flax: not measured ({error})")
    times: dict[str, list[float]] = {name: [] for name in ways}
    for step in ways.values():  # compile and warm up
        step(20)
    for _ in range(5):
        for name, step in ways.items():
            start = time.perf_counter()
            step(args.steps)
            times[name].append((time.perf_counter() - start) / args.steps)
    medians = {name: statistics.median(values) for name, values in times.items()}
    medians["ensemble"] /= 5
    for name, value in medians.items():
        ratio = value / medians["ensemble"]
        print(f"{name:10s} {1e3 * value:8.3f} ms per model and step   x {ratio:.2f}")


def setting(heads: int, width: int):
    import numpy as np
    import torch

    from toolbox.studies.recall import data
    from toolbox.studies.recall.transformer import Facts, Size

    task = data.Task(16, 16, 8, 32, 16)
    table = data.random_facts(task, np.random.default_rng(0))
    facts = Facts.draw(task, 16, 4, table, torch.Generator().manual_seed(0), "cpu")
    return task, facts, Size(16, heads, 4, width)


def ours(heads: int, width: int) -> dict[str, Callable[[int], None]]:
    import torch

    from toolbox.studies.recall.transformer import Transformer

    _, facts, size = setting(heads, width)

    def way(members: int) -> Callable[[int], None]:
        generators = [torch.Generator().manual_seed(i) for i in range(members)]
        stream = torch.Generator().manual_seed(1)
        model = Transformer(
            facts, [size] * members, generators, [0.01] * members, 256, stream, size.padded
        )

        def run(steps: int) -> None:
            for _ in range(steps):
                model.step()

        return run

    return {"ensemble": way(5), "alone": way(1)}


def plain(heads: int, width: int) -> Callable[[int], None]:
    """The model as the paper writes it."""
    import torch

    from toolbox.studies.recall import data
    from toolbox.studies.recall.transformer import Transformer, initial

    task, facts, size = setting(heads, width)
    weights = initial(size, size, torch.Generator().manual_seed(0), "cpu")
    parameters = {name: torch.nn.Parameter(value) for name, value in weights.items()}
    adam = torch.optim.Adam(parameters.values(), lr=0.01)
    stream = torch.Generator().manual_seed(1)
    H, d_h = size.heads, size.head_dim

    def logits(tokens):
        x = facts.embedding[tokens]
        B, T, _ = x.shape
        query = (x[:, -1] @ parameters["Q"]).view(B, H, d_h)
        key = (x @ parameters["K"]).view(B, T, H, d_h)
        value = (x @ parameters["V"]).view(B, T, H, d_h)
        score = torch.einsum("bthk,bhk->bht", key, query) / math.sqrt(d_h)
        mixed = torch.einsum("bht,bthk->bhk", torch.softmax(score, 2), value).flatten(1)
        out = mixed @ parameters["O"]
        out = out + torch.relu(out @ parameters["W1"] + parameters["b"]) @ parameters["W2"]
        return out @ facts.unembedding

    with torch.no_grad():
        same = Transformer(facts, [size], [torch.Generator().manual_seed(0)], [0.01], 256, stream)
        counts = data.counts(facts.tokens, task.vocabulary)
        gap = (same.logits(counts)[0] - logits(facts.tokens)).abs().max()
    print(f"largest difference of the logits, ours and plain: {gap:.1e}")

    def run(steps: int) -> None:
        for _ in range(steps):
            subject, relation = data.random_queries(task, 256, stream)
            tokens = data.prompts(task, subject, relation, stream, shuffle=True)
            labels = facts.answers[subject * task.relations + relation]
            adam.zero_grad()
            torch.nn.functional.cross_entropy(logits(tokens), labels).backward()
            adam.step()

    return run


def flax_way(heads: int, width: int) -> Callable[[int], None]:
    """The same in flax and optax; prompts are drawn inside the jitted step."""
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import optax

    task, facts, size = setting(heads, width)
    embedding, unembedding = (
        jnp.array(facts.embedding.numpy()),
        jnp.array(facts.unembedding.numpy()),
    )
    answers = jnp.array(facts.answers.numpy())
    H, d_h, S, R = size.heads, size.head_dim, task.subjects, task.relations

    class Model(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            x = embedding[tokens]
            B, T, d = x.shape
            normal = nn.initializers.normal
            shape = (d, H * d_h)
            Q, K, V = (self.param(name, normal(d_h**-0.5), shape) for name in "QKV")
            query = (x[:, -1] @ Q).reshape(B, H, d_h)
            key, value = ((x @ W).reshape(B, T, H, d_h) for W in (K, V))
            score = jnp.einsum("bthk,bhk->bht", key, query) / math.sqrt(d_h)
            mixed = jnp.einsum("bht,bthk->bhk", jax.nn.softmax(score), value).reshape(B, -1)
            out = mixed @ self.param("O", normal(d**-0.5), (H * d_h, d))
            out = out + nn.Dense(d, use_bias=False)(nn.relu(nn.Dense(width)(out)))
            return out @ unembedding

    model, adam = Model(), optax.adam(0.01)
    weights = model.init(jax.random.key(0), jnp.zeros((1, task.length), dtype=int))
    state = [weights, adam.init(weights), jax.random.key(1)]

    def prompts(key):
        keys = jax.random.split(key, 4)
        subject = jax.random.randint(keys[0], (256,), 0, S)
        relation = jax.random.randint(keys[1], (256,), 0, R)
        noise = jax.random.randint(keys[2], (256, task.length - 3), S + R, S + R + task.noise)
        body = jnp.concatenate([subject[:, None], relation[:, None] + S, noise], 1)
        body = jax.random.permutation(keys[3], body, axis=1, independent=True)
        end = jnp.full((256, 1), task.vocabulary - 1)
        return jnp.concatenate([body, end], 1), answers[subject * R + relation]

    @jax.jit
    def step(weights, moments, key):
        key, now = jax.random.split(key)
        tokens, labels = prompts(now)

        def loss(weights):
            logits = model.apply(weights, tokens)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        updates, moments = adam.update(jax.grad(loss)(weights), moments)
        return optax.apply_updates(weights, updates), moments, key

    def run(steps: int) -> None:
        for _ in range(steps):
            state[:] = step(*state)
        jax.block_until_ready(state[0])

    return run


if __name__ == "__main__":
    main()
