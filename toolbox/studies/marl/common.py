"""Refusals and the choice of critics."""

from __future__ import annotations

from math import comb

from toolbox.core import memory
from toolbox.core.errors import ParameterError

from .flags import CRITIC_NAMES

MOST_CELLS = 2_000_000
MOST_WEIGHTS = 4000
FITTED = ("IR1", "IR2", "IR3", "joint", "permuted")
"""Critics that are fits of some interaction rank to the log."""


def check_concs(conc: float, actions: int, field: str = "conc") -> None:
    """The rare action must be rarer than the others."""
    if conc <= actions:
        raise ParameterError(
            field,
            conc,
            f"is not above {{actions}} {actions}, so that no action is rare",
            "raise it",
        )


def check_rank(
    rank: int, agents: int, actions: int, contexts: int, repeats: int, field: str
) -> None:
    """A rank that the number of agents allows and a table that memory allows."""
    if rank > agents:
        raise ParameterError(field, rank, f"is above the number of agents {agents}", "lower it")
    if contexts * actions**rank > MOST_CELLS:
        raise ParameterError(
            field,
            rank,
            f"needs a table of {contexts * actions**rank} cells for an agent, more than "
            f"{MOST_CELLS}",
            "lower it, or the number of actions, agents or contexts",
        )
    terms = comb(agents - 1, rank - 1)
    unknowns = terms * actions ** (rank - 1)
    if rank < agents and unknowns > MOST_WEIGHTS:
        raise ParameterError(
            field,
            rank,
            f"solves a system of {unknowns} unknowns for each own action with {agents} agents, "
            f"more than {MOST_WEIGHTS}",
            "lower it",
        )
    size = 8.0 * 4 * repeats * agents * terms * contexts * actions**rank
    memory.need(size, "the reward tables", field, rank)


def check_critics(names: tuple[str, ...]) -> None:
    """Known critics."""
    for name in names:
        if name not in CRITIC_NAMES:
            raise ParameterError(
                "critics", name, "is no critic", "choose from " + ", ".join(CRITIC_NAMES)
            )


def fit_rank(name: str, agents: int, field: str = "critics") -> int:
    """Interaction rank of a critic or of a word of --ranks; a rank above M is M, the joint one."""
    ranks = {"IR1": 1, "1": 1, "IR2": 2, "2": 2, "IR3": 3, "3": 3, "joint": agents, "full": agents}
    ranks["permuted"] = 2
    if name not in ranks:
        raise ParameterError(field, name, "is no rank", "choose from 1, 2, 3, full")
    return min(ranks[name], agents)


def check_networks(name: str, agents: int, actions: int, contexts: int) -> None:
    """The quadratic forms of a network's training that memory allows."""
    rank = fit_rank(name, agents)
    if rank < agents:
        cells = comb(agents - 1, rank - 1) * actions ** (rank - 1)
        size = 4.0 * 3 * agents * contexts * actions * cells**2
        memory.need(size, "the counts for the networks of " + name, "agents", agents)
