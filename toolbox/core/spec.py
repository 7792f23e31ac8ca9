"""What a `study.yaml` may say: the paper, and per command its presets, tables, figures and claims.

The file is data that the shared commands read without importing any code of the study.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from toolbox.core.controls import Control
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.figure import FigureSpec
from toolbox.core.strict_yaml import load_mapping
from toolbox.core.studies import study_file, study_names
from toolbox.core.where import compile_where

PRESETS = ("smoke", "small", "paper")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ColumnSpec(_Strict):
    """One column of a table: its meaning, its role and its unit."""

    meaning: str
    role: Literal["parameter", "index", "metric"]
    type: Literal["int", "float", "str", "bool"] = "float"
    unit: str = ""
    optional: bool = False
    """An empty cell is allowed (a censored step, a metric that does not apply)."""


class TableSpec(_Strict):
    """One tidy CSV: one row is one observation; `seed` and `repeat` are added to every table."""

    rows: str
    """What one row is: 'one schedule at one stopping time'."""
    columns: dict[str, ColumnSpec]

    @model_validator(mode="after")
    def _own_columns_only(self) -> TableSpec:
        for name in ("seed", "repeat"):
            if name in self.columns:
                raise ValueError(f"column {name!r} is added to every table; do not declare it")
        return self

    @property
    def all_columns(self) -> dict[str, ColumnSpec]:
        """The declared columns behind the two that name a replicate."""
        return {**_REPLICATE_COLUMNS, **self.columns}


_REPLICATE_COLUMNS = {
    "seed": ColumnSpec(meaning="root seed of the run", role="index", type="int"),
    "repeat": ColumnSpec(
        meaning="repetition within the run; (seed, repeat) names a replicate",
        role="index",
        type="int",
    ),
}


class ClaimSpec(_Strict):
    """One testable statement of the paper and the region in which it passes."""

    statement: str
    origin: Literal["paper", "derived", "control", "companion"]
    """paper: the paper's own statement, with a region that is not read off a measurement;
    derived: a law that we derived; control: a comparison that must come out as it does for the
    method to be trusted; companion: something beside the paper."""
    reference: str
    """Where it stands in the paper, or what it is derived from when the paper gives no number."""
    statistic: str
    """A function in the study's metrics.py: tables of one replicate -> float."""
    region: tuple[float | None, float | None]
    """Pass region [low, high]; null is unbounded."""
    paper: str = "-"
    """The paper's own value, where it has one."""
    requires: str | None = None
    """Parameters that test the claim, as a filter: 'T >= 10000'. Else it is not tested."""
    test_with: str = ""
    """Flags that would test it, where they cannot be read off `requires`."""
    applies: str | None = None
    """A function in metrics.py: tables of one replicate -> '' where the claim applies, else the
    reason why not. A claim that applies to less than half of the replicates is not tested."""
    control: tuple[Control, ...] = Field(min_length=1)
    """The negative control: changes of the tables after which it must not be supported."""
    diverged: Literal["worst"] | float | None = None
    """What a diverged replicate counts as: a value, or worst, the failing side of the region. Worst
    is what a median or a proportion does without being told; a mean cannot, and is inconclusive."""
    settled_by: str = ""
    """The preset or flags that would settle an inconclusive verdict, and the time they take."""
    summary: Literal["mean", "median", "proportion"] = "mean"
    """How replicates are summarised: t interval, order statistics, Clopper-Pearson."""
    min_seeds: int = Field(default=3, ge=1)
    """Fewer replicates than this give `inconclusive` (deterministic commands need one)."""
    scaled_down: str = ""
    """What may differ at this scale from the paper's."""

    @field_validator("control", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _sane(self) -> ClaimSpec:
        low, high = self.region
        if (low is None and high is None) or (low is not None and high is not None and low >= high):
            raise ValueError("region must be [low, high] with low < high and one of them a number")
        if self.diverged == "worst" and self.summary == "mean":
            raise ValueError(
                "diverged: worst has no finite value that a mean could count; give a number, or "
                "summary: median"
            )
        if self.requires is not None:
            try:
                compile_where(self.requires)
            except UsageError as error:  # a ValueError gets file, line and key
                raise ValueError(str(error)) from None
        return self


class CommandSpec(_Strict):
    """One reproduction: what it writes, draws and claims."""

    about: str
    deterministic: bool = False
    """No number depends on the seed: one replicate is exact and --repeats stays 1."""
    cannot_diverge: str = ""
    """Why training stays finite at every rate that the bounds allow, where it does."""
    devices: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")
    pool_over: tuple[str, ...] = ()
    """Parameters that are cells of one experiment: runs differing only in them are pooled, and the
    statistics see whatever cells are there."""
    presets: dict[str, dict[str, Any]]
    seconds: dict[str, float] = {}
    """Measured wall time of each preset on two cores."""
    projected: dict[str, float] = {}
    """The same of presets that never ran to their end: a measured rate times the steps of a run."""
    tables: dict[str, TableSpec]
    figures: dict[str, FigureSpec] = {}
    claims: dict[str, ClaimSpec] = {}

    @model_validator(mode="after")
    def _consistent(self) -> CommandSpec:
        for preset in PRESETS:
            if preset not in self.presets:
                raise ValueError(f"preset {preset!r} is missing")
        for field in ("seconds", "projected"):
            for preset in getattr(self, field):
                if preset not in self.presets:
                    raise ValueError(f"{field} names the unknown preset {preset!r}")
        for preset in self.projected.keys() & self.seconds.keys():
            raise ValueError(f"the time of preset {preset!r} is measured or projected, not both")
        for name, figure in self.figures.items():
            if figure.table not in self.tables:
                raise ValueError(f"figure {name!r} reads the undeclared table {figure.table!r}")
            if figure.claim and figure.claim not in self.claims:
                raise ValueError(f"figure {name!r} shows the undeclared claim {figure.claim!r}")
        for name, claim in self.claims.items():
            for rule in claim.control:
                if rule.table and rule.table not in self.tables:
                    raise ValueError(f"the control of {name!r} changes no table {rule.table!r}")
                columns = self.tables[rule.table].all_columns if rule.table else {}
                named = [rule.column, rule.over, *rule.columns] if rule.table else []
                for column in filter(None, named):
                    if column not in columns:
                        raise ValueError(
                            f"the control of {name!r}: table {rule.table} has no column {column!r}"
                        )
        return self


class Gap(_Strict):
    """An experiment of the paper that is not here."""

    what: str
    why: str


class Guide(_Strict):
    """What a reader should know before and after the numbers; paragraphs of plain text."""

    headline: str
    """The result in one sentence, for a table of all papers."""
    says: tuple[str, ...]
    """What the paper says."""
    built: tuple[str, ...]
    """What is built here: model, data, what is exact and what a stand-in."""
    scaled_down: tuple[str, ...] = ()
    not_here: tuple[Gap, ...] = ()
    """The paper's experiments that are not here, and why."""
    flags: dict[str, str] = {}
    """'command --flag' -> why it matters."""
    findings: tuple[str, ...] = ()
    """What was seen when the study was made, beyond the verdicts or against the paper, and why we
    think so. Presets of today may differ; the verdicts are those of `toolbox verify`."""
    next: tuple[str, ...] = ()
    """Command lines to try next, each with what it would show: 'toolbox ... # what'."""


class StudySpec(_Strict):
    """One paper."""

    title: str
    authors: str
    arxiv: str
    venue: str = ""
    guide: Guide | None = None
    commands: dict[str, CommandSpec]


@functools.cache
def load_study(study: str) -> StudySpec:
    """Read and check `toolbox/studies/<study>/study.yaml`.

    Errors: `UsageError` naming the file, the key and what was expected.
    """
    path = study_file(study)
    mapping = load_mapping(path)
    try:
        return StudySpec.model_validate(mapping)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        line = mapping.lines.get(str(first["loc"][0]), 1) if first["loc"] else 1
        value: Any = mapping
        for part in first["loc"]:  # the deepest mapping on the way knows the best line
            if not isinstance(value, dict) or part not in value:
                break
            line = getattr(value, "lines", {}).get(part, line)
            value = value[part]
        raise UsageError(f"{path}:{line}: {key}: {first['msg']}") from None


def load_command(study: str, command: str) -> CommandSpec:
    """The spec of one command.

    Errors: `UsageError` listing the commands that exist.
    """
    commands = load_study(study).commands
    if command not in commands:
        raise UsageError(
            f"{study} has no command {command!r}; it has {', '.join(sorted(commands))}"
        )
    return commands[command]


def preset_line(study: str, command: str, preset: str) -> str:
    """`file:line` of a preset, to begin an error message with."""
    return yaml_line(study, "commands", command, "presets", preset)


def yaml_line(study: str, *keys: str) -> str:
    """`file:line` of a key of `study.yaml`, given by the keys on the way to it."""
    node: Any = load_mapping(study_file(study))
    for key in keys[:-1]:
        node = node[key]
    return str(node.where(keys[-1]))


def selected(study: str | None, command: str | None) -> Iterator[tuple[str, str, CommandSpec]]:
    """The (study, command, spec) that `STUDY [COMMAND]` on a command line names.

    Where no study is named, one whose `study.yaml` is broken is told on stderr and left out.
    """
    for name in [study] if study else sound_studies():
        for key in [command] if command else sorted(load_study(name).commands):
            yield name, key, load_command(name, key)


def sound_studies() -> list[str]:
    """The studies whose `study.yaml` can be read; each of the others is told on stderr once."""
    sound = []
    for name in study_names():
        try:
            load_study(name)
        except ToolboxError as error:
            tell_once(str(error))
        else:
            sound.append(name)
    return sound


@functools.cache
def tell_once(message: str) -> None:
    """A sentence on stderr about what is left out, once however often it is met."""
    print(f"toolbox: {message}", file=sys.stderr, flush=True)
