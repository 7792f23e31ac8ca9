"""Samples per second of `multiindex scaling`'s shared stream against a plain numpy loop.

Run it as

    python benchmarks/multiindex.py [--d 64] [--samples 200000] [--preset]

from the repository. Both ways train 16 neurons at each of four step sizes on h2+h4 with P = 4, by
the same batches (the size that the study chooses) and for the same number of samples, in turns,
three times; a sample counts once per step size that has seen it. Printed are medians, in wall and
in processor time:

    ours       one stream, four step sizes as one product, float32, drawn in a second thread
    reduced    the same chain in P + 1 coordinates, exact in law for each neuron
    plain      numpy: a loop over the step sizes, each with its own stream, float64, h_q by
               numpy.polynomial.hermite_e
    one        the same at batch 1, which is how the paper writes it (a hundredth of the samples)

With --preset it also times the small preset of `scaling` as its own process.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

M, P = 16, 4
SCALES = (0.5, 1.0, 2.0, 4.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--preset", action="store_true")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    ways: dict[str, Callable[[int], int]] = {
        "ours": ours(args.d, reduced=False),
        "reduced": ours(args.d, reduced=True),
        "plain": plain(args.d, batch_of(args.d)),
        "one": plain(args.d, 1),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        way(args.samples // (1000 if name == "one" else 20))
    for _ in range(3):
        for name, way in ways.items():
            start, before = time.perf_counter(), time.process_time()
            seen = way(args.samples // (100 if name == "one" else 1))
            wall[name].append(seen / (time.perf_counter() - start))
            processor[name].append(seen / (time.process_time() - before))
    print(f"d = {args.d}, batch {batch_of(args.d)}; samples per second, a step size each")
    for name in ways:
        speed, own = statistics.median(wall[name]), statistics.median(processor[name])
        print(
            f"{name:8s} {speed:12,.0f} per wall second   {own:12,.0f} per processor second   "
            f"plain x {speed / statistics.median(wall['plain']):.1f} wall, "
            f"x {own / statistics.median(processor['plain']):.1f} processor"
        )
    if args.preset:
        preset()


def preset() -> None:
    """Wall and processor seconds of the small preset."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        line = [sys.executable, "-m", "toolbox", "multiindex", "scaling", "--quiet", "--out", out]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"scaling, small preset: {time.perf_counter() - start:.1f} s wall, "
            f"{used.ru_utime + used.ru_stime:.1f} s processor, with start and imports"
        )


def link_and_steps(d: int):
    import numpy as np

    from toolbox.studies.multiindex import theory
    from toolbox.studies.multiindex.link import parse_link

    link = parse_link("h2+h4")
    return link, theory.step_unit(link, P, d) * np.array(SCALES)


def batch_of(d: int) -> int:
    from toolbox.studies.multiindex import theory

    link, etas = link_and_steps(d)
    return theory.batch_size(link, float(etas[-1]), 0, d)


def ours(d: int, reduced: bool) -> Callable[[int], int]:
    import numpy as np
    import torch

    from toolbox.studies.multiindex import data
    from toolbox.studies.multiindex.model import Reduced, Shared

    link, etas = link_and_steps(d)
    b = batch_of(d)
    generator = torch.Generator().manual_seed(0)
    v = torch.from_numpy(data.starts(np.random.default_rng(0), M, d)).float()

    def draw_shared(generator: torch.Generator, rows: int):
        x = data.normal(generator, torch.float32, rows, d)
        return x, data.labels(link, x[:, :P], 0.0, generator)

    def draw_reduced(generator: torch.Generator, rows: int):
        x = data.normal(generator, torch.float32, rows, P)
        g = data.normal(generator, torch.float32, rows, M)
        return x, g, data.labels(link, x, 0.0, generator)

    def run(samples: int) -> int:
        if reduced:
            rng = np.random.default_rng(1)
            learner = Reduced(link, v[:, :P], v[:, P:].norm(dim=1), d, etas * b, rng)
            stream = data.Stream(draw_reduced, generator, P + M, b)
        else:
            learner = Shared(link, v, P, etas * b)
            stream = data.Stream(draw_shared, generator, d, b)
        steps = -(-samples // b)
        for _ in range(steps):
            learner.step(*stream.next())
        stream.close()
        return steps * b * len(etas)

    return run


def plain(d: int, batch: int) -> Callable[[int], int]:
    """What a reader would write in sixty lines."""
    import numpy as np
    from numpy.polynomial.hermite_e import hermeval

    link, etas = link_and_steps(d)
    value, slope = np.zeros(5), np.zeros(5)
    for q, c in link.terms:
        value[q] = c / math.sqrt(math.factorial(q))
        slope[q - 1] = c * math.sqrt(q) / math.sqrt(math.factorial(q - 1))

    def run(samples: int) -> int:
        steps = max(1, -(-samples // batch))
        for place, eta1 in enumerate(etas):
            rng = np.random.default_rng(place)
            v = rng.standard_normal((M, d))
            v /= np.linalg.norm(v, axis=1, keepdims=True)
            for _ in range(steps):
                x = rng.standard_normal((batch, d))
                y = hermeval(x[:, :P], value).sum(axis=1)
                weight = y[:, None] * hermeval(x @ v.T, slope) / batch
                g = weight.T @ x
                g -= (g * v).sum(axis=1, keepdims=True) * v
                v += eta1 * batch * g
                v /= np.linalg.norm(v, axis=1, keepdims=True)
        return steps * batch * len(etas)

    return run


if __name__ == "__main__":
    main()
