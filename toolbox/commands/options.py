"""Options that several shared commands have, each defined once; nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from toolbox.core.completion import command_words, quietly, study_words, words
from toolbox.core.outputs import out_folder

OUT = Path("outputs")

Out = Annotated[
    Path,
    typer.Option(
        help="Folder in which all runs are kept.", envvar="TOOLBOX_OUT", parser=out_folder
    ),
]
Study = Annotated[
    str | None,
    typer.Argument(
        help="Name of a study; all studies by default.", autocompletion=quietly(study_words)
    ),
]
Command = Annotated[
    str | None,
    typer.Argument(
        help="One command of that study; all of its commands by default.",
        autocompletion=quietly(command_words),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
POOL = (
    "The configuration whose runs are taken together: newest, all, or the beginning of a pool's "
    "id, which `toolbox verify` prints."
)
PoolChoice = Annotated[
    str,
    typer.Option(help=POOL, autocompletion=quietly(words(("newest", "all")))),
]
FORMATS = ("table", "json", "csv", "markdown", "latex")
Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="How it is printed: table (for people), json, csv, markdown, or latex (a tabular "
        "with booktabs rules, for an appendix).",
        autocompletion=quietly(words(FORMATS)),
    ),
]
