"""Anytime acceleration of gradient descent: one stepsize schedule, good at every stopping time."""

from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

C = Annotated[
    float,
    typer.Option(help="Growth parameter of the anytime schedule; p = log2(1 + sqrt 2) balances."),
    Gt(0),
    Le(10),
]
LambdaGrid = Annotated[
    int,
    typer.Option(help="Curvatures of the grid from which each maximum is refined."),
    Ge(100),
    Le(20_000),
]
P_DEFAULT = 1.271553303163612  # log2(1 + sqrt 2)


@command(app)
def anytime(
    run: Run,
    T: Annotated[int, typer.Option(help="Gradient steps."), Ge(1), Le(10_000_000)] = 10_000,
    schedules: Annotated[
        tuple[str, ...],
        typer.Option(help="Stepsize schedules to compare; `gd schedule --help` lists them."),
    ] = ("constant1", "constant1.9", "dynamic", "silver", "anytime"),
    c: C = P_DEFAULT,
    lambda_grid: LambdaGrid = 1500,
    dense: Annotated[bool, typer.Option(help="Keep every stopping time.")] = False,
    two_sided: Annotated[
        bool, typer.Option(help="Add the bound by two-sided Huber functions (T <= 2000).")
    ] = False,
    allow_divergent: Annotated[
        bool, typer.Option(help="Allow constant steps of 2 and more, whose worst case grows.")
    ] = False,
) -> None:
    """Worst case of stepsize schedules at every stopping time.

    Example: toolbox gd anytime --T 10000
    """
    from .anytime import anytime

    anytime(
        run,
        T=T,
        schedules=schedules,
        c=c,
        lambda_grid=lambda_grid,
        dense=dense,
        two_sided=two_sided,
        allow_divergent=allow_divergent,
    )


@command(app)
def horizon(
    run: Run,
    T_max: Annotated[int, typer.Option(help="Largest horizon."), Ge(3), Le(4096)] = 511,
    lambda_grid: LambdaGrid = 1500,
) -> None:
    """Schedules made for one horizon (silver, PriDP, DomDP, best constant) beside the anytime one.

    Example: toolbox gd horizon --T-max 511
    """
    from .horizon import horizon

    horizon(run, T_max=T_max, lambda_grid=lambda_grid)


@command(app)
def strongly(
    run: Run,
    kappas: Annotated[
        tuple[float, ...], typer.Option(help="Condition numbers L / mu."), Gt(1), Le(1e6)
    ] = (100.0, 300.0, 1000.0, 3000.0, 10000.0),
    eps: Annotated[
        float, typer.Option(help="Accuracy in squared distance, relative."), Gt(1e-15), Lt(1)
    ] = 1e-8,
    methods: Annotated[
        tuple[str, ...],
        typer.Option(help="constant, anytime, silver, nesterov, chebyshev."),
    ] = ("constant", "anytime", "silver", "nesterov", "chebyshev"),
    lambda_grid: LambdaGrid = 1500,
) -> None:
    """Iterations to fixed accuracy against the condition number, for strongly convex functions.

    Example: toolbox gd strongly --kappas 100,1000,10000
    """
    from .strongly import strongly

    strongly(run, kappas=kappas, eps=eps, methods=methods, lambda_grid=lambda_grid)


@command(app)
def certify(
    run: Run,
    schedule: Annotated[
        str, typer.Option(help="Schedule to certify; `gd schedule --help` lists them.")
    ] = "anytime",
    N: Annotated[
        tuple[int, ...],
        typer.Option(help="Gradient steps; above 60 only with --force.", metavar="N"),
        Ge(1),
        Le(200),
    ] = (2, 4, 6, 8, 12, 16, 20, 24),
    mu: Annotated[float, typer.Option(help="Strong convexity, in units of L."), Ge(0), Lt(1)] = 0.0,
    metric: Annotated[
        tuple[str, ...],
        typer.Option(help="f (gap), g (squared gradient), distance (squared), potential."),
    ] = ("f", "g", "potential"),
    c: C = P_DEFAULT,
) -> None:
    """Exact worst cases by semidefinite programming, beside the closed forms.

    Example: toolbox gd certify --N 24
    """
    from .certify import certify

    certify(run, schedule=schedule, N=N, mu=mu, metric=metric, c=c)


def _show(folder, **params) -> None:  # type: ignore[no-untyped-def]
    from .schedule import show

    show(folder, **params)


@command(app, after=_show, display=("print",))
def schedule(
    run: Run,
    name: Annotated[
        str,
        typer.Option(
            help="anytime, silver, dynamic, grimmer3, grimmer7, pridp, domdp, constant-opt, or "
            "constant and a number (constant1.9)."
        ),
    ] = "anytime",
    T: Annotated[int, typer.Option(help="Number of stepsizes."), Ge(1), Le(10_000_000)] = 1000,
    c: C = P_DEFAULT,
    print: Annotated[
        Literal["folder", "lines", "csv"],
        typer.Option(help="On stdout: the run's folder, the stepsizes one per line, or the CSV."),
    ] = "folder",
) -> None:
    """The stepsizes of a schedule, for use in your own code.

    Example: toolbox gd schedule --name silver --T 7 --print lines
    """
    from .schedule import schedule

    schedule(run, name=name, T=T, c=c)


@command(app)
def train(
    run: Run,
    T: Annotated[int, typer.Option(help="Gradient steps."), Ge(1), Le(1_000_000)] = 10_000,
    objectives: Annotated[
        tuple[str, ...], typer.Option(help="quadratic, huber, logistic, leastsq.")
    ] = ("quadratic", "huber", "logistic", "leastsq"),
    schedules: Annotated[
        tuple[str, ...], typer.Option(help="Stepsize schedules, as in `gd anytime`.")
    ] = ("constant1", "constant1.9", "dynamic", "silver", "anytime"),
    c: C = P_DEFAULT,
) -> None:
    """Gradient descent on concrete objectives and real data; a companion, not a worst case.

    Example: toolbox gd train --objectives logistic --T 10000
    """
    from .train import train

    train(run, T=T, objectives=objectives, schedules=schedules, c=c)


@command(app)
def csweep(
    run: Run,
    cs: Annotated[tuple[float, ...], typer.Option(help="Growth parameters."), Gt(0), Le(10)] = (
        0.6,
        0.8,
        1.0,
        P_DEFAULT,
        1.5,
        1.75,
        2.0,
    ),
    T: Annotated[int, typer.Option(help="Gradient steps."), Ge(100), Le(1_000_000)] = 10_000,
    lambda_grid: LambdaGrid = 1500,
) -> None:
    """The growth parameter c: fast at the endpoints or safe in between.

    Example: toolbox gd csweep --cs 0.8,1.27,2
    """
    from .csweep import csweep

    csweep(run, cs=cs, T=T, lambda_grid=lambda_grid)
