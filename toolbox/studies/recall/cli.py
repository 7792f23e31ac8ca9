"""Factual recall by associative memories: capacity, trade-off, hallucination."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

Dims = Annotated[
    tuple[int, ...], typer.Option(help="Dimensions d of the embeddings."), Ge(4), Le(1024)
]
Every = Annotated[
    int, typer.Option(help="Steps between two looks at the accuracy."), Ge(1), Le(100_000)
]
Draws = Annotated[
    int, typer.Option(help="Embeddings averaged over for the superposition."), Ge(1), Le(10_000)
]
Bits = Annotated[float, typer.Option(help="Bits per parameter in the lower bound."), Gt(0), Le(64)]
Early = Annotated[bool, typer.Option(help="Give up trials that can no longer reach the threshold.")]
Threshold = Annotated[
    float, typer.Option(help="Accuracy that counts as having stored everything."), Gt(0), Le(1)
]
Rates = Annotated[
    tuple[float, ...],
    typer.Option(help="Learning rates of Adam; one that succeeds is enough."),
    Gt(0),
    Le(1e6),
]
Rate = Annotated[float, typer.Option(help="Learning rate of Adam."), Gt(0), Le(1e6)]
Steps = Annotated[int, typer.Option(help="Training steps of a trial."), Ge(1), Le(10_000_000)]
Outputs = Annotated[
    int,
    typer.Option(help="Outputs M, input x to floor(x M / N); 0: as many as inputs (M = N)."),
    Ge(0),
    Le(10_000),
]
Subjects = Annotated[int, typer.Option(help="Subjects S."), Ge(1), Le(4096)]
Relations = Annotated[int, typer.Option(help="Relations R."), Ge(1), Le(4096)]
Answers = Annotated[int, typer.Option(help="Answers D of each relation."), Ge(1), Le(4096)]
Noise = Annotated[int, typer.Option(help="Noise tokens; 0: S + R, as many."), Ge(0), Le(10_000)]
Length = Annotated[
    int, typer.Option(help="Prompt length T: subject, relation, noise, EOS."), Ge(3), Le(4096)
]
Dim = Annotated[int, typer.Option(help="Dimension d of the embeddings."), Ge(1), Le(4096)]
HeadDim = Annotated[int, typer.Option(help="Dimension d_h of a head."), Ge(1), Le(1024)]
Batch = Annotated[int, typer.Option(help="Fresh prompts per step."), Ge(1), Le(65_536)]
Evaluate = Annotated[
    Literal["facts", "prompts"],
    typer.Option(help="Accuracy over all facts, or over the paper's 1024 random prompts."),
]


@command(app)
def linear(
    run: Run,
    dims: Dims = (8, 11, 16, 22, 32),
    method: Annotated[
        Literal["trained", "superposition", "both"],
        typer.Option(help="Trained by Adam, or the closed form W = sum u e^T."),
    ] = "both",
    lr: Rates = (1000.0,),
    steps: Steps = 1024,
    every: Every = 32,
    threshold: Threshold = 0.99,
    draws: Draws = 16,
    bits: Bits = 32.0,
    early_stop: Early = True,
) -> None:
    """Capacity of a d x d matrix: N log N grows like d^2.

    Example: toolbox recall linear --repeats 3
    """
    from .capacity import Method, linear
    from .ensemble import Budget

    budget = Budget(steps, every, threshold, early_stop)
    linear(run, dims=dims, method=method, how=Method(lr, budget, draws, bits))


@command(app)
def mlp(
    run: Run,
    dims: Dims = (8, 11, 16),
    ratios: Annotated[
        tuple[float, ...], typer.Option(help="Widths m in units of d."), Gt(0), Le(64)
    ] = (1.0, 2.0, 4.0),
    outputs: Outputs = 0,
    lr: Rates = (0.03,),
    steps: Steps = 2048,
    every: Every = 64,
    threshold: Threshold = 0.99,
    bits: Bits = 32.0,
    early_stop: Early = True,
) -> None:
    """Capacity of a two-layer MLP: N log N grows like m d, or N alone for a fixed M.

    Example: toolbox recall mlp --outputs 32
    """
    from .capacity import Method, mlp
    from .ensemble import Budget

    budget = Budget(steps, every, threshold, early_stop)
    mlp(run, dims=dims, ratios=ratios, outputs=outputs, how=Method(lr, budget, 1, bits))


@command(app)
def curve(
    run: Run,
    kind: Annotated[
        Literal["linear", "mlp", "superposition"], typer.Option(help="The memory.")
    ] = "linear",
    d: Annotated[int, typer.Option(help="Dimension of the embeddings."), Ge(1), Le(1024)] = 32,
    m: Annotated[int, typer.Option(help="Width of the MLP."), Ge(1), Le(65_536)] = 32,
    outputs: Outputs = 0,
    sizes: Annotated[
        tuple[int, ...], typer.Option(help="Numbers N of associations."), Ge(2), Le(100_000)
    ] = (60, 80, 100, 120, 140, 160, 180, 200, 240, 280, 320),
    lr: Rate = 1000.0,
    steps: Steps = 1024,
    every: Every = 64,
    draws: Draws = 16,
) -> None:
    """Accuracy against the number of associations: the transition itself.

    Example: toolbox recall curve --kind superposition --d 64 --sizes 50,100,200,400
    """
    from .curve import curve

    curve(
        run, kind=kind, d=d, m=m, outputs=outputs, sizes=sizes, lr=lr, steps=steps, every=every,
        draws=draws,
    )  # fmt: skip


@command(app)
def scaling(
    run: Run,
    scaling: Annotated[
        Literal["linear", "square", "distinct"],
        typer.Option(help="R = S; S = R^2; or R = S with D = S answers."),
    ] = "linear",
    heads: Annotated[int, typer.Option(help="Heads H."), Ge(1), Le(256)] = 4,
    answers: Answers = 8,
    dims: Dims = (8, 12, 16),
    alpha_beta: Annotated[
        tuple[str, ...],
        typer.Option(help="Sizes alpha:beta; H d_h = alpha d in attention, m = beta d in the MLP."),
    ] = ("1:1", "0.5:2"),
    low: Annotated[int, typer.Option(help="Start of the search for S."), Ge(2), Le(4096)] = 2,
    high: Annotated[int, typer.Option(help="End of the search for S."), Ge(3), Le(4096)] = 48,
    length: Length = 16,
    lr: Rates = (1e-3, 3e-3, 1e-2),
    batch: Batch = 256,
    steps: Steps = 1500,
    every: Every = 64,
    threshold: Threshold = 0.99,
    early_stop: Early = True,
    evaluate: Evaluate = "facts",
    bits: Bits = 32.0,
) -> None:
    """Facts stored by a one-layer transformer against its parameters.

    Example: toolbox recall scaling --alpha-beta 1:1 --dims 8,12,16
    """
    from .scaling import scaling as experiment

    experiment(
        run, scaling=scaling, heads=heads, answers=answers, dims=dims, alpha_beta=alpha_beta,
        low=low, high=high, length=length, lr=lr, batch=batch, steps=steps, every=every,
        threshold=threshold, early_stop=early_stop, evaluate=evaluate, bits=bits,
    )  # fmt: skip


@command(app)
def tradeoff(
    run: Run,
    subjects: Subjects = 16,
    relations: Relations = 16,
    answers: Answers = 8,
    noise: Noise = 0,
    length: Length = 16,
    dim: Dim = 16,
    head_dim: HeadDim = 4,
    heads: Annotated[tuple[int, ...], typer.Option(help="Heads H."), Ge(1), Le(256)] = (
        1,
        2,
        4,
        8,
        16,
    ),
    widths: Annotated[
        tuple[int, ...], typer.Option(help="Widths m of the MLP; 0: none."), Ge(0), Le(65_536)
    ] = (0, 8, 32, 64, 128),
    lr: Rate = 0.01,
    batch: Batch = 256,
    steps: Steps = 2000,
    every: Every = 128,
    evaluate: Evaluate = "facts",
) -> None:
    """Accuracy over attention parameters x MLP parameters; give one H and one m for one cell.

    Example: toolbox recall tradeoff --heads 4 --widths 32
    """
    from .tradeoff import tradeoff

    tradeoff(
        run, subjects=subjects, relations=relations, answers=answers, noise=noise, length=length,
        dim=dim, head_dim=head_dim, heads=heads, widths=widths, lr=lr, batch=batch, steps=steps,
        every=every, evaluate=evaluate,
    )  # fmt: skip


@command(app)
def sequential(
    run: Run,
    subjects: Subjects = 16,
    relations: Relations = 4,
    answers: Answers = 8,
    noise: Noise = 20,
    length: Length = 32,
    facts: Annotated[
        Literal["structured", "random"],
        typer.Option(help="a(s, r) = D r + floor(s D / S), or drawn at random."),
    ] = "structured",
    lr: Annotated[float, typer.Option(help="Learning rate of SGD."), Gt(0), Le(1e3)] = 0.1,
    steps: Steps = 8192,
    batch: Batch = 256,
    init: Annotated[float, typer.Option(help="Initial entries."), Gt(0), Le(1)] = 1e-5,
    scheme: Annotated[
        Literal["equal", "theory"],
        typer.Option(help="Attention starts at init, or at init sqrt(RD + 1)."),
    ] = "equal",
    every: Every = 32,
    contexts: Annotated[
        int, typer.Option(help="Contexts in which each fact is tested."), Ge(1), Le(100_000)
    ] = 16,
) -> None:
    """The hallucination plateau: relation first, then subject; SGD beside the gradient flow.

    Example: toolbox recall sequential --subjects 4 --relations 16 --answers 4
    """
    from .sequential import sequential

    sequential(
        run, subjects=subjects, relations=relations, answers=answers, noise=noise, length=length,
        facts=facts, lr=lr, steps=steps, batch=batch, init=init, scheme=scheme, every=every,
        contexts=contexts,
    )  # fmt: skip


@command(app)
def train(
    run: Run,
    subjects: Subjects = 8,
    relations: Relations = 8,
    answers: Answers = 4,
    facts: Annotated[
        Literal["random", "structured"], typer.Option(help="How answers are assigned.")
    ] = "random",
    noise: Noise = 0,
    length: Length = 16,
    dim: Dim = 16,
    heads: Annotated[int, typer.Option(help="Heads H."), Ge(1), Le(256)] = 2,
    head_dim: HeadDim = 8,
    width: Annotated[
        int, typer.Option(help="Width m of the MLP; 0: none."), Ge(0), Le(65_536)
    ] = 32,
    lr: Rate = 0.01,
    batch: Batch = 256,
    steps: Steps = 1000,
    every: Every = 16,
    evaluate: Evaluate = "facts",
) -> None:
    """One transformer: its learning curve and what it hallucinates.

    Example: toolbox recall train --width 0
    """
    from .train import train

    train(
        run, subjects=subjects, relations=relations, answers=answers, facts=facts, noise=noise,
        length=length, dim=dim, heads=heads, head_dim=head_dim, width=width, lr=lr, batch=batch,
        steps=steps, every=every, evaluate=evaluate,
    )  # fmt: skip


@command(app)
def bound(
    run: Run,
    facts: Annotated[
        tuple[int, ...], typer.Option(help="Numbers N of facts."), Ge(1), Le(10**9)
    ] = (
        10,
        100,
        1000,
        10_000,
        100_000,
    ),
    answers: Annotated[
        tuple[int, ...], typer.Option(help="Choices D per fact."), Ge(2), Le(10**6)
    ] = (
        2,
        8,
        32,
    ),
    error: Annotated[
        tuple[float, ...], typer.Option(help="Shares of facts that may be wrong."), Ge(0), Le(1)
    ] = (0.0, 0.01),
    bits: Annotated[tuple[float, ...], typer.Option(help="Bits per parameter."), Gt(0), Le(64)] = (
        2.0,
        32.0,
    ),
) -> None:
    """Parameters that N facts need at least, whatever the model (Fano).

    Example: toolbox recall bound --facts 1024 --answers 8 --bits 32
    """
    from .bound import bound

    bound(run, facts=facts, answers=answers, error=error, bits=bits)
