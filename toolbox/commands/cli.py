"""The shared commands' flags and help; as in a study's `cli.py`, heavy imports stay in bodies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

OUT = Path("outputs")

Out = Annotated[Path, typer.Option(help="Where runs live.", envvar="TOOLBOX_OUT", metavar="DIR")]
Study = Annotated[str | None, typer.Argument(help="A study; all of them by default.")]
Command = Annotated[str | None, typer.Argument(help="One of its commands; all by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def list_(study: Study = None, as_json: Json = False) -> None:
    """List the studies and their commands; with STUDY, also its claims, tables and presets.

    Example: toolbox list gd
    """
    from toolbox.commands.list import list_

    list_(study, as_json)


PoolChoice = Annotated[
    str,
    typer.Option(
        help="Which configuration: newest, all, or the beginning of a pool's id (`toolbox verify` "
        "prints them).",
    ),
]


def verify(
    study: Study = None,
    command: Command = None,
    pool: PoolChoice = "newest",
    null: Annotated[
        bool,
        typer.Option(
            "--null",
            help="Also judge each claim on tables changed by its negative control, under which it "
            "is false; exits 1 when one is supported there.",
        ),
    ] = False,
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Judge the claims over all finished runs; runs that differ only in seed are pooled.

    Exits 3 when a claim is refuted.

    Example: toolbox verify gd anytime
    """
    from toolbox.commands.verify import verify

    raise typer.Exit(verify(study, command, pool, as_json, null, out))


def runs(
    study: Study = None,
    command: Command = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only failed and diverged runs, with what they said.")
    ] = False,
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """List the runs that are there: id, status, the parameters in which they differ, time.

    Example: toolbox runs gd --failed
    """
    from toolbox.commands.runs import runs

    runs(study, command, failed, as_json, out)


def show(
    run: Annotated[str, typer.Argument(help="A run's id (or its beginning), or its folder.")],
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Show what made a run: the command line that makes it again, versions, machine, tables.

    Example: toolbox show 3f2a
    """
    from toolbox.commands.show import show

    show(run, as_json, out)


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is listed.")] = False,
    out: Out = OUT,
) -> None:
    """List stale temporary folders, failed runs and orphan checkpoints; with --yes, remove them.

    A complete run is never touched, nor the checkpoint of a run that can still be resumed.

    Example: toolbox clean --yes
    """
    from toolbox.commands.clean import clean

    clean(yes, out)


_SPEC = "What is drawn (overrides the declared figure)"
_READ = "How a table is read (found out from the table by default)"
_FILES = "Where it goes"


def _part(text: str) -> Any:
    return typer.Option(help=text, rich_help_panel=_SPEC)


def plot(
    target: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|FILE|RUN",
            help="A study; a table (text or Parquet, also compressed; - reads standard input); the "
            "folder of a run; or a figure kept by --save-spec.",
        ),
    ],
    command: Command = None,
    x: Annotated[str | None, _part("Column on the x axis.")] = None,
    y: Annotated[str | None, _part("Column on the y axis.")] = None,
    value: Annotated[str | None, _part("Heat map: column that colours the cells.")] = None,
    hue: Annotated[str | None, _part("Column that gives each curve its colour.")] = None,
    style: Annotated[str | None, _part("Column that gives each curve its dashes.")] = None,
    col: Annotated[str | None, _part("One panel per value, side by side.")] = None,
    row: Annotated[str | None, _part("One panel per value, on top of each other.")] = None,
    kind: Annotated[str | None, _part("line, scatter, heatmap, bar, step or envelope.")] = None,
    estimate: Annotated[str | None, _part("Over replicates: mean or median.")] = None,
    band: Annotated[
        str | None, _part("Over replicates: ci95, replicates (one thin line each) or none.")
    ] = None,
    logx: Annotated[
        bool | None, typer.Option("--logx/--linx", help="Logarithmic x.", rich_help_panel=_SPEC)
    ] = None,
    logy: Annotated[
        bool | None, typer.Option("--logy/--liny", help="Logarithmic y.", rich_help_panel=_SPEC)
    ] = None,
    where: Annotated[str | None, _part("Rows to draw: \"loss < 1 and task == 'a'\".")] = None,
    ref_slope: Annotated[list[float] | None, _part("Guide of this slope (repeatable).")] = None,
    ref_y: Annotated[list[float] | None, _part("Horizontal guide (repeatable).")] = None,
    title: Annotated[str | None, _part("Title.")] = None,
    sep: Annotated[
        str | None,
        typer.Option(
            help="Separator of the columns: one character, or tab, comma, semicolon, space.",
            rich_help_panel=_READ,
        ),
    ] = None,
    decimal: Annotated[
        str | None, typer.Option(help="Decimal mark of numbers: . or ,", rich_help_panel=_READ)
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(help="Mark between thousands, as , in 1,000.", rich_help_panel=_READ),
    ] = None,
    figure: Annotated[
        str | None, typer.Option(help="Only this declared figure.", rich_help_panel=_FILES)
    ] = None,
    pool: Annotated[
        str,
        typer.Option(
            help="Which configuration: newest, all, or the beginning of a pool's id "
            "(`toolbox verify` prints them).",
            rich_help_panel=_FILES,
        ),
    ] = "newest",
    formats: Annotated[
        str | None,
        typer.Option(
            "--format", help="png, svg, pdf, or several. Default: png.", rich_help_panel=_FILES
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--to",
            metavar="FILE",
            help="File of the picture; its suffix gives the format. By default that of a table is "
            "put beside it, and those of a study under --out.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    save_spec: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Keep what is drawn, and how, in a file: toolbox plot FILE.yaml draws it again.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw here, as text.", rich_help_panel=_FILES)
    ] = False,
    out: Out = OUT,
) -> None:
    """Draw the declared figures of a study, or any tidy table by flags.

    Examples: toolbox plot gd anytime --format svg;
    toolbox plot my.csv --x step --y loss --hue optimizer --logy
    """
    from toolbox.commands.plot import Request, Show, plot
    from toolbox.commands.reading import Reading

    given: dict[str, Any] = {"x": x, "y": y, "value": value, "hue": hue, "style": style}
    given |= {"col": col, "row": row, "kind": kind, "where": where, "title": title}
    given |= {"logx": logx, "logy": logy, "estimate": estimate, "band": band}
    references = [{"slope": s} for s in ref_slope or []] + [{"y": level} for level in ref_y or []]
    given["references"] = references or None
    changes = {name: part for name, part in given.items() if part is not None}
    asked = tuple(part.strip() for part in formats.split(",")) if formats is not None else None
    reading = Reading(sep, decimal, thousands)
    request = Request(target, out, command, figure, pool, reading, changes)
    plot(request, Show(asked, terminal, to), save_spec)


SHARED: dict[str, Callable[..., None]] = {
    "list": list_,
    "plot": plot,
    "verify": verify,
    "runs": runs,
    "show": show,
    "clean": clean,
}
