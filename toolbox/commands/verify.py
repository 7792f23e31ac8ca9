"""`toolbox verify`: verdicts on the claims, from every finished run that is there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.commands import formats
from toolbox.core import claims, code, text
from toolbox.core.errors import StudyError, ToolboxError, UsageError
from toolbox.core.pools import Pool, choose, left_out_text, survey
from toolbox.core.show import draw, measured_text, region_text, verdict_table
from toolbox.core.spec import selected, tell_once
from toolbox.core.store import RunRecord

REFUTED = 3
CONTROL_FAILED = 1
LEFT_OUT = 1

Judged = tuple[Pool, list[claims.Verdict]]


def verify(
    study: str | None, name: str | None, pool: str, format: str, null: bool, out: Path
) -> int:
    """Print the verdicts; returns 1 when runs were left out, 3 when a claim is refuted, else 0.

    pool : newest, all, or the beginning of a pool's id
    format : table, json, csv, markdown or latex
    null : judge each claim on the tables that its control changed as well, and return 1 when a
        control is supported
    """
    picked = pick(study, name, pool, out, lambda text: print(text, file=sys.stderr))
    chosen, found, left_out = picked.chosen, picked.found, picked.left_out
    judged = [(each, judge(each)) for each in chosen]
    controls = [(each, judge(each, null=True)) for each in chosen] if null else []
    if format == "json":
        documents = [_document(*each, left_out) for each in judged]
        for document, (_, verdicts) in zip(documents, controls, strict=False):
            document["controls"] = [verdict.as_dict() for verdict in verdicts]
        print(json.dumps(documents))
    elif format != "table":
        table = _flat if format == "csv" else _for_people
        print(formats.written(format, *table(judged, controls)))
    elif null:
        pairs = zip(judged, controls, strict=True)
        print("\n\n".join(_beside(*real, changed) for real, (_, changed) in pairs))
    else:
        print(_text(judged, found))
    if any(verdict.verdict == "supported" for _, own in controls for verdict in own):
        return CONTROL_FAILED
    if left_out or picked.unsound:
        return LEFT_OUT
    refuted = any(verdict.verdict == "refuted" for _, own in judged for verdict in own)
    return REFUTED if refuted and not null else 0


@dataclass(frozen=True)
class Picked:
    """The pools that `verify STUDY [COMMAND] --pool` names."""

    chosen: list[Pool]
    found: dict[tuple[str, str], list[Pool]]
    """All pools of each command."""
    left_out: list[RunRecord]
    unsound: bool
    """Whether some study was left out, because its metrics cannot be used."""


def pick(
    study: str | None, name: str | None, pool: str, out: Path, tell: Callable[[str], object]
) -> Picked:
    """Find the pools that are asked for.

    tell : called with a sentence on the runs that cannot be used, if there are any

    Errors: `UsageError` where there is nothing to judge; `ToolboxError` where nothing can be.
    """
    surveys = {
        (each, command): survey(out, each, command) for each, command, _ in selected(study, name)
    }
    found = {where: one.pools for where, one in surveys.items()}
    left_out = [run for one in surveys.values() for run in one.left_out]
    if left_out:
        tell(left_out_text(left_out))
    asked = " ".join(filter(None, (study, name))) or "any study"
    if not any(found.values()):
        if left_out:
            raise ToolboxError(f"no finished run of {asked} under {out} can be judged")
        raise UsageError(
            f"no finished run of {asked} under {out}; run a command first (toolbox list) or name "
            "the place with --out"
        )
    chosen = [each for known in found.values() for each in choose(known, pool)]
    if not chosen:
        ids = ", ".join(each.id for known in found.values() for each in known)
        raise UsageError(f"--pool {pool}: no pool of {asked} begins so; there are {ids}")
    sound = [each for each in chosen if _sound(each, alone=study is not None)]
    return Picked(sound, found, left_out, len(sound) < len(chosen))


def _sound(pool: Pool, alone: bool) -> bool:
    """Whether the study's metrics can be used; told once, unless this study alone was asked for.

    Errors: `StudyError` with file and line, when it was.
    """
    try:
        claims.metrics_of(pool.study, pool.spec)
    except StudyError as error:
        if alone:
            raise
        tell_once(str(error))
        return False
    return True


def judge(pool: Pool, null: bool = False) -> list[claims.Verdict]:
    """The verdicts on the claims of a pool's command."""
    return claims.judge(pool.study, pool.spec, pool.params, pool.evidence, null)


def _text(judged: list[Judged], pools_by_command: dict[tuple[str, str], list[Pool]]) -> str:
    parts = []
    last = None
    for pool, verdicts in judged:
        where = (pool.study, pool.command)
        others = pools_by_command[where]
        said = [_heading(pool, others, len(judged)), *missing(pool)]
        head = "\n".join(text.wrapped(line, rest="    ") for line in said)
        if not verdicts:
            parts.append(f"{head}\nno claim is declared for this command")
            continue
        # The statements of a command stand once, below its first pool.
        table = verdict_table(verdicts, sys.stdout, statements=where != last)
        parts.append(f"{head}\n{table}")
        last = where
    return "\n\n".join(parts)


def _heading(pool: Pool, others: list[Pool], shown: int) -> str:
    """Command, pool, runs, and the parameters in which its pools differ."""
    count = f"{len(pool.runs)} run{'s' if len(pool.runs) > 1 else ''}"
    versions = sorted({str(run.manifest["toolbox"]) for run in pool.runs})
    mixed = f", made by toolbox {' and '.join(versions)}" if len(versions) > 1 else ""
    if other := code.other_code(pool.study, [run.manifest for run in pool.runs]):
        mixed += f"; {other}"
    differing = [
        key for key in pool.params if len({json.dumps(each.params.get(key)) for each in others}) > 1
    ]
    told = "".join(f" {key}={_short(pool.params[key])}" for key in differing)
    hidden = len(others) > 1 and shown == 1
    more = f"; --pool all judges {len(others)} configurations" if hidden else ""
    return f"{pool.study} {pool.command}{told} ({count}, pool {pool.id}{mixed}{more})"


def missing(pool: Pool) -> list[str]:
    """Which replicates diverged or were left out, so that no number is taken for the whole."""
    total, diverged = len(pool.cells), len(pool.evidence.diverged)
    lines = []
    if diverged:
        count = f"{diverged} of {total}" if diverged < total else f"all {total}"
        named = claims.names_of(pool.evidence.diverged)
        lines.append(f"{count} replicates diverged (toolbox runs --failed says where): {named}")
    if others := pool.evidence.left_out:
        lines.append(
            f"{len(others)} of {total} replicates are left out, because the statistics need the "
            f"same {' and '.join(pool.spec.pool_over)} in all: {claims.names_of(others)}"
        )
    return lines


def _flat(judged: list[Judged], controls: list[Judged]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of a table with a row for each claim."""
    columns = ["study", "command", "claim", "origin", "statement", "reference", "paper", "measured"]
    columns += ["low", "high", "region", "replicates", "verdict"]
    if controls:
        columns.append("verdict under its control")
    rows: list[list[object]] = []
    for number, (pool, verdicts) in enumerate(judged):
        null = {each.claim: each.verdict for each in controls[number][1]} if controls else {}
        for v in verdicts:
            numbers = [None if n is None else f"{n:.5g}" for n in (v.measured, v.low, v.high)]
            row: list[object] = [
                pool.study,
                pool.command,
                v.claim,
                v.origin,
                v.statement,
                v.reference,
                v.paper,
            ]
            row += [*numbers, region_text(v.region), v.replicates, v.verdict]
            rows.append([*row, null.get(v.claim, "")] if controls else row)
    return columns, rows


def _for_people(
    judged: list[Judged], controls: list[Judged]
) -> tuple[list[str], list[list[object]]]:
    """The same with fewer columns, as a paper's appendix has them."""
    columns = ["claim", "statement", "paper", "measured [95 % CI]", "region", "seeds", "verdict"]
    if controls:
        columns.append("verdict under its control")
    rows: list[list[object]] = []
    for number, (pool, verdicts) in enumerate(judged):
        null = {each.claim: each.verdict for each in controls[number][1]} if controls else {}
        for v in verdicts:
            where = f"{pool.study} {pool.command} {v.claim}"
            statement = f"{v.statement} [{v.reference}]"
            row: list[object] = [where, statement, v.paper, measured_text(v), region_text(v.region)]
            row += [str(v.replicates or "-"), v.verdict]
            rows.append([*row, null.get(v.claim, "")] if controls else row)
    return columns, rows


def _beside(pool: Pool, verdicts: list[claims.Verdict], changed: list[claims.Verdict]) -> str:
    """Every claim's verdict and that of its negative control."""
    null = {verdict.claim: verdict for verdict in changed}
    rows = [
        (
            verdict.claim,
            verdict.verdict,
            _number(verdict.measured),
            _number(null[verdict.claim].measured) if verdict.claim in null else "-",
            null[verdict.claim].verdict if verdict.claim in null else "no control is declared",
        )
        for verdict in verdicts
    ]
    title = f"{pool.study} {pool.command} (pool {pool.id})"
    head = ("claim", "verdict", "measured", "under its\ncontrol", "verdict under\nits control")
    return f"{title}\n{draw(head, rows, sys.stdout)}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _document(
    pool: Pool, verdicts: list[claims.Verdict], left_out: list[RunRecord]
) -> dict[str, Any]:
    own = [run for run in left_out if (run.study, run.command) == (pool.study, pool.command)]
    return {
        "study": pool.study,
        "command": pool.command,
        "pool": pool.id,
        "params": pool.params,
        "runs": [run.id for run in pool.runs],
        "left_out": [{"run": run.id, "reason": run.damage} for run in own],
        "without_cells": [list(key) for key in sorted(pool.evidence.left_out)],
        "diverged": [list(key) for key in sorted(pool.evidence.diverged)],
        "verdicts": [verdict.as_dict() for verdict in verdicts],
    }
