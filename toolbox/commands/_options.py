"""Options that the shared commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option(help="Where runs live.", envvar="TOOLBOX_OUT", metavar="DIR")]
Study = Annotated[str | None, typer.Argument(help="A study; all of them by default.")]
Command = Annotated[str | None, typer.Argument(help="One of its commands; all by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

OUT = Path("outputs")
