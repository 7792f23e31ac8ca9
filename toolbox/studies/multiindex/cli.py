"""Orthogonal multi-index models: online SGD finds the subspace first, then the directions."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

LinkFlag = Annotated[
    str, typer.Option(help="Link: a sum of Hermite terms h1 to h8, like h2+0.5*h4.")
]
LinksFlag = Annotated[
    tuple[str, ...], typer.Option(help="Links: sums of Hermite terms h1 to h8, like h2+0.5*h4.")
]
Dim = Annotated[int, typer.Option(help="Input dimension."), Ge(2), Le(100_000)]
Dims = Annotated[tuple[int, ...], typer.Option(help="Input dimensions."), Ge(2), Le(10**9)]
Directions = Annotated[int, typer.Option(help="Directions of the target."), Ge(1), Le(1000)]
Neurons = Annotated[int, typer.Option(help="Neurons."), Ge(1), Le(100_000)]
Noise = Annotated[
    float, typer.Option(help="Standard deviation of the labels' noise."), Ge(0), Le(1000)
]
Eta = Annotated[
    float,
    typer.Option(
        help="Step per sample, in units of the step at which the gradient's noise is felt "
        "(computed from link, P and d)."
    ),
    Gt(0),
    Le(1000),
]
Anneal = Annotated[
    float, typer.Option(help="Factor on the step in the second stage; 0: no second stage."),
    Ge(0), Le(1),
]  # fmt: skip
Batch = Annotated[
    int,
    typer.Option(
        help="Samples per step, the step grows with it; 1 is the paper's; 0: as large as follows "
        "the same flow."
    ),
    Ge(0),
    Le(10**6),
]
Samples = Annotated[
    int, typer.Option(help="Samples of the first stage; 0: three times the flow's."),
    Ge(0), Le(10**10),
]  # fmt: skip
AnnealSamples = Annotated[
    int, typer.Option(help="Samples of the second stage; 0: five relaxation times."),
    Ge(0), Le(10**10),
]  # fmt: skip
Grid = Annotated[
    tuple[float, ...],
    typer.Option(help="Steps per sample, in units of the step at which noise is felt."),
    Gt(0),
    Le(1000),
]
Level = Annotated[
    float, typer.Option(help="Squared overlap at which a neuron has arrived."), Gt(0), Lt(1)
]
Most = Annotated[
    int, typer.Option(help="Samples after which a step size is given up."), Ge(1), Le(10**11)
]
Patience = Annotated[
    float,
    typer.Option(help="A step size is given up at so many times the samples of the first one."),
    Ge(1),
    Le(10**6),
]
StreamFlag = Annotated[
    Literal["shared", "reduced"],
    typer.Option(
        help="shared: samples in R^d that all neurons see; reduced: the same chain in P + 1 "
        "coordinates, exact in law for each neuron, at a cost that does not grow with d."
    ),
]


@command(app)
def train(
    run: Run,
    link: LinkFlag = "h2+h4",
    d: Dim = 64,
    P: Directions = 4,
    m: Neurons = 32,
    noise: Noise = 0.0,
    eta: Eta = 0.5,
    anneal: Anneal = 0.1,
    batch: Batch = 0,
    samples: Samples = 0,
    anneal_samples: AnnealSamples = 0,
    ridge_n: Annotated[
        int, typer.Option(help="Samples of the ridge regression."), Ge(1), Le(10**8)
    ] = 4000,
    rotate: Annotated[
        bool, typer.Option(help="Directions in a random frame, not along the axes.")
    ] = False,
) -> None:
    """Subspace, then directions, then ridge on the second layer: every metric against samples.

    Example: toolbox multiindex train --link "h2+0.5*h4" --d 64
    """
    from .train import train

    train(
        run,
        link=link,
        d=d,
        P=P,
        m=m,
        noise=noise,
        eta=eta,
        anneal=anneal,
        batch=batch,
        samples=samples,
        anneal_samples=anneal_samples,
        ridge_n=ridge_n,
        rotate=rotate,
    )


@command(app)
def scaling(
    run: Run,
    links: LinksFlag = ("h2+h4", "h4"),
    dims: Dims = (16, 32, 64, 128),
    P: Directions = 4,
    m: Neurons = 64,
    noise: Noise = 0.0,
    eta_grid: Grid = (0.5, 1.0, 2.0, 4.0),
    batch: Batch = 0,
    level: Level = 0.8,
    max_samples: Most = 3_000_000,
    patience: Patience = 4.0,
    stream: StreamFlag = "shared",
) -> None:
    """Samples to the subspace and to the directions against d, each link at its best step size.

    Example: toolbox multiindex scaling --links h2+h4,h4 --dims 16,32,64,128
    """
    from .scaling import scaling

    scaling(
        run,
        links=links,
        dims=dims,
        P=P,
        m=m,
        noise=noise,
        eta_grid=eta_grid,
        batch=batch,
        level=level,
        max_samples=max_samples,
        patience=patience,
        stream=stream,
    )


@command(app)
def flow(
    run: Run,
    links: LinksFlag = ("h2+h4", "h4", "h2"),
    dims: Dims = (256, 1024, 4096),
    P: Directions = 4,
    neurons: Neurons = 200,
    level: Level = 0.8,
) -> None:
    """The exact population flow of random starts in P + 1 coordinates, beside its closed forms.

    Example: toolbox multiindex flow --links h2+h4,h4 --dims 256,1024,4096
    """
    from .flow import flow

    flow(run, links=links, dims=dims, P=P, neurons=neurons, level=level)


@command(app)
def identify(
    run: Run,
    links: LinksFlag = ("h2", "h2+h4"),
    d: Dim = 64,
    P: Directions = 4,
    m: Neurons = 64,
    noise: Noise = 0.0,
    eta: Eta = 0.5,
    anneal: Anneal = 0.1,
    batch: Batch = 0,
    samples: Samples = 0,
    anneal_samples: AnnealSamples = 0,
) -> None:
    """With the second-order term alone the subspace is found and the directions are not.

    Example: toolbox multiindex identify --links h2,h2+h4
    """
    from .identify import identify

    identify(
        run,
        links=links,
        d=d,
        P=P,
        m=m,
        noise=noise,
        eta=eta,
        anneal=anneal,
        batch=batch,
        samples=samples,
        anneal_samples=anneal_samples,
    )


@command(app)
def width(
    run: Run,
    link: LinkFlag = "h2+h4",
    d: Dim = 64,
    P: Directions = 4,
    widths: Annotated[
        tuple[int, ...], typer.Option(help="Numbers of neurons."), Ge(1), Le(10_000)
    ] = (4, 8, 16, 32, 64),
    groups: Annotated[
        int, typer.Option(help="Networks of the largest width in a replicate."), Ge(1), Le(1000)
    ] = 4,
    noise: Noise = 0.0,
    eta: Eta = 0.5,
    anneal: Anneal = 0.1,
    batch: Batch = 0,
    samples: Samples = 0,
    anneal_samples: AnnealSamples = 0,
    level: Level = 0.8,
) -> None:
    """The share of directions that some neuron finds, against the number of neurons.

    Example: toolbox multiindex width --P 4 --widths 4,8,16,32,64
    """
    from .width import width

    width(
        run,
        link=link,
        d=d,
        P=P,
        widths=widths,
        groups=groups,
        noise=noise,
        eta=eta,
        anneal=anneal,
        batch=batch,
        samples=samples,
        anneal_samples=anneal_samples,
        level=level,
    )


@command(app)
def psweep(
    run: Run,
    links: LinksFlag = ("h2+h4",),
    d: Dim = 64,
    Ps: Annotated[tuple[int, ...], typer.Option(help="Numbers of directions."), Ge(1), Le(1000)] = (
        2,
        4,
        8,
        16,
    ),
    m: Neurons = 64,
    noise: Noise = 0.0,
    eta_grid: Grid = (0.5, 1.0, 2.0, 4.0),
    batch: Batch = 0,
    level: Level = 0.8,
    max_samples: Most = 10_000_000,
    patience: Patience = 4.0,
    stream: StreamFlag = "shared",
) -> None:
    """Samples to the subspace and to the directions against P, at the best step size.

    Example: toolbox multiindex psweep --d 64 --Ps 2,4,8,16
    """
    from .psweep import psweep

    psweep(
        run,
        links=links,
        d=d,
        Ps=Ps,
        m=m,
        noise=noise,
        eta_grid=eta_grid,
        batch=batch,
        level=level,
        max_samples=max_samples,
        patience=patience,
        stream=stream,
    )
