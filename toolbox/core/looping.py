"""What an experiment and a worker of its crew have in common: random streams and loops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from toolbox.core.loop_progress import LoopProgress
from toolbox.core.loops import END, Loop, Loops
from toolbox.core.seeds import seed_sequence

if TYPE_CHECKING:
    import numpy as np
    import torch

T = TypeVar("T")


class Looping:
    """Random streams by name, and loops that can be stopped and resumed."""

    seed: int
    repeats: int
    _loops: Loops
    _shown: LoopProgress

    @property
    def device(self) -> str:
        """The torch device to compute on."""
        raise NotImplementedError

    def rng(self, repeat: int, *stream: str | int) -> np.random.Generator:
        """A numpy generator for one named stream of one replicate: `run.rng(repeat, 'data')`."""
        import numpy as np

        return np.random.Generator(np.random.PCG64(seed_sequence(self.seed, repeat, *stream)))

    def torch_generator(
        self, repeat: int, *stream: str | int, device: str | None = None
    ) -> torch.Generator:
        """A torch generator for one named stream of one replicate.

        device : by default the run's. On "cpu" a run on a card draws what a run on the CPU draws;
                 a card has numbers of its own
        """
        import torch

        state = seed_sequence(self.seed, repeat, *stream).generate_state(2, "uint32")
        generator = torch.Generator(device=device or self.device)
        return generator.manual_seed(int(state[0]) << 32 | int(state[1]))

    def cells(
        self,
        items: Iterable[T],
        label: str,
        *states: Any,
        replicate: Callable[[T], int] | None = None,
    ) -> Iterator[T]:
        """Loop over the cells of a grid, with progress, checkpoints and resume.

        items : what the cells are, the same in every run; replicates are `run.replicates()`
        label : what they are called, in the plural ("sizes")
        states : objects that one cell hands on to the next
        replicate : item -> its replicate; a cell that diverges then ends alone and is noted as
                    diverged, and the loop goes on with the next

        A cell may hold further loops. On a resume its first lines run again, up to the inner loop
        that was under way; what they write is not written twice.
        """
        every = list(items)
        known = [] if replicate is None else [replicate(item) for item in every]
        return self._loops.run(Loop(
            label, list(states), lambda index: every[index] if index < len(every) else END,
            len(every), replicate=replicate, cells_of=known.count,
        ))  # fmt: skip

    def replicates(self, *states: Any, label: str = "replicates") -> Iterator[int]:
        """The cells `range(run.repeats)`; a replicate that diverges ends alone."""
        return self.cells(range(self.repeats), label, *states, replicate=lambda repeat: repeat)

    def steps(self, count: int | None, *states: Any, label: str = "steps") -> Iterator[int]:
        """Loop over the steps 0 .. count - 1 of a training, with progress, checkpoints and resume.

        count : None for a loop that ends by a break
        states : every object that a step changes or draws from: models, optimisers, generators,
                 arrays, tensors, dataclasses, dicts and lists; see `toolbox.core.states`

        A stop is looked for before each step. The innermost loop; cells are outside of it.
        """
        return self._loops.run(Loop(
            label, list(states),
            lambda index: END if count is not None and index >= count else index,
            count, steps=True,
        ))  # fmt: skip

    def search(
        self, ask: Callable[[], T | None], *states: Any, label: str = "trials"
    ) -> Iterator[T]:
        """Loop over the cells of a search whose next question follows from the answers so far.

        ask : the next thing to try, or None at the end; a function of `states` alone
        states : where the search stands; the body of the loop changes them by its answers
        """

        def fetch(index: int) -> Any:
            asked = ask()
            return END if asked is None else asked

        return self._loops.run(Loop(label, list(states), fetch, None))

    def kept(self, value: T) -> T:
        """Save an object that changes in place, a list of rows say, with all loops after this line:
        for the rest of the run, or in a cell to the end of that cell."""
        self._loops.keep(value)
        return value

    def note(self, text: str) -> None:
        """Show a few words behind the progress ("loss 0.31")."""
        self._shown.note = text
