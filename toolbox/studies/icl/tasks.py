"""The families of functions that are learnt in context, as the official code draws them.

A prompt is n pairs (x_i, f(x_i)) of one function f, drawn anew for every prompt. Continuous tasks
have x ~ N(0, I_d) and real y, judged by the squared error; boolean ones x uniform in {-1, 1}^d and
y in {-1, 1}, judged by the logistic loss. `functions` draws f, `evaluate` applies it: between them
stands every random choice but x itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from toolbox.core.errors import ParameterError

from .names import NO_CONTEXT, base, is_boolean, task_names

SPARSITY = 3
SLOPE = 0.5
HIDDEN = 100
DEPTH = 4
LITERAL = 0.15
"""Probability of w_j = 1 and of w_j = -1 in a conjunction or disjunction."""
TABLES = 4
"""Value tables of a retrieval task (`num_values` of the official code)."""
KEYS = 32
"""Keys of a retrieval task, at most 2^d boolean ones; ours, no released configuration says."""
VALUE_SCALE = 3.0
SMALLEST_D = {"sparse-linear": SPARSITY, "parity2": 3, "parity3": 4, "boolean-retrieval": 3}
"""Below, a task has no function, or one alone: an optimum of 0, that no loss can be divided by."""

Function = tuple[Tensor, ...]
"""The random parts of the functions of P prompts, each with leading dimension P."""


def check(name: str, d: int, field: str = "tasks") -> None:
    """Whether the task exists at this dimension; `field` is where it was named.

    Errors: `ParameterError`.
    """
    if base(name) not in task_names():
        raise ParameterError(
            field,
            name,
            "no such task",
            f"the tasks are {', '.join(task_names())}, and each with {NO_CONTEXT} behind its name",
        )
    smallest = SMALLEST_D.get(base(name), 1)
    if d < smallest:
        what = "at most one function"
        if base(name) == "sparse-linear":
            what = "no function of 3 coordinates"
        if base(name) == "boolean-retrieval":
            what = "so few keys that all its tables may agree"
        raise ParameterError(
            field, name, f"with {{d}} {d} it has {what}", f"give {{d}} {smallest}, or leave it out"
        )


@dataclass(frozen=True)
class Task:
    """One task of one run; `keys` and `values` are the fixed tables of a retrieval task."""

    name: str
    d: int
    n: int
    keys: Tensor | None = None
    """(K, d)."""
    values: Tensor | None = None
    """(V, K)."""

    @property
    def boolean(self) -> bool:
        """y is in {-1, 1} and the loss logistic; else squared."""
        return is_boolean(self.name)

    def draw(self, generator: torch.Generator, prompts: int) -> tuple[Tensor, Tensor]:
        """x (P, n, d) and y (P, n), float32, on the generator's device, each prompt with a
        function of its own."""
        if self.keys is not None and self.values is not None:
            return self._retrieve(self.keys, self.values, generator, prompts)
        x = inputs(self.boolean, (prompts, self.n, self.d), generator)
        if self.name != base(self.name):
            return x, best_guess(base(self.name), x)
        f = functions(self.name, self.d, self.n, prompts, generator)
        return x, evaluate(self.name, x, f)

    def _retrieve(
        self, keys: Tensor, values: Tensor, generator: torch.Generator, prompts: int
    ) -> tuple[Tensor, Tensor]:
        """Keys at random, the last a copy of one at a random place (its own among them, as in the
        official code); the value table is drawn for each prompt, there for each batch."""
        device = generator.device
        shape = (prompts, self.n)
        keys, values = keys.to(device), values.to(device)
        key = torch.randint(len(keys), shape, generator=generator, device=device)
        position = torch.randint(self.n, (prompts, 1), generator=generator, device=device)
        key[:, -1:] = key.gather(1, position)
        table = torch.randint(len(values), (prompts, 1), generator=generator, device=device)
        if self.name != base(self.name):
            mean = values.mean(dim=0)
            return keys[key], (_sign(mean) if self.boolean else mean)[key]
        return keys[key], values[table, key]


def make(name: str, d: int, n: int, generator: torch.Generator) -> Task:
    """The task with what stays fixed in a run: the keys and value tables of a retrieval.

    Boolean keys are distinct. Errors: those of `check`.
    """
    check(name, d)
    if not base(name).endswith("-retrieval"):
        return Task(name, d, n)
    device = generator.device
    if not is_boolean(name):
        keys = torch.randn(KEYS, d, generator=generator, device=device)
        values = VALUE_SCALE * torch.randn(TABLES, KEYS, generator=generator, device=device)
        return Task(name, d, n, keys, values)
    count = min(KEYS, 2**d)
    if d <= 16:
        codes = torch.randperm(2**d, generator=generator, device=device)[:count, None]
        keys = 2.0 * (codes >> torch.arange(d, device=device) & 1) - 1
    else:  # a repetition among 32 is one draw in a hundred
        keys = _signs((count, d), generator)
        while len(torch.unique(keys, dim=0)) < count:
            keys = _signs((count, d), generator)
    return Task(name, d, n, keys, _signs((TABLES, count), generator))


def inputs(boolean: bool, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """x : `shape`, uniform signs or standard normal."""
    if boolean:
        return _signs(shape, generator)
    return torch.randn(shape, generator=generator, device=generator.device)


def functions(name: str, d: int, n: int, prompts: int, generator: torch.Generator) -> Function:
    """The functions of P prompts: weights w (P, d), or what `evaluate` says for the name."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(prompts, *shape, generator=generator, device=generator.device)

    def uniform() -> Tensor:
        return torch.rand(prompts, d, generator=generator, device=generator.device)

    match name:
        case "linear" | "leaky-relu" | "relu" | "logistic" | "sine":
            return (normal(d),)
        case "sparse-linear":
            return (normal(d) * _subset(uniform(), SPARSITY),)
        case "quadratic":
            return (normal(d, d) / math.sqrt(d),)
        case "relu-network":
            return normal(d, HIDDEN), normal(HIDDEN)
        case "decision-tree":
            nodes = (prompts, 2**DEPTH - 1)
            where = torch.randint(d, nodes, generator=generator, device=generator.device)
            return where, normal(2**DEPTH) + 1
        case "parity2" | "parity3":
            return (_subset(uniform(), int(name[-1])),)
        case "parity":
            return ((uniform() < 0.5).float(),)
        case "conjunction" | "disjunction":
            u = uniform()
            return ((u < LITERAL).float() - (u >= 1 - LITERAL).float(),)
        case "coin" | "truth-table":
            return (_signs((prompts, n), generator),)
        case _:
            raise ValueError(f"{name} has no functions of its own")


def evaluate(name: str, x: Tensor, f: Function) -> Tensor:
    """y (P, n) of the functions at x (P, n, d).

    Formulas of the official code, mean 0 and scale 1: a network is sqrt(2/100) v . relu(U^T x); a
    tree has nodes in heap order and goes to the second child where x_c > 0; a parity is +1 when
    the number of +1 entries in its subset is odd; sign(0) cannot occur, and w = 0 is +1 as a
    conjunction, -1 as a disjunction.
    """
    match name:
        case "linear" | "sparse-linear":
            return _dot(x, f[0])
        case "leaky-relu":
            return torch.nn.functional.leaky_relu(_dot(x, f[0]), SLOPE)
        case "relu":
            return torch.relu(_dot(x, f[0]))
        case "logistic":
            return torch.sigmoid(_dot(x, f[0]))
        case "sine":
            return torch.sin(_dot(x, f[0]))
        case "quadratic":
            return ((x @ f[0]) * x).sum(dim=2)
        case "relu-network":
            return _dot(torch.relu(x @ f[0]), f[1]) * math.sqrt(2 / f[1].shape[1])
        case "decision-tree":
            return _tree(x, *f)
        case "parity2" | "parity3" | "parity":
            return 2 * (_dot((x + 1) / 2, f[0]) % 2) - 1
        case "conjunction":
            return torch.sign(_dot(x, f[0]) - (f[0].abs().sum(dim=1, keepdim=True) - 1))
        case "disjunction":
            return torch.sign(_dot(x, f[0]) + (f[0].abs().sum(dim=1, keepdim=True) - 1))
        case "coin":
            return f[0]
        case "truth-table":
            return f[0].gather(1, _first_equal(x))
        case _:
            raise ValueError(f"{name} has no functions of its own")


def best_guess(name: str, x: Tensor) -> Tensor:
    """The best y that knows x alone, (P, n): E_f[f(x)], or the likelier sign (+1 at a tie)."""
    match name:
        case "leaky-relu" | "relu":
            slope = SLOPE if name == "leaky-relu" else 0.0
            norm: Tensor = x.square().sum(dim=2).sqrt()
            return norm * ((1 - slope) / math.sqrt(2 * math.pi))
        case "logistic":
            return torch.full(x.shape[:2], 0.5, device=x.device)
        case "decision-tree":
            return torch.ones(x.shape[:2], device=x.device)
        case _ if not is_boolean(name):
            return torch.zeros(x.shape[:2], device=x.device)
    d = x.shape[2]
    plus = torch.tensor([chance_of_plus(name, d, m) for m in range(d + 1)], device=x.device)
    return _sign(plus - 0.5)[(x > 0).sum(dim=2)]


def chance_of_plus(name: str, d: int, m: int) -> float:
    """P(y = 1 | x) over the functions of a boolean task, for an x with m entries +1.

    Sparse parity: a subset of k holds an odd number of them, hypergeometric. Conjunction: no
    literal fails, .85^d. Disjunction: not all fail, 1 - .85^d.
    """
    match name:
        case "parity2" | "parity3":
            k = int(name[-1])
            odd = sum(math.comb(m, j) * math.comb(d - m, k - j) for j in range(1, k + 1, 2))
            return odd / math.comb(d, k)
        case "parity":
            return 0.5 if m else 0.0
        case "conjunction":
            return float((1 - LITERAL) ** d)
        case "disjunction":
            return float(1 - (1 - LITERAL) ** d)
        case "coin" | "truth-table":
            return 0.5
        case _:
            raise ValueError(f"{name} has no chance of +1 that x alone decides")


def _dot(x: Tensor, w: Tensor) -> Tensor:
    """x (P, n, d), w (P, d) -> (P, n)."""
    return torch.bmm(x, w[..., None])[..., 0]


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    bits = torch.randint(2, shape, generator=generator, device=generator.device)
    return 2.0 * bits - 1


def _sign(values: Tensor) -> Tensor:
    """+1 at zero."""
    return 2.0 * (values >= 0) - 1


def _subset(uniform: Tensor, k: int) -> Tensor:
    """Masks (P, d) of k ones, every subset as likely: where the k smallest of the row lie."""
    mask = torch.zeros_like(uniform)
    return mask.scatter_(1, uniform.topk(k, dim=1, largest=False).indices, 1.0)


def _tree(x: Tensor, coordinates: Tensor, leaves: Tensor) -> Tensor:
    """x (P, n, d), coordinates (P, 15) of the inner nodes in heap order, leaves (P, 16)."""
    node = torch.zeros(x.shape[:2], dtype=torch.int64, device=x.device)
    for _ in range(DEPTH):
        where = coordinates.gather(1, node)
        right = x.gather(2, where[..., None])[..., 0] > 0
        node = 2 * node + 1 + right
    return leaves.gather(1, node - (2**DEPTH - 1))


def _first_equal(x: Tensor) -> Tensor:
    """For each example the first place of the prompt with the same x, (P, n).

    Signs are compared as one integer of 62 bits; beyond, equal inputs do not occur.
    """
    bits = min(x.shape[2], 62)
    code = ((x[..., :bits] > 0).long() << torch.arange(bits, device=x.device)).sum(dim=2)
    return (code[:, :, None] == code[:, None]).to(torch.uint8).argmax(dim=2)
