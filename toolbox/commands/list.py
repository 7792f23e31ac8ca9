"""`toolbox list`: studies, commands, claims, presets with their measured times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from toolbox.core import text
from toolbox.core.show import draw
from toolbox.core.spec import CommandSpec, load_study, sound_studies
from toolbox.core.times import in_words


def list_(study: str | None, as_json: bool) -> None:
    """Print the studies, or one study in full."""
    names = [study] if study else sound_studies()
    if as_json:
        document = {name: load_study(name).model_dump(mode="json") for name in names}
        print(json.dumps(document, allow_nan=False))
        return
    if study is None:
        rows = [
            (f"{name} {key}", str(len(spec.claims)), _time(spec, "small"), spec.about)
            for name in names
            for key, spec in load_study(name).commands.items()
        ]
        print(draw(("command", "claims", "time", "what it does"), rows, sys.stdout))
        print("\nThe times are those of the default preset on two cores.")
        print("`toolbox list STUDY` has all presets, tables, figures and claims.")
        return
    loaded = load_study(study)
    print(text.wrapped(loaded.title))
    print(text.wrapped(f"{loaded.authors}. arXiv:{loaded.arxiv} {loaded.venue}".rstrip()))
    for key, spec in loaded.commands.items():
        print("\n" + text.wrapped(f"toolbox {study} {key}: {spec.about}", rest="    "))
        for line in _parts(spec):
            print(text.wrapped(line, "  ", "      "))


def _parts(spec: CommandSpec) -> Iterator[str]:
    """One paragraph for each thing that a command declares."""
    if spec.cannot_diverge:
        yield f"cannot diverge: {spec.cannot_diverge}"
    for preset, values in spec.presets.items():
        shown = ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults of --help"
        time = _time(spec, preset)
        yield f"preset {preset}{f' [{time}]' if time else ''}: {shown}"
    for name, table in spec.tables.items():
        yield f"table {name}: one row is {table.rows}; columns {', '.join(table.all_columns)}"
    for name, figure in spec.figures.items():
        yield f"figure {name}: {figure.title}"
    for name, claim in spec.claims.items():
        yield f"claim {name} ({claim.origin}): {claim.statement} [{claim.reference}]"


def _time(spec: CommandSpec, preset: str) -> str:
    return in_words(spec.seconds[preset]) if preset in spec.seconds else ""
