"""`toolbox plot`: the declared figures of a study, or any tidy CSV by flags. It knows no study."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from toolbox.commands import render
from toolbox.core import code
from toolbox.core import manifest as manifests
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.figure import FigureSpec
from toolbox.core.pools import Pool, choose, left_out_text, survey
from toolbox.core.spec import load_command, selected
from toolbox.core.table import read_table
from toolbox.core.text import coloured

if TYPE_CHECKING:
    import pandas as pd


class Show:
    """Draws one figure, to files or to the terminal, and says what was left out."""

    def __init__(self, formats: tuple[str, ...], terminal: bool) -> None:
        unknown = [part for part in formats if part not in render.FORMATS]
        if unknown:
            raise UsageError(f"--format {unknown[0]}: expected {', '.join(render.FORMATS)}")
        self.formats, self.terminal = formats, terminal

    def __call__(
        self,
        frame: pd.DataFrame,
        spec: FigureSpec,
        columns: Mapping[str, Any],
        stem: Path,
        provenance: Mapping[str, Any],
    ) -> None:
        """Print the paths of the files (or the text), and the renderer's notes on stderr."""
        if self.terminal:
            size = shutil.get_terminal_size((100, 30))
            text, notes = render.terminal(
                frame,
                spec,
                columns,
                width=size.columns,
                height=min(size.lines, 30),
                colour=coloured(sys.stdout),
            )
            print(text)
        else:
            drawn, notes = render.render(frame, spec, columns)
            for path in render.save(drawn, stem, self.formats, provenance):
                print(path)
        for note in notes:
            print(f"{stem.name}: {note}", file=sys.stderr)


def plot_study(
    study: str,
    command: str | None,
    figure: str | None,
    pool: str,
    changes: dict[str, Any],
    show: Show,
    out: Path,
) -> None:
    """Draw declared figures, each over one pool of complete runs.

    Errors: `UsageError` for an unknown figure, and when no run is there to draw; `ToolboxError`
    after all others were drawn, when a run had to be left out.
    """
    drawn, left_out, there = 0, [], []
    figures = {key for _, _, spec in selected(study, command) for key in spec.figures}
    if figure is not None and figure not in figures:
        raise UsageError(f"--figure {figure}: {study} declares {', '.join(sorted(figures))}")
    for _, name, spec in selected(study, command):
        found = survey(out, study, name)
        left_out += found.left_out
        there += [each.id for each in found.pools]
        for chosen in _choose(found.pools, pool):
            if other := code.other_code(study, [run.manifest for run in chosen.runs]):
                print(f"{study} {name}: {other}", file=sys.stderr)
            for key, declared in spec.figures.items():
                if figure in (None, key):
                    provenance = {
                        "title": declared.title,
                        "caption": declared.caption,
                        "command": f"toolbox {study} {name}",
                        "runs": [run.id for run in chosen.runs],
                    }
                    stem = out / study / name / "figures" / chosen.id / key
                    columns = spec.tables[declared.table].all_columns
                    frame = chosen.read(declared.table)
                    show(frame, _changed(declared, changes), columns, stem, provenance)
                    drawn += 1
    if drawn == 0 and there and pool not in ("newest", "all"):
        asked = f"{study} {command or ''}".strip()
        raise UsageError(
            f"--pool {pool}: no pool of {asked} begins so; there are {', '.join(there)}"
        )
    if left_out:
        raise ToolboxError(left_out_text(left_out))
    if drawn == 0:
        raise UsageError(
            f"no complete run of {study} {command or ''} under {out} has a figure to draw; "
            f"run it first (toolbox list {study}) or name the place with --out"
        )


def _choose(pools: list[Pool], asked: str) -> list[Pool]:
    if asked == "newest" and len(pools) > 1:
        print(
            f"{pools[-1].command}: {len(pools)} configurations have complete runs; drawing the "
            "newest (--pool all draws each)",
            file=sys.stderr,
        )
    return choose(pools, asked)


def _changed(spec: FigureSpec, changes: dict[str, Any]) -> FigureSpec:
    try:
        return FigureSpec.model_validate({**spec.model_dump(), **changes})
    except ValidationError as error:
        raise _sentence(error) from None


def _sentence(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    flag = "--" + str(first["loc"][0]) if first["loc"] else "the figure"
    if first["type"] == "missing":
        return UsageError(f"{flag} is missing; name the column to draw")
    return UsageError(f"{flag}: {first['msg'].removeprefix('Value error, ')}")


def plot_file(path: Path, changes: dict[str, Any], show: Show) -> None:
    """Draw any tidy CSV; the picture is put into the current folder.

    Errors: `UsageError` for a file that is no table, `TableError` for a run's altered one.
    """
    frame, columns = _read_file(path)
    try:
        spec = FigureSpec.model_validate({"title": path.stem, **changes})
    except ValidationError as error:
        raise _sentence(error) from None
    show(frame, spec, columns, Path(path.stem), {"title": path.stem, "source": path.name})


def _read_file(path: Path) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """A CSV of a run is checked against its manifest; any other is taken as it is."""
    import pandas as pd

    manifest = manifests.read(path.parent)
    if manifest is not None and path.stem in manifest.get("tables", {}):
        spec = load_command(manifest["study"], manifest["command"])
        columns = spec.tables[path.stem].all_columns
        return read_table(path, columns, manifest["tables"][path.stem]), columns
    try:
        frame = pd.read_csv(path)
        if not path.read_bytes().endswith(b"\n"):
            print(f"{path}: its last line has no end; the file may be cut", file=sys.stderr)
        return frame, {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a CSV file") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: not a table of comma-separated values ({reason})") from None
