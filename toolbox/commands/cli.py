"""The shared commands' flags and help; as in a study's `cli.py`, heavy imports stay in bodies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from toolbox.commands.options import OUT as OUT
from toolbox.commands.options import POOL, Command, Format, Json, Out, PoolChoice, Study
from toolbox.core.completion import (
    figure_words,
    quietly,
    run_words,
    study_or_file_words,
    study_words,
    words,
)


def list_(study: Study = None, format: Format = "table", as_json: Json = False) -> None:
    """List the studies and their commands; of one study also its claims, tables and presets.

    Example: toolbox list gd
    """
    from toolbox.commands.formats import chosen
    from toolbox.commands.list import list_

    list_(study, chosen(format, as_json))


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
    format: Format = "table",
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Judge the claims of the papers on all finished runs.

    Runs that differ only in their seed are taken together. Exits with 3 when a claim is refuted.

    Example: toolbox verify gd anytime
    """
    from toolbox.commands.formats import chosen
    from toolbox.commands.verify import verify

    raise typer.Exit(verify(study, command, pool, chosen(format, as_json), null, out))


def report(
    study: Study = None,
    command: Command = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="The HTML file that is written. By default report.html in the folder of --out.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            metavar="DIR",
            help="Write a page of Markdown for each paper, with its figures and an index, into "
            "this folder instead; with --to as well.",
        ),
    ] = None,
    out: Out = OUT,
) -> None:
    """Write one HTML file with all results: verdicts, intervals, figures, tables, provenance.

    The file needs no network and no other file; send it by mail or open it where it is.

    Examples: toolbox report; toolbox report gd anytime --to gd.html;
    toolbox report --markdown docs/results
    """
    from toolbox.commands.report import report

    report(study, command, to, markdown, out)


def runs(
    study: Study = None,
    command: Command = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed", help="List only runs that failed or diverged, with their messages."
        ),
    ] = False,
    format: Format = "table",
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """List the runs: id, the parameters in which they differ, time taken and status.

    Example: toolbox runs gd --failed
    """
    from toolbox.commands.formats import chosen
    from toolbox.commands.runs import runs

    runs(study, command, failed, chosen(format, as_json), out)


def show(
    run: Annotated[
        str,
        typer.Argument(
            help="The id of a run, the beginning of its id, or its folder.",
            autocompletion=quietly(run_words),
        ),
    ],
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Show how a run was made: the command line that repeats it, versions, machine, tables.

    Example: toolbox show 3f2a
    """
    from toolbox.commands.show import show

    show(run, as_json, out)


def clean(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove what is listed instead of only listing it.")
    ] = False,
    out: Out = OUT,
) -> None:
    """List temporary folders of killed processes, failed runs and checkpoints of no use.

    With --yes they are removed. A complete run is never touched, and neither is the checkpoint of
    a run that can still be resumed.

    Example: toolbox clean --yes
    """
    from toolbox.commands.clean import clean

    clean(yes, out)


_SPEC = "What is drawn (each option changes the declared figure)"
_READ = "How a table is read (found out from the table by default)"
_FILES = "Where it goes"


KINDS = ("line", "scatter", "heatmap", "bar", "step", "envelope")


def _part(text: str, known: tuple[str, ...] = (), flag: str = "") -> Any:
    flags = (flag,) if flag else ()
    return typer.Option(
        *flags, help=text, rich_help_panel=_SPEC, autocompletion=quietly(words(known))
    )


def plot(
    target: Annotated[
        str,
        typer.Argument(
            metavar="STUDY|FILE|RUN",
            help="Name of a study; a table with one observation in each row (CSV and other text, "
            "Parquet, also compressed; - reads standard input); the folder of a run; or a figure "
            "that --save-spec kept.",
            autocompletion=quietly(study_or_file_words),
        ),
    ],
    command: Command = None,
    x: Annotated[str | None, _part("Column whose values are drawn along the x axis.")] = None,
    y: Annotated[str | None, _part("Column whose values are drawn along the y axis.")] = None,
    value: Annotated[
        str | None, _part("Column that gives the cells of a heat map their colours.")
    ] = None,
    hue: Annotated[
        str | None, _part("Column whose values become curves of different colours.")
    ] = None,
    style: Annotated[
        str | None, _part("Column whose values become curves of different dashes.")
    ] = None,
    col: Annotated[str | None, _part("Column whose values become panels, side by side.")] = None,
    row: Annotated[
        str | None, _part("Column whose values become panels, one below the other.")
    ] = None,
    kind: Annotated[
        str | None, _part(f"Kind of plot: {', '.join(KINDS[:-1])} or {KINDS[-1]}.", KINDS)
    ] = None,
    estimate: Annotated[
        str | None,
        _part("What is drawn of several replicates: their mean or median.", ("mean", "median")),
    ] = None,
    band: Annotated[
        str | None,
        _part(
            "What is drawn around it: ci95 (95 % confidence interval), replicates (one thin line "
            "each) or none.",
            ("ci95", "replicates", "none"),
        ),
    ] = None,
    logx: Annotated[
        bool | None,
        _part("Draw the x axis logarithmically; --linx draws it linearly.", flag="--logx/--linx"),
    ] = None,
    logy: Annotated[
        bool | None,
        _part("Draw the y axis logarithmically; --liny draws it linearly.", flag="--logy/--liny"),
    ] = None,
    where: Annotated[
        str | None,
        _part("Condition for the rows that are drawn, such as \"loss < 1 and task == 'a'\"."),
    ] = None,
    ref_slope: Annotated[
        list[float] | None, _part("Draw a guide of this slope. Can be given several times.")
    ] = None,
    ref_y: Annotated[
        list[float] | None, _part("Draw a horizontal guide at this y. Can be given several times.")
    ] = None,
    title: Annotated[str | None, _part("Title of the figure.")] = None,
    sep: Annotated[
        str | None,
        typer.Option(
            help="Separator of the columns: one character, or tab, comma, semicolon, space.",
            rich_help_panel=_READ,
        ),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(help="Decimal mark of numbers: . or ,", rich_help_panel=_READ),
    ] = None,
    thousands: Annotated[
        str | None,
        typer.Option(help="Mark between thousands, as , in 1,000.", rich_help_panel=_READ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            help="Draw only this one of the declared figures, which `toolbox list STUDY` names.",
            autocompletion=quietly(figure_words),
            rich_help_panel=_FILES,
        ),
    ] = None,
    pool: Annotated[
        str,
        typer.Option(
            help=POOL,
            autocompletion=quietly(words(("newest", "all"))),
            rich_help_panel=_FILES,
        ),
    ] = "newest",
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Formats of the files, separated by commas: png, svg, pdf. Default: png.",
            autocompletion=quietly(words(("png", "svg", "pdf"), many=True)),
            rich_help_panel=_FILES,
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
        bool,
        typer.Option("--terminal", help="Draw in the terminal as text.", rich_help_panel=_FILES),
    ] = False,
    out: Out = OUT,
) -> None:
    """Draw the figures of a study, or any tidy table whose columns are named by options.

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


def diff(
    a: Annotated[
        str,
        typer.Argument(
            help="A run or a pool: its id, the beginning of it, or the folder of a run.",
            autocompletion=quietly(run_words),
        ),
    ],
    b: Annotated[
        str, typer.Argument(help="Another run or pool.", autocompletion=quietly(run_words))
    ],
    as_json: Json = False,
    out: Out = OUT,
) -> None:
    """Show in what two runs or pools differ: parameters, code, versions, machine and verdicts.

    Example: toolbox diff 3f2a ba40
    """
    from toolbox.commands.diff import diff

    diff(a, b, as_json, out)


def new(
    name: Annotated[str, typer.Argument(help="Name of the study: small letters and digits.")],
    arxiv: Annotated[
        str, typer.Option(metavar="ID", help="arXiv identifier of its paper, such as 2411.17668.")
    ] = "0000.00000",
) -> None:
    """Write a study that runs into a new folder, to be changed into one of your own.

    It has a generator, an experiment, a claim with its control, a figure, a test and what is needed
    to install it.

    Example: toolbox new pendulum --arxiv 2411.17668
    """
    from toolbox.commands.new import new

    new(name, arxiv, (*SHARED, "sweep"))


def check(
    study: Annotated[
        str, typer.Argument(help="Name of a study.", autocompletion=quietly(study_words))
    ],
) -> None:
    """Hold a study to what every command of the toolbox keeps, by the contract suite.

    Determinism, resuming byte for byte, refused values, tables as declared, claims that can lose,
    and more; minutes. Needs pytest and hypothesis (the extra `check`). Exits with 1 when something
    is not kept.

    Example: toolbox check gd
    """
    from toolbox.commands.check import check

    raise typer.Exit(check(study))


SHARED: dict[str, Callable[..., None]] = {
    "list": list_,
    "plot": plot,
    "verify": verify,
    "report": report,
    "runs": runs,
    "show": show,
    "diff": diff,
    "clean": clean,
    "new": new,
    "check": check,
}
