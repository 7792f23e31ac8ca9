"""Flags that several commands of `marl` share; each is defined once."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le

CRITIC_NAMES = ("behaviour", "VDN", "IR1", "IR2", "IR3", "joint", "permuted", "true")

Agents = Annotated[
    tuple[int, ...],
    typer.Option(help="Numbers of agents M to try. The joint critic needs a table of A^M cells."),
    Ge(2),
    Le(10),
]
OneAgents = Annotated[int, typer.Option(help="Number of agents M."), Ge(2), Le(10)]
Samples = Annotated[
    int, typer.Option(help="Logged joint actions N of a data set."), Ge(1), Le(100_000)
]
TrueRank = Annotated[
    int, typer.Option(help="Interaction rank of the game's rewards."), Ge(1), Le(10)
]
Conc = Annotated[
    float,
    typer.Option(
        help="Concentrability C: the behaviour plays one rare action with probability 1/C. "
        "It must exceed the number of actions."
    ),
    Gt(1),
    Le(10_000),
]

Ridge = Annotated[
    float,
    typer.Option(help="Ridge penalty of the fits, around the mean reward."),
    Ge(1e-6),
    Le(1000),
]
Iters = Annotated[
    int,
    typer.Option(help="Iterations T. The result is the uniform mixture of the T policies."),
    Ge(1),
    Le(2000),
]
Eta = Annotated[
    float,
    typer.Option(help="Step size of the policy updates. Too small: all stay at the behaviour."),
    Gt(0),
    Le(10_000),
]
Noise = Annotated[
    float,
    typer.Option(help="Standard deviation of the noise on logged rewards."),
    Ge(0),
    Le(10),
]


def complete_critics() -> tuple[str, ...]:
    """Names of the critics, for the shell."""
    return CRITIC_NAMES


Critics = Annotated[
    tuple[str, ...],
    typer.Option(
        help="Critics to compare: behaviour (learns nothing), VDN (a sum over agents), IR1, IR2, "
        "IR3 (interaction rank), joint (a table of all actions), permuted (IR2 fitted to rewards "
        "that were permuted over the joint actions), true (the true rewards).",
        autocompletion=complete_critics,
    ),
]


@dataclass(frozen=True)
class Data:
    """What the games and the logs are."""

    actions: Annotated[int, typer.Option(help="Actions A of each agent."), Ge(2), Le(4)] = 3
    contexts: Annotated[
        int, typer.Option(help="Contexts, drawn uniformly for each logged action."), Ge(1), Le(8)
    ] = 2
    noise: Noise = 0.2
    ridge: Ridge = 0.01


@dataclass(frozen=True)
class Learning(Data):
    """How the policies are learned."""

    critics: Critics = CRITIC_NAMES
    iters: Iters = 50
    eta: Eta = 10.0
    critic_kind: Annotated[
        Literal["linear", "mlp"],
        typer.Option(
            help="linear: ridge regression on one-hot features. mlp: networks of the same "
            "interaction ranks with shared weights, two hidden layers of 64 units."
        ),
    ] = "linear"
    mlp_steps: Annotated[
        int, typer.Option(help="Training steps of a network (Adam)."), Ge(1), Le(100_000)
    ] = 300
    mlp_rate: Annotated[
        float, typer.Option(help="Learning rate of the networks."), Gt(0), Le(1)
    ] = 0.01


Lam = Annotated[
    float, typer.Option(help="Weight lambda of the chi-square regulariser."), Ge(0), Le(100)
]
