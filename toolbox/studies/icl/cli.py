"""In-context learning: several tasks at once shorten each other's loss plateau."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

Tasks = Annotated[
    tuple[str, ...],
    typer.Option(help="Task names, or one number K: the first K of the four default tasks."),
]
Dim = Annotated[int, typer.Option(help="Dimension d of the x."), Ge(1), Le(256)]
Dims = Annotated[tuple[int, ...], typer.Option(help="Dimensions d of the x."), Ge(1), Le(256)]
Examples = Annotated[int, typer.Option(help="Examples n in a prompt."), Ge(2), Le(1024)]
Batch = Annotated[int, typer.Option(help="Prompts in a step, of all tasks."), Ge(1), Le(65_536)]
PerTask = Annotated[
    bool, typer.Option(help="Every task gets --batch prompts, instead of an equal share of it.")
]
Embd = Annotated[int, typer.Option(help="Width of the network."), Ge(1), Le(4096)]
Layers = Annotated[int, typer.Option(help="Layers of the network."), Ge(1), Le(64)]
Heads = Annotated[int, typer.Option(help="Heads of attention (gpt)."), Ge(1), Le(64)]
Std = Annotated[float, typer.Option(help="Spread of the initial weights."), Gt(0), Le(10)]
Rate = Annotated[float, typer.Option(help="Learning rate."), Gt(0), Le(1000)]
Sweep = Annotated[
    tuple[float, ...],
    typer.Option(help="More learning rates, at which every arm is trained too; 0: none."),
    Ge(0),
    Le(1000),
]
Warmup = Annotated[
    int, typer.Option(help="Steps in which the rate rises to --lr."), Ge(0), Le(10**7)
]
Steps = Annotated[int, typer.Option(help="Steps at most."), Ge(1), Le(10**8)]
Threshold = Annotated[
    float,
    typer.Option(help="A plateau is left at this share of the optimum without context."),
    Gt(0),
    Lt(1),
]
Window = Annotated[
    int, typer.Option(help="Steps of the running mean of the loss."), Ge(1), Le(10**6)
]
Every = Annotated[int, typer.Option(help="Steps between points of a curve."), Ge(1), Le(10**6)]
Until = Annotated[
    Literal["escape", "complete", "steps"],
    typer.Option(help="A model stops when its tasks have left the plateau, are learnt, or never."),
]
Token = Annotated[
    Literal["interleave", "pair"],
    typer.Option(help="The paper's tokens x1,y1,...; or pair: one token per example, a stand-in."),
]
Backbone = Annotated[Literal["gpt", "lstm", "gru", "mamba"], typer.Option(help="The network.")]
Optimizer = Annotated[Literal["adam", "sgd"], typer.Option(help="The optimiser.")]
Optimum = Annotated[
    Literal["exact", "repo"],
    typer.Option(help="Optimum without context: exact, or the official code's constants."),
]
Precision = Annotated[
    Literal["float32", "bfloat16"], typer.Option(help="Of the products; bfloat16 is for CUDA.")
]


@command(app)
def plateau(
    run: Run,
    tasks: Tasks = ("4",),
    watch: Annotated[
        tuple[str, ...],
        typer.Option(help="Tasks that are trained alone too and waited for, or all."),
    ] = ("all",),
    duplicates: Annotated[
        bool, typer.Option(help="The control: the first watched task among copies of itself.")
    ] = True,
    d: Dim = 3,
    n: Examples = 16,
    batch: Batch = 64,
    per_task_batch: PerTask = False,
    token: Token = "interleave",
    model: Backbone = "gpt",
    embd: Embd = 32,
    layers: Layers = 2,
    heads: Heads = 4,
    init_std: Std = 0.05,
    optimizer: Optimizer = "adam",
    lr: Rate = 3e-3,
    lr_sweep: Sweep = (0.0,),
    warmup: Warmup = 0,
    steps: Steps = 4000,
    threshold: Threshold = 0.8,
    window: Window = 100,
    every: Every = 20,
    until: Until = "escape",
    ncl: Optimum = "exact",
    precision: Precision = "float32",
) -> None:
    """Each task alone, all together, and one among copies of itself.

    Example: toolbox icl plateau --tasks 4
    """
    from .plan import Setting
    from .plateau import plateau

    setting = Setting(
        d, n, batch, per_task_batch, token, model, embd, layers, heads, init_std, optimizer,
        warmup, steps, threshold, window, every, until, ncl, precision,
    )  # fmt: skip
    plateau(
        run, tasks=tasks, watch=watch, duplicates=duplicates, lr=lr, lr_sweep=lr_sweep,
        setting=setting,
    )  # fmt: skip


@command(app)
def table(
    run: Run,
    tasks: Tasks = ("3",),
    mix_index: Annotated[
        int,
        typer.Option(help="Train one mix alone, a cell of the table; -1: all."),
        Ge(-1),
        Le(1022),
    ] = -1,
    d: Dim = 3,
    n: Examples = 16,
    batch: Batch = 64,
    per_task_batch: PerTask = False,
    token: Token = "interleave",
    model: Backbone = "gpt",
    embd: Embd = 32,
    layers: Layers = 2,
    heads: Heads = 4,
    init_std: Std = 0.05,
    optimizer: Optimizer = "adam",
    lr: Rate = 3e-3,
    warmup: Warmup = 0,
    steps: Steps = 4000,
    threshold: Threshold = 0.8,
    window: Window = 100,
    every: Every = 20,
    until: Until = "escape",
    ncl: Optimum = "exact",
    precision: Precision = "float32",
) -> None:
    """Every mix of the tasks: escape by the number of tasks beside.

    Example: toolbox icl table --tasks parity2,conjunction,disjunction
    """
    from .plan import Setting
    from .table import table

    setting = Setting(
        d, n, batch, per_task_batch, token, model, embd, layers, heads, init_std, optimizer,
        warmup, steps, threshold, window, every, until, ncl, precision,
    )  # fmt: skip
    table(run, tasks=tasks, mix_index=mix_index, lr=lr, setting=setting)


@command(app)
def transfer(
    run: Run,
    source: Annotated[str, typer.Option(help="Task whose plateau is left first.")] = "linear",
    target: Annotated[str, typer.Option(help="Task that is trained then.")] = "parity2",
    d: Dim = 3,
    n: Examples = 16,
    batch: Batch = 64,
    per_task_batch: PerTask = False,
    token: Token = "interleave",
    model: Backbone = "gpt",
    embd: Embd = 32,
    layers: Layers = 2,
    heads: Heads = 4,
    init_std: Std = 0.05,
    optimizer: Optimizer = "adam",
    lr: Rate = 3e-3,
    warmup: Warmup = 0,
    steps: Steps = 4000,
    threshold: Threshold = 0.8,
    window: Window = 100,
    every: Every = 20,
    until: Until = "escape",
    ncl: Optimum = "exact",
    precision: Precision = "float32",
) -> None:
    """A model that just left the plateau of one task, trained on another; and one from scratch.

    Example: toolbox icl transfer --source linear --target parity2
    """
    from .plan import Setting
    from .transfer import transfer

    setting = Setting(
        d, n, batch, per_task_batch, token, model, embd, layers, heads, init_std, optimizer,
        warmup, steps, threshold, window, every, until, ncl, precision,
    )  # fmt: skip
    transfer(run, source=source, target=target, lr=lr, setting=setting)


@command(app)
def controls(
    run: Run,
    target: Annotated[str, typer.Option(help="Task that is watched.")] = "parity2",
    helpers: Annotated[tuple[str, ...], typer.Option(help="Tasks that stand beside it.")] = (
        "conjunction",
        "disjunction",
    ),
    kinds: Annotated[
        tuple[str, ...],
        typer.Option(help="alone, duplicates, no-context, coin, retrieval, real."),
    ] = ("alone", "duplicates", "no-context", "coin", "retrieval", "real"),
    d: Dim = 3,
    n: Examples = 16,
    batch: Batch = 64,
    per_task_batch: PerTask = False,
    token: Token = "interleave",
    model: Backbone = "gpt",
    embd: Embd = 32,
    layers: Layers = 2,
    heads: Heads = 4,
    init_std: Std = 0.05,
    optimizer: Optimizer = "adam",
    lr: Rate = 3e-3,
    warmup: Warmup = 0,
    steps: Steps = 2000,
    threshold: Threshold = 0.8,
    window: Window = 100,
    every: Every = 20,
    until: Until = "escape",
    ncl: Optimum = "exact",
    precision: Precision = "float32",
) -> None:
    """What has to stand beside a task: copies, tasks without context, retrieval, real ones.

    Example: toolbox icl controls --target parity2
    """
    from .controls import controls
    from .plan import Setting

    setting = Setting(
        d, n, batch, per_task_batch, token, model, embd, layers, heads, init_std, optimizer,
        warmup, steps, threshold, window, every, until, ncl, precision,
    )  # fmt: skip
    controls(run, target=target, helpers=helpers, kinds=kinds, lr=lr, setting=setting)


@command(app)
def ncl(
    run: Run,
    tasks: Annotated[
        tuple[str, ...], typer.Option(help="Task names, or all that exist at each --d.")
    ] = ("all",),
    mix: Annotated[
        tuple[str, ...], typer.Option(help="Tasks of a mix, whose plateaus are predicted.")
    ] = ("parity2", "conjunction", "disjunction"),
    d: Dims = (3, 4, 5, 6, 8, 10, 15, 20),
    inputs: Annotated[
        int, typer.Option(help="Inputs that Monte Carlo draws."), Ge(2), Le(10**7)
    ] = 500,
    functions: Annotated[
        int, typer.Option(help="Functions that it draws for each input."), Ge(2), Le(10**6)
    ] = 100,
) -> None:
    """The loss of the best prediction from x alone: exact, by Monte Carlo, and the official code's.

    Example: toolbox icl ncl --d 3,10
    """
    from .ncl import ncl

    ncl(run, names=tasks, mix=mix, d=d, inputs=inputs, functions=functions)
