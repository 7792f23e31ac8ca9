"""The no-context optimum: the risk of the best predictor of y from x alone.

It is what a plateau stands at and what losses are divided by. For a squared error it is
E_x Var_f[f(x)], for a logistic loss E_x H(P_f(f(x) = 1)) in nats. Given x, w . x is N(0, |x|^2)
and |x|^2 is chi-squared with d degrees of freedom; from that follow (derived, not the paper's):

linear d; sparse linear 3; quadratic E|x|^4 / d = d + 2; a network of 100 hidden units d, the
variance of v . relu(U^T x) sqrt(2/100) given x being |x|^2; leaky ReLU of slope a
d ((1 + a^2)/2 - (1 - a)^2/(2 pi)), with a = 0 for ReLU; sine (1 - 5^(-d/2))/2; decision tree 1;
parities, conjunction and disjunction by enumerating the number of +1 entries of x.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from toolbox.core.errors import ParameterError

from . import tasks
from .names import CONTROLS, NO_CONTEXT, base, is_boolean

Convention = Literal["exact", "repo"]

REPO = {
    10: {
        "parity2": 0.68295, "parity3": 0.69017, "parity": 0.69656,
        "conjunction": 0.40751, "disjunction": 0.40316,
    },
    15: {"parity2": 0.68954, "parity3": 0.69385, "conjunction": 0.24639, "disjunction": 0.24386},
    20: {"parity2": 0.69102, "parity3": 0.69464, "conjunction": 0.14085, "disjunction": 0.13822},
}  # fmt: skip
"""d -> constants written in the official code (`ncl.py`)."""
REPO_NO_CONTEXT = tuple(
    name + NO_CONTEXT
    for name in ("linear", "parity2", "parity3", "parity", "conjunction", "disjunction")
)
"""Divided by 1 in the official code."""
REPO_SAMPLES = 1024
"""Inputs, and functions, of the official code's Monte Carlo for nonlinear regressions."""
BY_MONTE_CARLO = ("leaky-relu", "relu", "logistic", "sine", "relu-network")
BLOCK = 2**22
"""Numbers in the largest tensor of a Monte Carlo block."""
ANY = -1


@dataclass(frozen=True)
class Optimum:
    """A no-context optimum; the standard error is 0 unless it is of Monte Carlo."""

    value: float
    standard_error: float
    method: str
    """closed form, enumeration, quadrature, Monte Carlo or constant of the code."""


@functools.cache
def optimum(name: str, d: int, n: int, convention: Convention = "exact") -> Optimum:
    """What the loss of a task is divided by.

    A retrieval's is its mean over the fixed tables (`of` knows them). A `/no-context` task is a
    function of x, so its own optimum is 0; it is divided by that of the task it stands for, or by
    what the official code has there.

    Errors: `ParameterError` for a task that does not exist at this d, and for a boolean constant
    that the official code does not have.
    """
    tasks.check(name, d)
    if convention == "exact":
        return _exact(base(name), d)
    if name in REPO_NO_CONTEXT:
        return Optimum(1.0, 0.0, "constant of the code")
    return _repo(base(name), d, n)


def of(task: tasks.Task, convention: Convention = "exact") -> Optimum:
    """The optimum of a task as made: a retrieval's follows from its own tables."""
    if task.values is None or convention == "repo":
        return optimum(task.name, task.d, task.n, convention)
    values = task.values.double().cpu().numpy()
    if not task.boolean:
        return Optimum(float(values.var(axis=0).mean()), 0.0, "closed form")
    return Optimum(float(entropy((values > 0).mean(axis=0)).mean()), 0.0, "closed form")


def plateaus(
    names: Sequence[str], d: int, n: int, convention: Convention = "exact"
) -> tuple[float, ...]:
    """Where the normalised loss of each task of a mix stands as long as nothing is learnt from
    context (derived); alone, divided by exact optima, that is 1.

    x does not tell the tasks of a mix apart, but signs from normal numbers. The loss sums
    L_t / optimum_t, so that of one kind of x the best predictor is the mean of the tasks' own,
    E_f[f(x)] or P_f(f(x) = 1), with weights 1 / optimum_t whatever their share of the batch.

    names : with repetitions, where a mix holds copies
    Errors: those of `optimum`; `ValueError` for a retrieval, whose x are keys of its own.
    """
    if any(base(name).endswith("-retrieval") for name in names):
        raise ValueError("the plateau beside a retrieval depends on its keys")
    levels: dict[str, float] = {}
    for boolean in (True, False):
        mix = [name for name in names if is_boolean(name) is boolean]
        weights = np.array([1 / optimum(name, d, n, convention).value for name in mix])
        risks = _mixed_signs if boolean else _mixed_numbers
        if mix:
            levels.update(zip(mix, weights * risks(mix, weights / weights.sum(), d), strict=True))
    return tuple(float(levels[name]) for name in names)


def _mixed_signs(mix: Sequence[str], weights: np.ndarray, d: int) -> np.ndarray:
    """Logistic loss of each task under the mean chance of +1, averaged over x."""
    x = torch.tensor([[1.0] * m + [-1.0] * (d - m) for m in range(d + 1)])[None]
    chance = np.array(
        [
            [tasks.chance_of_plus(name, d, m) for m in range(d + 1)]
            if name == base(name)
            else ((1 + tasks.best_guess(base(name), x)) / 2)[0].tolist()
            for name in mix
        ]
    )
    mean = weights @ chance
    inside = (mean > 0) & (mean < 1)  # elsewhere the tasks agree, and cost nothing
    q = np.where(inside, mean, 0.5)
    loss = -(chance * np.log(q) + (1 - chance) * np.log1p(-q)) * inside
    share = np.array([math.comb(d, m) / 2**d for m in range(d + 1)])
    return np.asarray(loss @ share)


def _mixed_numbers(mix: Sequence[str], weights: np.ndarray, d: int) -> np.ndarray:
    """Squared error of each task under the mean guess; a guess is a |x| + b."""
    one, two = torch.zeros(2, 1, 1, d)
    one[..., 0], two[..., 0] = 1.0, 2.0
    at = [[float(tasks.best_guess(base(name), x)) for x in (one, two)] for name in mix]
    a = np.array([second - first for first, second in at])
    b = np.array([2 * first - second for first, second in at])
    a, b = a - weights @ a, b - weights @ b
    norm = math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))  # E|x|
    own = [0.0 if name != base(name) else _exact(name, d).value for name in mix]
    return np.asarray(own + a * a * d + 2 * a * b * norm + b * b)


def entropy(p: np.ndarray | float) -> np.ndarray:
    """The entropy of a biased coin in nats, 0 at p = 0 and 1."""
    p = np.asarray(p, dtype=float)
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -q * np.log(q) - (1 - q) * np.log1p(-q), 0.0)


def _exact(name: str, d: int) -> Optimum:
    match name:
        case "linear" | "relu-network":
            value = float(d)
        case "sparse-linear":
            value = float(tasks.SPARSITY)
        case "quadratic":
            value = d + 2.0
        case "leaky-relu" | "relu":
            a = tasks.SLOPE if name == "leaky-relu" else 0.0
            value = d * ((1 + a**2) / 2 - (1 - a) ** 2 / (2 * math.pi))
        case "sine":
            value = (1 - 5 ** (-d / 2)) / 2
        case "decision-tree":
            value = 1.0
        case "logistic":
            return Optimum(logistic(d), 0.0, "quadrature")
        case "gaussian-retrieval":
            value = tasks.VALUE_SCALE**2 * (1 - 1 / tasks.TABLES)
        case "boolean-retrieval":
            V = tasks.TABLES
            value = sum(math.comb(V, k) / 2**V * float(entropy(k / V)) for k in range(V + 1))
        case _:
            plus = [tasks.chance_of_plus(name, d, m) for m in range(d + 1)]
            weight = [math.comb(d, m) / 2**d for m in range(d + 1)]
            value = float(np.dot(weight, entropy(np.array(plus))))
            return Optimum(value, 0.0, "enumeration")
    return Optimum(value, 0.0, "closed form")


def logistic(d: int) -> float:
    """E Var[sigmoid(w . x) | x] = E tanh^2(|x| g / 2) / 4, g ~ N(0, 1), as sigmoid(z) - 1/2 is odd.

    Trapezoidal sums in g and in the logarithm of t = |x|^2/2 ~ Gamma(d/2): both integrands are
    smooth and vanish at the ends, so that the sums converge faster than any power.
    """
    g = np.linspace(0.0, 10.0, 2001)
    density = np.exp(-(g**2) / 2) * math.sqrt(2 / math.pi) * (g[1] - g[0])
    density[0] /= 2
    mode = math.log(d / 2)
    low = mode - 10 * math.sqrt(2 / d) - 80 / (d + 2)
    u = np.linspace(low, math.log(d / 2 + 12 * math.sqrt(d) + 40), 801)
    log_gamma = d / 2 * u - np.exp(u) - math.lgamma(d / 2)
    outer = np.exp(log_gamma) * (u[1] - u[0])
    s = np.sqrt(2 * np.exp(u))
    mean_square = (np.tanh(np.outer(s, g) / 2) ** 2) @ density
    return float(outer @ mean_square) / 4


def _repo(name: str, d: int, n: int) -> Optimum:
    """The official code's divisor: a constant, its Monte Carlo, or for boolean retrieval none."""
    if name in CONTROLS:
        return _exact(name, d)
    if name == "boolean-retrieval":
        return Optimum(1.0, 0.0, "constant of the code")
    if name in BY_MONTE_CARLO:
        generator = torch.Generator().manual_seed(0)
        return monte_carlo(name, d, n, REPO_SAMPLES, REPO_SAMPLES, generator, shared=True)
    if name == "gaussian-retrieval":
        return Optimum(tasks.VALUE_SCALE**2, 0.0, "constant of the code")
    if not is_boolean(name):
        return _exact(name, d)
    known = [str(dim) for dim, constants in REPO.items() if name in constants]
    if str(d) not in known:
        raise ParameterError(
            "ncl",
            "repo",
            f"the official code has no constant of {name} at {{d}} {d}",
            f"give {{d}} {' or '.join(known)}, or {{ncl}} exact",
        )
    return Optimum(REPO[d][name], 0.0, "constant of the code")


@torch.no_grad()
def monte_carlo(
    name: str, d: int, n: int, xs: int, fs: int, generator: torch.Generator, shared: bool = False
) -> Optimum:
    """The optimum estimated by drawing: `xs` inputs, `fs` functions for each.

    The variance over functions is unbiased; the entropy has Miller and Madow's correction, what
    is left of its bias is of order 1/fs^2. Boolean inputs are drawn in strata, as many with each
    number of +1 entries: the one input that every parity labels alike is rare and weighs much.
    The standard error is that of the (stratified) mean over inputs.

    shared : the same functions for every input, and the biased variance, as in the official code;
             inputs are then not independent and the error is a lower bound
    """
    if not shared:
        blocks = blocks_of(name, d, xs, fs)
        risks = [drawn(name, d, n, block, fs, generator) for block in blocks]
        return combined(d, blocks, np.concatenate(risks))
    name = base(name)
    x = tasks.inputs(False, (xs, 1, d), generator)
    f = tasks.functions(name, d, n, fs, generator)
    x = x.transpose(0, 1)
    block = max(1, BLOCK // (xs * (tasks.HIDDEN if name == "relu-network" else d)))
    y = torch.cat(
        [
            tasks.evaluate(name, x.expand(len(part[0]), xs, d), part)
            for part in zip(*(torch.split(each, block) for each in f), strict=True)
        ]
    )
    values = y.double().var(dim=0, correction=0).cpu().numpy()
    return combined(d, [Block(ANY, xs)], values)


@dataclass(frozen=True)
class Block:
    """Inputs of a Monte Carlo estimate that are drawn and evaluated together."""

    ones: int
    """Entries +1 of its boolean inputs, their stratum; `ANY` without strata."""
    count: int
    """Inputs, or the tables of a retrieval."""


def function_size(name: str, d: int) -> int:
    """Numbers that the drawing of one function holds at once, at most."""
    return max(d * d, tasks.HIDDEN * (d + 2) if base(name) == "relu-network" else 0)


def blocks_of(name: str, d: int, xs: int, fs: int) -> list[Block]:
    """The inputs of `monte_carlo` in the order in which they are drawn, in blocks of about `BLOCK`
    numbers."""
    name = base(name)
    if name.endswith("-retrieval"):
        return [Block(ANY, 1)] * xs
    strata = [(ANY, xs)]
    if is_boolean(name):
        strata = [(ones, max(2, xs // (d + 1))) for ones in range(d + 1)]
    size = max(1, BLOCK // (fs * function_size(name, d)))
    return [
        Block(ones, min(size, count - start))
        for ones, count in strata
        for start in range(0, count, size)
    ]


@torch.no_grad()
def drawn(
    name: str, d: int, n: int, block: Block, fs: int, generator: torch.Generator
) -> np.ndarray:
    """The risk at each input of a block, (count,): a variance, or an entropy in nats with the
    correction (labels seen - 1) / (2 fs)."""
    name = base(name)
    if name.endswith("-retrieval"):
        return np.array([of(tasks.make(name, d, n, generator)).value for _ in range(block.count)])
    if not is_boolean(name):
        x = tasks.inputs(False, (block.count, 1, d), generator)
        return _labels(name, x, fs, generator).double().var(dim=1).cpu().numpy()
    x = _with_ones(d, block.ones, block.count, generator)
    p = (_labels(name, x, fs, generator) > 0).double().mean(dim=1).cpu().numpy()
    return entropy(p) + ((p > 0) & (p < 1)) / (2 * fs)


def combined(d: int, blocks: Sequence[Block], values: np.ndarray) -> Optimum:
    """The mean over all inputs of the blocks, strata by their share of {-1, 1}^d, with its standard
    error; values : those of `drawn`, one block behind the other."""
    ones = np.repeat([block.ones for block in blocks], [block.count for block in blocks])
    value = variance = 0.0
    for stratum in np.unique(ones):
        weight = 1.0 if stratum == ANY else math.comb(d, int(stratum)) / 2**d
        of_stratum = values[ones == stratum]
        value += weight * of_stratum.mean()
        variance += weight**2 * of_stratum.var(ddof=1) / len(of_stratum)
    return Optimum(float(value), math.sqrt(variance), "Monte Carlo")


def _labels(name: str, x: torch.Tensor, fs: int, generator: torch.Generator) -> torch.Tensor:
    """Each of the inputs x (X, 1, d) under `fs` functions of its own, (X, fs)."""
    f = tasks.functions(name, x.shape[2], 1, len(x) * fs, generator)
    return tasks.evaluate(name, x.repeat_interleave(fs, dim=0), f).view(-1, fs)


def _with_ones(d: int, m: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Signs (count, 1, d) with m entries +1 at random places."""
    u = torch.rand(count, 1, d, generator=generator, device=generator.device)
    return torch.where(u.argsort(dim=2).argsort(dim=2) < m, 1.0, -1.0)
