"""Sparse contextual bigrams: a linear transformer learns them in two phases, and transfers."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

Context = Annotated[int, typer.Option(help="Context length T, in positions."), Ge(2), Le(100_000)]
Contexts = Annotated[
    tuple[int, ...],
    typer.Option(help="Context lengths T to compare, two or more."),
    Ge(2),
    Le(100_000),
]
Batch = Annotated[int, typer.Option(help="Samples per step."), Ge(1), Le(100_000)]
StepCount = Annotated[
    int, typer.Option(help="Training steps on value and attention together."), Ge(1), Le(10**6)
]
StageOne = Annotated[
    float,
    typer.Option(help="Samples of stage one (value alone), as a multiple of T."),
    Gt(0),
    Le(10_000),
]
Refit = Annotated[
    int,
    typer.Option(help="Training steps on the value alone, after the attention was rounded."),
    Ge(1),
    Le(10**6),
]
Etas = tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """The law that a sample is drawn from."""

    N: Annotated[int, typer.Option(help="Number N of tokens."), Ge(2), Le(50)] = 3
    Q: Annotated[
        int,
        typer.Option(help="Number Q of context positions on which an output depends."),
        Ge(1),
        Le(100_000),
    ] = 2


@dataclass(frozen=True)
class Train(Task):
    """The flags of `scb train`."""

    T: Context = 400
    alg: Annotated[
        Literal["prox", "sgd", "sgd-raw"],
        typer.Option(
            help="prox: the paper's proximal method. sgd: the same without penalty. sgd-raw: plain "
            "SGD, without preconditioner and projection either."
        ),
    ] = "prox"
    batch: Annotated[
        int,
        typer.Option(
            help="Samples per step. 0: as many as the threshold condition asks for, about log T."
        ),
        Ge(0),
        Le(100_000),
    ] = 0
    n1_ratio: StageOne = 32.0
    steps: StepCount = 100
    refit_steps: Refit = 200
    lam: Annotated[
        float,
        typer.Option(
            help="l1 penalty on the attention (prox alone). 0: 0.3 of the signal per entry after "
            "stage one."
        ),
        Ge(0),
        Le(10),
    ] = 0.0
    eta_v: Annotated[float, typer.Option(help="Step size of the value."), Gt(0), Le(100)] = 0.3
    eta_a: Annotated[
        float,
        typer.Option(help="Step size of the attention. 0: from the signal after stage one."),
        Ge(0),
        Le(100),
    ] = 0.0
    eta_refit: Annotated[
        float, typer.Option(help="Step size of the value after rounding."), Gt(0), Le(100)
    ] = 0.2
    decay: Annotated[
        Literal["linear", "none"],
        typer.Option(help="linear: step sizes fall linearly to 0 within a stage. none: constant."),
    ] = "linear"
    round: Annotated[
        bool,
        typer.Option(help="Stage three: round the attention, then train the value alone."),
    ] = True


@command(app)
def train(run: Run, p: Train) -> None:
    """Run the three stages; report errors, correlations and exact excess loss against samples.

    Example: toolbox scb train --T 400
    """
    from .train import train

    train(run, p)


@dataclass(frozen=True)
class Compare(Task):
    """The flags of `scb compare`."""

    T: Context = 2000
    batch: Batch = 32
    steps: StepCount = 1000
    n1_ratio: StageOne = 16.0
    refit_steps: Refit = 100
    refit_batch: Annotated[
        int,
        typer.Option(help="Samples per step while the value alone is trained."),
        Ge(1),
        Le(100_000),
    ] = 64
    prox_etas: Annotated[
        Etas, typer.Option(help="Attention step sizes of the proximal method."), Gt(0), Le(100)
    ] = (0.2, 0.1, 0.05, 0.025)
    lams: Annotated[
        Etas, typer.Option(help="l1 penalties of the proximal method."), Gt(0), Le(10)
    ] = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06)
    sgd_etas: Annotated[Etas, typer.Option(help="Attention step sizes of SGD."), Gt(0), Le(100)] = (
        0.2,
        0.1,
        0.05,
        0.025,
        0.0125,
        0.006,
        0.003,
        0.0015,
    )
    decays: Annotated[
        tuple[str, ...],
        typer.Option(help="Decays of the step sizes to try on both sides: linear, none."),
    ] = ("linear", "none")


@command(app)
def compare(run: Run, p: Compare) -> None:
    """Compare the proximal method with SGD, each at its best step size, raw and post-processed.

    Example: toolbox scb compare --T 2000 --repeats 8
    """
    from .compare import compare

    compare(run, p)


@dataclass(frozen=True)
class Stages(Task):
    """The flags of `scb stages`."""

    Ts: Contexts = (50, 200, 800, 3200)
    ratios: Annotated[
        Etas, typer.Option(help="Samples of phase 1, as multiples of T."), Gt(0), Le(10_000)
    ] = (0.25, 0.5, 1, 2, 4, 8, 16, 24, 32, 48, 64, 128)
    draws: Annotated[
        int,
        typer.Option(help="Independent repetitions of stage one for each point of phase 1."),
        Ge(2),
        Le(100_000),
    ] = 2000
    target: Annotated[
        float, typer.Option(help="Phase 1 ends at this correlation of the value."), Gt(0), Lt(1)
    ] = 0.9
    margins: Annotated[
        Etas,
        typer.Option(
            help="Batches of phase 2, as multiples of the batch that the threshold condition asks "
            "for."
        ),
        Gt(0),
        Le(100),
    ] = (1.0, 0.55, 0.15)
    fixed_batch: Annotated[
        int,
        typer.Option(help="One more batch of phase 2, which is the same for every T."),
        Ge(1),
        Le(100_000),
    ] = 64
    lam_share: Annotated[
        float,
        typer.Option(help="Penalty, relative to the signal per entry K_VP / Q."),
        Ge(1e-6),
        Lt(1),
    ] = 0.72
    gain: Annotated[
        float, typer.Option(help="Attention step size, relative to 1 / K_P."), Gt(0), Le(10)
    ] = 0.36
    cap: Annotated[
        int, typer.Option(help="Give phase 2 up after this many samples."), Ge(1), Le(10**8)
    ] = 20_000
    trials: Annotated[
        int,
        typer.Option(help="Recoveries from one averaged gradient that are tried for each T."),
        Ge(1),
        Le(10_000),
    ] = 20


@command(app)
def stages(run: Run, p: Stages) -> None:
    """Count the samples of phase 1 (linear in T) and of phase 2 (log T, if the batch follows it).

    Example: toolbox scb stages --Ts 50,200,800,3200
    """
    from .stages import stages

    stages(run, p)


@dataclass(frozen=True)
class Transfer(Task):
    """The flags of `scb transfer`."""

    Ts: Contexts = (400, 1600)
    batches: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples per step to try; the best batch counts."),
        Ge(1),
        Le(100_000),
    ] = (64, 256)
    rhos: Annotated[
        Etas,
        typer.Option(help="Correlations of the pretraining task with the target task."),
        Ge(-1),
        Le(1),
    ] = (1.0, 0.8, 0.5, 0.35, 0.2, 0.0)
    thetas: Annotated[
        Etas,
        typer.Option(
            help="Weights of the pretrained value in the start; the rest is the trivial value."
        ),
        Gt(0),
        Le(1),
    ] = (0.5, 1.0)
    n1_ratios: Annotated[
        Etas,
        typer.Option(help="Samples of stage one when training from scratch, as multiples of T."),
        Gt(0),
        Le(10_000),
    ] = (1.0, 2.0, 4.0, 8.0, 32.0)
    eta_v: Annotated[float, typer.Option(help="Step size of the value."), Gt(0), Le(100)] = 0.1
    cap: Annotated[
        int, typer.Option(help="Give a start up after this many samples."), Ge(1), Le(10**8)
    ] = 16_000


@command(app)
def transfer(run: Run, p: Transfer) -> None:
    """Count the samples to the target when fine-tuning a correlated task, and from scratch.

    Example: toolbox scb transfer --repeats 8
    """
    from .transfer import transfer

    transfer(run, p)


@dataclass(frozen=True)
class Softmax(Task):
    """The flags of `scb softmax`."""

    T: Context = 100
    batch: Batch = 64
    steps: StepCount = 1500
    n1_ratio: StageOne = 16.0
    lrs: Annotated[Etas, typer.Option(help="Step sizes of Adam to try."), Gt(0), Le(10)] = (
        0.003,
        0.01,
        0.03,
        0.1,
        0.3,
    )


@command(app)
def softmax(run: Run, p: Softmax) -> None:
    """Train softmax attention by Adam beside linear attention: curves and attention maps.

    Example: toolbox scb softmax --T 100
    """
    from .softmax import softmax

    softmax(run, p)


@dataclass(frozen=True)
class Fit:
    """The flags of `scb fit`."""

    file: Annotated[
        str, typer.Argument(help="A UTF-8 text with blank lines between paragraphs.")
    ] = "pydoc_data.topics"
    T: Annotated[int, typer.Option(help="Context length T."), Ge(2), Le(1000)] = 8
    include_last: Annotated[
        bool,
        typer.Option(
            "--include-last/--exclude-last",
            help="Make the last token itself a position of the context; the paper does not.",
        ),
    ] = True
    classes: Annotated[
        str,
        typer.Option(
            help="Which characters form one class: linguistic, automatic, or groups of characters "
            "separated by spaces, in which \\s is the space and \\n the newline."
        ),
    ] = "linguistic"
    automatic: Annotated[int, typer.Option(help="Number of automatic classes."), Ge(2), Le(64)] = 16
    train_windows: Annotated[
        int, typer.Option(help="Largest number of training windows."), Ge(100), Le(10**7)
    ] = 80_000
    test_windows: Annotated[
        int, typer.Option(help="Largest number of test windows."), Ge(100), Le(10**7)
    ] = 40_000
    steps: Annotated[
        int, typer.Option(help="Steps of the minibatch training."), Ge(1), Le(10**6)
    ] = 1500
    batch: Annotated[int, typer.Option(help="Windows in a minibatch."), Ge(1), Le(100_000)] = 64


@command(app, files=("file",))
def fit(run: Run, p: Fit) -> None:
    """Fit the model to a text, in classes of characters, beside n-grams and a linear map.

    Example: toolbox scb fit data/alice.txt --T 8
    """
    from .fit import fit

    fit(run, p)
