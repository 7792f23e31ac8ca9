"""`toolbox list`: studies, commands, claims, presets with their measured times."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from toolbox.commands import formats
from toolbox.commands.studypage import page
from toolbox.core import text
from toolbox.core.show import draw, region_text
from toolbox.core.spec import CommandSpec, load_study, sound_studies
from toolbox.core.times import preset_time


def list_(study: str | None, format: str) -> None:
    """Print the studies, or one study in full, as table, json, csv, markdown or latex.

    In Markdown one study is a page of the documentation.
    """
    names = [study] if study else sound_studies()
    if format == "json":
        document = {name: load_study(name).model_dump(mode="json") for name in names}
        print(json.dumps(document, allow_nan=False))
        return
    if format == "markdown" and study is not None:
        print(page(study))
        return
    if format != "table":
        print(formats.written(format, *(_commands(names) if study is None else _claims(study))))
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


def _commands(names: list[str]) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [name, key, len(spec.claims), spec.seconds.get("small"), spec.about]
        for name in names
        for key, spec in load_study(name).commands.items()
    ]
    return ["study", "command", "claims", "seconds of small", "what it does"], rows


def _claims(study: str) -> tuple[list[str], list[list[object]]]:
    rows: list[list[object]] = [
        [key, name, claim.origin, claim.statement, claim.reference, claim.paper,
         region_text(claim.region)]
        for key, spec in load_study(study).commands.items()
        for name, claim in spec.claims.items()
    ]  # fmt: skip
    return ["command", "claim", "origin", "statement", "reference", "paper", "region"], rows


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
    return preset_time(preset, spec.seconds, spec.projected)
