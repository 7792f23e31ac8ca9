"""What a report shows, read from `outputs/` and from what the studies declare."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolbox.commands.footer import changed_params, preset_of, replicates
from toolbox.commands.report import workers
from toolbox.commands.report.picture import Picture, pictures
from toolbox.commands.show import again, provenance, value_text
from toolbox.commands.verify import missing
from toolbox.core import claims, code
from toolbox.core.errors import ToolboxError
from toolbox.core.pools import Pool, survey
from toolbox.core.spec import (
    CommandSpec,
    StudySpec,
    load_command,
    load_study,
    selected,
    sound_studies,
)
from toolbox.core.status import Status
from toolbox.core.store import RunRecord, runs
from toolbox.core.studies import docstring_of, study_file

CONFIGURATIONS = 6
"""Configurations of one command that are shown; the newest ones."""
NOT_RUN = "not run"
OUTCOMES = ("supported", "refuted", "inconclusive", "not tested", NOT_RUN)


@dataclass(frozen=True)
class Configuration:
    """Runs of a command that differ only in their seed, and what they say."""

    pool: Pool
    verdicts: list[claims.Verdict]
    heading: str
    """What tells it from the others of its command."""
    notes: list[str]
    """Replicates that are missing, other code."""
    changed: list[tuple[str, str, str]]
    """Parameters that neither the preset nor a default gave: name, value, origin."""
    command_line: str
    provenance: dict[str, str]
    """Of the newest run."""
    pictures: list[Picture]

    @property
    def newest(self) -> RunRecord:
        """The run that ended last."""
        return max(self.pool.runs, key=lambda run: (str(run.manifest["ended"]), run.id))

    @property
    def seconds(self) -> float:
        """Wall time of all its runs."""
        return float(sum(run.manifest["wall_seconds"] for run in self.pool.runs))


@dataclass(frozen=True)
class Reproduction:
    """One command of a study: what it declares, and the runs that are there."""

    study: str
    command: str
    spec: CommandSpec
    configurations: list[Configuration]
    """The newest first."""
    older: int
    """Configurations beyond these, which are only counted."""
    unused: list[RunRecord]
    """Runs whose tables are not in the numbers: failed, interrupted, running, damaged."""
    error: str = ""
    """Why nothing could be judged, where a study's own files are broken."""

    @property
    def outcomes(self) -> dict[str, str]:
        """Claim -> verdict in the newest configuration, which is what `toolbox verify` says."""
        outcomes = dict.fromkeys(self.spec.claims, NOT_RUN)
        for newest in self.configurations[:1]:
            outcomes |= {verdict.claim: str(verdict.verdict) for verdict in newest.verdicts}
        return outcomes

    @property
    def line(self) -> str:
        """What makes a first run."""
        return f"toolbox {self.study} {self.command}"


@dataclass(frozen=True)
class Paper:
    """One study."""

    name: str
    spec: StudySpec
    about: list[str]
    """The paragraphs of its description: claims, what is scaled down, what is a stand-in."""
    reproductions: list[Reproduction]

    def count(self, origins: Sequence[str] = claims.ORIGINS) -> Counter[str]:
        """How many claims of these origins have each outcome."""
        return Counter(
            outcome
            for each in self.reproductions
            for claim, outcome in each.outcomes.items()
            if each.spec.claims[claim].origin in origins
        )

    @property
    def seconds(self) -> float:
        """Wall time of the newest configuration of every command."""
        return sum(each.configurations[0].seconds for each in self.reproductions
                   if each.configurations)  # fmt: skip


@dataclass(frozen=True)
class Findings:
    """All that a report shows."""

    out: Path
    papers: list[Paper]
    strangers: list[RunRecord] = field(default_factory=list)
    """Runs and folders of studies and commands that this toolbox does not have."""

    @property
    def reproductions(self) -> Iterator[Reproduction]:
        """The commands of all papers."""
        for paper in self.papers:
            yield from paper.reproductions

    @property
    def counts(self) -> Counter[str]:
        """How many claims have each outcome."""
        return sum((paper.count() for paper in self.papers), Counter())

    @property
    def machines(self) -> list[str]:
        """The processors on which the shown runs were made."""
        shown = (each.newest.manifest["machine"] for r in self.reproductions
                 for each in r.configurations)  # fmt: skip
        return sorted({f"{m['cpu']}, {m['threads']} of {m['cores_allowed']} cores" for m in shown})

    @property
    def left_out(self) -> list[RunRecord]:
        """Finished runs that cannot be used."""
        return [run for each in self.reproductions for run in each.unused if run.damage]


def collect(out: Path, study: str | None, command: str | None) -> Findings:
    """Read what is there of the papers that `STUDY [COMMAND]` names.

    Errors: `UsageError` for a study or a command that does not exist.
    """
    asked = [(out, name, key) for name, key, _ in selected(study, command)]
    chosen: dict[str, list[Reproduction]] = {}
    for (_, name, _), reproduced in zip(asked, workers.each(reproduction, asked), strict=True):
        chosen.setdefault(name, []).append(reproduced)
    papers = []
    for name, own in chosen.items():
        loaded = load_study(name)
        declared = list(loaded.commands)  # in the order of the paper, not of the alphabet
        own.sort(key=lambda each: declared.index(each.command))
        papers.append(Paper(name, loaded, _about(name), own))
    return Findings(out, papers, _strangers(out) if study is None else [])


def _about(study: str) -> list[str]:
    text = docstring_of(study_file(study).with_name("__init__.py"))
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]


def reproduction(out: Path, study: str, command: str) -> Reproduction:
    """Judge and draw what is there of one command."""
    spec = load_command(study, command)
    surveyed = survey(out, study, command)
    damaged = {run.path for run in surveyed.left_out}
    unused = [run for run in runs(out, study, command) if run.path not in damaged
              and (run.damage or run.status not in (Status.COMPLETE, Status.DIVERGED))]  # fmt: skip
    unused = [*surveyed.left_out, *unused]
    pools = surveyed.pools[::-1]
    shown = pools[:CONFIGURATIONS]
    try:
        if shown:
            claims.metrics_of(study, spec)
        configurations = [_configuration(pool, shown) for pool in shown]
    except ToolboxError as error:
        return Reproduction(study, command, spec, [], len(pools), unused, str(error))
    return Reproduction(study, command, spec, configurations, len(pools) - len(shown), unused)


def _configuration(pool: Pool, pools: Sequence[Pool]) -> Configuration:
    newest = max(pool.runs, key=lambda run: (str(run.manifest["ended"]), run.id))
    notes = missing(pool)
    if other := code.other_code(pool.study, [run.manifest for run in pool.runs]):
        notes.append(other)
    changed = {
        name: value for run in pool.runs for name, value in changed_params(run, pool).items()
    }
    origins = {name: str(newest.manifest["params"][name]["origin"]) for name in changed
               if name in newest.manifest["params"]}  # fmt: skip
    when = str(newest.manifest["ended"])[:16].replace("T", " ")
    return Configuration(
        pool=pool,
        verdicts=claims.judge(pool.study, pool.spec, pool.params, pool.evidence),
        heading=f"{preset_of(pool)}, {replicates(pool)}, {when} UTC",
        notes=notes,
        changed=[
            (name, value_text(value), origins.get(name, "")) for name, value in changed.items()
        ],
        command_line=again(newest),
        provenance=provenance(newest.manifest),
        pictures=pictures(pool),
    )


def _strangers(out: Path) -> list[RunRecord]:
    known = {
        (study, command) for study in sound_studies() for command in load_study(study).commands
    }
    return [run for run in runs(out) if (run.study, run.command) not in known]
