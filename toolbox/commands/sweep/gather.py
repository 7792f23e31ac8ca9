"""`toolbox sweep gather`: one tidy table of all complete cells."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toolbox.commands.cli import OUT
from toolbox.commands.sweep.options import File, Out
from toolbox.core import atomic
from toolbox.core.errors import TableError, ToolboxError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from toolbox.core.store import RunRecord
    from toolbox.core.sweep.cells import Cell, Sweep

_SHOWN = 10
_ENDINGS = (".csv", ".parquet")


def command(
    file: File,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            help="The file to write, .csv or .parquet. By default CSV on stdout.",
            metavar="X.csv",
            show_envvar=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="Which table of the command; by default its only one.", metavar="NAME"),
    ] = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Write what there is, and exit 0.")
    ] = False,
    out: Out = OUT,
) -> None:
    """Write one table of all complete cells, in their order: cell, run, the axes, the columns.

    Missing and corrupt cells are named and exit 1, unless --allow-partial.

    Example: toolbox sweep gather FILE.yaml --to all.csv
    """
    from toolbox.core.sweep.grid import load_sweep

    if out.suffix in _ENDINGS and not out.is_dir():
        raise UsageError(
            f"--out {out}: --out names the folder of the runs here as everywhere; "
            f"to write a file, use --to {out}"
        )
    if to is not None and to.suffix not in _ENDINGS:
        raise UsageError(f"--to {to}: expected a name that ends in .csv or .parquet")
    if to is not None and to.suffix == ".parquet":
        _need_pyarrow()
    sweep = load_sweep(file)
    name = _table(sweep, table)
    complete, absent = _sorted_out(sweep, out)
    _same_schema(complete, name)
    frames, corrupt = _read(sweep, complete, name)
    for word, cells in (("missing", absent), ("corrupt", corrupt)):
        _report(sweep, word, cells)
    incomplete = bool(absent or corrupt)
    if not frames or (incomplete and not allow_partial):
        raise ToolboxError(
            f"{len(frames)} of {len(sweep.cells)} cells are complete; "
            + ("run the others (toolbox sweep run) or " if frames else "run them first")
            + ("write what there is with --allow-partial" if frames else "")
        )
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    if to is None:
        sys.stdout.write(whole.to_csv(index=False, lineterminator="\n"))
        return
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise atomic.refused(to, error, "--to") from None
    with atomic.replacing(to, "--to") as handle:
        if to.suffix == ".csv":
            handle.write(whole.to_csv(index=False, lineterminator="\n").encode())
        else:
            whole.to_parquet(handle, index=False)
    print(to)


def _table(sweep: Sweep, asked: str | None) -> str:
    names = list(sweep.spec.tables)
    if asked is None and len(names) == 1:
        return names[0]
    if asked not in names:
        said = f"--table {asked}" if asked else "--table"
        raise UsageError(
            f"{said}: {sweep.study} {sweep.command} writes {', '.join(names)}; name one"
        )
    return asked


def _sorted_out(
    sweep: Sweep, out: Path
) -> tuple[list[tuple[Cell, RunRecord]], list[tuple[Cell, str]]]:
    """The complete cells with their records, and the others with their state."""
    from toolbox.core import manifest as manifests
    from toolbox.core import store
    from toolbox.core.status import Status
    from toolbox.core.sweep.state import COMPLETE, CORRUPT, states

    complete, absent = [], []
    for one in states(sweep, out):
        folder = out / sweep.study / sweep.command / one.cell.id
        manifest = manifests.read(folder)
        # A damaged table is read all the same: reading it says what is wrong with it.
        if one.state in (COMPLETE, CORRUPT) and manifest and manifest["status"] == COMPLETE:
            record = store.RunRecord(
                sweep.study, sweep.command, one.cell.id, Status.COMPLETE, folder, manifest
            )
            complete.append((one.cell, record))
        else:
            absent.append((one.cell, f"{one.state} {one.message}".strip()))
    return complete, absent


def _same_schema(complete: list[tuple[Cell, RunRecord]], table: str) -> None:
    """Refuse cells whose tables do not have the same columns.

    Errors: `ToolboxError` naming a cell of each kind.
    """
    kinds: dict[tuple[int, str], list[int]] = defaultdict(list)
    for cell, record in complete:
        path = record.path / f"{table}.csv"
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as handle:
                header = handle.readline().rstrip("\n")
            # A table cut inside its header is corrupt, which reading it will say.
            if path.stat().st_size == record.manifest["tables"].get(table, {}).get("bytes"):
                kinds[record.manifest["schema"], header].append(cell.index)
    if len(kinds) > 1:
        shown = "; ".join(
            f"cell {cells[0]} and {len(cells) - 1} more: schema {schema}, columns {header}"
            for (schema, header), cells in kinds.items()
        )
        raise ToolboxError(
            f"mixed schemas, made by different versions: {shown}; make the older again with --again"
        )


def _read(
    sweep: Sweep, complete: list[tuple[Cell, RunRecord]], table: str
) -> tuple[list[pd.DataFrame], list[tuple[Cell, str]]]:

    frames, corrupt = [], []
    for cell, record in complete:
        try:
            frame = record.read(table, sweep.spec)
        except TableError as error:
            corrupt.append((cell, str(error)))
            continue
        except ValueError as error:  # a cell that pandas cannot read as its declared type
            corrupt.append((cell, str(error)))
            continue
        columns = {"cell": cell.index, "run": cell.id, **_on_the_axes(sweep, cell)}
        for position, (name, value) in enumerate(columns.items()):
            frame.insert(position, name, value)
        frames.append(frame)
    return frames, corrupt


def _on_the_axes(sweep: Sweep, cell: Cell) -> dict[str, Any]:
    """The cell's place on the axes, a column each; one that the table has gets `cell_` before."""
    taken = {c for t in sweep.spec.tables.values() for c in t.all_columns} | {"cell", "run"}
    columns = {}
    for name, value in cell.point.items():
        if name == "seed":
            continue  # every table has it
        shown = sweep.text(name, value) if isinstance(value, tuple) else value
        columns[f"cell_{name}" if name in taken else name] = shown
    return columns


def _report(sweep: Sweep, word: str, cells: list[tuple[Cell, str]]) -> None:
    if not cells:
        return
    print(f"{len(cells)} {word}:", file=sys.stderr)
    for cell, reason in cells[:_SHOWN]:
        print(f"  cell {cell.index} {cell.id} ({sweep.label(cell)}): {reason}", file=sys.stderr)
    if len(cells) > _SHOWN:
        print(
            f"  ... and {len(cells) - _SHOWN} more: toolbox sweep status {sweep.file}",
            file=sys.stderr,
        )


def _need_pyarrow() -> None:
    import importlib.util

    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "--to .parquet needs pyarrow: pip install 'toolbox[parquet]', or write .csv"
        )
