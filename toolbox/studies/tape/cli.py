"""TAPE, a contextualised positional encoding: exact facts, comparisons, fine-tuning, overhead."""

from dataclasses import dataclass
from typing import Annotated

import typer
from annotated_types import Ge, Gt, Le

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

app = study_app(__doc__)

Dim = Annotated[
    int, typer.Option(help="Width C of the model, a multiple of twice the heads."), Ge(2), Le(8192)
]
Layers = Annotated[int, typer.Option(help="Number L of layers."), Ge(2), Le(128)]
Heads = Annotated[int, typer.Option(help="Number H of attention heads."), Ge(1), Le(256)]
Ffn = Annotated[int, typer.Option(help="Width of the MLP."), Ge(1), Le(65_536)]
PositionSize = Annotated[
    int,
    typer.Option(help="Width P of the MLP update of TAPE's state. 0: four times the heads."),
    Ge(0),
    Le(4096),
]


@dataclass(frozen=True)
class Size:
    """The size of a decoder."""

    dim: Dim = 64
    layers: Layers = 3
    heads: Heads = 4
    ffn: Ffn = 128
    position_size: PositionSize = 0


@dataclass(frozen=True)
class Check(Size):
    """The flags of `tape check`."""

    vocab: Annotated[int, typer.Option(help="Number of tokens."), Ge(2), Le(100_000)] = 13
    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(2), Le(4096)] = 24
    batch: Annotated[int, typer.Option(help="Sequences."), Ge(1), Le(1024)] = 4
    shifts: Annotated[
        tuple[int, ...],
        typer.Option(help="Constants that are added to all positions."),
        Ge(1),
        Le(100_000),
    ] = (1, 17, 100, 1000)
    spread: Annotated[
        float,
        typer.Option(
            help="Standard deviation of the weights of TAPE's matrices, for facts that hold "
            "for any weights."
        ),
        Gt(0),
        Le(10),
    ] = 0.3
    sharpness: Annotated[
        float,
        typer.Option(help="Factor on the query and key weights, so that positions matter."),
        Gt(0),
        Le(1000),
    ] = 20.0


@command(app)
def check(run: Run, p: Check) -> None:
    """Verify the exact facts: start, shift invariance, causality, fast form, cached decoding.

    Example: toolbox tape check --dim 96 --heads 6
    """
    from .check import check

    check(run, p)


@dataclass(frozen=True)
class Overhead(Size):
    """The flags of `tape overhead`."""

    dim: Dim = 256
    layers: Layers = 4
    heads: Heads = 8
    ffn: Ffn = 512
    vocab: Annotated[int, typer.Option(help="Number of tokens."), Ge(2), Le(1_000_000)] = 64
    length: Annotated[int, typer.Option(help="Tokens of a sequence."), Ge(2), Le(65_536)] = 512
    batch: Annotated[int, typer.Option(help="Sequences of a measured step."), Ge(1), Le(1024)] = 2
    steps: Annotated[
        int,
        typer.Option(
            help="Training steps to time for each encoding; the times go to times.json. 0: none."
        ),
        Ge(0),
        Le(10_000),
    ] = 5


@command(app)
def overhead(run: Run, p: Overhead) -> None:
    """Count parameters and FLOPs by formula, beside counted ones and measured times.

    Example: toolbox tape overhead --length 1024
    """
    from .overhead import overhead

    overhead(run, p)
