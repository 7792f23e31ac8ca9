"""`toolbox verify`: verdicts on the claims, from every complete run that is there."""

from __future__ import annotations

import json
import sys
from typing import Any

import typer

from toolbox.commands._options import OUT, Command, Json, Out, Study
from toolbox.core import claims, store
from toolbox.core.errors import UsageError
from toolbox.core.show import verdict_table
from toolbox.core.spec import selected

REFUTED = 3


def command(
    study: Study = None, name: Command = None, as_json: Json = False, out: Out = OUT
) -> None:
    """Judge the claims over all complete runs; runs that differ only in seed are pooled.

    Exits 3 when a claim is refuted.

    Example: toolbox verify gd anytime
    """
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
    if any(verdict.verdict == "refuted" for _, verdicts in judged for verdict in verdicts):
        raise typer.Exit(REFUTED)


def _text(pool: store.Pool, verdicts: list[claims.Verdict]) -> str:
    shown = " ".join(f"{key}={_short(value)}" for key, value in pool.params.items())
    head = f"{pool.study} {pool.command}  {shown}  ({len(pool.runs)} runs, pool {pool.id})"
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
