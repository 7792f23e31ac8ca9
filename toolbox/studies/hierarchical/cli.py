"""Three-layer networks learn polynomials of several quadratic features with about d^4 samples."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

LINKS = (
    "p2, p3, p4, prod, lin3, or a sum of orthonormal Hermite polynomials of the features such as "
    "'h2(z1)*z2 + 0.5*h3(z1)'"
)
PATH = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)

Dim = Annotated[int, typer.Option(help="Dimension d of the data."), Ge(3), Le(64)]
Dims = Annotated[tuple[int, ...], typer.Option(help="Dimensions d of the data."), Ge(3), Le(64)]
OneLink = Annotated[str, typer.Option(help=f"Link function g: {LINKS}.")]
Steps = Annotated[
    tuple[int, ...],
    typer.Option(help="Numbers of full-batch steps on the first layer; the paper takes 1."),
    Ge(1),
    Le(99),
]
FirstSamples = Annotated[
    int, typer.Option(help="Samples of stage 1, which learns the features."), Ge(2), Le(10**9)
]
Width1 = Annotated[int, typer.Option(help="Neurons of the first layer."), Ge(2), Le(100_000)]
Penalties = Annotated[
    tuple[float, ...],
    typer.Option(help="Ridge penalties; the best one on held-out samples is taken."),
    Ge(1e-10),
    Le(1e6),
]


@dataclass(frozen=True)
class Target:
    """The function to learn: a link of r quadratic features."""

    link: OneLink = "p3"
    features: Annotated[
        Literal["flat", "goe"],
        typer.Option(
            help="flat: all eigenvalues of a feature are +-c, from the rows of a Hadamard matrix. "
            "goe: random directions in the space of quadratics."
        ),
    ] = "flat"
    r: Annotated[int, typer.Option(help="Number r of features."), Ge(1), Le(127)] = 2


@dataclass(frozen=True)
class Fitted(Target):
    """The network, and how its outer layer is fitted and judged."""

    m1: Width1 = 800
    act: Annotated[
        Literal["relu", "hat"],
        typer.Option(
            help="Activation of the first layer in stage 2. hat: z^2 for |z| < 1, else 2|z| - 1."
        ),
    ] = "relu"
    penalties: Penalties = PATH
    n_test: Annotated[
        int, typer.Option(help="Fresh samples of the test error."), Ge(10), Le(10_000_000)
    ] = 4000


@dataclass(frozen=True)
class Error(Fitted):
    """The flags of `hierarchical error`."""

    dims: Dims = (12, 16)
    samples: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of stage 1; stage 2 has as many, at most --n2-max."),
        Ge(10),
        Le(100_000_000),
    ] = (1000, 2000, 4000, 16_000, 64_000)
    methods: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Methods to compare: net1, net3 (a network with that many steps on its first "
            "layer), rf (random features), krr (kernel ridge), mlp (two-layer network by Adam), "
            "oracle (the true features)."
        ),
    ] = ("net1", "net3", "rf", "krr", "mlp", "oracle")
    n2_max: Annotated[
        int, typer.Option(help="Largest number of samples of stage 2."), Ge(10), Le(10_000_000)
    ] = 20_000
    krr_max: Annotated[
        int, typer.Option(help="Largest number of samples of kernel ridge."), Ge(10), Le(50_000)
    ] = 4000
    mlp_width: Annotated[
        int, typer.Option(help="Neurons of the two-layer network."), Ge(1), Le(100_000)
    ] = 256
    mlp_rates: Annotated[
        tuple[float, ...],
        typer.Option(help="Step sizes of Adam for the two-layer network; the best one is taken."),
        Gt(0),
        Le(10),
    ] = (1e-3, 3e-3, 1e-2)
    mlp_steps: Annotated[
        int, typer.Option(help="Adam steps of the two-layer network."), Ge(1), Le(10_000_000)
    ] = 3000
    mlp_batch: Annotated[
        int, typer.Option(help="Batch size of the two-layer network."), Ge(1), Le(100_000)
    ] = 128


@command(app)
def error(run: Run, p: Error) -> None:
    """Measure the test error against samples: layerwise network, random features, kernel, MLP.

    Example: toolbox hierarchical error --link p2 --dims 12
    """
    from .error import error

    error(run, p)


@dataclass(frozen=True)
class Recover(Target):
    """The flags of `hierarchical recover`."""

    link: OneLink = "p2"
    dims: Dims = (8, 12, 16, 20, 24, 28, 32)
    inner_steps: Steps = (1, 3)
    targets: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Overlap that counts as found, one for each of --inner-steps. 0: 1/6 for one step "
            "(half of the 1/3 at which it saturates), 1/2 for more."
        ),
        Ge(0),
        Lt(1),
    ] = (0.0,)
    m1: Width1 = 512
    low: Annotated[
        float, typer.Option(help="Smallest sample, as a multiple of d^4."), Gt(0), Le(1000)
    ] = 2**-9
    high: Annotated[
        float, typer.Option(help="Largest sample, as a multiple of d^4."), Gt(0), Le(1000)
    ] = 1.0
    per_octave: Annotated[int, typer.Option(help="Sample sizes per doubling."), Ge(1), Le(16)] = 2
    n_max: Annotated[
        int, typer.Option(help="Largest sample for any d."), Ge(4), Le(1_000_000_000)
    ] = 10_000_000


@command(app)
def recover(run: Run, p: Recover) -> None:
    """Measure how many samples find the features, against d: about d^4 for one step.

    Example: toolbox hierarchical recover --link "h2(z1)*z2 + h2(z1) + h2(z2)"
    """
    from .recover import recover

    recover(run, p)


@dataclass(frozen=True)
class Transfer(Fitted):
    """The flags of `hierarchical transfer`."""

    d: Dim = 12
    n1: FirstSamples = 16_000
    n2: Annotated[
        tuple[int, ...],
        typer.Option(help="Fresh samples of the target function."),
        Ge(10),
        Le(10_000_000),
    ] = (100, 250, 500, 1000, 2000)
    links: Annotated[tuple[str, ...], typer.Option(help="Target links, written as --link is.")] = (
        "lin3",
        "prod",
    )
    inner_steps: Annotated[
        int,
        typer.Option(help="Full-batch steps on the first layer; the paper takes 1."),
        Ge(1),
        Le(99),
    ] = 3


@command(app)
def transfer(run: Run, p: Transfer) -> None:
    """Use features that were learned on one link for another link with few fresh samples.

    Example: toolbox hierarchical transfer --d 16 --n1 64000
    """
    from .transfer import transfer

    transfer(run, p)


@dataclass(frozen=True)
class Kernel(Fitted):
    """The flags of `hierarchical kernel`."""

    dims: Dims = (8, 12)
    theory_dims: Annotated[
        tuple[int, ...],
        typer.Option(help="Dimensions d at which the learning curve's theory is solved."),
        Ge(3),
        Le(128),
    ] = (8, 12, 16, 24, 32, 48, 64, 96, 128)
    samples: Annotated[
        tuple[int, ...], typer.Option(help="Samples of kernel ridge."), Ge(10), Le(50_000)
    ] = (125, 250, 500, 1000, 2000, 4000)
    network_samples: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of the network, half for each stage."),
        Ge(20),
        Le(100_000_000),
    ] = (250, 500, 1000, 2000, 4000, 8000, 16_000)
    network: Annotated[
        str, typer.Option(help="The network: netk takes k steps on the first layer.")
    ] = "net3"
    error: Annotated[
        float, typer.Option(help="Test error that counts as learned."), Gt(0), Lt(1)
    ] = 0.4
    penalties: Penalties = (1e-8, 1e-6, 1e-4, 1e-2)


@command(app)
def kernel(run: Run, p: Kernel) -> None:
    """Compare kernel ridge, measured and by its exact learning curve, with d^(2p) and the network.

    Example: toolbox hierarchical kernel --link p2
    """
    from .kernel import kernel

    kernel(run, p)


@dataclass(frozen=True)
class Spectrum(Target):
    """The flags of `hierarchical spectrum`."""

    link: OneLink = "p2"
    d: Dim = 16
    n1: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of stage 1, which learns the features."),
        Ge(2),
        Le(1_000_000_000),
    ] = (1000, 4000, 16_000, 64_000)


@command(app)
def spectrum(run: Run, p: Spectrum) -> None:
    """List the eigenvalues of the matrix that one step applies; r of them hold the features.

    Example: toolbox hierarchical spectrum --features goe
    """
    from .spectrum import spectrum

    spectrum(run, p)


@dataclass(frozen=True)
class Width(Fitted):
    """The flags of `hierarchical width`."""

    d: Dim = 12
    m2: Annotated[
        tuple[str, ...],
        typer.Option(help="Widths of the second layer: whole numbers, or inf for infinitely many."),
    ] = ("16", "64", "256", "1024", "4096", "inf")
    inner_steps: Steps = (1, 3)
    n1: FirstSamples = 64_000
    n2: Annotated[
        int,
        typer.Option(help="Samples of stage 2, which fits the outer layer."),
        Ge(10),
        Le(10_000_000),
    ] = 16_000


@command(app)
def width(run: Run, p: Width) -> None:
    """Measure what a finite second layer costs against the infinite one.

    Example: toolbox hierarchical width --m2 64,256,1024,inf
    """
    from .width import width

    width(run, p)
