"""Central flows: what an optimiser at the edge of stability does on average."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

FILES = ("data_dir",)
WITHIN = tuple(
    f"{folder}data_batch_{number}{ending}"
    for folder in ("", "cifar-10-batches-py/", "cifar-10-batches-bin/")
    for number in range(1, 6)
    for ending in ("", ".bin")
)
"""The files of CIFAR-10 in a folder, in any of its layouts: what they hold names a run."""

Rate = Annotated[float, typer.Option(help="Step size eta."), Ge(1e-9), Le(1000)]
Beta2 = Annotated[
    float,
    typer.Option(help="Weight beta2 of the past in the average of squared gradients."),
    Gt(0),
    Lt(1),
]
Eps = Annotated[
    float,
    typer.Option(help="Added to the root of that average, so that no step divides by zero."),
    Ge(0),
    Le(1),
]
Warm = Annotated[
    int,
    typer.Option(help="Steps of the optimiser before the flows start."),
    Ge(0),
    Le(1000),
]


@dataclass(frozen=True)
class Problem:
    """The data and the network that is trained, in full batches."""

    dataset: Annotated[
        Literal["digits", "digits32", "sorting", "synthetic", "mnist5k", "cifar10"],
        typer.Option(
            help="digits: 8 x 8 pixels, comes with the toolbox. digits32: the same enlarged to "
            "3 x 32 x 32, a stand-in for CIFAR-10. sorting: sequences to sort. synthetic: a "
            "mixture of Gaussians. mnist5k: needs the extra mnist. cifar10: read from --data-dir."
        ),
    ] = "digits"
    data_dir: Annotated[
        str, typer.Option(help="Folder or .npz file of CIFAR-10; only for --dataset cifar10.")
    ] = ""
    n: Annotated[int, typer.Option(help="Number of training examples."), Ge(2), Le(50_000)] = 100
    classes: Annotated[
        int,
        typer.Option(
            help="The first so many classes are used. For sorting: how many different tokens "
            "there are (4 in the paper)."
        ),
        Ge(2),
        Le(10),
    ] = 10
    arch: Annotated[
        Literal["mlp", "cnn", "resnet", "vit", "lstm", "transformer", "mamba"],
        typer.Option(
            help="Network. lstm, transformer and mamba read sequences: --dataset sorting."
        ),
    ] = "mlp"
    width: Annotated[
        int, typer.Option(help="Neurons or channels of a hidden layer."), Ge(1), Le(4096)
    ] = 16
    depth: Annotated[int, typer.Option(help="Hidden layers or blocks."), Ge(1), Le(32)] = 3
    act: Annotated[Literal["tanh", "gelu"], typer.Option(help="Activation function.")] = "tanh"
    criterion: Annotated[
        Literal["mse", "ce"],
        typer.Option(help="mse: half the squared distance to one-hot labels. ce: cross entropy."),
    ] = "mse"
    dtype: Annotated[
        Literal["float64", "float32"], typer.Option(help="Precision of all numbers.")
    ] = "float64"


@dataclass(frozen=True)
class Numerics:
    """How the flows are computed."""

    steps: Annotated[int, typer.Option(help="Steps of the optimiser."), Ge(2), Le(10**6)] = 300
    nsub: Annotated[
        int,
        typer.Option(help="Substeps of the central flow in the time of one step."),
        Ge(1),
        Le(1000),
    ] = 2
    track: Annotated[
        float,
        typer.Option(help="Eigenvalues of the effective Hessian are followed down to here."),
        Gt(0),
        Lt(2),
    ] = 1.8
    sdcp_threshold: Annotated[
        float,
        typer.Option(
            help="Directions with an effective eigenvalue above this may oscillate: they enter the "
            "semidefinite complementarity problem. At least --track."
        ),
        Gt(0),
        Lt(2),
    ] = 1.95


@dataclass(frozen=True)
class Looks(Numerics):
    """How the optimiser beside the flows is looked at, and moved."""

    eig_every: Annotated[
        int,
        typer.Option(
            help="Steps between two looks at the sharpness of the optimiser and of the stable flow."
        ),
        Ge(1),
        Le(10**6),
    ] = 1
    kick: Annotated[
        float,
        typer.Option(
            help="The optimiser is moved once by this length along the sharpest direction, when "
            "its effective sharpness first passes 2: in a small network the oscillation would "
            "otherwise have to grow from rounding, for some hundred steps. 0: no kick."
        ),
        Ge(0),
        Le(1),
    ] = 0.01


@dataclass(frozen=True)
class Gd(Looks, Problem):
    """The flags of `flows gd`."""

    eta: Rate = 0.3


@dataclass(frozen=True)
class ScalarRmsprop(Looks, Problem):
    """The flags of `flows scalar-rmsprop`."""

    eta: Rate = 0.15
    beta2: Beta2 = 0.95
    eps: Eps = 0.0
    warm: Warm = 0
    steps: Annotated[int, typer.Option(help="Steps of the optimiser."), Ge(2), Le(10**6)] = 160


@dataclass(frozen=True)
class Rmsprop(Looks, Problem):
    """The flags of `flows rmsprop`."""

    eta: Rate = 0.003
    beta2: Beta2 = 0.95
    eps: Eps = 1e-7
    warm: Warm = 5
    coordinates: Annotated[
        int,
        typer.Option(
            help="Parameters whose squared gradient and its average are recorded, spread over the "
            "sizes of their first squared gradient."
        ),
        Ge(0),
        Le(1000),
    ] = 3
    steps: Annotated[int, typer.Option(help="Steps of the optimiser."), Ge(2), Le(10**6)] = 120


@command(app, files=FILES, within=WITHIN)
def gd(run: Run, p: Gd) -> None:
    """Gradient descent beside its central flow and its stable flow.

    Example: toolbox flows gd --eta 0.2
    """
    from .optimisers import gd

    gd(run, p)


@command(app, files=FILES, within=WITHIN)
def scalar_rmsprop(run: Run, p: ScalarRmsprop) -> None:
    """Scalar RMSProp (one step size for all parameters) beside its flows.

    Example: toolbox flows scalar-rmsprop --beta2 0.9
    """
    from .optimisers import scalar_rmsprop

    scalar_rmsprop(run, p)


@command(app, files=FILES, within=WITHIN)
def rmsprop(run: Run, p: Rmsprop) -> None:
    """RMSProp (a step size for each parameter) beside its flows.

    Example: toolbox flows rmsprop --eta 0.002
    """
    from .optimisers import rmsprop

    rmsprop(run, p)


@dataclass(frozen=True)
class Ablate(Looks, Problem):
    """The flags of `flows ablate`."""

    opt: Annotated[
        Literal["scalar-rmsprop", "rmsprop"],
        typer.Option(
            help="Optimiser. Gradient descent has no step size that adapts, so that without the "
            "penalty nothing would keep its flow at the edge."
        ),
    ] = "scalar-rmsprop"
    eta: Rate = 0.15
    beta2: Beta2 = 0.95
    eps: Eps = 1e-7
    warm: Warm = 0
    steps: Annotated[int, typer.Option(help="Steps of the optimiser."), Ge(2), Le(10**6)] = 160


@dataclass(frozen=True)
class Sweep(Looks, Problem):
    """The flags of `flows sweep`."""

    opt: Annotated[Literal["gd", "scalar-rmsprop", "rmsprop"], typer.Option(help="Optimiser.")] = (
        "gd"
    )
    etas: Annotated[
        tuple[float, ...], typer.Option(help="Step sizes eta to compare."), Ge(1e-9), Le(1000)
    ] = (0.1, 0.2, 0.3)
    targets: Annotated[
        tuple[float, ...],
        typer.Option(help="Losses at which the sharpness is compared."),
        Gt(0),
        Le(1000),
    ] = (0.2, 0.1)
    beta2: Beta2 = 0.95
    eps: Eps = 1e-7
    warm: Warm = 0
    steps: Annotated[
        int,
        typer.Option(help="Steps of the optimiser, at most; training ends at the lowest target."),
        Ge(2),
        Le(10**6),
    ] = 1000
    eig_every: Annotated[
        int,
        typer.Option(help="Steps between two looks at the sharpness of the optimiser."),
        Ge(1),
        Le(10**6),
    ] = 5


@dataclass(frozen=True)
class Stationary(Numerics, Problem):
    """The flags of `flows stationary`."""

    n: Annotated[int, typer.Option(help="Number of training examples."), Ge(2), Le(50_000)] = 60
    width: Annotated[
        int, typer.Option(help="Neurons or channels of a hidden layer."), Ge(1), Le(4096)
    ] = 8
    depth: Annotated[int, typer.Option(help="Hidden layers or blocks."), Ge(1), Le(32)] = 2
    eta: Rate = 0.004
    beta2: Beta2 = 0.95
    eps: Eps = 1e-7
    warm: Warm = 5
    steps: Annotated[int, typer.Option(help="Steps of the optimiser."), Ge(2), Le(10**6)] = 120
    every: Annotated[
        int,
        typer.Option(help="Steps between two points whose stationary average is computed."),
        Ge(1),
        Le(10**6),
    ] = 20
    flow_steps: Annotated[
        int,
        typer.Option(
            help="The stationary flow runs beside the central flow in the last so many steps."
        ),
        Ge(0),
        Le(10**6),
    ] = 20


@command(app, files=FILES, within=WITHIN)
def stationary(run: Run, p: Stationary) -> None:
    """Where RMSProp's average of squared gradients comes to rest, as a convex program.

    Example: toolbox flows stationary --eta 0.002
    """
    from .stationary import stationary

    stationary(run, p)


@command(app, files=FILES, within=WITHIN)
def ablate(run: Run, p: Ablate) -> None:
    """The central flow with and without its curvature penalty, beside the optimiser.

    Example: toolbox flows ablate --opt rmsprop --eta 0.003 --warm 5 --steps 120
    """
    from .ablate import ablate

    ablate(run, p)


@command(app, files=FILES, within=WITHIN)
def sweep(run: Run, p: Sweep) -> None:
    """Sharpness at equal loss, and the steps to get there, against the step size.

    Example: toolbox flows sweep --etas 0.15,0.3
    """
    from .sweep import sweep

    sweep(run, p)


@dataclass(frozen=True)
class Toy(Numerics):
    """The flags of `flows toy`."""

    opt: Annotated[
        Literal["gd", "scalar-rmsprop"],
        typer.Option(
            help="Optimiser. scalar-rmsprop gets the step size with which it ends where gd does."
        ),
    ] = "gd"
    eta: Annotated[
        float, typer.Option(help="Step size eta of gradient descent."), Gt(0), Le(1000)
    ] = 0.05
    rate: Annotated[
        float,
        typer.Option(
            help="Share of the way to the end of the valley that the gradient flow covers per step."
        ),
        Gt(0),
        Le(0.25),
    ] = 0.1
    gaps: Annotated[
        tuple[float, ...],
        typer.Option(
            help="How far beyond the edge of stability each valley ends: the logarithm of its "
            "sharpness there over 2/eta. A number for each oscillating direction; below 1/3."
        ),
        Gt(0),
        Lt(1),
    ] = (0.2,)
    beta2: Beta2 = 0.9
    kick: Annotated[
        float,
        typer.Option(
            help="The optimiser starts on the floor of the valleys, where it would never oscillate."
            " It is moved across each valley once, when that becomes too steep, to a random side, "
            "by half of this length to all of it."
        ),
        Ge(0),
        Le(1),
    ] = 0.01
    nsub: Annotated[
        int,
        typer.Option(help="Substeps of the central flow in the time of one step."),
        Ge(1),
        Le(1000),
    ] = 8


@command(app)
def toy(run: Run, p: Toy) -> None:
    """A loss of three parameters at the edge of stability, with everything known in closed form.

    Example: toolbox flows toy --gaps 0.2,0.1
    """
    from .toy import toy

    toy(run, p)
