"""Turns a function of `cli.py` into a command: shared options, layered values, one-sentence errors.

Nothing heavy is imported here or by any `cli.py`; the help of every command stays light.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from annotated_types import Ge, Le

from toolbox.core import signals
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.params import Param, params_of
from toolbox.core.status import Status

if TYPE_CHECKING:
    from toolbox.core.execute import Request

STUDY, BUDGET, REPRODUCIBILITY, OUTPUT = "Study", "Budget", "Reproducibility", "Output"
SOURCES = {"COMMANDLINE": "flag", "ENVIRONMENT": "environment", "DEFAULT": "default"}


def _seed_options(
    seed: Annotated[int, typer.Option(help="Root of every random stream."), Ge(0), Le(10**15)] = 0,
    repeats: Annotated[
        int, typer.Option(help="Independent repetitions in this run."), Ge(1), Le(10_000)
    ] = 1,
) -> None: ...


SHARED_PARAMS = params_of(_seed_options)
"""The two shared options that change numbers, and so are part of a run's id."""

_THREADS = Param("threads", int, 1, "", bounds=(Ge(1), Le(4096)))


def study_app(doc: str | None) -> typer.Typer:
    """The command group of a study; its help is the docstring of its `cli.py`."""
    return typer.Typer(help=doc, no_args_is_help=True, rich_markup_mode=None)


def command(
    app: typer.Typer,
    after: Callable[..., None] | None = None,
    display: tuple[str, ...] = (),
    files: tuple[str, ...] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register `def name(run, flags...)` as a command with the shared options.

    after : called with (folder, **params) once the run is there, computed now or before, to show
            something of it on stdout instead of the folder's path
    display : parameters for `after` alone; they change no number and are not part of the run's id
    files : parameters that name files to read; a file's SHA-256 joins the run's parameters as
            `<name>_sha256`, so that an edited file is another run
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        study = function.__module__.split(".")[-2]
        name = function.__name__.rstrip("_").replace("_", "-")
        params = params_of(function)

        @functools.wraps(function)
        def invoke(**values: Any) -> None:
            # To the last line: a stop after the run was published must not undo its exit code.
            with signals.defer():
                _invoke(study, name, function, values, after, display, files)

        signature = _signature(study, name, params)
        invoke.__signature__ = signature  # type: ignore[attr-defined]
        invoke.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        del invoke.__wrapped__
        invoke.experiment, invoke.params = function, params  # type: ignore[attr-defined]
        invoke.display, invoke.files = display, files  # type: ignore[attr-defined]
        app.command(name, epilog=_environment(study, name, params))(invoke)
        return function

    return register


def _invoke(
    study: str,
    name: str,
    function: Callable[..., None],
    values: dict[str, Any],
    after: Callable[..., None] | None,
    display: tuple[str, ...],
    files: tuple[str, ...],
) -> None:
    from toolbox.core.execute import Request

    ctx: typer.Context = values.pop("ctx")
    option = {key: values.pop(key) for key in _CONTROLS}
    shared = {key: values[key] for key in SHARED_PARAMS}
    own = {key: value for key, value in values.items() if key not in SHARED_PARAMS}
    contents = contents_of({key: own[key] for key in files})
    request = Request(
        study=study,
        command=name,
        params={key: v for key, v in {**own, **shared, **contents}.items() if key not in display},
        origins={**origins(ctx, values), **dict.fromkeys(contents, "file")},
        preset=_layers(ctx)["preset_name"],
        out=option["out"],
        device=checked_device(option["device"]),
        threads=option["threads"],
        force=option["force"],
        quiet=option["quiet"],
        scratch=option["scratch"],
    )
    perform(request, function, option["json"], after and (lambda path: after(path, **own)))


def perform(
    request: Request,
    function: Callable[..., None],
    as_json: bool = False,
    show: Callable[[Path], None] | None = None,
) -> None:
    """Run what was asked for, unless it is there, and answer as every command does.

    Errors: `ToolboxError` in all its kinds, also for a run that is there but diverged.
    """
    from toolbox.core.execute import execute, verdicts_of

    study, name = request.study, request.command
    # The computation sees only what names the run; a display parameter cannot change a number.
    own = {k: request.params[k] for k in params_of(function) if k in request.params}
    record, there = execute(request, lambda run: function(run, **own))

    def say(text: str) -> None:
        if not request.quiet:
            print(text, file=sys.stderr, flush=True)

    verdicts = [] if there or record.status is not Status.COMPLETE else verdicts_of(record)
    if there:
        say(f"already {record.status}; --force makes it again")
    if verdicts and not request.quiet:
        from toolbox.core.show import verdict_table

        say(verdict_table(verdicts, stream=sys.stderr))
    if record.status is Status.COMPLETE:
        say(f"figures: toolbox plot {study} {name}    verdicts: toolbox verify {study} {name}")
    if as_json:
        document = {
            "run": record.id,
            "folder": str(record.path),
            "status": str(record.status),
            "already_there": there,
            "tables": {key: str(record.path / f"{key}.csv") for key in record.manifest["tables"]},
            "verdicts": [verdict.as_dict() for verdict in verdicts],
        }
        print(json.dumps(document, allow_nan=False))
    elif show is not None:
        show(record.path)
    else:
        print(record.path)
    if record.status is Status.DIVERGED:
        raise ToolboxError(f"diverged: {record.manifest['message']}")


def contents_of(files: Mapping[str, str]) -> dict[str, str]:
    """`<name>_sha256` of each of these that is a readable file; the experiment refuses others."""
    from toolbox.core.table import sha256

    found = {}
    for name, text in files.items():
        try:
            found[f"{name}_sha256"] = sha256(Path(text))
        except OSError:
            continue
    return found


# ---------------------------------------------------------------------------------- signature

_CONTROLS = ("preset", "config", "device", "threads", "out", "scratch", "force", "json", "quiet")


def _signature(study: str, name: str, params: Mapping[str, Param]) -> inspect.Signature:
    """The signature that Typer reads: the command's own parameters, then the shared ones."""
    parameters = [_parameter("ctx", inspect.Parameter.empty, typer.Context)]
    parameters += [_option(param, STUDY) for param in params.values()]
    parameters += [
        _parameter(
            "preset",
            "small",
            Annotated[
                str,
                typer.Option(
                    help="A named set of values: smoke (seconds), small (two minutes or less) or "
                    "paper (the paper's scale); `toolbox list` shows what each sets and takes.",
                    rich_help_panel=BUDGET,
                    is_eager=True,
                    show_envvar=False,
                    metavar="NAME",
                    callback=_preset_reader(study, name, params),
                ),
            ],
        ),
        _parameter(
            "config",
            None,
            Annotated[
                Path | None,
                typer.Option(
                    help="A YAML file of `name: value` lines; flags and environment override it.",
                    rich_help_panel=BUDGET,
                    is_eager=True,
                    show_envvar=False,
                    metavar="FILE.yaml",
                    callback=_config_reader(params),
                ),
            ],
        ),
        *[_option(param, REPRODUCIBILITY) for param in SHARED_PARAMS.values()],
        _control("device", str, "auto", "auto, cpu, cuda or cuda:N.", BUDGET),
        _parameter(
            "threads",
            None,
            Annotated[
                int | None,
                typer.Option(
                    help="Cores to use; by default SLURM_CPUS_PER_TASK, else those allowed.",
                    rich_help_panel=BUDGET,
                    envvar="TOOLBOX_THREADS",
                    metavar=_THREADS.metavar,
                    parser=_flag_parser(_THREADS),
                ),
            ],
        ),
        out_parameter(),
        scratch_parameter(),
        _control("force", bool, False, "Make a run that is there again; lift cost guards.", OUTPUT),
        _control("json", bool, False, "Print one JSON object instead of the folder.", OUTPUT),
        _control("quiet", bool, False, "No progress and no messages; errors only.", OUTPUT),
    ]
    return inspect.Signature(parameters)


def out_parameter() -> inspect.Parameter:
    """`--out DIR`, the same on every command."""
    option = typer.Option(
        help="Where runs live.", rich_help_panel=OUTPUT, envvar="TOOLBOX_OUT", metavar="DIR"
    )
    return _parameter("out", Path("outputs"), Annotated[Path, option])


def _environment(study: str, name: str, params: Mapping[str, Param]) -> str:
    """One line for the foot of the help page instead of one per option."""
    first = next(iter(params.values()), SHARED_PARAMS["seed"])
    variable = f"TOOLBOX_{study}_{name}_{first.flag[2:]}".upper().replace("-", "_")
    return f"Every option can also be given in the environment, {first.flag} as {variable}."


def scratch_parameter() -> inspect.Parameter:
    """`--scratch DIR`, the same on every command that runs."""
    option = typer.Option(
        help="Fast local disk on which tables grow until a run is complete; by default $TMPDIR, "
        "used where it is another file system than --out.",
        rich_help_panel=OUTPUT,
        envvar="TOOLBOX_SCRATCH",
        metavar="DIR",
    )
    return _parameter("scratch", None, Annotated[Path | None, option])


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _control(name: str, kind: type, default: Any, text: str, panel: str) -> inspect.Parameter:
    declaration = [f"--{name}"] if kind is bool else []
    envvar = "TOOLBOX_DEVICE" if name == "device" else None
    option = typer.Option(
        *declaration,
        help=text,
        rich_help_panel=panel,
        envvar=envvar,
        show_envvar=envvar is not None,
    )
    return _parameter(name, default, Annotated[kind, option])


def _option(param: Param, panel: str) -> inspect.Parameter:
    if param.kind is bool:
        flags = f"{param.flag}/{param.off or '--no-' + param.flag[2:]}"
        option = typer.Option(flags, help=param.help, rich_help_panel=panel, show_envvar=False)
        return _parameter(param.name, param.default, Annotated[bool, option])
    if param.positional:
        argument = typer.Argument(
            help=param.help, metavar=param.flag, parser=_flag_parser(param), show_default=True
        )
        return _parameter(param.name, param.text(param.default), Annotated[Any, argument])
    option = typer.Option(
        param.flag,
        help=param.help,
        rich_help_panel=panel,
        show_envvar=False,
        metavar=param.metavar,
        parser=_flag_parser(param),
        autocompletion=(lambda: list(param.choices)) if param.choices else None,
    )
    # Given as text, so that help shows a list as it is typed, and may break it into lines.
    default = param.text(param.default)
    if param.many:
        default = default.replace(",", ", ")
    return _parameter(param.name, default, Annotated[Any, option])


def _flag_parser(param: Param) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        try:
            return param.parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def checked_device(name: str) -> str:
    """A `--device` value, refused when it cannot name one.

    Errors: `UsageError`.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", name):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    return name


# ------------------------------------------------------------------------------------- layers


def _layers(ctx: typer.Context) -> dict[str, Any]:
    found: dict[str, Any] = ctx.meta.setdefault(
        "toolbox.layers", {"preset": {}, "config": {}, "preset_name": "small"}
    )
    return found


def _preset_reader(study: str, name: str, params: Mapping[str, Param]) -> Callable[..., str]:
    def read(ctx: typer.Context, value: str) -> str:
        from toolbox.core.presets import preset_values

        layers = _layers(ctx)
        if not ctx.resilient_parsing:
            layers["preset"] = preset_values(study, name, value, {**params, **SHARED_PARAMS})
            layers["preset_name"] = value
            ctx.default_map = {**layers["preset"], **layers["config"]}
        return value

    return read


def _config_reader(params: Mapping[str, Param]) -> Callable[..., Path | None]:
    def read(ctx: typer.Context, value: Path | None) -> Path | None:
        from toolbox.core.presets import config_values

        layers = _layers(ctx)
        if value is not None and not ctx.resilient_parsing:
            layers["config"] = config_values(value, {**params, **SHARED_PARAMS})
            ctx.default_map = {**layers["preset"], **layers["config"]}
        return value

    return read


def origins(ctx: typer.Context, values: Mapping[str, Any]) -> dict[str, str]:
    """Where each value came from: flag, environment, config, preset or default."""
    layers = _layers(ctx)
    result = {}
    for name in values:
        source = ctx.get_parameter_source(name)
        key = source.name if source is not None else "DEFAULT"
        layer = "config" if name in layers["config"] else f"preset {layers['preset_name']}"
        result[name] = SOURCES.get(key, layer)
    return result
