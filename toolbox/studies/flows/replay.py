"""Derivatives whose operations are recorded once and replayed from then on.

In a small network most of the time of a derivative is not arithmetic but the making of its graph: a
third derivative of a network of 1,754 parameters is a thousand operations on small matrices. They
are the same at every point. So after some calls with arguments of the same shapes the operations
are recorded, as PyTorch's dispatcher sees them below autograd and vmap, and written as a program
for TorchScript's interpreter, which does the same operations in the same order without a graph: the
same numbers, bit for bit, in about a third of the time.

The next call computes both and compares them bit for bit. What cannot be recorded (a network that
looks at values, draws random numbers or changes its buffers, another device than the processor) is
computed as before.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

Function = Callable[..., tuple[Tensor, ...]]
Lines = list[tuple[list[int | None], str, bool]]
"""Operations: the numbers of what each makes, its call as text, whether it changes a tensor."""

CALLS = 32
"""Calls with the same shapes before a function is recorded: so many pay for the recording."""
MOST_OPERATIONS = 10_000
"""Longer programs take long to compile and gain less."""


class Unrecordable(Exception):
    """The function has an operation that cannot be replayed; the message names it."""


class Recorder:
    """Runs functions of tensors, and records and replays those that are called often.

    One recorder serves the functions of one loss: a name and the shapes of the arguments must
    decide which operations a function does.
    """

    def __init__(self) -> None:
        self._programs: dict[Any, _Program] = {}

    def run(self, name: str, function: Function, *inputs: Tensor) -> tuple[Tensor, ...] | None:
        """The value of a function, or None where the caller should compute it without replay.

        inputs : contiguous tensors without a gradient
        """
        if any(x.device.type != "cpu" for x in inputs):
            return None
        key = name, *((tuple(x.shape), x.dtype) for x in inputs)
        program = self._programs.setdefault(key, _Program())
        try:
            return program.run(function, inputs)
        except Unrecordable:
            program.usable = False
            return None


class _Program:
    """One function at one set of shapes: counted, then recorded, then compared, then replayed."""

    def __init__(self) -> None:
        self.usable = True
        self._calls = 0
        self._replay: Callable[[list[Tensor]], list[Tensor]] | None = None

    def run(self, function: Function, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        self._calls += 1
        if not self.usable or self._calls < CALLS:
            return None
        if self._replay is None:
            self._replay, outputs = record(function, inputs)
            return outputs
        plain = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
        with torch.inference_mode(), plain:  # optimisation would reorder sums
            replayed = self._replay(list(inputs))
        replayed = [x.clone() for x in replayed]  # tensors of inference mode have no gradients
        if self._calls == CALLS + 1:
            outputs = function(*inputs)
            if not all(map(_equal, outputs, replayed)):
                raise Unrecordable("it gives other numbers when it is replayed")
            return outputs
        return tuple(replayed)


def _equal(left: Tensor, right: Tensor) -> bool:
    """Whether two tensors agree bit for bit, NaN included."""
    return left.shape == right.shape and bool(((left == right) | (left != left)).all())


def record(
    function: Function, inputs: tuple[Tensor, ...]
) -> tuple[Callable[[list[Tensor]], list[Tensor]], tuple[Tensor, ...]]:
    """A program that does what the function did, inputs -> outputs; and its outputs.

    Errors: `Unrecordable`.
    """
    tape = _Tape(inputs)
    with tape:
        outputs = function(*inputs)
    source, constants = tape.program(outputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is called deprecated
            run = torch.jit.CompilationUnit(source).run
    except (AttributeError, RuntimeError) as error:  # the first without TorchScript
        raise Unrecordable(str(error)) from error
    return (lambda given: run(given, constants)), outputs


class _Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The operations in the order in which they are done, with numbers for their tensors.

    Tensors are known by identity, and not kept alive; those that no operation made are constants.
    """

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._numbers = WeakIdKeyDictionary()
        self._count, self._inputs = 0, len(inputs)
        self._constants: dict[int, Tensor] = {}
        self._lines: Lines = []
        self._changes = False
        for x in inputs:
            self._name(x)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and skipping would load the compiler for half a second."""
        return False

    def _name(self, x: Tensor) -> int:
        self._numbers[x] = self._count
        self._count += 1
        return self._count - 1

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        words = [self._word(x) for x in args]
        words += [f"{name}={self._word(x)}" for name, x in kwargs.items()]
        made = list(result) if isinstance(result, (tuple, list)) else [result]
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Unrecordable(f"{func} is random")
        if not all(x is None or isinstance(x, Tensor) for x in made):
            raise Unrecordable(f"{func} looks at a value")
        if func._schema.is_mutable:
            self._changes = True
            if any(x is constant for x in args for constant in self._constants.values()):
                raise Unrecordable(f"{func} changes the network")
        numbers = [
            None if x is None else self._numbers[x] if x in self._numbers else self._name(x)
            for x in made
        ]
        call = f"torch.ops.{func._schema.name.replace('::', '.')}({', '.join(words)})"
        if isinstance(result, list) and len(made) == 1:
            call += "[0]"
        self._lines.append((numbers, call, func._schema.is_mutable))
        if len(self._lines) > MOST_OPERATIONS:
            raise Unrecordable(f"it has more than {MOST_OPERATIONS} operations")
        return result

    def _word(self, x: Any) -> str:
        """An argument as TorchScript writes it."""
        if isinstance(x, Tensor):
            if x not in self._numbers:
                self._constants[self._name(x)] = x
            return f"v{self._numbers[x]}"
        if isinstance(x, (list, tuple)):
            return f"[{', '.join(map(self._word, x))}]"
        if isinstance(x, torch.device):
            return f'torch.device("{x}")'
        if isinstance(x, float) and not math.isfinite(x):
            return f'float("{x}")'
        if x is None or isinstance(x, (bool, int, float, str)):
            return repr(x)
        if isinstance(x, (torch.dtype, torch.layout, torch.memory_format)):
            return str(x)
        raise Unrecordable(f"an argument of type {type(x).__name__}")

    def program(self, outputs: tuple[Tensor, ...]) -> tuple[str, list[Tensor]]:
        """The source of `run(inputs, constants)`, and the constants."""
        wanted = [self._numbers[x] for x in outputs]
        lines = self._lines if self._changes else _used(_once(self._lines, wanted), wanted)
        given = [f"v{i} = inputs[{i}]" for i in range(self._inputs)]
        given += [f"v{i} = constants[{at}]" for at, i in enumerate(self._constants)]
        for numbers, call, _ in lines:
            left = ", ".join("_" if i is None else f"v{i}" for i in numbers)
            given.append(f"{left} = {call}")
        given.append(f"return [{', '.join(f'v{i}' for i in wanted)}]")
        head = "def run(inputs: List[Tensor], constants: List[Tensor]) -> List[Tensor]:"
        return "\n    ".join([head, *given]) + "\n", list(self._constants.values())


def _once(lines: Lines, wanted: list[int]) -> Lines:
    """Without operations that repeat an earlier one; `wanted` is changed to what stays.

    No operation may change a tensor: then equal calls have equal values.
    """
    known: dict[str, list[int | None]] = {}
    names: dict[int, int] = {}
    kept: Lines = []

    def renamed(call: str) -> str:
        return re.sub(r"\bv(\d+)", lambda m: f"v{names.get(int(m[1]), int(m[1]))}", call)

    for numbers, call, changes in lines:
        call = renamed(call)
        same = re.fullmatch(r"torch\.ops\.aten\.detach\(v(\d+)\)", call)
        before = [int(same[1])] if same else known.setdefault(call, numbers)
        if before is numbers:
            kept.append((numbers, call, changes))
        for new, old in zip(numbers, before, strict=True):
            if new is not None and old is not None:
                names[new] = old
    wanted[:] = [names.get(i, i) for i in wanted]
    return kept


def _used(lines: Lines, wanted: list[int]) -> Lines:
    """Without operations of which nothing is used. No operation may change a tensor."""
    used, kept = set(wanted), []
    for line in reversed(lines):
        if used.intersection(line[0]):
            kept.append(line)
            used.update(map(int, re.findall(r"\bv(\d+)", line[1])))
    return kept[::-1]
