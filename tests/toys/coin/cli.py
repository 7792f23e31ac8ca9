"""Toss a coin; train a parabola."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)


@dataclass(frozen=True)
class Toss:
    """The flags of `coin toss`."""

    tosses: Annotated[int, typer.Option(help="Tosses per replicate."), Ge(1), Le(100_000)] = 1000
    bias: Annotated[float, typer.Option(help="Probability of heads."), Gt(0), Lt(1)] = 0.5
    sides: Annotated[
        tuple[str, ...],
        typer.Option(help="Names of the sides.", autocompletion=lambda: ["head", "tail", "edge"]),
    ] = ("head", "tail")


@command(app)
def toss(run: Run, p: Toss) -> None:
    """Toss a coin.

    Example: toolbox coin toss --tosses 100
    """
    from .toss import toss

    toss(run, p)


@dataclass(frozen=True)
class Train:
    """The flags of `coin train`."""

    steps: Annotated[int, typer.Option(help="Steps."), Ge(1), Le(1_000_000)] = 200
    lr: Annotated[float, typer.Option(help="Learning rate."), Gt(0)] = 0.1
    optimizer: Annotated[Literal["adam", "sgd"], typer.Option(help="Optimiser.")] = "adam"
    pause: Annotated[float, typer.Option(help="Seconds per step."), Ge(0), Le(1)] = 0.0
    ballast: Annotated[int, typer.Option(help="Megabytes to hold."), Ge(0), Le(500)] = 0


@command(app)
def train(run: Run, p: Train) -> None:
    """Train a noisy parabola with torch.

    Example: toolbox coin train --steps 100
    """
    from .train import train

    train(run, p)
