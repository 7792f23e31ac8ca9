"""Sequences per second of `icl plateau`'s trainer against plain ways of the same work.

Run it as

    python benchmarks/icl.py [--only smoke|small] [--steps 4000] [--rounds 1] [--compile] [--tokens]

from the repository. Each way trains the members of a whole `icl plateau --tasks 4` in turns, each
member for as many steps as ours takes until it is decided, at most --steps; at `small` that is ten
minutes on two cores, a quarter of them with --steps 500. Printed is the median over rounds of
sequences per second, and how many times more ours are:

    ours      the trainer as the command runs it: ensembles or a process per core, as it chooses,
              the start of the processes included
    plain     (a) one torch module and torch.optim.Adam per seed and mix, one after another, with
              torch's default threads; the same prompts, drawn step by step
    gpt2      (b) the same loop with GPT2Model of `transformers` (not a dependency of ours)
    compiled  with --compile: (a) under torch.compile, the compilation included

and (c) the share of the peak of this machine's matrix product that ours reach. With --tokens it
prints instead the CPU milliseconds of a member's step on one thread, in ensembles of E, with
gradients by torch instead of by hand, and by (a) and (b); the constants ENSEMBLE_TOKENS of the
trainer and BY_HAND_TOKENS of the ensemble come from there. For (b) install `transformers` into the
environment that runs this script.
"""

from __future__ import annotations

import argparse
import importlib.util
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("smoke", "small"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--tokens", action="store_true")
    args = parser.parse_args()
    if args.tokens:
        by_tokens()
        return
    tiny = {"n": 8, "batch": 8, "embd": 16, "heads": 2, "init_std": 0.07, "until": "steps"}
    if args.only != "small":
        compare("smoke", setting(steps=100, **tiny), members(3), max(3, args.rounds), args.compile)
    if args.only != "smoke":
        compare("small", setting(steps=args.steps), members(6), args.rounds, args.compile)


def setting(**changes):
    from toolbox.studies.icl.cli import Plateau

    return Plateau(**changes)


def members(repeats: int):
    """Those of `icl plateau --tasks 4`."""
    from toolbox.studies.icl.names import DEFAULT_TASKS
    from toolbox.studies.icl.plan import Member
    from toolbox.studies.icl.plateau import arms

    plan = arms(DEFAULT_TASKS, DEFAULT_TASKS, (3e-3,), True)
    return [Member(arm, repeat) for arm in plan for repeat in range(repeats)]


def compare(name: str, s, every, rounds: int, compiled: bool) -> None:
    ways = ["ours", "plain"]
    if importlib.util.find_spec("transformers"):
        ways.append("gpt2")
    else:
        print("gpt2: not measured; `pip install transformers` here to compare with it")
    if compiled:
        ways.append("compiled")
    wall: dict[str, list[float]] = {way: [] for way in ways}
    steps: list[int] = []
    for _ in range(rounds):
        for way in ways:
            # A process of its own: no way has the threads, the memory or the caches of another.
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                seconds, steps = process.submit(measure, way, s, every, steps).result()
            wall[way].append(seconds)
    sequences = s.batch * sum(steps)
    best = statistics.median(wall["ours"])
    print(f"{name}: {len(every)} members, {sum(steps)} steps of {s.member_tokens} tokens")
    for way in ways:
        seconds = statistics.median(wall[way])
        print(
            f"  {way:9s} {sequences / seconds:9.0f} sequences/s   {seconds:7.2f} s   "
            f"ours is {seconds / best:5.2f} times faster"
        )
    peak = gemm_peak()
    share = flops(s) * sequences / best / peak
    print(f"  GEMM peak {peak / 1e9:.0f} GFLOP/s on all cores; ours reaches {100 * share:.1f} %")


def measure(way: str, s, every, steps: list[int]) -> tuple[float, list[int]]:
    """Seconds that a way takes, without the import of its library, and the steps of the members."""
    import torch

    build = {"plain": module, "gpt2": gpt2, "compiled": lambda s: torch.compile(module(s))}
    if way == "gpt2":
        import transformers  # noqa: F401
    began = time.perf_counter()
    if way == "ours":
        steps = ours(s, every)
    else:
        plain(s, every, steps, build[way])
    return time.perf_counter() - began, steps


def flops(s) -> float:
    """Of the matrix products for one sequence, forward and backward; the last layer's shortened."""
    from toolbox.studies.icl.plan import sizes_of

    T, e, n = sizes_of(s).tokens, s.embd, s.n
    whole = 24 * T * e * e + 4 * T * T * e
    last = 4 * T * e * e + 20 * n * e * e + 4 * n * T * e
    return 3.0 * ((s.layers - 1) * whole + last + 2 * T * sizes_of(s).inputs * e + 2 * n * e)


def gemm_peak() -> float:
    import torch

    a = torch.randn(1024, 1024)
    rates = []
    for _ in range(8):
        began = time.perf_counter()
        a @ a
        rates.append(2 * 1024**3 / (time.perf_counter() - began))
    return max(rates)


def ours(s, every) -> list[int]:
    """The members through `trainer.train`, as a run of the command has it. Returns their steps."""
    import tempfile
    from pathlib import Path

    from toolbox.core.run import Run
    from toolbox.core.spec import load_command
    from toolbox.studies.icl.trainer import train

    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            study="icl", command="plateau", spec=load_command("icl", "plateau"), seed=0,
            repeats=1, asked_device="cpu", again=True, allow_costly=False, quiet=True,
            folder=Path(folder), checkpoint_path=Path(folder) / "none", say=print,
            manifest={}, threads=len(os.sched_getaffinity(0)),
        )  # fmt: skip
        return [outcome.steps for outcome in train(run, s, every)]


def module(s):
    """The network as torch modules, predictions at every position."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from toolbox.studies.icl.plan import sizes_of

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            e = s.embd
            self.norm1, self.norm2 = nn.LayerNorm(e), nn.LayerNorm(e)
            self.qkv, self.mix = nn.Linear(e, 3 * e), nn.Linear(e, e)
            self.up, self.down = nn.Linear(e, 4 * e), nn.Linear(4 * e, e)

        def forward(self, x):
            q, k, v = self.qkv(self.norm1(x)).split(s.embd, dim=2)
            q, k, v = (
                y.unflatten(2, (s.heads, s.embd // s.heads)).transpose(1, 2) for y in (q, k, v)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.mix(mixed.transpose(1, 2).flatten(2))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.read_in, self.read_out = (
                nn.Linear(sizes_of(s).inputs, s.embd),
                nn.Linear(s.embd, 1),
            )
            self.positions = nn.Parameter(s.init_std * torch.randn(sizes_of(s).tokens, s.embd))
            self.blocks = nn.Sequential(*(Block() for _ in range(s.layers)))
            self.norm = nn.LayerNorm(s.embd)

        def forward(self, tokens):
            x = self.blocks(self.read_in(tokens) + self.positions)
            return self.read_out(self.norm(x))[:, ::2, 0]

    return Network()


def gpt2(s):
    """The official code's network: GPT2Model between a linear read-in and read-out."""
    from torch import nn
    from transformers import GPT2Config, GPT2Model

    from toolbox.studies.icl.plan import sizes_of

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = GPT2Config(
                n_positions=sizes_of(s).tokens, n_embd=s.embd, n_layer=s.layers, n_head=s.heads,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                initializer_range=s.init_std,
            )  # fmt: skip
            self.read_in, self.read_out = (
                nn.Linear(sizes_of(s).inputs, s.embd),
                nn.Linear(s.embd, 1),
            )
            self.backbone = GPT2Model(config)

        def forward(self, tokens):
            out = self.backbone(inputs_embeds=self.read_in(tokens)).last_hidden_state
            return self.read_out(out)[:, ::2, 0]

    return Network()


def plain(s, every, steps, build) -> None:
    """One model after another, one step after another."""
    import torch
    from torch.nn import functional as F

    from toolbox.studies.icl.prompts import Prompts, tokens_of

    for member, count in zip(every, steps, strict=True):
        torch.manual_seed(member.repeat)
        network, prompts = build(s), Prompts(s, member, 0)
        adam = torch.optim.Adam(network.parameters(), lr=member.arm.lr)
        weight = (prompts.copies / prompts.optimum).float()
        for _ in range(count):
            block = prompts.block(1)
            x, y, share = block.x[0], block.y[0], block.share[0].float()
            each = F.softplus(-y * network(tokens_of(x, y, s.token))).mean(dim=1)
            loss = (each @ share * weight).sum()
            loss.item()  # every loop logs it
            adam.zero_grad()
            loss.backward()
            adam.step()


def by_tokens() -> None:
    """Milliseconds of a member's step: by tokens per member, members in the ensemble and way."""
    import torch

    from toolbox.studies.icl import ensemble

    torch.set_num_threads(1)
    every = members(2)
    longest = ensemble.BY_HAND_TOKENS

    def ours(s, size: int) -> float:
        stack = ensemble.Ensemble(s, every[:size], 0)
        stack.block()
        return min(cpu(stack.block) for _ in range(3)) / size

    def theirs(s, build) -> float:
        try:
            plain(s, every[:1], [ensemble.BLOCK], build)
            return cpu(lambda: plain(s, every[:1], [ensemble.BLOCK], build))
        except ImportError:
            return float("nan")

    def cpu(act: Callable[[], None]) -> float:
        began = time.process_time()
        act()
        return 1e3 * (time.process_time() - began) / ensemble.BLOCK

    print(
        "tokens: prompts x positions width     E=1     E=3     E=6    E=12   torch   plain    gpt2"
    )
    for n, batch, embd in (
        (8, 8, 16), (8, 16, 32), (16, 16, 32), (16, 32, 32), (16, 64, 32), (16, 64, 64),
        (16, 256, 32), (64, 16, 32), (128, 8, 32), (256, 4, 32),
    ):  # fmt: skip
        s = setting(steps=10**6, n=n, batch=batch, embd=embd)
        ensemble.BY_HAND_TOKENS = 10**6
        row = [ours(s, size) for size in (1, 3, 6, 12)]
        ensemble.BY_HAND_TOKENS = 0
        row += [ours(s, 1), theirs(s, module), theirs(s, gpt2)]
        ensemble.BY_HAND_TOKENS = longest
        shown = " ".join(f"{value:7.2f}" for value in row)
        print(f"{s.member_tokens:6d}: {batch:7d} x {2 * n:9d} {embd:5d} {shown}")


if __name__ == "__main__":
    main()
