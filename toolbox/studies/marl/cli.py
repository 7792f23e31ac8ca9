"""Offline multi-agent learning with critics of low interaction rank; every game is a stand-in."""

from dataclasses import dataclass
from typing import Annotated, Literal

import typer
from annotated_types import Ge, Gt, Le

from toolbox.core.cli import command, study_app
from toolbox.core.run import Run

from .flags import (
    CRITIC_NAMES,
    Agents,
    Conc,
    Critics,
    Data,
    Eta,
    Iters,
    Lam,
    Learning,
    Noise,
    OneAgents,
    Ridge,
    Samples,
    TrueRank,
)

app = study_app(__doc__)


@dataclass(frozen=True)
class Shift(Data):
    """The flags of `marl shift`."""

    agents: Agents = (3, 4, 5, 6, 7)
    ranks: Annotated[
        tuple[str, ...],
        typer.Option(help="Interaction ranks of the fits: 1, 2, 3 or full."),
    ] = ("1", "2", "3", "full")
    true_rank: TrueRank = 2
    conc: Conc = 6.0
    samples: Samples = 4000
    noise: Noise = 0.1


@dataclass(frozen=True)
class Game(Learning):
    """The flags of `marl game`."""

    agents: Agents = (3, 5, 6, 7)
    true_rank: TrueRank = 2
    samples: Samples = 1000
    conc: Conc = 10.0
    lam: Lam = 2e-4


@dataclass(frozen=True)
class SampleSizes(Learning):
    """The flags of `marl samples`."""

    agents: OneAgents = 6
    true_rank: TrueRank = 2
    samples: Annotated[
        tuple[int, ...],
        typer.Option(help="Sizes N of the data set to try."),
        Ge(1),
        Le(100_000),
    ] = (300, 1000, 3000, 10_000)
    conc: Conc = 10.0
    lam: Lam = 2e-4


@dataclass(frozen=True)
class Regularise(Learning):
    """The flags of `marl regularise`."""

    critics: Critics = ("IR2", "joint", "true")
    agents: OneAgents = 6
    true_rank: TrueRank = 2
    samples: Samples = 1000
    concs: Annotated[
        tuple[float, ...],
        typer.Option(help="Concentrabilities C to try: the rare action has probability 1/C."),
        Gt(1),
        Le(10_000),
    ] = (10.0, 50.0, 200.0)
    supports: Annotated[
        tuple[str, ...],
        typer.Option(
            help="full: the rare action is logged. partial: it never is, at the first "
            "concentrability alone."
        ),
    ] = ("full", "partial")
    lams: Annotated[
        tuple[float, ...],
        typer.Option(help="Weights lambda of the chi-square regulariser to try."),
        Ge(0),
        Le(100),
    ] = (0.0, 2e-4, 2e-3, 2e-2)


@dataclass(frozen=True)
class Rank(Learning):
    """The flags of `marl rank`."""

    agents: OneAgents = 5
    true_ranks: Annotated[
        tuple[int, ...],
        typer.Option(help="Interaction ranks of the rewards to try."),
        Ge(1),
        Le(10),
    ] = (1, 2, 3, 5)
    samples: Samples = 3000
    conc: Conc = 10.0
    lam: Lam = 2e-4


Payoff = Literal["cooperative", "competitive"]


@dataclass(frozen=True)
class Coop(Learning):
    """The flags of `marl coop`."""

    agents: Annotated[int, typer.Option(help="Number of agents M."), Ge(3), Le(10)] = 6
    samples: Samples = 3000
    conc: Conc = 10.0
    lam: Lam = 2e-4


@command(app)
def shift(run: Run, p: Shift) -> None:
    """How much a fit can lose when the actions' distribution changes: exactly, and for fits.

    Example: toolbox marl shift --agents 3,4,5
    """
    from .shift import shift

    shift(run, p)


@command(app)
def game(run: Run, p: Game) -> None:
    """Equilibrium gaps of policies learned offline, by critic and number of agents.

    Example: toolbox marl game --agents 3,5 --samples 1000
    """
    from .trials import game

    game(run, p)


@command(app)
def samples(run: Run, p: SampleSizes) -> None:
    """Equilibrium gaps against the size of the data set.

    Example: toolbox marl samples --samples 300,3000
    """
    from .trials import samples

    samples(run, p)


@command(app)
def regularise(run: Run, p: Regularise) -> None:
    """Equilibrium gaps against the weight of the chi-square regulariser.

    Example: toolbox marl regularise --concs 10,50
    """
    from .trials import regularise

    regularise(run, p)


@command(app)
def rank(run: Run, p: Rank) -> None:
    """Critics of too low, right and too high interaction rank.

    Example: toolbox marl rank --true-ranks 1,3
    """
    from .trials import rank

    rank(run, p)


@command(app)
def coop(run: Run, p: Coop) -> None:
    """One common reward for all agents, and pairwise zero-sum rewards.

    Example: toolbox marl coop --agents 5
    """
    from .trials import coop

    coop(run, p)


@dataclass(frozen=True)
class Logs:
    """The flags of `marl logs`."""

    file: Annotated[
        str,
        typer.Argument(
            help="A CSV or Parquet file with the columns episode, step, agent, action, reward, and "
            "context (what all agents see) or state (an agent's own). rank1 to rank4: a generated "
            "log whose rewards have that interaction rank."
        ),
    ] = "rank2"
    ranks: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Interaction ranks to fit: whole numbers, and joint for a table of all actions."
        ),
    ] = ("1", "2", "3", "joint")
    folds: Annotated[
        int,
        typer.Option(help="Parts of the episodes; each is predicted from the others."),
        Ge(2),
        Le(100),
    ] = 5
    ridges: Annotated[
        tuple[float, ...],
        typer.Option(
            help="Ridge penalties to try. Each fit takes the one that predicts a quarter of its "
            "training episodes best."
        ),
        Ge(1e-6),
        Le(1e6),
    ] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    most_actions: Annotated[
        int,
        typer.Option(help="Refuse a log in which an agent has more different actions than this."),
        Ge(2),
        Le(10_000),
    ] = 64


@command(app, files=("file",))
def logs(run: Run, p: Logs) -> None:
    """Which interaction rank explains the rewards of a log: cross-validated errors by rank.

    Example: toolbox marl logs my_log.csv --repeats 20
    """
    from .logs import logs

    logs(run, p)


@dataclass(frozen=True)
class Markov:
    """The flags of `marl markov`."""

    agents: Agents = (3, 4, 5, 6)
    critics: Critics = CRITIC_NAMES
    states: Annotated[int, typer.Option(help="States of each agent."), Ge(1), Le(4)] = 2
    actions: Annotated[int, typer.Option(help="Actions A of each agent."), Ge(2), Le(4)] = 2
    horizon: Annotated[int, typer.Option(help="Steps H of an episode."), Ge(1), Le(20)] = 4
    true_rank: TrueRank = 2
    episodes: Annotated[
        int, typer.Option(help="Logged episodes of a data set."), Ge(1), Le(100_000)
    ] = 200
    noise: Noise = 0.2
    conc: Conc = 6.0
    ridge: Ridge = 0.01
    iters: Iters = 40
    eta: Eta = 5.0
    lam: Lam = 5e-4


@command(app)
def markov(run: Run, p: Markov) -> None:
    """The decentralised actor-critic in Markov games whose agents move by themselves.

    Example: toolbox marl markov --agents 3,5
    """
    from .markov import markov

    markov(run, p)


@dataclass(frozen=True)
class Envs:
    """The flags of `marl envs`."""

    envs: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Environments of PettingZoo (package mpe2): spread (cooperative: cover landmarks) "
            "and tag (competitive: all agents but one chase the last)."
        ),
    ] = ("spread", "tag")
    critics: Annotated[
        tuple[str, ...],
        typer.Option(
            help="Critics to compare, and the policies random and behaviour, which learn nothing."
        ),
    ] = ("random", *CRITIC_NAMES)
    agents: Annotated[
        int,
        typer.Option(help="Number of agents M. All 5^M joint actions are played."),
        Ge(2),
        Le(7),
    ] = 4
    contexts: Annotated[
        int, typer.Option(help="Starting positions, drawn anew for each replicate."), Ge(1), Le(8)
    ] = 2
    hold: Annotated[
        int,
        typer.Option(help="Steps of the environment for which an agent keeps its action."),
        Ge(1),
        Le(100),
    ] = 10
    samples: Samples = 300
    conc: Conc = 10.0
    ridge: Ridge = 0.01
    iters: Iters = 50
    eta: Eta = 10.0
    lam: Lam = 2e-4


@command(app)
def envs(run: Run, p: Envs) -> None:
    """The same critics in environments of PettingZoo, where rewards have no known rank.

    Example: toolbox marl envs --envs spread
    """
    from .envs import envs

    envs(run, p)
