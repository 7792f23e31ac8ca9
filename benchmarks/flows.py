"""Derivatives and steps of the central flow against a straightforward implementation.

    python benchmarks/flows.py                # a minute or two, on one thread
    python benchmarks/flows.py --no-command   # without timing `flows gd` itself

The problem is that of `flows gd`: 100 digits, a tanh network of 1,754 parameters, squared error,
eta = 0.3, at a time when some directions are at the edge of stability.

    ours     batched reverse mode, recorded once and replayed without a graph, our eigen-solver and
             our own small solver of the complementarity problem
    plain    what the formulas say: Hessian times vector by forward over reverse mode
             (torch.func.jvp of grad, vmap over the vectors), third derivatives by another jvp,
             scipy's LOBPCG from the vectors of the step before, and the quadratic
             program over positive semidefinite matrices by cvxpy and Clarabel (pip install
             'toolbox[pep]')

Both follow the flow from the same point; how far apart they end is printed. All times are of the
processor, as medians of alternating turns.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from toolbox.studies.flows import data, networks
from toolbox.studies.flows.central import Central, Setting
from toolbox.studies.flows.landscape import Objective, Point
from toolbox.studies.flows.objective import flat, objective
from toolbox.studies.flows.rule import Rule

ETA, TURNS = 0.3, 5
SETTING = Setting(substeps=4, track=1.8, critical=1.95, tolerance=1e-4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--no-command", action="store_true")
    parser.add_argument(
        "--warm", type=int, default=150, help="steps of the flow before it is timed"
    )
    p = parser.parse_args()
    torch.set_num_threads(1)
    loss, w = problem()
    flow = Central(
        loss, Rule("gd", ETA), w, w.new_zeros(0), SETTING, torch.Generator().manual_seed(0)
    )
    for _ in range(p.warm):
        found = flow.advance()
    print(f"{len(w)} parameters; {found.critical} directions at the edge, loss {found.loss:.4f}")
    for count in (1, 6):
        products(loss, flow.w, count)
    thirds(loss, flow.w, max(1, found.critical))
    steps(loss, flow)
    if not p.no_command:
        command()


def problem() -> tuple[Objective, Tensor]:
    loaded = data.load("digits", 100, 10, np.random.default_rng(0))
    network = networks.build(
        "mlp", loaded.shape, 10, 16, 3, "tanh", torch.Generator().manual_seed(0)
    )
    return (
        objective(network, lambda out: data.loss("mse", out, loaded), loaded.inputs),
        flat(network),
    )


def medians(ways: dict[str, Callable[[], object]], turns: int = TURNS) -> dict[str, float]:
    """Seconds of the processor by way; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(turns):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def show(what: str, seconds: dict[str, float], unit: float = 1.0) -> None:
    ours, plain = seconds["ours"] / unit, seconds["plain"] / unit
    print(
        f"{what:48s} ours {1e3 * ours:8.2f} ms   plain {1e3 * plain:8.2f} ms   x {plain / ours:.1f}"
    )


# ------------------------------------------------------------------------------- derivatives


def plain_products(loss: Objective, w: Tensor, vectors: Tensor) -> Tensor:
    """H V by forward over reverse mode. vectors : (n, m)"""

    def one(v: Tensor) -> Tensor:
        return torch.func.jvp(torch.func.grad(loss), (w,), (v,))[1]

    return (
        torch.func.vmap(one)(vectors.T).T if vectors.shape[1] > 1 else one(vectors[:, 0])[:, None]
    )


def plain_third(loss: Objective, w: Tensor, U: Tensor) -> Tensor:
    """grad_w of u_i^T H u_j for all pairs, (k, k, n), by two jvp of the gradient."""

    def pair(u: Tensor, v: Tensor) -> Tensor:
        def product(w: Tensor) -> Tensor:
            return torch.func.jvp(torch.func.grad(loss), (w,), (u,))[1]

        return torch.func.jvp(product, (w,), (v,))[1]

    k = U.shape[1]
    pairs = [(i, j) for i in range(k) for j in range(i, k)]
    left, right = (torch.stack([U[:, pair[s]] for pair in pairs]) for s in (0, 1))
    rows = torch.func.vmap(pair)(left, right)
    table = w.new_zeros(k, k, len(w))
    for (i, j), row in zip(pairs, rows, strict=True):
        table[i, j] = table[j, i] = row
    return table


def products(loss: Objective, w: Tensor, count: int) -> None:
    """Products at one point, 12 times `count` vectors, as an eigen-solver asks for them."""
    V = torch.randn(len(w), count, dtype=w.dtype, generator=torch.Generator().manual_seed(1))

    def ours() -> Tensor:
        point = Point(loss, w)  # the graph is part of it
        return [point.hessian_times(V) for _ in range(12)][-1]

    def plain() -> Tensor:
        return [plain_products(loss, w, V) for _ in range(12)][-1]

    assert torch.allclose(ours(), plain(), atol=1e-10)
    seconds = medians({"ours": ours, "plain": plain})
    show(f"Hessian times vector, {count} at once, each", seconds, 12 * count)


def thirds(loss: Objective, w: Tensor, k: int) -> None:
    U = torch.randn(len(w), k, dtype=w.dtype, generator=torch.Generator().manual_seed(2))
    point = Point(loss, w)
    assert torch.allclose(point.third(U)[0], plain_third(loss, w, U), rtol=1e-8, atol=1e-8)
    ways = {"ours": lambda: point.third(U), "plain": lambda: plain_third(loss, w, U)}
    show(f"third derivatives, {k} directions", medians(ways))


# --------------------------------------------------------------------------- steps of the flow


class Plain:
    """The central flow of gradient descent, substep by substep as the formulas say.

    Z(X) = diag(2 - lambda) - dt dH(X) = A + B X with dH_ij = T_ij . dw/dt and
    dw/dt = -eta [g + T:X/2]; X >= 0 solves min <X, B X>/2 + <A, X>.
    """

    def __init__(self, loss: Objective, w: Tensor, setting: Setting, tolerance: float) -> None:
        self.loss, self.w, self.setting, self._tolerance = loss, w.clone(), setting, tolerance
        rng = np.random.default_rng(0)
        self.vectors = rng.standard_normal((len(w), 1))
        self._rng = rng

    def eigenpairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All above `track` and one more, falling."""
        from scipy.sparse.linalg import LinearOperator, lobpcg

        n = len(self.w)

        def times(V: np.ndarray) -> np.ndarray:
            V = V.reshape(n, -1)
            return ETA * plain_products(self.loss, self.w, torch.from_numpy(V.copy())).numpy()

        operator = LinearOperator((n, n), matvec=times, matmat=times, dtype=np.float64)
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values, self.vectors = lobpcg(
                    operator, self.vectors, tol=2 * self._tolerance, maxiter=200
                )
            order = np.argsort(-values)
            values, self.vectors = values[order], self.vectors[:, order]
            if values[-1] <= self.setting.track:
                keep = int((values > self.setting.track).sum()) + 1
                self.vectors = self.vectors[:, :keep]
                return values[:keep], self.vectors
            self.vectors = np.column_stack([self.vectors, self._rng.standard_normal(n)])

    def advance(self) -> None:
        dt = 1 / self.setting.substeps
        values, vectors = self.eigenpairs()
        for turn in range(self.setting.substeps):
            g = torch.func.grad(self.loss)(self.w)
            if turn:
                V = torch.from_numpy(vectors.copy())
                values = ETA * (V * plain_products(self.loss, self.w, V)).sum(0).numpy()
            critical = np.flatnonzero(values > self.setting.critical)
            rate = -ETA * g
            if critical.size:
                U = torch.from_numpy(vectors[:, critical].copy()) * ETA**0.5
                T = plain_third(self.loss, self.w, U)
                X = quadratic_program(np.diag(2 - values[critical]), T, rate, dt)
                rate = rate - ETA / 2 * torch.einsum("ij,ijn->n", torch.from_numpy(X), T)
            self.w = self.w + dt * rate


def quadratic_program(A: np.ndarray, T: Tensor, rate: Tensor, dt: float) -> np.ndarray:
    """X, (k, k), of the complementarity problem, by cvxpy."""
    import cvxpy

    k = len(A)
    A = A - dt * (T @ rate).numpy()
    B = (dt * ETA / 2 * torch.einsum("ijn,kln->ijkl", T, T)).reshape(k * k, k * k).numpy()
    values, vectors = np.linalg.eigh((B + B.T) / 2)
    root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    scale = np.sqrt((B**2).mean())
    X = cvxpy.Variable((k, k), PSD=True)
    size = cvxpy.sum_squares(root / np.sqrt(scale) @ cvxpy.vec(X, order="C")) / 2
    problem = cvxpy.Problem(cvxpy.Minimize(size + cvxpy.trace(A @ X) / np.abs(A).max()))
    problem.solve(solver=cvxpy.CLARABEL)
    solved = np.asarray(X.value) * scale**-1 * np.abs(A).max()
    return (solved + solved.T) / 2


def steps(loss: Objective, flow: Central) -> None:
    """All ways from one point, step by step in turns."""
    plain = Plain(loss, flow.w, SETTING, SETTING.tolerance)
    exact = Plain(loss, flow.w, SETTING, 1e-10)  # the tolerance of the paper's code
    start = flow.w
    ways = {"ours": flow, "plain": plain, "exact": exact}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(11):
        for name, way in ways.items():
            began = time.process_time()
            way.advance()
            if turn:  # the first has no vectors to start from
                times[name].append(time.process_time() - began)
    seconds = {name: statistics.median(t) for name, t in times.items()}
    show("a step of the central flow", seconds)
    show("the same, eigenvectors of plain to 1e-10", seconds | {"plain": seconds["exact"]})
    apart, gone = float((flow.w - exact.w).norm()), float((flow.w - start).norm())
    print(f"after 11 steps they are {apart:.1e} apart, {apart / gone:.1e} of their way")


def command() -> None:
    """The small preset of `flows gd`, one replicate, as its own process."""
    with tempfile.TemporaryDirectory() as out:
        line = [sys.executable, "-m", "toolbox", "flows", "gd", "--repeats", "1", "--quiet"]
        start = time.perf_counter()
        subprocess.run([*line, "--out", out], check=True, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"flows gd, 300 steps, four processes: {time.perf_counter() - start:.1f} s wall, "
            f"{used.ru_utime + used.ru_stime:.1f} s processor, with start and imports"
        )


if __name__ == "__main__":
    main()
