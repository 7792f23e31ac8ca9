"""Flags that several commands of the study share."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le, Lt

METHOD_NAMES = (
    "REBEL-LT-OFFLINE", "REBEL-LT-MIXED", "REBEL-LT-ONLINE", "REBEL-MT-MIXED", "REFUEL",
    "DPO-LT-OFFLINE", "DPO-LT-MIXED", "DPO-LT-ONLINE", "DPO-MT-MIXED", "DPO-MT-ONLINE",
    "RLOO", "PPO",
)  # fmt: skip

Turns = Annotated[int, typer.Option(help="Turns H of a dialogue."), Ge(1), Le(12)]
Bonus = Annotated[
    float,
    typer.Option(
        help="Bonus b of the right answer. Above 1 the last turn alone is better spent on "
        "answering, below 1 on clarifying."
    ),
    Ge(0),
    Le(100),
]
Judge = Annotated[
    Literal["random", "end"],
    typer.Option(
        help="random: a dialogue is judged after a uniform random turn, as in the authors' code. "
        "end: always after the last turn."
    ),
]


def complete_methods() -> tuple[str, ...]:
    """Names of the methods, for the shell."""
    return METHOD_NAMES


@dataclass(frozen=True)
class Game:
    """What the environment is."""

    topics: Annotated[int, typer.Option(help="Topics K of a message."), Ge(1), Le(20)] = 4
    contents: Annotated[
        int, typer.Option(help="Contents C; an answer is one of 2 C."), Ge(2), Le(30)
    ] = 6


@dataclass(frozen=True)
class Base(Game):
    """The environment and the base policy."""

    p_clarify: Annotated[
        float,
        typer.Option(help="Chance of the right clarification in the supervised dialogues."),
        Gt(0),
        Lt(1),
    ] = 0.25
    p_answer: Annotated[
        float,
        typer.Option(help="Chance of the right answer in the supervised dialogues."),
        Gt(0),
        Lt(1),
    ] = 0.35


@dataclass(frozen=True)
class Training(Base):
    """How the methods are trained."""

    iters: Annotated[int, typer.Option(help="Iterations: collect, then fit."), Ge(1), Le(200)] = 8
    pairs: Annotated[
        int,
        typer.Option(help="Pairs of judged dialogues that each method gets in an iteration."),
        Ge(2),
        Le(20_000),
    ] = 4096
    steps: Annotated[
        int, typer.Option(help="Steps of Adam in an iteration."), Ge(1), Le(10_000)
    ] = 200
    batch: Annotated[int, typer.Option(help="Pairs in a step."), Ge(1), Le(20_000)] = 512
    lr: Annotated[
        float,
        typer.Option(
            help="Step size of Adam, which falls linearly to 0 in each iteration. 0: 0.003 for the "
            "networks, 0.05 for the table."
        ),
        Ge(0),
        Le(1),
    ] = 0.0
    strengths: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Grid on which every method is tuned. REBEL and REFUEL regress on this times the "
            "difference of rewards (eta); DPO's beta is its inverse; the clip range of RLOO and "
            "PPO is a tenth of it."
        ),
        Gt(0),
        Le(100),
    ] = (0.5, 1.0, 2.0, 4.0)
    policy: Annotated[
        Literal["mlp", "table"],
        typer.Option(help="mlp: network of turn, level and topic. table: a logit for each answer."),
    ] = "mlp"
    width: Annotated[
        int,
        typer.Option(
            help="Width of the network's two hidden layers; of a transformer, a multiple of 16."
        ),
        Ge(1),
        Le(256),
    ] = 64
    judge: Judge = "random"
    noise: Annotated[
        float,
        typer.Option(
            help="Standard deviation of the error of the rewards that the methods learn from; they "
            "are always evaluated without it."
        ),
        Ge(0),
        Le(100),
    ] = 0.0
    labels: Annotated[
        Literal["true", "shuffled", "swapped"],
        typer.Option(
            help="Negative controls. shuffled: the rewards of an iteration are permuted among its "
            "dialogues, so that nothing can be learned. swapped: ONLINE methods (REFUEL is one) "
            "get beginnings by the base policy, MIXED ones by the current policy."
        ),
    ] = "true"
