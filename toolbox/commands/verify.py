"""`toolbox verify`: verdicts on the claims, from every complete run that is there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from toolbox.core import claims, store
from toolbox.core.errors import UsageError
from toolbox.core.show import verdict_table
from toolbox.core.spec import selected

REFUTED = 3


def verify(study: str | None, name: str | None, as_json: bool, out: Path) -> int:
    """Print the verdicts; returns 3 when a claim is refuted, else 0."""
    judged = [
        (pool, claims.judge(pool.study, pool.spec, pool.params, pool.read))
        for chosen_study, chosen_command, _ in selected(study, name)
        for pool in store.pools(out, chosen_study, chosen_command)
    ]
    if not judged:
        raise UsageError(
            f"no complete run of {' '.join(filter(None, (study, name))) or 'any study'} under "
            f"{out}; run a command first (toolbox list) or name the place with --out"
        )
    if as_json:
        print(json.dumps([_document(pool, verdicts) for pool, verdicts in judged]))
    else:
        print("\n\n".join(_text(pool, verdicts) for pool, verdicts in judged))
    refuted = any(v.verdict == "refuted" for _, verdicts in judged for v in verdicts)
    return REFUTED if refuted else 0


def _text(pool: store.Pool, verdicts: list[claims.Verdict]) -> str:
    shown = " ".join(f"{key}={_short(value)}" for key, value in pool.params.items())
    count = f"{len(pool.runs)} run{'s' if len(pool.runs) > 1 else ''}"
    versions = sorted({str(run.manifest["toolbox"]) for run in pool.runs})
    mixed = f", made by toolbox {' and '.join(versions)}" if len(versions) > 1 else ""
    head = f"{pool.study} {pool.command}  {shown}  ({count}, pool {pool.id}{mixed})"
    if not verdicts:
        return f"{head}\nno claim is declared for this command"
    lines = [f"{v.claim}: {v.statement} [{v.place}]" for v in verdicts]
    return "\n".join([head, verdict_table(verdicts, sys.stdout), *lines])


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _document(pool: store.Pool, verdicts: list[claims.Verdict]) -> dict[str, Any]:
    return {
        "study": pool.study,
        "command": pool.command,
        "pool": pool.id,
        "params": pool.params,
        "runs": [run.id for run in pool.runs],
        "verdicts": [verdict.as_dict() for verdict in verdicts],
    }
