"""`toolbox list`: studies, commands, claims, presets with their measured times."""

from __future__ import annotations

import json
import sys

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
            (f"{name} {key}", spec.about, _times(spec), str(len(spec.claims)))
            for name in names
            for key, spec in load_study(name).commands.items()
        ]
        columns = ("command", "what it does", "measured times on two cores", "claims")
        print(draw(columns, rows, sys.stdout))
        return
    loaded = load_study(study)
    print(f"{loaded.title}\n{loaded.authors}. arXiv:{loaded.arxiv} {loaded.venue}".rstrip())
    for key, spec in loaded.commands.items():
        print(f"\ntoolbox {study} {key}: {spec.about}")
        if spec.cannot_diverge:
            print(f"  cannot diverge: {spec.cannot_diverge}")
        for preset, values in spec.presets.items():
            shown = ", ".join(f"{k}={v}" for k, v in values.items()) or "the defaults of --help"
            seconds = f" [{in_words(spec.seconds[preset])}]" if preset in spec.seconds else ""
            print(f"  preset {preset}{seconds}: {shown}")
        for name, table in spec.tables.items():
            print(f"  table {name}: one row is {table.rows}")
            print(f"    columns {', '.join(table.all_columns)}")
        for name, figure in spec.figures.items():
            print(f"  figure {name}: {figure.title}")
        for name, claim in spec.claims.items():
            print(f"  claim {name} ({claim.reference}): {claim.statement}")


def _times(spec: CommandSpec) -> str:
    return ", ".join(f"{preset} {in_words(seconds)}" for preset, seconds in spec.seconds.items())
