"""Sparse contextual bigrams: a linear transformer learns them in two phases, and transfers."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

N_ = Annotated[int, typer.Option(help="Tokens."), Ge(2), Le(50)]
T_ = Annotated[int, typer.Option(help="Context positions."), Ge(2), Le(100_000)]
Ts_ = Annotated[
    tuple[int, ...], typer.Option(help="Context lengths, two or more."), Ge(2), Le(100_000)
]
Q_ = Annotated[int, typer.Option(help="Positions on which an output depends."), Ge(1), Le(100_000)]
Batch = Annotated[int, typer.Option(help="Samples per step."), Ge(1), Le(100_000)]
StepsFlag = Annotated[int, typer.Option(help="Steps on value and attention."), Ge(1), Le(10**6)]
StageOne = Annotated[
    float, typer.Option(help="Samples of stage one, in units of T."), Gt(0), Le(10_000)
]
Refit = Annotated[
    int, typer.Option(help="Steps on the value alone after rounding."), Ge(1), Le(10**6)
]
Etas = Annotated[tuple[float, ...], typer.Option(help="Attention step sizes."), Gt(0), Le(100)]


@command(app)
def train(
    run: Run,
    N: N_ = 3,
    T: T_ = 400,
    Q: Q_ = 2,
    alg: Annotated[
        Literal["prox", "sgd", "sgd-raw"],
        typer.Option(
            help="prox; sgd: the same without penalty; sgd-raw: also without preconditioner and "
            "projection."
        ),
    ] = "prox",
    batch: Annotated[
        int,
        typer.Option(
            help="Samples per step; 0: as many as the threshold condition asks, about log T."
        ),
        Ge(0),
        Le(100_000),
    ] = 0,
    n1_ratio: StageOne = 32.0,
    steps: StepsFlag = 100,
    refit_steps: Refit = 200,
    lam: Annotated[
        float,
        typer.Option(
            help="l1 penalty on the attention; 0: 0.3 of the signal after stage one (--alg sgd has "
            "none)."
        ),
        Ge(0),
        Le(10),
    ] = 0.0,
    eta_v: Annotated[float, typer.Option(help="Step size of the value."), Gt(0), Le(100)] = 0.3,
    eta_a: Annotated[
        float,
        typer.Option(help="Step size of the attention; 0: from the signal after stage one."),
        Ge(0),
        Le(100),
    ] = 0.0,
    eta_refit: Annotated[
        float, typer.Option(help="Step size of the value after rounding."), Gt(0), Le(100)
    ] = 0.2,
    decay: Annotated[
        Literal["linear", "none"], typer.Option(help="Decay of the step sizes to 0 in a stage.")
    ] = "linear",
    round: Annotated[
        bool, typer.Option(help="Round the attention, then train the value alone.")
    ] = True,
) -> None:
    """The three stages: errors, correlations and exact excess loss against samples.

    Example: toolbox scb train --T 400
    """
    from .train import train

    train(
        run,
        N=N,
        T=T,
        Q=Q,
        alg=alg,
        batch=batch,
        n1_ratio=n1_ratio,
        steps=steps,
        refit_steps=refit_steps,
        lam=lam,
        eta_v=eta_v,
        eta_a=eta_a,
        eta_refit=eta_refit,
        decay=decay,
        round=round,
    )


@command(app)
def compare(
    run: Run,
    N: N_ = 3,
    T: T_ = 2000,
    Q: Q_ = 2,
    batch: Batch = 32,
    steps: StepsFlag = 1000,
    n1_ratio: StageOne = 16.0,
    refit_steps: Refit = 100,
    refit_batch: Annotated[
        int, typer.Option(help="Samples per step on the value alone."), Ge(1), Le(100_000)
    ] = 64,
    prox_etas: Etas = (0.2, 0.1, 0.05, 0.025),
    lams: Annotated[
        tuple[float, ...], typer.Option(help="l1 penalties of the proximal method."), Gt(0), Le(10)
    ] = (0.0025, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06),
    sgd_etas: Etas = (0.2, 0.1, 0.05, 0.025, 0.0125, 0.006, 0.003, 0.0015),
    decays: Annotated[tuple[str, ...], typer.Option(help="Step-size decays: linear, none.")] = (
        "linear",
        "none",
    ),
) -> None:
    """The proximal method against SGD, each at its best step size, raw and post-processed.

    Example: toolbox scb compare --T 2000 --repeats 8
    """
    from .compare import compare

    compare(
        run,
        N=N,
        T=T,
        Q=Q,
        batch=batch,
        steps=steps,
        n1_ratio=n1_ratio,
        refit_steps=refit_steps,
        refit_batch=refit_batch,
        prox_etas=prox_etas,
        lams=lams,
        sgd_etas=sgd_etas,
        decays=decays,
    )


@command(app)
def stages(
    run: Run,
    N: N_ = 3,
    Q: Q_ = 2,
    Ts: Ts_ = (50, 200, 800, 3200),
    ratios: Annotated[
        tuple[float, ...], typer.Option(help="Phase-1 samples in units of T."), Gt(0), Le(10_000)
    ] = (0.25, 0.5, 1, 2, 4, 8, 16, 24, 32, 48, 64, 128),
    draws: Annotated[
        int, typer.Option(help="Independent stage ones per point of phase 1."), Ge(2), Le(100_000)
    ] = 2000,
    target: Annotated[
        float, typer.Option(help="Correlation at which phase 1 ends."), Gt(0), Lt(1)
    ] = 0.9,
    margins: Annotated[
        tuple[float, ...],
        typer.Option(help="Phase-2 batches in units of the threshold condition's."),
        Gt(0),
        Le(100),
    ] = (1.0, 0.55, 0.15),
    fixed_batch: Annotated[
        int, typer.Option(help="Phase-2 batch that does not follow T."), Ge(1), Le(100_000)
    ] = 64,
    lam_share: Annotated[
        float, typer.Option(help="Penalty in units of the signal K_VP / Q."), Gt(0), Lt(1)
    ] = 0.72,
    gain: Annotated[
        float, typer.Option(help="Attention step size in units of 1 / K_P."), Gt(0), Le(10)
    ] = 0.36,
    cap: Annotated[
        int, typer.Option(help="Samples after which phase 2 is given up."), Ge(1), Le(10**8)
    ] = 20_000,
    trials: Annotated[
        int,
        typer.Option(help="Recoveries from one averaged gradient per T."),
        Ge(1),
        Le(10_000),
    ] = 20,
) -> None:
    """Samples of phase 1 (linear in T) and of phase 2 (log T, while the batch follows it).

    Example: toolbox scb stages --Ts 50,200,800,3200
    """
    from .stages import stages

    stages(
        run,
        N=N,
        Q=Q,
        Ts=Ts,
        ratios=ratios,
        draws=draws,
        target=target,
        margins=margins,
        fixed_batch=fixed_batch,
        lam_share=lam_share,
        gain=gain,
        cap=cap,
        trials=trials,
    )


@command(app)
def transfer(
    run: Run,
    N: N_ = 3,
    Q: Q_ = 2,
    Ts: Ts_ = (400, 1600),
    batches: Annotated[
        tuple[int, ...], typer.Option(help="Samples per step, the best counts."), Ge(1), Le(100_000)
    ] = (64, 256),
    rhos: Annotated[
        tuple[float, ...],
        typer.Option(help="Correlations of the pretraining task with the target."),
        Ge(-1),
        Le(1),
    ] = (1.0, 0.8, 0.5, 0.35, 0.2, 0.0),
    thetas: Annotated[
        tuple[float, ...],
        typer.Option(help="Weights of the pretrained value in the start."),
        Gt(0),
        Le(1),
    ] = (0.5, 1.0),
    n1_ratios: Annotated[
        tuple[float, ...],
        typer.Option(help="Stage-one samples of a scratch run, in units of T."),
        Gt(0),
        Le(10_000),
    ] = (1.0, 2.0, 4.0, 8.0, 32.0),
    eta_v: Annotated[float, typer.Option(help="Step size of the value."), Gt(0), Le(100)] = 0.1,
    cap: Annotated[
        int, typer.Option(help="Samples after which a start is given up."), Ge(1), Le(10**8)
    ] = 16_000,
) -> None:
    """Samples to the target from a task at an exact correlation, and from scratch at its best.

    Example: toolbox scb transfer --repeats 8
    """
    from .transfer import transfer

    transfer(
        run,
        N=N,
        Q=Q,
        Ts=Ts,
        batches=batches,
        rhos=rhos,
        thetas=thetas,
        n1_ratios=n1_ratios,
        eta_v=eta_v,
        cap=cap,
    )


@command(app)
def softmax(
    run: Run,
    N: N_ = 3,
    T: T_ = 100,
    Q: Q_ = 2,
    batch: Batch = 64,
    steps: StepsFlag = 1500,
    n1_ratio: StageOne = 16.0,
    lrs: Annotated[tuple[float, ...], typer.Option(help="Adam step sizes."), Gt(0), Le(10)] = (
        0.003,
        0.01,
        0.03,
        0.1,
        0.3,
    ),
) -> None:
    """Softmax attention by Adam beside linear attention: curves, maps, mass on true positions.

    Example: toolbox scb softmax --T 100
    """
    from .softmax import softmax

    softmax(run, N=N, T=T, Q=Q, batch=batch, steps=steps, n1_ratio=n1_ratio, lrs=lrs)


@command(app, files=("file",))
def fit(
    run: Run,
    file: Annotated[
        str, typer.Argument(help="A UTF-8 text with blank lines between paragraphs.")
    ] = "pydoc_data.topics",
    T: Annotated[int, typer.Option(help="Context positions."), Ge(2), Le(1000)] = 8,
    include_last: Annotated[
        bool,
        typer.Option(
            "--include-last/--exclude-last",
            help="Make the last token itself a position of the context; the paper does not.",
        ),
    ] = True,
    classes: Annotated[
        str,
        typer.Option(
            help="linguistic, automatic, or groups of characters separated by spaces, in which "
            "\\s is the space and \\n the newline."
        ),
    ] = "linguistic",
    automatic: Annotated[
        int, typer.Option(help="Number of automatic classes."), Ge(2), Le(64)
    ] = 16,
    train_windows: Annotated[
        int, typer.Option(help="Training windows at most."), Ge(100), Le(10**7)
    ] = 80_000,
    test_windows: Annotated[
        int, typer.Option(help="Test windows at most."), Ge(100), Le(10**7)
    ] = 40_000,
    steps: Annotated[
        int, typer.Option(help="Steps of the minibatch training."), Ge(1), Le(10**6)
    ] = 1500,
    batch: Annotated[int, typer.Option(help="Windows per minibatch."), Ge(1), Le(100_000)] = 64,
) -> None:
    """Fit the model to a text at the level of character classes, beside n-grams and a linear map.

    Example: toolbox scb fit data/alice.txt --T 8
    """
    from .fit import fit

    fit(
        run,
        file=file,
        T=T,
        include_last=include_last,
        classes=classes,
        automatic=automatic,
        train_windows=train_windows,
        test_windows=test_windows,
        steps=steps,
        batch=batch,
    )
