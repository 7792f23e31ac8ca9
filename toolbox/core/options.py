"""The options of a command as Typer reads them: its own parameters, then the shared ones.

Nothing heavy is imported here; the help of every command stays light.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Ge, Le

from toolbox.core.completion import presets, quietly, words
from toolbox.core.environment import prefix_of
from toolbox.core.errors import UsageError
from toolbox.core.layers import config_reader, preset_reader
from toolbox.core.outputs import out_folder
from toolbox.core.params import Param, params_of
from toolbox.core.times import seconds_of

STUDY, BUDGET, REPRODUCIBILITY, OUTPUT = "Study", "Budget", "Reproducibility", "Output"


@dataclass(frozen=True)
class Replicates:
    """The two shared parameters that change numbers, and so are part of a run's id."""

    seed: Annotated[
        int, typer.Option(help="Root of every random stream of this run."), Ge(0), Le(10**15)
    ] = 0
    repeats: Annotated[
        int, typer.Option(help="Independent repetitions in this run."), Ge(1), Le(10_000)
    ] = 1


SHARED_PARAMS = params_of(Replicates)
CONTROLS = (
    "preset",
    "config",
    "device",
    "threads",
    "limit",
    "out",
    "scratch",
    "again",
    "allow_costly",
    "json",
    "quiet",
)
"""The shared options that change no number."""

_THREADS = Param("threads", int, 1, "", bounds=(Ge(1), Le(4096)))


def signature_of(study: str, name: str, params: Mapping[str, Param]) -> inspect.Signature:
    """The signature that Typer reads: the command's own parameters, then the shared ones."""
    variable = prefix_of(study, name)
    every = {**params, **SHARED_PARAMS}
    parameters = [_parameter("ctx", inspect.Parameter.empty, typer.Context)]
    parameters += [option(param, STUDY, variable) for param in params.values()]
    parameters += [
        _parameter(
            "preset",
            "small",
            Annotated[
                str,
                typer.Option(
                    help="A named set of values; the foot of this page lists them with the time "
                    "that each takes.",
                    rich_help_panel=BUDGET,
                    is_eager=True,
                    envvar=f"{variable}PRESET",
                    show_envvar=False,
                    metavar="",
                    callback=preset_reader(study, name, every),
                    autocompletion=quietly(presets(study, name)),
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
                    envvar=f"{variable}CONFIG",
                    show_envvar=False,
                    metavar="",
                    callback=config_reader(every),
                ),
            ],
        ),
        *[option(param, REPRODUCIBILITY, variable) for param in SHARED_PARAMS.values()],
        _control("device", str, "auto", "auto, cpu, cuda or cuda:N.", BUDGET, "TOOLBOX_DEVICE"),
        _parameter(
            "threads",
            None,
            Annotated[
                int | None,
                typer.Option(
                    help="Cores to use; by default SLURM_CPUS_PER_TASK, else those allowed.",
                    rich_help_panel=BUDGET,
                    envvar="TOOLBOX_THREADS",
                    show_envvar=False,
                    metavar="",
                    parser=_flag_parser(_THREADS),
                ),
            ],
        ),
        limit_parameter(),
        out_parameter(),
        scratch_parameter(),
        *[
            _control(name, bool, False, text, OUTPUT, variable + name.upper())
            for name, text in (
                ("again", "Make a run once more although it is there."),
                ("allow_costly", "Lift the guards against long times and large memory."),
                ("json", "Print one JSON object instead of the run's folder."),
                ("quiet", "Print no progress and no messages; errors only."),
            )
        ],
        _parameter(
            "force",
            False,
            Annotated[
                bool,
                typer.Option(
                    "--force", hidden=True, envvar=f"{variable}FORCE", callback=_refuse_force
                ),
            ],
        ),
    ]
    return inspect.Signature(parameters)


def _refuse_force(value: bool) -> bool:
    """`--force` meant two things. Errors: `UsageError` that names both."""
    if value:
        raise UsageError(
            "--force is no more: --again makes a run once more although it is there, and "
            "--allow-costly lifts the guards against long times and large memory"
        )
    return value


def limit_parameter() -> inspect.Parameter:
    """`--limit TIME`, the same on every command that runs."""
    given = typer.Option(
        help="Time after which the run saves a checkpoint and ends with exit code 75; the same "
        "line goes on from there. 90s, 30m, 1h30m or 1:30:00. By default none.",
        rich_help_panel=BUDGET,
        envvar="TOOLBOX_LIMIT",
        show_envvar=False,
        metavar="",
        parser=parse_limit,
    )
    return _parameter("limit", None, Annotated[float | None, given])


def parse_limit(text: Any) -> float:
    """The seconds of a `--limit`. Errors: `typer.BadParameter`."""
    try:
        return seconds_of(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def out_parameter() -> inspect.Parameter:
    """`--out DIR`, the same on every command."""
    text = "Folder in which all runs are kept."
    return _parameter("out", Path("outputs"), _folder(Path, text, "TOOLBOX_OUT"))


def scratch_parameter() -> inspect.Parameter:
    """`--scratch DIR`, the same on every command that runs."""
    text = (
        "Folder on a fast local disk in which tables grow until a run is complete. By default "
        "$TMPDIR, where it is on another file system than --out."
    )
    return _parameter("scratch", None, _folder(Path | None, text, "TOOLBOX_SCRATCH"))


def _folder(kind: Any, text: str, variable: str) -> Any:
    shared: dict[str, Any] = {"rich_help_panel": OUTPUT, "show_envvar": False, "metavar": ""}
    if kind is Path:
        shared["parser"] = out_folder
    return Annotated[kind, typer.Option(help=text, envvar=variable, **shared)]


def _parameter(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _control(
    name: str, kind: type, default: Any, text: str, panel: str, variable: str
) -> inspect.Parameter:
    given = typer.Option(
        "--" + name.replace("_", "-"),
        help=text,
        rich_help_panel=panel,
        envvar=variable,
        show_envvar=False,
        metavar="",
        show_default=kind is not bool,
        autocompletion=quietly(words(("auto", "cpu", "cuda"))) if name == "device" else None,
    )
    return _parameter(name, default, Annotated[kind, given])


def option(param: Param, panel: str, variable: str) -> inspect.Parameter:
    """One parameter as Typer reads it.

    variable : the beginning of its environment variable, `TOOLBOX_<STUDY>_<COMMAND>_`
    """
    # Given as text, so that help shows a list as it is typed, and may break it into lines.
    default = param.text(param.default)
    shown = default.replace(",", ", ") if param.many else default
    shared: dict[str, Any] = {
        "rich_help_panel": panel,
        "envvar": variable + param.name.upper(),
        "show_envvar": False,
        "show_default": False,
        "metavar": "",
    }
    if param.kind is bool:
        off = param.off_flag
        shown = f"on; {off} turns it off" if param.default else "off"
        given = typer.Option(
            f"{param.flag}/{off}", help=f"{param.help} Default: {shown}.", **shared
        )
        return _parameter(param.name, param.default, Annotated[bool, given])
    text = f"{param.help} {param.values}; default: {shown or 'empty'}."
    if param.choices or param.known:
        offered = words(param.known or param.choices, param.many)
        shared["autocompletion"] = quietly(offered)
    if param.positional:
        shared["metavar"] = param.flag
        argument = typer.Argument(help=text, parser=_flag_parser(param), **shared)
        return _parameter(param.name, default, Annotated[Any, argument])
    given = typer.Option(
        param.flag,
        help=text,
        parser=_flag_parser(param),
        **shared,
    )
    return _parameter(param.name, default, Annotated[Any, given])


def _flag_parser(param: Param) -> Callable[[Any], Any]:
    def parse(value: Any) -> Any:
        try:
            return param.parse(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    return parse


def presets_foot(study: str, name: str) -> str:
    """The presets of a command with their measured times, for the foot of its help page."""
    from toolbox.core.studies import preset_times

    presets = ", ".join(
        f"{preset} ({seconds})" if seconds else preset
        for preset, seconds in preset_times(study, name).items()
    )
    return f"Presets, with their times on two cores: {presets}. The default is small."
