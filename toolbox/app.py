"""The front door: mounts the studies and the shared commands, and turns errors to sentences."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

import toolbox
from toolbox.commands import cli as commands
from toolbox.commands import sweep
from toolbox.core.errors import ToolboxError
from toolbox.core.studies import study_group, study_names


def _version(value: bool) -> None:
    if value:
        print(f"toolbox {toolbox.__version__}")
        raise typer.Exit()


def build() -> typer.Typer:
    """The whole command line. A study is there when its folder is; there is no registry."""
    app = typer.Typer(
        name="toolbox",
        help="Reproduce the experiments of deep-learning-theory papers on this machine.\n\n"
        "Start with: toolbox gd anytime --T 10000",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"auto_envvar_prefix": "TOOLBOX", "help_option_names": ["--help", "-h"]},
    )

    @app.callback()
    def front(
        version: bool = typer.Option(
            False,
            "--version",
            callback=_version,
            is_eager=True,
            help="Print the version.",
            show_envvar=False,
        ),
    ) -> None: ...

    for name in study_names():
        app.add_typer(study_group(name), name=name, rich_help_panel="Studies")
    for name, shared in commands.SHARED.items():
        app.command(name, rich_help_panel="Shared commands")(shared)
    app.add_typer(sweep.app, name="sweep", rich_help_panel="Shared commands")
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; expected errors become one line on stderr."""
    try:
        code = _run(arguments)
        sys.stdout.flush()
        return code
    except (BrokenPipeError, SystemExit) as error:
        # Typer and Rich answer a broken pipe with an exit of their own; a signal's passes.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        # The reader (`| head`) has gone, and what it wanted it has. Python would complain again
        # when it flushes stdout at exit, so stdout now leads nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: Sequence[str]) -> int:
    try:
        result = build()(args=list(arguments), prog_name="toolbox", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except ToolboxError as error:
        return _complain(str(error), error.exit_code)
    except typer.Abort:
        return 130
    except Exception as error:
        # Typer's parser errors are not public classes; they say so by these two names.
        if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
            raise
        message = " ".join(error.format_message().replace("Value error, ", "").split())
        return _complain(message, int(error.exit_code))


def _complain(message: str, code: int) -> int:
    if message:  # empty when help was shown for want of a command
        print(f"toolbox: {message}", file=sys.stderr, flush=True)
    return code
