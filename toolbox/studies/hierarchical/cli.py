"""Three-layer networks learn polynomials of several quadratic features with about d^4 samples."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

LINK = (
    "The link g: p2, p3, p4, prod, lin3, or orthonormal Hermite polynomials of the features, as in "
    "'h2(z1)*z2 + 0.5*h3(z1)'."
)
Dim = Annotated[int, typer.Option(help="Dimension of the data."), Ge(3), Le(128)]
Dims = Annotated[tuple[int, ...], typer.Option(help="Dimensions of the data."), Ge(3), Le(128)]
LinkFlag = Annotated[str, typer.Option(help=LINK)]
Features = Annotated[
    Literal["flat", "goe"],
    typer.Option(
        help="flat: all eigenvalues of a feature are +-c, from the rows of a Hadamard matrix; "
        "goe: random directions in the space of quadratics."
    ),
]
R = Annotated[int, typer.Option(help="Number of features."), Ge(1), Le(127)]
M1 = Annotated[int, typer.Option(help="Neurons of the first layer."), Ge(2), Le(100_000)]
Act = Annotated[
    Literal["relu", "hat"],
    typer.Option(help="sigma_1 in stage 2; hat: z^2 for |z| < 1, else 2|z| - 1."),
]
Steps = Annotated[
    tuple[int, ...],
    typer.Option(help="Full-batch steps on the first layer; the paper takes 1."),
    Ge(1),
    Le(99),
]
StepCount = Annotated[
    int, typer.Option(help="Full-batch steps on the first layer; the paper takes 1."), Ge(1), Le(99)
]
Test = Annotated[int, typer.Option(help="Fresh samples of the test error."), Ge(10), Le(10_000_000)]
Penalties = Annotated[
    tuple[float, ...],
    typer.Option(help="Ridge penalties to choose from on held-out samples."),
    Ge(1e-10),
    Le(1e6),
]
PATH = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)
N1 = Annotated[int, typer.Option(help="Samples of stage 1 (features)."), Ge(2), Le(1_000_000_000)]
N2Max = Annotated[
    int,
    typer.Option(help="Stage 2 has as many samples as stage 1, but no more than this."),
    Ge(10),
    Le(10_000_000),
]
MlpWidth = Annotated[
    int, typer.Option(help="Neurons of the two-layer network."), Ge(1), Le(100_000)
]
MlpRates = Annotated[
    tuple[float, ...],
    typer.Option(help="Adam's step sizes for the two-layer network; the best is kept."),
    Gt(0),
    Le(10),
]
MlpSteps = Annotated[
    int, typer.Option(help="Adam steps of the two-layer network."), Ge(1), Le(10_000_000)
]
MlpBatch = Annotated[int, typer.Option(help="Its batch."), Ge(1), Le(100_000)]


@command(app)
def error(
    run: Run,
    dims: Dims = (12, 16),
    samples: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of stage 1; stage 2 has as many up to --n2-max."),
        Ge(10),
        Le(100_000_000),
    ] = (1000, 2000, 4000, 16_000, 64_000),
    methods: Annotated[
        tuple[str, ...],
        typer.Option(
            help="net1, net3 (any number of steps), rf (random features), krr (kernel ridge), mlp "
            "(two-layer network by Adam), oracle (the true features)."
        ),
    ] = ("net1", "net3", "rf", "krr", "mlp", "oracle"),
    link: LinkFlag = "p3",
    features: Features = "flat",
    r: R = 2,
    m1: M1 = 800,
    act: Act = "relu",
    n2_max: N2Max = 20_000,
    krr_max: Annotated[
        int, typer.Option(help="Most samples of kernel ridge."), Ge(10), Le(50_000)
    ] = 4000,
    mlp_width: MlpWidth = 256,
    mlp_rates: MlpRates = (1e-3, 3e-3, 1e-2),
    mlp_steps: MlpSteps = 3000,
    mlp_batch: MlpBatch = 128,
    penalties: Penalties = PATH,
    n_test: Test = 4000,
) -> None:
    """Test error against samples: layerwise network, random features, kernel, two-layer network.

    Example: toolbox hierarchical error --link p2 --dims 12
    """
    from .baselines import Training
    from .common import Fitting
    from .compete import Contest
    from .error import error

    training = Training(mlp_width, mlp_rates, mlp_steps, mlp_batch)
    how = Contest(m1, act, Fitting(penalties, n_test), training, n2_max, krr_max)
    error(
        run, dims=dims, samples=samples, methods=methods, link=link, features=features, r=r, how=how
    )


@command(app)
def recover(
    run: Run,
    dims: Dims = (8, 12, 16, 20, 24, 28, 32),
    inner_steps: Steps = (1, 3),
    targets: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Overlap that counts as found, for each of --inner-steps; 0: 1/6 for one step "
            "(half of the 1/3 it saturates at), 1/2 for more."
        ),
        Ge(0),
        Lt(1),
    ] = (0.0,),
    link: LinkFlag = "p2",
    features: Features = "flat",
    r: R = 2,
    m1: M1 = 512,
    low: Annotated[
        float, typer.Option(help="Smallest sample, in units of d^4."), Gt(0), Le(1000)
    ] = 2**-9,
    high: Annotated[
        float, typer.Option(help="Largest sample, in units of d^4."), Gt(0), Le(1000)
    ] = 1.0,
    per_octave: Annotated[int, typer.Option(help="Sample sizes per doubling."), Ge(1), Le(16)] = 2,
    n_max: Annotated[
        int, typer.Option(help="Most samples, whatever d."), Ge(4), Le(1_000_000_000)
    ] = 10_000_000,
) -> None:
    """Features found against samples and dimension: about d^4 samples for one step.

    Example: toolbox hierarchical recover --link "h2(z1)*z2 + h2(z1) + h2(z2)"
    """
    from .recover import recover

    recover(
        run, dims=dims, inner_steps=inner_steps, targets=targets, link=link, features=features, r=r,
        m1=m1, low=low, high=high, per_octave=per_octave, n_max=n_max,
    )  # fmt: skip


@command(app)
def transfer(
    run: Run,
    d: Dim = 12,
    n1: N1 = 16_000,
    n2: Annotated[
        tuple[int, ...], typer.Option(help="Fresh samples of the target."), Ge(10), Le(10_000_000)
    ] = (100, 250, 500, 1000, 2000),
    link: LinkFlag = "p3",
    links: Annotated[tuple[str, ...], typer.Option(help="Target links, written as --link is.")] = (
        "lin3",
        "prod",
    ),
    inner_steps: StepCount = 3,
    features: Features = "flat",
    r: R = 2,
    m1: M1 = 800,
    act: Act = "relu",
    penalties: Penalties = PATH,
    n_test: Test = 4000,
) -> None:
    """Features learned on one link serve another with few fresh samples.

    Example: toolbox hierarchical transfer --d 16 --n1 64000
    """
    from .common import Fitting
    from .transfer import transfer

    transfer(
        run, d=d, n1=n1, n2=n2, link=link, links=links, inner_steps=inner_steps, features=features,
        r=r, m1=m1, act=act, fitting=Fitting(penalties, n_test),
    )  # fmt: skip


@command(app)
def kernel(
    run: Run,
    dims: Dims = (8, 12),
    theory_dims: Dims = (8, 12, 16, 24, 32, 48, 64, 96, 128),
    samples: Annotated[
        tuple[int, ...], typer.Option(help="Samples of kernel ridge."), Ge(10), Le(50_000)
    ] = (125, 250, 500, 1000, 2000, 4000),
    network_samples: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of the network, half for each stage."),
        Ge(20),
        Le(100_000_000),
    ] = (250, 500, 1000, 2000, 4000, 8000, 16_000),
    network: Annotated[
        str, typer.Option(help="The network, netk with k steps on the first layer.")
    ] = "net3",
    error: Annotated[
        float, typer.Option(help="Test error that counts as learned."), Gt(0), Lt(1)
    ] = 0.4,
    link: LinkFlag = "p3",
    features: Features = "flat",
    r: R = 2,
    m1: M1 = 800,
    act: Act = "relu",
    penalties: Penalties = (1e-8, 1e-6, 1e-4, 1e-2),
    n_test: Test = 4000,
) -> None:
    """Kernel ridge, measured and by its exact learning curve, against d^{2p} and the network.

    Example: toolbox hierarchical kernel --link p2
    """
    from .baselines import Training
    from .common import Fitting
    from .compete import Contest
    from .kernel import kernel

    unused = Training(1, (1e-3,), 1, 1)
    largest = max(*samples, *network_samples)
    how = Contest(m1, act, Fitting(penalties, n_test), unused, largest, largest)
    kernel(
        run, dims=dims, theory_dims=theory_dims, samples=samples, network_samples=network_samples,
        network=network, error=error, link=link, features=features, r=r, how=how,
    )  # fmt: skip


@command(app)
def spectrum(
    run: Run,
    d: Dim = 16,
    n1: Annotated[
        tuple[int, ...],
        typer.Option(help="Samples of stage 1 (features)."),
        Ge(2),
        Le(1_000_000_000),
    ] = (1000, 4000, 16_000, 64_000),
    link: LinkFlag = "p2",
    features: Features = "flat",
    r: R = 2,
) -> None:
    """Eigenvalues of the matrix that one step applies: r outliers that hold the features.

    Example: toolbox hierarchical spectrum --features goe
    """
    from .spectrum import spectrum

    spectrum(run, d=d, n1=n1, link=link, features=features, r=r)


@command(app)
def width(
    run: Run,
    d: Dim = 12,
    m2: Annotated[
        tuple[str, ...], typer.Option(help="Widths of the second layer, whole numbers or inf.")
    ] = ("16", "64", "256", "1024", "4096", "inf"),
    inner_steps: Steps = (1, 3),
    n1: N1 = 64_000,
    n2: Annotated[
        int, typer.Option(help="Samples of stage 2 (outer layer)."), Ge(10), Le(10_000_000)
    ] = 16_000,
    link: LinkFlag = "p3",
    features: Features = "flat",
    r: R = 2,
    m1: M1 = 800,
    act: Act = "relu",
    penalties: Penalties = PATH,
    n_test: Test = 4000,
) -> None:
    """What a finite second layer costs against the infinite one.

    Example: toolbox hierarchical width --m2 64,256,1024,inf
    """
    from .common import Fitting
    from .width import width

    width(
        run, d=d, m2=m2, inner_steps=inner_steps, n1=n1, n2=n2, link=link, features=features, r=r,
        m1=m1, act=act, fitting=Fitting(penalties, n_test),
    )  # fmt: skip
