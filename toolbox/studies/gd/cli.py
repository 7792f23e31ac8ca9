"""Anytime acceleration of gradient descent: one stepsize schedule, good at every stopping time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

P_BALANCED = 1.271553303163612  # log2(1 + sqrt 2)
NAMES = ("anytime", "silver", "dynamic", "grimmer3", "grimmer7", "pridp", "domdp", "constant-opt")
SCHEDULES = ", ".join(NAMES) + ", or constant followed by a number (constant1.9)"
COMPARED = ("constant1", "constant1.9", "dynamic", "silver", "anytime")

Steps = Annotated[int, typer.Option(help="Number T of gradient steps."), Ge(1), Le(10_000_000)]


def known_schedules() -> tuple[str, ...]:
    """The names that a shell completes."""
    return (*NAMES, "constant1", "constant1.9")


Schedules = Annotated[
    tuple[str, ...],
    typer.Option(
        help=f"Stepsize schedules to compare: {SCHEDULES}.", autocompletion=known_schedules
    ),
]


@dataclass(frozen=True)
class Growth:
    """The one free parameter of the anytime schedule."""

    c: Annotated[
        float,
        typer.Option(
            help="Growth of the anytime schedule: level j has about 2^(1 + c j) blocks. The "
            "default log2(1 + sqrt 2) is the paper's; it balances block ends against the times "
            "in between."
        ),
        Gt(0),
        Le(10),
    ] = P_BALANCED


@dataclass(frozen=True)
class Curvatures:
    """How finely worst cases over quadratics are searched."""

    lambda_grid: Annotated[
        int,
        typer.Option(
            help="Curvatures on the grid over which quadratics are searched; the best one is then "
            "refined between its neighbours."
        ),
        Ge(100),
        Le(20_000),
    ] = 1500


@dataclass(frozen=True)
class Anytime(Growth, Curvatures):
    """The flags of `gd anytime`."""

    T: Steps = 10_000
    schedules: Schedules = COMPARED
    dense: Annotated[
        bool,
        typer.Option(help="Write every stopping time instead of some hundred per decade."),
    ] = False
    two_sided: Annotated[
        bool,
        typer.Option(help="Add a lower bound by two-sided Huber functions; needs T <= 2000."),
    ] = False
    allow_divergent: Annotated[
        bool,
        typer.Option(help="Accept constant steps of 2/L and more, whose worst case grows with T."),
    ] = False


@command(app)
def anytime(run: Run, p: Anytime) -> None:
    """Compute the worst case of stepsize schedules at every stopping time (Theorem 1).

    Example: toolbox gd anytime --T 10000
    """
    from .anytime import anytime

    anytime(run, p)


@dataclass(frozen=True)
class Horizon(Curvatures):
    """The flags of `gd horizon`."""

    T_max: Annotated[int, typer.Option(help="Largest horizon."), Ge(3), Le(4096)] = 511


@command(app)
def horizon(run: Run, p: Horizon) -> None:
    """Compare schedules made for one known horizon with the anytime schedule.

    Example: toolbox gd horizon --T-max 511
    """
    from .horizon import horizon

    horizon(run, p)


@dataclass(frozen=True)
class Strongly(Curvatures):
    """The flags of `gd strongly`."""

    kappas: Annotated[
        tuple[float, ...], typer.Option(help="Condition numbers L / mu."), Gt(1), Le(1e6)
    ] = (100.0, 300.0, 1000.0, 3000.0, 10000.0)
    eps: Annotated[
        float,
        typer.Option(help="Accuracy to reach: |x_t - x*|^2 relative to |x_0 - x*|^2."),
        Gt(1e-15),
        Lt(1),
    ] = 1e-8
    methods: Annotated[
        tuple[str, ...],
        typer.Option(help="Methods to compare: constant, anytime, silver, nesterov, chebyshev."),
    ] = ("constant", "anytime", "silver", "nesterov", "chebyshev")


@command(app)
def strongly(run: Run, p: Strongly) -> None:
    """Count the iterations to a fixed accuracy against the condition number (Theorem 2).

    Example: toolbox gd strongly --kappas 100,1000,10000
    """
    from .strongly import strongly

    strongly(run, p)


@dataclass(frozen=True)
class Certify(Growth):
    """The flags of `gd certify`."""

    schedule: Annotated[
        str,
        typer.Option(
            help=f"Stepsize schedule to certify: {SCHEDULES}.", autocompletion=known_schedules
        ),
    ] = "anytime"
    N: Annotated[
        tuple[int, ...],
        typer.Option(help="Numbers of gradient steps; above 60 only with --allow-costly."),
        Ge(1),
        Le(200),
    ] = (2, 4, 6, 8, 12, 16, 20, 24)
    mu: Annotated[float, typer.Option(help="Strong convexity, in units of L."), Ge(0), Lt(1)] = 0.0
    metric: Annotated[
        tuple[str, ...],
        typer.Option(
            help="What is maximised: f (gap f - f*), g (squared gradient norm), distance (squared "
            "distance to x*) or potential (left side of Definition 2)."
        ),
    ] = ("f", "g", "potential")


@command(app)
def certify(run: Run, p: Certify) -> None:
    """Solve for exact worst cases by semidefinite programming; compare with the closed forms.

    Example: toolbox gd certify --N 24
    """
    from .certify import certify

    certify(run, p)


@dataclass(frozen=True)
class Schedule(Growth):
    """The flags of `gd schedule`."""

    name: Annotated[
        str, typer.Option(help=f"Stepsize schedule: {SCHEDULES}.", autocompletion=known_schedules)
    ] = "anytime"
    T: Annotated[int, typer.Option(help="Number of stepsizes."), Ge(1), Le(10_000_000)] = 1000
    print: Annotated[
        Literal["folder", "lines", "csv"],
        typer.Option(
            help="What to print on stdout: the run's folder, one stepsize per line, or the CSV."
        ),
    ] = "folder"


def _show(folder: Path, p: Schedule) -> None:
    from .schedule import show

    show(folder, p.print)


@command(app, after=_show, display=("print",))
def schedule(run: Run, p: Schedule) -> None:
    """Write the stepsizes of a schedule, for use in your own code.

    Example: toolbox gd schedule --name silver --T 7 --print lines
    """
    from .schedule import schedule

    schedule(run, p)


@dataclass(frozen=True)
class Train(Growth):
    """The flags of `gd train`."""

    T: Annotated[int, typer.Option(help="Number T of gradient steps."), Ge(1), Le(1_000_000)] = (
        10_000
    )
    objectives: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Functions to minimise: quadratic, huber, logistic (breast cancer data), leastsq "
            "(diabetes data)."
        ),
    ] = ("quadratic", "huber", "logistic", "leastsq")
    schedules: Schedules = COMPARED


@command(app)
def train(run: Run, p: Train) -> None:
    """Run gradient descent on concrete functions and real data; a companion, not a worst case.

    Example: toolbox gd train --objectives logistic --T 10000
    """
    from .train import train

    train(run, p)


@dataclass(frozen=True)
class Csweep(Curvatures):
    """The flags of `gd csweep`."""

    cs: Annotated[
        tuple[float, ...],
        typer.Option(help="Values of the growth parameter c to compare."),
        Gt(0),
        Le(10),
    ] = (0.6, 0.8, 1.0, P_BALANCED, 1.5, 1.75, 2.0)
    T: Annotated[int, typer.Option(help="Number T of gradient steps."), Ge(100), Le(1_000_000)] = (
        10_000
    )


@command(app)
def csweep(run: Run, p: Csweep) -> None:
    """Vary the growth parameter c: a larger c is slower at block ends and safer in between.

    Example: toolbox gd csweep --cs 0.8,1.27,2
    """
    from .csweep import csweep

    csweep(run, p)
