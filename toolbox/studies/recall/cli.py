"""Factual recall by associative memories: capacity, trade-off, hallucination."""

from dataclasses import dataclass
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
    int,
    typer.Option(help="The accuracy is measured whenever this many steps have passed."),
    Ge(1),
    Le(100_000),
]
Draws = Annotated[
    int,
    typer.Option(help="Draws of the embeddings over which the superposition is averaged."),
    Ge(1),
    Le(10_000),
]
Rates = Annotated[
    tuple[float, ...],
    typer.Option(help="Learning rates of Adam to try; one that succeeds is enough."),
    Gt(0),
    Le(1e6),
]
Rate = Annotated[float, typer.Option(help="Learning rate of Adam."), Gt(0), Le(1e6)]
StepCount = Annotated[int, typer.Option(help="Training steps."), Ge(1), Le(10_000_000)]
Outputs = Annotated[
    int,
    typer.Option(
        help="Number M of outputs; input x of N maps to floor(x M / N). 0: one output per input."
    ),
    Ge(0),
    Le(10_000),
]
Heads = Annotated[int, typer.Option(help="Number H of attention heads."), Ge(1), Le(256)]
Batch = Annotated[int, typer.Option(help="Fresh prompts per step."), Ge(1), Le(65_536)]
Evaluate = Annotated[
    Literal["facts", "prompts"],
    typer.Option(help="facts: accuracy over all facts. prompts: over the paper's 1024 prompts."),
]
Assignment = Annotated[
    Literal["structured", "random"],
    typer.Option(
        help="structured: subject s and relation r have the answer D r + floor(s D / S). random: "
        "answers are drawn at random."
    ),
]


@dataclass(frozen=True)
class Search:
    """How the capacity of a trained memory is searched."""

    threshold: Annotated[
        float,
        typer.Option(help="Accuracy that counts as having stored everything."),
        Ge(0.1),
        Le(1),
    ] = 0.99
    bits: Annotated[
        float,
        typer.Option(help="Bits that one parameter can hold, in the information bound."),
        Gt(0),
        Le(64),
    ] = 32.0
    early_stop: Annotated[
        bool, typer.Option(help="End a trial that can no longer reach the threshold.")
    ] = True


@dataclass(frozen=True)
class Facts:
    """The facts of a transformer, and its prompts."""

    subjects: Annotated[int, typer.Option(help="Number S of subjects."), Ge(1), Le(4096)] = 16
    relations: Annotated[int, typer.Option(help="Number R of relations."), Ge(1), Le(4096)] = 16
    answers: Annotated[
        int, typer.Option(help="Number D of answers of each relation."), Ge(1), Le(4096)
    ] = 8
    noise: Annotated[
        int, typer.Option(help="Number of noise tokens. 0: S + R."), Ge(0), Le(10_000)
    ] = 0
    length: Annotated[
        int,
        typer.Option(help="Prompt length T: subject, relation, noise tokens and the end token."),
        Ge(3),
        Le(4096),
    ] = 16


@dataclass(frozen=True)
class OneLayer(Facts):
    """A one-layer transformer and its training."""

    dim: Annotated[int, typer.Option(help="Dimension d of the embeddings."), Ge(1), Le(4096)] = 16
    head_dim: Annotated[int, typer.Option(help="Dimension d_h of a head."), Ge(1), Le(1024)] = 4
    lr: Rate = 0.01
    batch: Batch = 256
    evaluate: Evaluate = "facts"


@dataclass(frozen=True)
class Linear(Search):
    """The flags of `recall linear`."""

    dims: Dims = (8, 11, 16, 22, 32)
    method: Annotated[
        Literal["trained", "superposition", "both"],
        typer.Option(help="trained: by Adam. superposition: the closed form W = sum u e^T."),
    ] = "both"
    lr: Rates = (1000.0,)
    steps: StepCount = 1024
    every: Every = 32
    draws: Draws = 16


@command(app)
def linear(run: Run, p: Linear) -> None:
    """Measure the capacity of a d x d matrix: N log N grows like d^2.

    Example: toolbox recall linear --repeats 3
    """
    from .capacity import linear

    linear(run, p)


@dataclass(frozen=True)
class Mlp(Search):
    """The flags of `recall mlp`."""

    dims: Dims = (8, 11, 16)
    ratios: Annotated[
        tuple[float, ...], typer.Option(help="Widths m, as multiples of d."), Gt(0), Le(64)
    ] = (1.0, 2.0, 4.0)
    outputs: Outputs = 0
    lr: Rates = (0.03,)
    steps: StepCount = 2048
    every: Every = 64


@command(app)
def mlp(run: Run, p: Mlp) -> None:
    """Measure the capacity of a two-layer MLP: N log N grows like m d, or N for fixed outputs.

    Example: toolbox recall mlp --outputs 32
    """
    from .capacity import mlp

    mlp(run, p)


@dataclass(frozen=True)
class Curve:
    """The flags of `recall curve`."""

    kind: Annotated[
        Literal["linear", "mlp", "superposition"], typer.Option(help="Which memory.")
    ] = "linear"
    d: Annotated[int, typer.Option(help="Dimension d of the embeddings."), Ge(1), Le(1024)] = 32
    m: Annotated[int, typer.Option(help="Width m of the MLP."), Ge(1), Le(65_536)] = 32
    outputs: Outputs = 0
    sizes: Annotated[
        tuple[int, ...], typer.Option(help="Numbers N of associations."), Ge(2), Le(20_000)
    ] = (60, 80, 100, 120, 140, 160, 180, 200, 240, 280, 320)
    lr: Rate = 1000.0
    steps: StepCount = 1024
    every: Every = 64
    draws: Draws = 16


@command(app)
def curve(run: Run, p: Curve) -> None:
    """Measure the accuracy against the number of associations: the transition itself.

    Example: toolbox recall curve --kind superposition --d 64 --sizes 50,100,200,400
    """
    from .curve import curve

    curve(run, p)


@dataclass(frozen=True)
class Scaling(Search):
    """The flags of `recall scaling`."""

    scaling: Annotated[
        Literal["linear", "square", "distinct"],
        typer.Option(
            help="How relations grow with subjects. linear: R = S. square: S = R^2. distinct: "
            "R = S, with D = S answers."
        ),
    ] = "linear"
    heads: Heads = 4
    answers: Annotated[
        int, typer.Option(help="Number D of answers of each relation."), Ge(2), Le(4096)
    ] = 8
    dims: Dims = (8, 12, 16)
    alpha_beta: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Sizes alpha:beta of the model: H d_h = alpha d in attention, m = beta d in the "
            "MLP."
        ),
    ] = ("1:1", "0.5:2")
    low: Annotated[
        int, typer.Option(help="Smallest number S of subjects that is tried."), Ge(2), Le(4096)
    ] = 2
    high: Annotated[
        int, typer.Option(help="Largest number S of subjects that is tried."), Ge(3), Le(4096)
    ] = 48
    length: Annotated[
        int,
        typer.Option(help="Prompt length T: subject, relation, noise tokens and the end token."),
        Ge(3),
        Le(4096),
    ] = 16
    lr: Rates = (1e-3, 3e-3, 1e-2)
    batch: Batch = 256
    steps: StepCount = 1500
    every: Every = 64
    evaluate: Evaluate = "facts"


@command(app)
def scaling(run: Run, p: Scaling) -> None:
    """Measure the facts that a one-layer transformer stores against its parameters.

    Example: toolbox recall scaling --alpha-beta 1:1 --dims 8,12,16
    """
    from .scaling import scaling

    scaling(run, p)


@dataclass(frozen=True)
class Tradeoff(OneLayer):
    """The flags of `recall tradeoff`."""

    heads: Annotated[
        tuple[int, ...], typer.Option(help="Numbers H of attention heads."), Ge(1), Le(256)
    ] = (1, 2, 4, 8, 16)
    widths: Annotated[
        tuple[int, ...],
        typer.Option(help="Widths m of the MLP. 0: no MLP."),
        Ge(0),
        Le(65_536),
    ] = (0, 8, 32, 64, 128)
    steps: StepCount = 2000
    every: Every = 128


@command(app)
def tradeoff(run: Run, p: Tradeoff) -> None:
    """Measure the accuracy over attention and MLP parameters; one H and one m make one cell.

    Example: toolbox recall tradeoff --heads 4 --widths 32
    """
    from .tradeoff import tradeoff

    tradeoff(run, p)


@dataclass(frozen=True)
class Sequential(Facts):
    """The flags of `recall sequential`."""

    relations: Annotated[int, typer.Option(help="Number R of relations."), Ge(1), Le(4096)] = 4
    noise: Annotated[
        int, typer.Option(help="Number of noise tokens. 0: S + R."), Ge(0), Le(10_000)
    ] = 20
    length: Annotated[
        int,
        typer.Option(help="Prompt length T: subject, relation, noise tokens and the end token."),
        Ge(3),
        Le(4096),
    ] = 32
    facts: Assignment = "structured"
    lr: Annotated[float, typer.Option(help="Learning rate of SGD."), Gt(0), Le(1e3)] = 0.1
    steps: StepCount = 8192
    batch: Batch = 256
    init: Annotated[float, typer.Option(help="Value of the initial weights."), Gt(0), Le(1)] = 1e-5
    scheme: Annotated[
        Literal["equal", "theory"],
        typer.Option(
            help="Where attention starts. equal: at --init. theory: at --init times sqrt(RD + 1)."
        ),
    ] = "equal"
    every: Every = 32
    contexts: Annotated[
        int,
        typer.Option(help="Random contexts in which each fact is tested."),
        Ge(1),
        Le(4096),
    ] = 16


@command(app)
def sequential(run: Run, p: Sequential) -> None:
    """Follow the hallucination plateau: relation first, then subject; SGD and gradient flow.

    Example: toolbox recall sequential --subjects 4 --relations 16 --answers 4
    """
    from .sequential import sequential

    sequential(run, p)


@dataclass(frozen=True)
class Train(OneLayer):
    """The flags of `recall train`."""

    subjects: Annotated[int, typer.Option(help="Number S of subjects."), Ge(1), Le(4096)] = 8
    relations: Annotated[int, typer.Option(help="Number R of relations."), Ge(1), Le(4096)] = 8
    answers: Annotated[
        int, typer.Option(help="Number D of answers of each relation."), Ge(1), Le(4096)
    ] = 4
    facts: Assignment = "random"
    heads: Heads = 2
    head_dim: Annotated[int, typer.Option(help="Dimension d_h of a head."), Ge(1), Le(1024)] = 8
    width: Annotated[
        int, typer.Option(help="Width m of the MLP. 0: no MLP."), Ge(0), Le(65_536)
    ] = 32
    steps: StepCount = 1000
    every: Every = 16


@command(app)
def train(run: Run, p: Train) -> None:
    """Train one transformer; report its learning curve and what it hallucinates.

    Example: toolbox recall train --width 0
    """
    from .train import train

    train(run, p)


@dataclass(frozen=True)
class Bound:
    """The flags of `recall bound`."""

    facts: Annotated[
        tuple[int, ...], typer.Option(help="Numbers N of facts."), Ge(1), Le(10**9)
    ] = (10, 100, 1000, 10_000, 100_000)
    answers: Annotated[
        tuple[int, ...], typer.Option(help="Numbers D of choices per fact."), Ge(2), Le(10**6)
    ] = (2, 8, 32)
    error: Annotated[
        tuple[float, ...],
        typer.Option(help="Shares of the facts that may be wrong."),
        Ge(0),
        Le(1),
    ] = (0.0, 0.01)
    bits: Annotated[
        tuple[float, ...],
        typer.Option(help="Bits that one parameter can hold."),
        Gt(0),
        Le(64),
    ] = (2.0, 32.0)


@command(app)
def bound(run: Run, p: Bound) -> None:
    """Compute the least number of parameters that N facts need, whatever the model (Fano).

    Example: toolbox recall bound --facts 1024 --answers 8 --bits 32
    """
    from .bound import bound

    bound(run, p)
