"""`marl logs`: which interaction rank explains the rewards of a log."""

from __future__ import annotations

from math import comb

import numpy as np

from toolbox.core import memory
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import crossval, data, recorded
from .cli import Logs
from .data import Floats

MOST_UNKNOWNS = 4000
FEWEST_EPISODES = 10
REWARDS = ("logged", "permuted")


def logs(run: Run, p: Logs) -> None:
    """Held-out errors of each rank, for the rewards as logged and permuted over the joint actions.

    A replicate is a random partition of the episodes into folds; the limits in the tables are over
    the episodes of one partition. Errors: `ParameterError`.
    """
    log = recorded.read(p.file)
    names = models(p.ranks, len(log.agents))
    check(run, p, log, names)
    scale = log.rewards.std(axis=0)
    vary = scale > 0
    if not vary.any():
        raise ParameterError("file", p.file, "its rewards never vary", "give another log")
    for repeat in run.replicates(label="partitions"):
        fold = crossval.folds_of(log.episode, p.folds, run.rng(repeat, "folds"))
        for kind in run.cells(REWARDS, "rewards"):
            rewards = log.rewards
            if kind == "permuted":
                plain = data.Log(log.context, log.actions, log.rewards)
                rewards = data.permuted(plain, run.rng(repeat, "permuted")).rewards
            # In units of each agent's deviation, so that no agent counts more than another.
            standard = rewards / np.where(vary, scale, 1)
            errors = np.zeros((len(names), *log.rewards.shape))
            chosen = np.zeros((len(names), p.folds))
            for k in run.cells(range(len(names)), "models", errors, chosen):
                blocks = crossval.features(log, list(names.values())[k])
                for this in run.cells(range(p.folds), "folds", errors, chosen):
                    found, ridge = crossval.held_out(log, blocks, standard, fold, this, p.ridges)
                    errors[k, fold == this], chosen[k, this] = found, ridge
            write(run, repeat, kind, log, names, errors[:, :, vary], chosen)


def models(ranks: tuple[str, ...], agents: int) -> dict[str, int]:
    """Names and interaction ranks of the fits, the behaviour mean (rank 0) first. A rank of M or
    more is the joint table."""
    found = {"behaviour": 0}
    for word in ranks:
        if word != "joint" and not (word.isdecimal() and 1 <= int(word) <= 9):
            raise ParameterError("ranks", word, "is no rank", "choose from 1 to 9, and joint")
        rank = agents if word == "joint" else min(int(word), agents)
        found["joint" if rank == agents else f"IR{rank}"] = rank
    return found


def check(run: Run, p: Logs, log: recorded.Recorded, names: dict[str, int]) -> None:
    """Enough episodes, few enough actions, and systems that memory and patience allow."""
    episodes = int(log.episode.max()) + 1
    fewest = max(p.folds, FEWEST_EPISODES)
    if episodes < fewest:
        raise ParameterError(
            "file",
            p.file,
            f"it has {episodes} episodes; {{folds}} {p.folds} and limits over episodes need "
            f"{fewest}",
            "give a longer log; steps that do not depend on each other may be separate episodes",
        )
    for i, agent in enumerate(log.agents):
        kinds = len(np.unique(log.actions[:, i]))
        if kinds > p.most_actions:
            raise ParameterError(
                "file",
                p.file,
                f"agent {agent!r} has {kinds} different actions (with its states, where there are "
                f"any), more than {{most_actions}} {p.most_actions}",
                "group them, or raise the number",
            )
    n, agents = log.rewards.shape
    sets = max(comb(agents - 1, max(rank, 1) - 1) for rank in names.values())
    held = 8.0 * n * agents * (2 * len(names) + 4 + 3 * sets)
    memory.need(held, "the errors and the features of the fits", "file", p.file)
    for name, rank in names.items():
        unknowns = crossval.widest(log, rank)
        if unknowns > MOST_UNKNOWNS and not run.allow_costly:
            raise ParameterError(
                "ranks",
                name,
                f"solves systems of {unknowns} unknowns, more than {MOST_UNKNOWNS}, which takes "
                "long",
                "leave the rank out, group actions, or give --allow-costly",
            )
        memory.need(8.0 * 4 * unknowns**2, "the systems of equations", "ranks", name)


def write(
    run: Run,
    repeat: int,
    kind: str,
    log: recorded.Recorded,
    names: dict[str, int],
    errors: Floats,
    chosen: Floats,
) -> None:
    """Errors of each fit and paired differences of any two.  errors : (models, N, M)"""
    rows = errors.mean(axis=2)
    found = [crossval.interval(each, log.episode) for each in rows]
    mean, low, high = (np.array(column) for column in zip(*found, strict=True))
    run.write("errors", {
        "rewards": kind, "model": list(names), "rank": list(names.values()),
        "error": mean, "low": low, "high": high, "ridge": np.median(chosen, axis=1),
    }, repeat)  # fmt: skip
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names)) if a != b]
    limits = [crossval.interval(rows[a] - rows[b], log.episode) for a, b in pairs]
    words = list(names)
    run.write("differences", {
        "rewards": kind,
        "model": [words[a] for a, _ in pairs],
        "against": [words[b] for _, b in pairs],
        "difference": [each[0] for each in limits],
        "low": [each[1] for each in limits],
        "high": [each[2] for each in limits],
    }, repeat)  # fmt: skip
    best = int(np.argmin(mean))
    order = np.argsort(list(names.values()), kind="stable")
    enough = next(
        int(k)
        for k in order
        if k == best or crossval.interval(rows[k] - rows[best], log.episode)[1] <= 0
    )
    run.write("choice", {
        "rewards": kind, "best": names[words[best]], "enough": names[words[enough]],
    }, repeat)  # fmt: skip
    if repeat == 0 and kind == "logged":
        told = ", ".join(
            f"{word} {error:.3f} ({a:.3f} to {b:.3f})"
            for word, error, a, b in zip(words, mean, low, high, strict=True)
        )
        run.say(f"held-out error, in units of the rewards' variance: {told}")
        run.say(f"lowest rank that is not shown to be worse than the best: {words[enough]}")
