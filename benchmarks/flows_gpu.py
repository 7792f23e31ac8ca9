"""Seconds a step of an optimiser and its flows at the paper's sizes, on one GPU.

    PYTHONPATH=. python benchmarks/flows_gpu.py          # four minutes at most
    PYTHONPATH=. python benchmarks/flows_gpu.py --cpu    # small sizes, to try the script

from a bare checkout; it needs torch and numpy and nothing else.

1,000 examples of 3 x 32 x 32 (digits enlarged, a stand-in for CIFAR-10), 10 classes, squared error,
float32, gradient descent, three tracked eigenvalues, 4 substeps of the central and 10 of the stable
flow. `discrete` is a step of the optimiser and its largest three eigenvalues. The threshold of what
is tracked is kept between the third and the fourth. In the row with three critical directions eta
is 2 over the sharpness where the timing starts, and what is tracked enters the complementarity
problem; in the others eta is half of that.

That the work is that of the official run is checked as it is done: number of weights, float32
without TF32, the squared error, the substeps, and how many eigenvalues are tracked and critical.
With --cpu the full sizes are checked too, but only small ones are run.

The official code, timed on an H100 on the same work, is printed beside it. Then: how far the
eigenvalues are from those in float64 at a tight tolerance, and the share of the central flow's time
in each part.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolbox.studies.flows import central, complementarity, data, eigen, landscape, networks
from toolbox.studies.flows.central import Central, Setting, Stable, Tracker
from toolbox.studies.flows.landscape import Objective, Point
from toolbox.studies.flows.objective import flat, objective
from toolbox.studies.flows.rule import Rule

STABLE_SUBSTEPS = 10
TRACKED = 3


@dataclass(frozen=True)
class Case:
    """A row.

    weights : of the network that the official code ran
    official : seconds a step of the official code: discrete, central, stable
    """

    name: str
    arch: str
    width: int
    weights: int
    critical: bool
    official: tuple[float, float, float]


CASES = (
    Case("MLP, three critical", "mlp", 256, 855_050, True, (0.144, 1.11, 0.126)),
    Case("MLP, none critical", "mlp", 256, 855_050, False, (0.144, 0.55, 0.17)),
    Case("CNN, none critical", "cnn", 32, 544_874, False, (0.79, 2.05, 0.82)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each row")
    p = parser.parse_args()
    device = "cpu" if p.cpu else "cuda"
    if not p.cpu:
        print(torch.cuda.get_device_name(), "torch", torch.__version__)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    began = time.perf_counter()
    for case in CASES:
        row(case, device, p.steps, 20 if p.cpu else 1000, 4 if p.cpu else case.width)
        print(f"  so far {time.perf_counter() - began:.0f} s")


def problem(
    case: Case, device: str, n: int, width: int, dtype: torch.dtype
) -> tuple[Objective, Tensor]:
    loaded = data.load("digits32", n, 10, np.random.default_rng(0)).to(device, dtype)
    generator = torch.Generator().manual_seed(0)
    network = networks.build(case.arch, loaded.shape, 10, width, 2, "gelu", generator)
    network = network.to(device, dtype)
    return (
        objective(network, lambda out: data.loss("mse", out, loaded), loaded.inputs),
        flat(network),
    )


def largest(loss: Objective, w: Tensor, count: int, tolerance: float) -> Tensor:
    """The largest eigenvalues of the Hessian, falling."""
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(len(w), count + 2, dtype=torch.float64, generator=generator).to(w)
    return eigen.largest(Point(loss, w).hessian_times, start, count, tolerance).values


def row(case: Case, device: str, steps: int, n: int, width: int) -> None:
    loss, w = problem(case, device, n, width, torch.float32)
    for _ in range(20):  # away from the start, where the largest eigenvalue changes fast
        w = w - 0.3 / largest(loss, w, 1, 1e-2)[0] * Point(loss, w).gradient
    values = largest(loss, w, TRACKED + 1, 1e-4)
    eta = float((2 if case.critical else 1) / values[0])
    setting = three_tracked(Setting(substeps=4), eta * values, case.critical)
    rule, nothing = Rule("gd", eta), w.new_zeros(0)
    generator = torch.Generator().manual_seed(2)
    flow = Central(loss, rule, w, nothing, setting, generator)
    stable = Stable(loss, rule, w, nothing, setting, generator)
    tracker = Tracker(len(w), setting, generator, w)
    place = w

    def discrete() -> None:
        nonlocal place
        point, P = Point(loss, place), rule.P(nothing)
        tracker.setting = three_tracked(setting, tracker.pairs(point, P).values, False)
        place = place - point.gradient / P

    def central_flow() -> None:
        found.append(flow.advance())
        flow.setting = three_tracked(setting, found[-1].values, case.critical)
        flow.tracker.setting = flow.setting

    def stable_flow() -> None:
        known = stable.tracker.pairs(Point(loss, stable.w), rule.P(nothing)).values
        stable.tracker.setting = three_tracked(setting, known, False)
        stable.values = w.new_tensor([STABLE_SUBSTEPS / 2])  # from which the substeps follow
        stable.advance(looks=False)

    found: list[central.Oscillation] = []
    ways: dict[str, Callable[[], object]] = {
        "discrete": discrete,
        "central": central_flow,
        "stable": stable_flow,
    }
    print(f"{case.name}: {len(w):,} parameters, eta {eta:.3g}")
    same_problem(case, device, n, width)
    print(f"  substeps: {same_substeps(ways)}; squared error of {n:,} examples in float32")
    seconds = {name: timed(way, device, steps) for name, way in ways.items()}
    tracked = [len(oscillation.values) - 1 for oscillation in found]  # and one below
    critical = [oscillation.critical for oscillation in found]
    print(
        f"  tracked {min(tracked)} to {max(tracked)}, critical {min(critical)} to {max(critical)}"
    )
    wanted = {TRACKED if case.critical else 0}
    if min(tracked) < TRACKED or set(critical) != wanted:  # more that are tracked are more work
        print("  this is not the work of the official run")
    total, theirs = sum(seconds.values()), sum(case.official)
    columns = zip(
        [*seconds, "all three"], [*seconds.values(), total], [*case.official, theirs], strict=True
    )
    for name, ours, official in columns:
        compared = (
            "" if device == "cpu" else f"   official {official:.3f} s   x {official / ours:.1f}"
        )
        print(f"  {name:10s} {ours:.4f} s a step{compared}")
    precision(case, device, n, width, flow.w)
    shares(flow, device, 3)


def same_problem(case: Case, device: str, n: int, width: int) -> None:
    """Check sizes, precision and loss against the official run: see `CASES`."""
    loaded = data.load("digits32", n, 10, np.random.default_rng(0))
    assert loaded.shape == (3, 32, 32)
    full = networks.build(case.arch, loaded.shape, 10, case.width, 2, "gelu", torch.Generator())
    assert len(flat(full)) == case.weights
    assert device == "cpu" or (n, width) == (1000, case.width)
    assert not torch.backends.cuda.matmul.allow_tf32
    assert device == "cpu" or not torch.backends.cudnn.allow_tf32
    loss, w = problem(case, device, n, width, torch.float32)
    assert w.dtype == torch.float32
    small = networks.build(
        case.arch, loaded.shape, 10, width, 2, "gelu", torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        errors = (small(loaded.inputs) - loaded.targets).square()
    half = float(errors.sum(1).mean()) / 2  # summed over the classes, mean over the examples
    assert abs(float(loss(w)) - half) < 1e-5 * half


def same_substeps(ways: dict[str, Callable[[], object]]) -> str:
    """Count where a step of each flow evaluates gradients, and check it against the official run.

    The stable flow looks at its eigenvalues at the first of these points once more.
    """
    counted = [0]
    build, gradient = Point.__init__, landscape.gradient

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            counted[0] += 1
            return function(*args, **more)

        return call

    said = []
    Point.__init__ = counting(build)  # type: ignore[method-assign]
    landscape.gradient = counting(gradient)
    try:
        for name, wanted, looks in (("central", 4, 0), ("stable", STABLE_SUBSTEPS, 1)):
            counted[0] = 0
            ways[name]()
            assert counted[0] - looks == wanted, f"{name}: {counted[0] - looks} substeps"
            said.append(f"{name} {wanted}")
    finally:
        Point.__init__ = build  # type: ignore[method-assign]
        landscape.gradient = gradient
    return ", ".join(said)


def three_tracked(setting: Setting, values: Tensor, critical: bool) -> Setting:
    """With a threshold between the third and the fourth of the effective eigenvalues.

    values : falling; with fewer than four the threshold is put below the last, to find one more
    """
    known = values.tolist()
    between = (
        sum(known[TRACKED - 1 : TRACKED + 1]) / 2 if len(known) > TRACKED else 0.98 * known[-1]
    )
    return replace(setting, track=between, critical=between if critical else math.inf)


def timed(way: Callable[[], object], device: str, steps: int) -> float:
    """Median seconds of a step; the first two are not counted."""
    times = []
    for _ in range(steps + 2):
        began = now(device)
        way()
        times.append(now(device) - began)
    return statistics.median(times[2:])


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def precision(case: Case, device: str, n: int, width: int, w: Tensor) -> None:
    """The tracked eigenvalues as the flow finds them against float64 at a tight tolerance."""
    single, _ = problem(case, device, n, width, torch.float32)
    double, _ = problem(case, device, n, width, torch.float64)
    ours = largest(single, w, TRACKED, Setting().tolerance).double()
    exact = largest(double, w.double(), TRACKED, 1e-9)
    print(
        f"  eigenvalues, largest relative error {float(((ours - exact) / exact).abs().max()):.1e}"
    )


@contextmanager
def watched(device: str, spent: dict[str, float]) -> Iterator[None]:
    """Add up the time in the parts of a step; what a part calls is left out of its own time."""
    parts: list[tuple[Any, str, str]] = [
        (Point, "__init__", "loss and gradient"),
        (Point, "hessian_times", "Hessian times vectors"),
        (Point, "third", "third derivatives"),
        (Tracker, "pairs", "eigen-solver, the rest"),
        (complementarity, "solve", "complementarity problem"),
    ]
    inner = [0.0]

    def wrapped(function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            began = now(device)
            inner.append(0.0)
            try:
                return function(*args, **more)
            finally:
                took, below = now(device) - began, inner.pop()
                spent[part] = spent.get(part, 0.0) + took - below
                inner[-1] += took

        return call

    before = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    for owner, name, part in parts:
        setattr(owner, name, wrapped(getattr(owner, name), part))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def shares(flow: Central, device: str, steps: int) -> None:
    """Shares of the central flow's time; waiting for each part makes the whole a little slower."""
    spent: dict[str, float] = {}
    with watched(device, spent):
        began = now(device)
        for _ in range(steps):
            flow.advance()
        total = now(device) - began
    spent["everything else"] = total - sum(spent.values())
    for part, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {seconds / total:6.1%}  {part}")


if __name__ == "__main__":
    main()
