"""The front door: finds the command that is asked for, and turns errors to sentences.

Only what the command line names is imported and built. Of everything else the front page shows
one sentence, which is read from the file and costs no import, so that start-up does not grow with
the number of studies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from toolbox.commands import cli as commands
from toolbox.core.environment import prefix_of
from toolbox.core.errors import ToolboxError
from toolbox.core.help import help_command, parser_sentence
from toolbox.core.places import discover
from toolbox.core.streams import LostResults
from toolbox.core.studies import docstring_of, study_group
from toolbox.version import __version__

_SHOWN = 200

Mount = Callable[[typer.Typer], object]


class Entry(TyperCommand):
    """A command or group of the front page: its name and sentence, until it is mounted."""

    def __init__(self, name: str, help: str, panel: str, mount: Mount):
        super().__init__(name, help=help, rich_help_panel=panel)
        self._mount = mount

    def mounted(self) -> Any:
        """The whole command or group.

        Errors: `ToolboxError` with file and line, for a study that cannot be imported.
        """
        only = typer.Typer()
        only.callback()(lambda: None)  # one command alone would not be a group
        self._mount(only)
        return typer.main.get_group(only).commands[str(self.name)]


class Front(TyperGroup):
    """All names with their sentences. The one that a command line names is mounted."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {str(entry.name): entry for entry in entries()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Typer's, with the whole command in the place of its entry."""
        name, entry, rest = super().resolve_command(ctx, args)
        if not isinstance(entry, Entry):
            return name, entry, rest
        try:
            return name, entry.mounted(), rest
        except ToolboxError:
            if ctx.resilient_parsing:  # completion has nothing to offer, and says nothing
                return name, entry, rest
            raise


def entries() -> Iterator[Entry]:
    """The front page. A study is there when its folder is; there is no registry.

    What cannot be used is told on stderr, and leaves the others as they are.
    """
    shared, studies = "Shared commands", "Studies"
    for name, function in commands.SHARED.items():
        yield Entry(name, function.__doc__ or "", shared, _shared(name, function))
    sweep = Path(commands.__file__).parent / "sweep" / "__init__.py"
    yield Entry("sweep", docstring_of(sweep), shared, _sweep)
    discovered = discover()
    if "_TOOLBOX_COMPLETE" not in os.environ:  # a shell's prompt is no place for a message
        for sentence in discovered.refused.values():
            print(f"toolbox: {sentence}", file=sys.stderr, flush=True)
    for name in sorted(discovered.folders):
        if name in (*commands.SHARED, "sweep"):
            sentence = (
                f"{discovered.folders[name]}: a study cannot be called {name!r}, as a command is"
            )
            print(f"toolbox: {sentence}; rename it", file=sys.stderr, flush=True)
            continue
        about = docstring_of(discovered.folders[name] / "cli.py")
        yield Entry(name, about, studies, _study(name))


def _shared(name: str, function: Callable[..., None]) -> Mount:
    kind = help_command(prefix_of(name))
    return lambda app: app.command(name, cls=kind)(function)


def _sweep(app: typer.Typer) -> None:
    from toolbox.commands.sweep import app as group

    app.add_typer(group, name="sweep")


def _study(name: str) -> Mount:
    return lambda app: app.add_typer(study_group(name), name=name)


def _version(value: bool) -> None:
    if value:
        print(f"toolbox {__version__}")
        raise typer.Exit()


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="toolbox",
        cls=Front,
        help="Reproduce the experiments of deep-learning-theory papers on this machine.\n\n"
        "Start with: toolbox gd anytime --T 10000",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )

    @app.callback()
    def front(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Print the version."
        ),
    ) -> None: ...

    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; expected errors become one line on stderr."""
    try:
        code = _run(arguments)
        try:
            sys.stdout.flush()
        except LostResults as error:
            return _complain(str(error), error.exit_code)
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
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename is None:  # nothing that a user named
            raise
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        shown = name if len(str(name)) <= _SHOWN else f"{str(name)[:_SHOWN]}..."
        return _complain(f"cannot use {shown}: {error.strerror}; choose another name or place", 1)
    except Exception as error:
        if (said := parser_sentence(error)) is None:
            raise
        return _complain(said, int(error.exit_code))  # type: ignore[attr-defined]


def _complain(message: str, code: int) -> int:
    if message:  # empty when help was shown for want of a command
        print(f"toolbox: {message}", file=sys.stderr, flush=True)
    return code
