"""`toolbox runs`: what is in `outputs/`."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from toolbox.commands import formats
from toolbox.commands.show import value_text
from toolbox.core import store
from toolbox.core.show import draw
from toolbox.core.status import Status

_STYLES = {
    "damaged": "red",
    "complete": "green",
    "failed": "red",
    "diverged": "red",
    "interrupted": "yellow",
}


def runs(study: str | None, name: str | None, failed: bool, format: str, out: Path) -> None:
    """Print the runs under `out` as table, json, csv, markdown or latex."""
    records = [run.checked() for run in store.runs(out, study, name)]
    if failed:
        bad = (Status.FAILED, Status.DIVERGED)
        records = [run for run in records if run.damage or run.status in bad]
    if format == "json":
        print(json.dumps([_document(run) for run in records]))
        return
    if format != "table":
        rows = [(*_document(run).values(),) for run in records]
        print(formats.written(format, _FIELDS, [[_cell(part) for part in row] for row in rows]))
        return
    if not records:
        print(f"no {'failed ' if failed else ''}run under {out}")
        return
    differing = _differing(records)
    rows = [
        (
            f"{run.study} {run.command}",
            run.id,
            " ".join(f"{k}={run.params.get(k)}" for k in differing[run.study, run.command]),
            f"{run.manifest['wall_seconds']:.1f} s" if "wall_seconds" in run.manifest else "-",
            str(run.manifest.get("ended") or run.manifest.get("started", "-"))[:19],
            run.state + (f": {run.message}" if failed else ""),
        )
        for run in records
    ]
    columns = ("command", "run", "differs in", "time", "ended (UTC)", "status")
    styles = [_STYLES.get(run.state, "") for run in records]
    print(draw(columns, rows, sys.stdout, styles=styles))
    damaged = sum(bool(run.damage) for run in records)
    if damaged and not failed:
        which = "1 is damaged" if damaged == 1 else f"{damaged} are damaged"
        print(f"{which}; --failed says how, toolbox clean lists them", file=sys.stderr)


def _differing(records: list[store.RunRecord]) -> dict[tuple[str, str], list[str]]:
    """Per command, the parameters that do not have one value in all its runs."""
    values: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for run in records:
        for key, value in run.params.items():
            values[run.study, run.command][key].add(json.dumps(value))
    return {
        which: [key for key, seen in params.items() if len(seen) > 1]
        for which, params in values.items()
    }


_FIELDS = ("study", "command", "run", "status", "path", "parameters", "wall_seconds", "message")


def _cell(value: Any) -> Any:
    """Parameters as `T=400 seed=0`, all else as it is."""
    if not isinstance(value, dict):
        return value
    return " ".join(f"{key}={value_text(part)}" for key, part in value.items())


def _document(run: store.RunRecord) -> dict[str, Any]:
    return {
        "study": run.study,
        "command": run.command,
        "run": run.id,
        "status": run.state,
        "path": str(run.path),
        "params": run.params,
        "wall_seconds": run.manifest.get("wall_seconds"),
        "message": run.message,
    }
