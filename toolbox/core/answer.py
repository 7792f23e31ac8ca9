"""What every command answers: the run's folder or JSON on stdout, the rest on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from toolbox.core import code, divergence
from toolbox.core.errors import ToolboxError
from toolbox.core.status import Status

if TYPE_CHECKING:
    from toolbox.core.command import Command
    from toolbox.core.execute import Request


def perform(
    request: Request,
    command: Command,
    as_json: bool = False,
    show: Callable[[Path], None] | None = None,
) -> None:
    """Run what was asked for, unless it is there, and answer as every command does.

    show : called with the run's folder instead of printing its path

    Errors: `ToolboxError` in all its kinds, also for a run that is there but diverged.
    """
    from toolbox.core.execute import execute, verdicts_of

    study, name = request.study, request.command
    record, already = execute(request, lambda run: command.compute(run, request.params))

    def say(text: str) -> None:
        if not request.quiet:
            print(text, file=sys.stderr, flush=True)

    wanted = record.status is Status.COMPLETE and (as_json or not request.quiet)
    verdicts = verdicts_of(record) if wanted else []
    if already:
        changed = code.changed_since(record.manifest.get("code"), study)
        since = f", but {code.shown(changed)} has changed since" if changed else ""
        say(f"already {record.status}{since}; --again computes it anew")
    if verdicts and not request.quiet:
        from toolbox.core.show import verdict_table

        say(verdict_table(verdicts, stream=sys.stderr))
    if record.status is Status.COMPLETE:
        say(f"figures: toolbox plot {study} {name}    verdicts: toolbox verify {study} {name}")
    if as_json:
        document = {
            "run": record.id,
            "folder": str(record.path),
            "status": str(record.status),
            "already_there": already,
            "tables": {key: str(record.path / f"{key}.csv") for key in record.manifest["tables"]},
            "verdicts": [verdict.as_dict() for verdict in verdicts],
        }
        print(json.dumps(document, allow_nan=False))
    elif show is not None:
        show(record.path)
    else:
        print(record.path)
    if record.status is not Status.DIVERGED:
        for line in divergence.lines(record.manifest):
            print(line, file=sys.stderr, flush=True)  # under --quiet too: a mean lacks something
    else:
        raise ToolboxError(f"diverged: {record.manifest['message']}")
