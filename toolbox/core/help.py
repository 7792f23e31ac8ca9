"""How every command shows its help and reads the environment.

At 80 columns a help page needs the width for its text. Typer would spend it on a column for the
flags that turn an option off, on one for types, and on an `[env var: ...]` for every option; here
the texts name the former, and one sentence at the foot explains the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

from toolbox.core import environment
from toolbox.core.errors import UsageError


def help_command(prefix: str, foot: Callable[[], str] = lambda: "") -> type[TyperCommand]:
    """The class of a command whose options can be set by `<prefix><NAME>` in the environment.

    prefix : such as `TOOLBOX_GD_ANYTIME_`;  foot : what the help page ends with
    """

    class HelpCommand(TyperCommand):
        def __init__(self, name: str | None, **attributes: Any) -> None:
            super().__init__(name, **attributes)
            for param in self.params:
                param.show_envvar = False  # type: ignore[attr-defined]
                if isinstance(param, TyperOption):
                    param.envvar = param.envvar or prefix + str(param.name).upper()
                    param.metavar = param.metavar or ""

        def get_help_option(self, ctx: Any) -> Any:
            option = super().get_help_option(ctx)
            if option is not None:
                option.metavar = ""
            return option

        def format_help(self, ctx: Any, formatter: Any) -> None:
            hidden = {param: param.secondary_opts for param in self.params}
            for param in self.params:
                param.secondary_opts = []
            self.epilog = "\n\n".join(filter(None, [foot(), self._by_environment()]))
            try:
                super().format_help(ctx, formatter)
            finally:
                for param, off in hidden.items():
                    param.secondary_opts = off

        def _by_environment(self) -> str:
            """One sentence with an example: the first option that this command has for itself."""
            named = [p for p in self.params if str(p.envvar or "").startswith(prefix)]
            named = named or [p for p in self.params if p.envvar]
            if not named:
                return ""
            return (
                "Every option can also be set by an environment variable, "
                f"{named[0].opts[0]} by {named[0].envvar}."
            )

        def parse_args(self, ctx: Any, args: list[str]) -> Any:
            try:
                return super().parse_args(ctx, args)
            except typer.BadParameter as error:
                variable = environment.source(ctx, error.param)
                if variable is None:
                    raise
                value = os.environ[variable]
                raise UsageError(f"{variable}={value}: {_plain(error.message)}") from None
            except UsageError as error:
                raise UsageError(environment.blamed(ctx, str(error))) from None

        def invoke(self, ctx: Any) -> Any:
            if not ctx.params.get("quiet"):
                for line in environment.warnings(ctx, prefix):
                    print(f"toolbox: {line}", file=sys.stderr, flush=True)
            try:
                return super().invoke(ctx)
            except UsageError as error:
                raise UsageError(environment.blamed(ctx, str(error))) from None

    return HelpCommand


def parser_sentence(error: Exception) -> str | None:
    """What an error of Typer's parser says; None for any other error.

    Its errors are not public classes; they say so by these two names.
    """
    if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
        return None
    return " ".join(error.format_message().replace("Value error, ", "").split())


def _plain(message: str) -> str:
    return " ".join(message.replace("Value error, ", "").split()).rstrip(".")
