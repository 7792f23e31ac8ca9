"""A log of joint actions and rewards, from a file or generated.

A file has one row for each agent at each step of each episode, with the columns

    episode, step, agent, action, reward   and   context or state

`context` is what all agents of a step see; their rows agree in it. `state` is an agent's own state:
it joins the agent's action, as in the paper's Markov games, where rewards have interaction rank K
in the pairs z_j = (s_j, a_j). Further columns are ignored. All columns but the reward are labels:
only whether two of them are equal counts.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolbox.core import memory
from toolbox.core.errors import ParameterError

from . import data
from .data import Floats, Ints

NEEDED = ("episode", "step", "agent", "action", "reward")
PLACES = ("context", "state")
GENERATED = {"rank1": 1, "rank2": 2, "rank3": 3, "rank4": 4}
"""Names of logs that are generated -> the interaction rank of their rewards."""
BYTES_PER_BYTE = 30.0
"""Memory that a byte of a CSV takes while it is read: labels as Python text, and their codes."""

LONGEST = 200
"""Characters of a label: codes are found in arrays as wide as the longest."""

Row = tuple[str, str, str, str, str, str]
"""episode, step, agent, place, action, reward"""


@dataclass(frozen=True)
class Recorded:
    """N joint actions of M agents.

    episode, context : (N,);  actions, rewards : (N, M)
    agents : their names
    """

    episode: Ints
    context: Ints
    actions: Ints
    rewards: Floats
    agents: tuple[str, ...]


def read(source: str) -> Recorded:
    """The log of a CSV or Parquet file, or one of the `GENERATED`.

    Errors: `ParameterError` with file, line and column where it is no such log.
    """
    if source in GENERATED:
        return generated(GENERATED[source])
    path = Path(source)
    try:
        memory.need(BYTES_PER_BYTE * path.stat().st_size, "the rows of the log", "file", source)
        parquet = path.suffix.lower() in (".parquet", ".pq")
        unit, place, rows = _parquet(source) if parquet else _csv(source)
        return _joined(source, unit, place, rows)
    except OSError as error:
        raise ParameterError(
            "file",
            source,
            error.strerror or "cannot be read",
            "give a CSV or Parquet file, or one of " + ", ".join(GENERATED),
        ) from None


def refused(source: str, where: str, what: str, remedy: str = "correct the file") -> ParameterError:
    """The error for one place of the file."""
    return ParameterError("file", source, f"{where}: {what}" if where else what, remedy)


def _columns(source: str, header: list[str]) -> tuple[str, list[int]]:
    """The name of the place, and where the six columns of a `Row` stand."""
    for name in header:
        if header.count(name) > 1:
            raise refused(source, "line 1", f"the column {name!r} stands twice")
    places = [name for name in PLACES if name in header]
    listed = ", ".join(header)
    if len(places) != 1:
        found = "both" if places else "none"
        raise refused(
            source,
            "line 1",
            f"one of the columns context and state is needed, and {found} is there; columns: "
            f"{listed}",
            "give context (what all agents of a step see; one value where there is nothing) or "
            "state (an agent's own)",
        )
    for name in NEEDED:
        if name not in header:
            raise refused(
                source, "line 1", f"the column {name!r} is missing; columns: {listed}", "add it"
            )
    names = ("episode", "step", "agent", places[0], "action", "reward")
    return places[0], [header.index(name) for name in names]


def _csv(source: str) -> tuple[str, str, Iterator[tuple[int, Row]]]:
    """What a row is called, the name of the place, and the rows with their lines."""
    # Read whole, so that a file that is no text is refused before any row is used.
    try:
        text = Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise refused(source, "", "this is no UTF-8 text", "convert it first") from None
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    header = next(reader, [])
    place, at = _columns(source, [name.strip() for name in header])

    def rows() -> Iterator[tuple[int, Row]]:
        try:
            for fields in reader:
                if not fields:
                    continue
                if len(fields) != len(header):
                    raise refused(
                        source,
                        f"line {reader.line_num}",
                        f"{len(fields)} fields where the header has {len(header)}",
                    )
                yield reader.line_num, _row(fields[k].strip() for k in at)
        except csv.Error as error:
            raise refused(source, f"line {reader.line_num}", str(error)) from None

    return "line", place, rows()


def _row(fields: Iterator[str]) -> Row:
    episode, step, agent, place, action, reward = fields
    return episode, step, agent, place, action, reward


def _parquet(source: str) -> tuple[str, str, Iterator[tuple[int, Row]]]:
    """The same of a Parquet file; its rows are counted from 1."""
    import pandas as pd

    try:
        frame = pd.read_parquet(source)
    except ImportError:
        raise refused(
            source, "", "Parquet needs pyarrow", "pip install 'toolbox[parquet]'"
        ) from None
    except OSError:
        raise
    except Exception as error:  # pyarrow's errors are of many classes
        said = " ".join(str(error).split())[:200]
        raise refused(source, "", f"this is no Parquet file ({said})") from None
    place, at = _columns(source, [str(name) for name in frame.columns])
    columns: list[list[Any]] = [
        frame.iloc[:, k].astype(object).where(frame.iloc[:, k].notna(), "").tolist() for k in at
    ]
    rows = (_row(str(value) for value in fields) for fields in zip(*columns, strict=True))
    return "row", place, iter(enumerate(rows, 1))


def _joined(source: str, unit: str, place: str, rows: Iterator[tuple[int, Row]]) -> Recorded:
    """One joint action for each episode and step."""
    agents: dict[str, int] = {}
    steps: dict[tuple[str, str], dict[int, tuple[int, str, str, float]]] = {}
    for line, (episode, step, agent, here, action, said) in rows:
        where = f"{unit} {line}"
        named = ("episode", episode), ("step", step), ("agent", agent), (place, here)
        for name, value in (*named, ("action", action), ("reward", said)):
            if not value:
                raise refused(source, f"{where}, column {name}", "the cell is empty", "fill it")
            if len(value) > LONGEST:
                what = f"{value[:20]!r}... has {len(value)} characters, more than {LONGEST}"
                raise refused(source, f"{where}, column {name}", what, "name it by a short label")
        reward = _number(said)
        if not math.isfinite(reward):
            raise refused(source, f"{where}, column reward", f"{said!r} is no finite number")
        together = steps.setdefault((episode, step), {})
        own = agents.setdefault(agent, len(agents))
        at = f"episode {episode}, step {step}"
        if own in together:
            raise refused(
                source,
                f"{where}, column agent",
                f"{agent!r} stands at {at} already, on {unit} {together[own][0]}",
                "give each agent one row for each step",
            )
        first = next(iter(together.values()), None)
        if place == "context" and first and first[1] != here:
            raise refused(
                source,
                f"{where}, column context",
                f"{here!r} at {at}, where {unit} {first[0]} has {first[1]!r}",
                "a context is the same for all agents of a step; an agent's own goes into a column "
                "state",
            )
        together[own] = line, here, action, reward
    _complete(source, unit, agents, steps)
    return _coded(place, agents, steps)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _complete(
    source: str,
    unit: str,
    agents: dict[str, int],
    steps: dict[tuple[str, str], dict[int, tuple[int, str, str, float]]],
) -> None:
    if len(agents) < 2:
        raise refused(
            source,
            "",
            f"it has {len(agents)} agents, and an interaction needs two",
            "give a log of several agents",
        )
    for (episode, step), together in steps.items():
        for name, own in agents.items():
            if own not in together:
                line = next(iter(together.values()))[0]
                raise refused(
                    source,
                    f"{unit} {line}, column agent",
                    f"episode {episode}, step {step} has no row of agent {name!r}",
                    "give each agent one row for each step",
                )


def _coded(
    place: str,
    agents: dict[str, int],
    steps: dict[tuple[str, str], dict[int, tuple[int, str, str, float]]],
) -> Recorded:
    """Labels as numbers. Rows and agents are sorted, so that their order in the file is free."""
    names = sorted(agents)
    order = sorted(steps)
    lines = [[steps[key][agents[name]] for name in names] for key in order]
    if place == "context":
        context = np.array([row[0][1] for row in lines])
        actions = np.array([[own[2] for own in row] for row in lines])
    else:
        context = np.zeros(len(order), dtype=str)
        # A separator that no printed label holds.
        actions = np.array([["\x1f".join(own[1:3]) for own in row] for row in lines])
    return Recorded(
        codes(np.array([key[0] for key in order])),
        codes(context),
        np.column_stack([codes(column) for column in actions.T]),
        np.array([[own[3] for own in row] for row in lines]),
        tuple(names),
    )


def codes(labels: Any) -> Ints:
    """0, 1, ... for the labels in sorted order.  (N,) -> (N,)"""
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def generated(
    rank: int, agents: int = 4, episodes: int = 500, length: int = 4, noise: float = 0.15
) -> Recorded:
    """A log of random rewards of a given interaction rank, the same in every process.

    Three actions, two contexts; the behaviour plays one rare action with probability 1/6. Each of
    the `length` steps of an episode is drawn by itself.
    """
    rng = np.random.default_rng(np.random.SeedSequence(2410, spawn_key=(1101, rank)))
    tables = data.random_tables(rng, agents, rank, 2, 3)
    truth = data.Rewards(tables[None], data.subsets(agents, rank))
    nu, _ = data.behaviour(rng, agents, 2, 3, 6.0)
    log = data.log(rng, truth, 0, nu, episodes * length, noise)
    return Recorded(
        np.repeat(np.arange(episodes), length),
        log.context,
        log.actions,
        log.rewards,
        tuple(f"agent{i}" for i in range(agents)),
    )
