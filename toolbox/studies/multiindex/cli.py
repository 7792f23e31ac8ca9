"""Orthogonal multi-index models: online SGD finds the subspace first, then the directions."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

LINK = "a sum of Hermite terms h1 to h8, such as h2+0.5*h4"
NOISE_UNIT = (
    "relative to the step size at which gradient noise starts to matter, which is computed from "
    "link, P and d"
)
OneLink = Annotated[str, typer.Option(help=f"Link function: {LINK}.")]
Links = Annotated[tuple[str, ...], typer.Option(help=f"Link functions to compare, each {LINK}.")]
Dim = Annotated[int, typer.Option(help="Input dimension d."), Ge(2), Le(100_000)]
Dims = Annotated[tuple[int, ...], typer.Option(help="Input dimensions d."), Ge(2), Le(10**9)]
Neurons = Annotated[int, typer.Option(help="Number of neurons."), Ge(1), Le(100_000)]
Level = Annotated[
    float,
    typer.Option(help="A neuron has arrived when its squared overlap reaches this value."),
    Gt(0),
    Lt(1),
]


@dataclass(frozen=True)
class Directions:
    """How many directions the target has."""

    P: Annotated[
        int, typer.Option(help="Number P of orthonormal directions of the target."), Ge(1), Le(1000)
    ] = 4


@dataclass(frozen=True)
class Sgd:
    """What every training by online SGD shares."""

    noise: Annotated[
        float, typer.Option(help="Standard deviation of the noise on the labels."), Ge(0), Le(1000)
    ] = 0.0
    batch: Annotated[
        int,
        typer.Option(
            help="Samples averaged per SGD step; the step size is multiplied by it. The paper "
            "uses 1. 0: the largest batch that still follows the gradient flow."
        ),
        Ge(0),
        Le(10**6),
    ] = 0


@dataclass(frozen=True)
class TwoStages(Sgd):
    """Training for a fixed number of samples: learning, then annealing with a smaller step."""

    eta: Annotated[
        float, typer.Option(help=f"Step size per sample, {NOISE_UNIT}."), Gt(0), Le(1000)
    ] = 0.5
    anneal: Annotated[
        float,
        typer.Option(
            help="The second stage multiplies the step size by this factor. 0: no second stage."
        ),
        Ge(0),
        Le(1),
    ] = 0.1
    samples: Annotated[
        int,
        typer.Option(
            help="Samples of the first stage. 0: three times what the population flow needs."
        ),
        Ge(0),
        Le(10**10),
    ] = 0
    anneal_samples: Annotated[
        int,
        typer.Option(help="Samples of the second stage. 0: five relaxation times of the flow."),
        Ge(0),
        Le(10**10),
    ] = 0


@dataclass(frozen=True)
class UntilArrival(Sgd):
    """Training with several step sizes at once, each until the median neuron has arrived."""

    m: Neurons = 64
    eta_grid: Annotated[
        tuple[float, ...],
        typer.Option(help=f"Step sizes per sample to try, each {NOISE_UNIT}."),
        Gt(0),
        Le(1000),
    ] = (0.5, 1.0, 2.0, 4.0)
    level: Level = 0.8
    max_samples: Annotated[
        int, typer.Option(help="Give up a step size after this many samples."), Ge(1), Le(10**11)
    ] = 3_000_000
    patience: Annotated[
        float,
        typer.Option(
            help="Give up a step size after this many times the samples that the fastest one "
            "needed."
        ),
        Ge(1),
        Le(10**6),
    ] = 4.0
    stream: Annotated[
        Literal["shared", "reduced"],
        typer.Option(
            help="shared: all neurons see the same samples in R^d. reduced: each neuron follows "
            "the same Markov chain in P + 1 coordinates, which has exactly its law and a cost "
            "that does not grow with d."
        ),
    ] = "shared"


@dataclass(frozen=True)
class Train(Directions, TwoStages):
    """The flags of `multiindex train`."""

    link: OneLink = "h2+h4"
    d: Dim = 64
    m: Neurons = 32
    ridge_n: Annotated[
        int,
        typer.Option(help="Samples of the ridge regression that fits the second layer."),
        Ge(1),
        Le(10**8),
    ] = 4000
    rotate: Annotated[
        bool,
        typer.Option(help="Draw the directions as a random frame instead of coordinate axes."),
    ] = False


@command(app)
def train(run: Run, p: Train) -> None:
    """Find the subspace, then the directions, then fit the second layer by ridge regression.

    Example: toolbox multiindex train --link "h2+0.5*h4" --d 64
    """
    from .train import train

    train(run, p)


@dataclass(frozen=True)
class Scaling(Directions, UntilArrival):
    """The flags of `multiindex scaling`."""

    links: Links = ("h2+h4", "h4")
    dims: Dims = (16, 32, 64, 128)


@command(app)
def scaling(run: Run, p: Scaling) -> None:
    """Count the samples to the subspace and to the directions against d, at the best step size.

    Example: toolbox multiindex scaling --links h2+h4,h4 --dims 16,32,64,128
    """
    from .scaling import scaling

    scaling(run, p)


@dataclass(frozen=True)
class Flow(Directions):
    """The flags of `multiindex flow`."""

    links: Links = ("h2+h4", "h4", "h2")
    dims: Dims = (256, 1024, 4096)
    neurons: Neurons = 200
    level: Level = 0.8


@command(app)
def flow(run: Run, p: Flow) -> None:
    """Integrate the exact population flow from random starts, beside its closed forms.

    Example: toolbox multiindex flow --links h2+h4,h4 --dims 256,1024,4096
    """
    from .flow import flow

    flow(run, p)


@dataclass(frozen=True)
class Identify(Directions, TwoStages):
    """The flags of `multiindex identify`."""

    links: Links = ("h2", "h2+h4")
    d: Dim = 64
    m: Neurons = 64


@command(app)
def identify(run: Run, p: Identify) -> None:
    """Show that the second-order term alone finds the subspace but not the directions.

    Example: toolbox multiindex identify --links h2,h2+h4
    """
    from .identify import identify

    identify(run, p)


@dataclass(frozen=True)
class Width(Directions, TwoStages):
    """The flags of `multiindex width`."""

    link: OneLink = "h2+h4"
    d: Dim = 64
    widths: Annotated[
        tuple[int, ...], typer.Option(help="Numbers of neurons to compare."), Ge(1), Le(10_000)
    ] = (4, 8, 16, 32, 64)
    groups: Annotated[
        int,
        typer.Option(help="Networks of the largest width in one replicate."),
        Ge(1),
        Le(1000),
    ] = 4
    level: Level = 0.8


@command(app)
def width(run: Run, p: Width) -> None:
    """Measure the share of directions that some neuron finds, against the number of neurons.

    Example: toolbox multiindex width --P 4 --widths 4,8,16,32,64
    """
    from .width import width

    width(run, p)


@dataclass(frozen=True)
class Psweep(UntilArrival):
    """The flags of `multiindex psweep`."""

    links: Links = ("h2+h4",)
    d: Dim = 64
    Ps: Annotated[
        tuple[int, ...],
        typer.Option(help="Numbers P of directions to compare."),
        Ge(1),
        Le(1000),
    ] = (2, 4, 8, 16)
    max_samples: Annotated[
        int, typer.Option(help="Give up a step size after this many samples."), Ge(1), Le(10**11)
    ] = 10_000_000


@command(app)
def psweep(run: Run, p: Psweep) -> None:
    """Count the samples to the subspace and to the directions against P, at the best step size.

    Example: toolbox multiindex psweep --d 64 --Ps 2,4,8,16
    """
    from .psweep import psweep

    psweep(run, p)
