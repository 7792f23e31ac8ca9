"""Turns a function of `cli.py` into a command: shared options, layered values, one-sentence errors.

Nothing heavy is imported here or by any `cli.py`; the help of every command stays light.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from toolbox.core import signals
from toolbox.core.command import Command, command_of
from toolbox.core.environment import prefix_of
from toolbox.core.errors import UsageError
from toolbox.core.help import help_command, parser_sentence
from toolbox.core.layers import layers, origins
from toolbox.core.options import CONTROLS, presets_foot, signature_of
from toolbox.core.studies import study_group

if TYPE_CHECKING:
    from toolbox.core.execute import Request


def study_app(doc: str | None) -> typer.Typer:
    """The command group of a study; its help is the docstring of its `cli.py`."""
    return typer.Typer(help=doc, no_args_is_help=True, rich_markup_mode=None)


def command(
    app: typer.Typer,
    after: Callable[..., None] | None = None,
    display: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
    within: tuple[str, ...] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `def name(run: Run, p: Parameters)` as a command with the shared options.

    The fields of the frozen dataclass `Parameters` are its flags. `after`, `display`, `files`
    and `within` are those of `toolbox.core.command.Command`.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        defined = command_of(function, after, display, files, within)
        study, name, params = defined.study, defined.name, defined.params

        def invoke(**values: Any) -> None:
            if (take := values["ctx"].obj) is not None:
                take(requested(defined, values))
                return
            # To the last line: a stop after the run was published must not undo its exit code.
            with signals.defer():
                _invoke(defined, values)

        signature = signature_of(study, name, params)
        invoke.__doc__ = function.__doc__
        invoke.__signature__ = signature  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        invoke.command = defined  # type: ignore[attr-defined]
        foot = functools.partial(presets_foot, study, name)
        app.command(name, cls=help_command(prefix_of(study, name), foot))(invoke)
        return function

    return register


def _invoke(defined: Command, values: dict[str, Any]) -> None:
    from toolbox.core.answer import perform

    as_json = values["json"]
    request = requested(defined, values)
    after = defined.after
    p = defined.values(values)
    show = functools.partial(_show, after, p) if after else None
    perform(request, defined, as_json, show)


def requested(defined: Command, values: dict[str, Any]) -> Request:
    """What a command line asks for; only the command's own parameters are left in `values`."""
    from toolbox.core.execute import Request

    ctx: typer.Context = values.pop("ctx")
    values.pop("force")  # refused when it is given
    control = {key: values.pop(key) for key in CONTROLS}
    values |= {key: readable_twice(values[key]) for key in defined.files}
    contents = contents_of({key: values[key] for key in defined.files}, defined.within)
    return Request(
        study=defined.study,
        command=defined.name,
        params={k: v for k, v in {**values, **contents}.items() if k not in defined.display},
        origins={**origins(ctx, values), **dict.fromkeys(contents, "file")},
        preset=layers(ctx)["preset_name"],
        out=control["out"],
        device=checked_device(control["device"]),
        threads=control["threads"],
        again=control["again"],
        allow_costly=control["allow_costly"],
        quiet=control["quiet"],
        scratch=control["scratch"],
        limit=control["limit"],
    )


def request_of(study: str, name: str, words: Sequence[str]) -> Request:
    """What `toolbox STUDY NAME WORDS` asks for, with environment, config and presets; nothing runs.

    Errors: `UsageError`, in the sentence of the command line.
    """
    requests: list[Request] = []
    group = typer.main.get_group(study_group(study))
    try:
        context = group.commands[name].make_context(name, list(words), obj=requests.append)
        with context:
            group.commands[name].invoke(context)
    except Exception as error:
        if (said := parser_sentence(error)) is None:
            raise
        raise UsageError(said) from None
    return requests[0]


def _show(after: Callable[..., None], p: Any, folder: Path) -> None:
    after(folder, p)


def readable_twice(text: str) -> str:
    """The path of a file, or that of a copy where it names a pipe, as `<(zcat a.gz)` does.

    A run reads a file for its name and again for its work; a pipe gives its bytes once.
    """
    path = Path(text)
    if not path.is_fifo():
        return text
    folder = tempfile.mkdtemp(prefix="toolbox-pipe-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / path.name
    with path.open("rb") as pipe, copy.open("wb") as whole:
        shutil.copyfileobj(pipe, whole)
    return str(copy)


def contents_of(files: Mapping[str, str], within: Sequence[str] = ()) -> dict[str, str]:
    """`<name>_sha256` of each of these that is a readable file; the experiment refuses others.

    within : what counts in a folder, as paths in it; a folder without any of these is left out
    """
    contents = {}
    for name, text in files.items():
        try:
            found = _sha256(Path(text), within) if text else ""
        except OSError:
            continue
        if found:
            contents[f"{name}_sha256"] = found
    return contents


def _sha256(path: Path, within: Sequence[str]) -> str:
    """Of a file, or of the names and contents of those files of a folder that are there."""
    from toolbox.core.table import sha256

    if not (within and path.is_dir()):
        return sha256(path)
    parts = [path / part for part in within if (path / part).is_file()]
    lines = "".join(f"{part.name} {sha256(part)}\n" for part in parts)
    return hashlib.sha256(lines.encode()).hexdigest() if lines else ""


def checked_device(name: str) -> str:
    """A `--device` value, refused when it cannot name one.

    Errors: `UsageError`.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    return name
