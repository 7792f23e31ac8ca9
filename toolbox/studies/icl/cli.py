"""In-context learning: several tasks at once shorten each other's loss plateau."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

from .names import KINDS, task_names

app = study_app(__doc__)

Tasks = Annotated[
    tuple[str, ...],
    typer.Option(
        help="Names of the tasks that are trained together, or one number K: the first K of the "
        "four default tasks.",
        autocompletion=task_names,
    ),
]


@dataclass(frozen=True)
class Training:
    """What is the same in every training of a run: prompts, network, optimiser, length."""

    d: Annotated[int, typer.Option(help="Dimension d of the inputs x."), Ge(1), Le(256)] = 3
    n: Annotated[
        int, typer.Option(help="Number n of examples (x, y) in a prompt."), Ge(2), Le(1024)
    ] = 16
    batch: Annotated[
        int, typer.Option(help="Prompts in a training step, over all tasks."), Ge(1), Le(16_384)
    ] = 64
    per_task_batch: Annotated[
        bool,
        typer.Option(help="Every task of a mix gets --batch prompts, not an equal share of them."),
    ] = False
    token: Annotated[
        Literal["interleave", "pair"],
        typer.Option(
            help="interleave: the tokens are x1, y1, x2, ..., as in the paper. pair: one token "
            "for each example, which is not the paper's form and stands in for it."
        ),
    ] = "interleave"
    model: Annotated[
        Literal["gpt", "lstm", "gru", "mamba", "hyena"], typer.Option(help="The network.")
    ] = "gpt"
    embd: Annotated[int, typer.Option(help="Width of the network."), Ge(1), Le(4096)] = 32
    layers: Annotated[int, typer.Option(help="Layers of the network."), Ge(1), Le(64)] = 2
    heads: Annotated[
        int, typer.Option(help="Attention heads in a layer of a gpt."), Ge(1), Le(64)
    ] = 4
    init_std: Annotated[
        float, typer.Option(help="Standard deviation of the initial weights."), Gt(0), Le(10)
    ] = 0.05
    optimizer: Annotated[Literal["adam", "sgd"], typer.Option(help="The optimiser.")] = "adam"
    lr: Annotated[float, typer.Option(help="Learning rate."), Gt(0), Le(1000)] = 3e-3
    warmup: Annotated[
        int,
        typer.Option(help="Steps over which the learning rate rises to --lr."),
        Ge(0),
        Le(10**7),
    ] = 0
    steps: Annotated[
        int,
        typer.Option(help="A training ends after this many steps at the latest."),
        Ge(1),
        Le(10**8),
    ] = 4000
    threshold: Annotated[
        float,
        typer.Option(
            help="The plateau of a task is left when its loss falls below this share of the "
            "optimum without context, the loss of the best prediction from x alone."
        ),
        Gt(0),
        Lt(1),
    ] = 0.8
    window: Annotated[
        int,
        typer.Option(help="Steps over which the loss is averaged for that."),
        Ge(1),
        Le(10**6),
    ] = 100
    every: Annotated[
        int, typer.Option(help="Steps between two points of a recorded curve."), Ge(1), Le(10**6)
    ] = 20
    until: Annotated[
        Literal["escape", "complete", "steps"],
        typer.Option(
            help="When a training ends. escape: all its tasks have left their plateaus. "
            "complete: all are learnt. steps: after --steps."
        ),
    ] = "escape"
    ncl: Annotated[
        Literal["exact", "repo"],
        typer.Option(
            help="The optimum without context that losses are divided by. exact: computed. "
            "repo: the constants of the official code."
        ),
    ] = "exact"
    precision: Annotated[
        Literal["float32", "tf32", "bf16"],
        typer.Option(
            help="Number format of matrix products; weights and sums stay in float32. tf32 and "
            "bf16 need CUDA."
        ),
    ] = "float32"


@dataclass(frozen=True)
class Plateau(Training):
    """The flags of `icl plateau`."""

    tasks: Tasks = ("4",)
    watch: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Tasks to compare, or all. Each of them is also trained alone; the training of "
            "the mix ends when all of them have left their plateaus.",
            autocompletion=task_names,
        ),
    ] = ("all",)
    duplicates: Annotated[
        bool,
        typer.Option(
            help="Also train the first watched task among copies of itself, as many as there are "
            "tasks in the mix."
        ),
    ] = True
    lr_sweep: Annotated[
        tuple[float, ...],
        typer.Option(help="More learning rates, at which everything is trained too. 0: none."),
        Ge(0),
        Le(1000),
    ] = (0.0,)


@command(app)
def plateau(run: Run, p: Plateau) -> None:
    """Train each task alone, all together, and one among copies of itself; compare the steps that
    the loss stays on its plateau.

    Example: toolbox icl plateau --tasks 4
    """
    from .plateau import plateau

    plateau(run, p)


@dataclass(frozen=True)
class Table(Training):
    """The flags of `icl table`."""

    tasks: Tasks = ("3",)
    mix_index: Annotated[
        int,
        typer.Option(
            help="Train one mix of the tasks alone, for a job array: its number in the table, "
            "from 0. -1: train all mixes."
        ),
        Ge(-1),
        Le(1022),
    ] = -1


@command(app)
def table(run: Run, p: Table) -> None:
    """Train every mix of the tasks; steps on the plateau by the number of tasks in the mix.

    Example: toolbox icl table --tasks parity2,conjunction,disjunction
    """
    from .table import table

    table(run, p)


@dataclass(frozen=True)
class Transfer(Training):
    """The flags of `icl transfer`."""

    source: Annotated[
        str, typer.Option(help="Task that is trained first.", autocompletion=task_names)
    ] = "linear"
    target: Annotated[
        str, typer.Option(help="Task that is trained next.", autocompletion=task_names)
    ] = "parity2"


@command(app)
def transfer(run: Run, p: Transfer) -> None:
    """Train a model that has just left the plateau of one task on another task, and compare with
    training from scratch.

    Example: toolbox icl transfer --source linear --target parity2
    """
    from .transfer import transfer

    transfer(run, p)


@dataclass(frozen=True)
class Controls(Training):
    """The flags of `icl controls`."""

    target: Annotated[
        str, typer.Option(help="Task whose plateau is measured.", autocompletion=task_names)
    ] = "parity2"
    helpers: Annotated[
        tuple[str, ...],
        typer.Option(help="Real tasks to train beside the target.", autocompletion=task_names),
    ] = ("conjunction", "disjunction")
    kinds: Annotated[
        tuple[str, ...],
        typer.Option(
            help="What to train beside the target. alone: nothing. duplicates: copies of it. "
            "no-context: the helpers, but labelled by the best guess from x alone. coin: labels by "
            "a fair coin. retrieval: a retrieval task. real: the helpers.",
            autocompletion=lambda: list(KINDS),
        ),
    ] = KINDS
    steps: Annotated[
        int,
        typer.Option(help="A training ends after this many steps at the latest."),
        Ge(1),
        Le(10**8),
    ] = 2000


@command(app)
def controls(run: Run, p: Controls) -> None:
    """Train a task beside copies of itself, tasks without context, retrieval and real tasks; which
    of them shortens its plateau?

    Example: toolbox icl controls --target parity2
    """
    from .controls import controls

    controls(run, p)


@dataclass(frozen=True)
class Ncl:
    """The flags of `icl ncl`."""

    tasks: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Names of tasks, or all: every task that exists at a dimension.",
            autocompletion=task_names,
        ),
    ] = ("all",)
    mix: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Tasks that are trained together; the losses at their plateaus are predicted.",
            autocompletion=task_names,
        ),
    ] = ("parity2", "conjunction", "disjunction")
    d: Annotated[
        tuple[int, ...], typer.Option(help="Dimensions d of the inputs x."), Ge(1), Le(256)
    ] = (3, 4, 5, 6, 8, 10, 15, 20)
    inputs: Annotated[
        int, typer.Option(help="Inputs that Monte Carlo draws."), Ge(2), Le(10**7)
    ] = 500
    functions: Annotated[
        int, typer.Option(help="Functions that it draws for each input."), Ge(2), Le(10**6)
    ] = 100


@command(app)
def ncl(run: Run, p: Ncl) -> None:
    """The loss of the best prediction from x alone: exact, by Monte Carlo, and the official code's
    constants.

    Example: toolbox icl ncl --d 3,10
    """
    from .ncl import ncl

    ncl(run, p)
