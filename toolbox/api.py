"""What `import toolbox` gives: the command line's runs, ids and folders, from Python.

Everything goes through the command line's own parser and the run behind it, so that a call and
the line that it stands for are one run. Nothing is printed unless `progress=True`.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core import signals
from toolbox.core.errors import Diverged, TableError, UsageError
from toolbox.core.outputs import out_folder
from toolbox.core.suggest import did_you_mean
from toolbox.finished import FinishedRun, described, draw, render_frame, table_name, verdict_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from toolbox.core.command import Command
    from toolbox.core.pools import Pool

__all__ = ["FinishedRun", "load", "plot", "run", "runs", "table", "verdicts"]

Place = str | os.PathLike[str]


def run(
    command: str,
    /,
    *,
    preset: str | None = None,
    config: Place | None = None,
    seed: int | None = None,
    repeats: int | None = None,
    device: str | None = None,
    threads: int | None = None,
    limit: float | str | None = None,
    out: Place | None = None,
    scratch: Place | None = None,
    again: bool = False,
    allow_costly: bool = False,
    progress: bool = False,
    **parameters: Any,
) -> FinishedRun:
    """Compute a run, or answer with the one that is there.

    command : study and command, "gd anytime"
    parameters : those of `toolbox gd anytime --help`, with underscores: T=10_000. A list is given
        as a list; what is not given comes from the environment, `config`, `preset` or the default
    preset, config, seed, repeats, device, threads, out, scratch, again, allow_costly : as the
        flags of these names. `out` is where runs are kept, by default TOOLBOX_OUT or outputs/
    limit : seconds, or "30m", after which the run saves a checkpoint and ends as interrupted
    progress : show a bar (in a notebook: with the package ipywidgets) and messages on stderr

    Ctrl-C saves a checkpoint at the next step boundary and raises `Interrupted`; the same call
    goes on from there. A second Ctrl-C raises KeyboardInterrupt at once. In a thread other than
    the main one no signal is handled.

    Errors: `ToolboxError` in all its kinds, in the sentences of the command line: `UsageError` for
    a name or a value that cannot be used, `ParameterError` for values that do not fit together,
    `Diverged` for a run that diverged (`toolbox.load` has its rows), `Interrupted`.
    """
    from toolbox.core.cli import request_of
    from toolbox.core.execute import execute
    from toolbox.core.status import Status
    from toolbox.core.studies import registered

    study, name = _command(command)
    defined = registered(study, name)
    given = {"seed": seed, "repeats": repeats, **parameters}
    words = _words(defined, {key: value for key, value in given.items() if value is not None})
    controls = {"preset": preset, "config": config, "device": device, "threads": threads,
                "limit": limit if limit is None or isinstance(limit, str) else f"{limit}s",
                "out": out, "scratch": scratch}  # fmt: skip
    for key, value in controls.items():
        if value is not None:
            words += [f"--{key}", str(value)]
    words += ["--again"] * again + ["--allow-costly"] * allow_costly
    asked = request_of(study, name, [*words, "--quiet"])
    asked = replace(asked, quiet=not progress, argv=("toolbox", study, name, *words))
    with signals.borrowed(), _kept(asked.threads):
        record, _ = execute(asked, lambda run: defined.compute(run, asked.params, flags=False))
    if record.status is Status.DIVERGED:
        raise Diverged(
            f"diverged: {record.manifest['message']}; toolbox.load({record.id!r}) has its rows"
        )
    return FinishedRun(record)


def load(run: Place, *, out: Place | None = None) -> FinishedRun:
    """A finished run that is there.

    run : its id, the beginning of its id, or its folder;  out : where runs are kept

    Errors: `UsageError` where there is none, more than one, or one that has not finished;
    `TableError` for one that is damaged.
    """
    from toolbox.commands.show import find
    from toolbox.core.status import Status

    record = find(os.fspath(run), _out(out)).checked()
    if record.damage:
        raise TableError(f"{record.path} is damaged: {record.damage}")
    if record.status not in (Status.COMPLETE, Status.DIVERGED):
        raise UsageError(
            f"the run {record.id} of {record.study} {record.command} is {record.state}: it has no "
            "tables yet"
        )
    if wrong := record.mismatch(FinishedRun(record).spec):
        raise TableError(f"{record.path} cannot be read: {wrong}")
    return FinishedRun(record)


def runs(command: str | None = None, *, out: Place | None = None) -> pd.DataFrame:
    """Every run that is there, of every status, one row for each.

    command : "gd anytime", "gd", or None for all;  out : where runs are kept

    Columns: study, command, run, status, seconds (wall time), ended (UTC), message, path, and one
    for each parameter of these runs, empty where a command has none of that name.
    """
    import pandas as pd

    from toolbox.core import store

    rows: list[dict[str, Any]] = []
    for record in store.runs(_out(out), *_study_and_command(command)):
        checked = record.checked()
        about = {
            "study": checked.study, "command": checked.command, "run": checked.id,
            "status": checked.state, "seconds": checked.manifest.get("wall_seconds"),
            "ended": checked.manifest.get("ended"), "message": checked.message,
            "path": str(checked.path),
        }  # fmt: skip
        rows.append({**checked.params, **about})
    columns = ["study", "command", "run", "status", "seconds", "ended", "message", "path"]
    names = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    frame = pd.DataFrame(rows, columns=[*names])
    ended = pd.to_datetime(frame["ended"], format="ISO8601", utc=True)
    return frame.assign(ended=ended)


def verdicts(
    command: str | None = None, *, pool: str = "newest", out: Place | None = None
) -> pd.DataFrame:
    """Verdicts on the claims from all finished runs, one row for each claim of each pool.

    command : "icl plateau", "icl", or None for all
    pool : "newest", "all", or the beginning of a pool's id: runs that differ only in their seed
        are taken together, and this chooses among several configurations
    out : where runs are kept

    Columns: study, command, pool, runs (their number), claim, verdict, measured, low, high (95 %
    interval over replicates), region_low, region_high (pass region), paper (its own value),
    replicates, diverged, origin, reference, statement, reason, remedy, scaled_down. Damaged runs
    are left out with a warning.

    Errors: `UsageError` where there is no run to judge.
    """
    from toolbox.commands.verify import judge, pick

    picked = pick(*_study_and_command(command), pool, _out(out), _warn)
    return verdict_frame([(each, judge(each)) for each in picked.chosen])


def table(
    command: str, name: str | None = None, *, pool: str = "newest", out: Place | None = None
) -> pd.DataFrame:
    """A table of all finished runs of a command that differ only in their seed, in one frame.

    command : "gd anytime";  name : the table, None where there is one alone
    pool : "newest", or the beginning of a pool's id;  out : where runs are kept

    Every row of a replicate stands once. `attrs` are those of `FinishedRun.table`.

    Errors: `UsageError` where there is no such run or table.
    """
    chosen = _pool(command, pool, out)
    name = table_name(name, chosen.spec, command)
    ids = [each.id for each in chosen.runs]
    return described(chosen.read(name), chosen.spec.tables[name], runs=ids)


def plot(
    what: str | pd.DataFrame,
    figure: str | None = None,
    *,
    pool: str = "newest",
    out: Place | None = None,
    **changes: Any,
) -> Figure:
    """A declared figure over all finished runs of a command, or a figure of any tidy table.

    what : "gd anytime", or a DataFrame with one observation in each row, then with x= and y=
    figure : one of the declared figures, None where there is one alone
    pool, out : as for `toolbox.table`
    changes : parts of the figure, as for `FinishedRun.plot`

    Replicates, which the columns `seed` and `repeat` name, become a mean with its 95 % interval.
    Returns a matplotlib Figure; its `notes` say what was masked, left out or averaged.

    Errors: `UsageError` for what cannot be drawn as asked.
    """
    if isinstance(what, str):
        return draw(_pool(what, pool, out), figure, changes)
    from toolbox.commands.plot import of_frame

    attrs = what.attrs
    columns = {name: {"meaning": text, "unit": attrs.get("units", {}).get(name, ""),
                      "role": attrs.get("roles", {}).get(name, "")}
               for name, text in attrs.get("meanings", {}).items()}  # fmt: skip
    return render_frame(what, of_frame("", changes), columns, None)


# --------------------------------------------------------------------------------- behind them


def _command(text: str) -> tuple[str, str]:
    study, command = _study_and_command(text)
    if study is None or command is None:
        from toolbox.core.spec import load_study
        from toolbox.core.studies import study_names

        names = list(load_study(study).commands) if study is not None else study_names()
        there = ", ".join(f"{study} {name}" if study else name for name in names)
        raise UsageError(f"{text!r}: name study and command, as in 'gd anytime'; there are {there}")
    return study, command


def _study_and_command(text: str | None) -> tuple[str | None, str | None]:
    if text is None:
        return None, None
    if not isinstance(text, str) or len(text.split()) > 2:
        raise UsageError(f"{text!r}: expected a study and a command, as in 'gd anytime'")
    study, command, *_ = [*text.split(), None, None]
    return study, command


def _out(out: Place | None) -> Path:
    return out_folder(os.fspath(out) if out is not None else os.environ.get("TOOLBOX_OUT")
                      or "outputs")  # fmt: skip


def _words(defined: Command, given: Mapping[str, Any]) -> list[str]:
    """The words of the command line that give these values.

    Errors: `UsageError` for an unknown name or a value that does not fit.
    """
    from toolbox.core.options import SHARED_PARAMS

    own = {name: param for name, param in defined.params.items() if name not in defined.display}
    every = {**own, **SHARED_PARAMS}
    words: list[str] = []
    for name, value in given.items():
        if (param := every.get(name)) is None:
            raise UsageError(
                f"{name}: {defined.study} {defined.name} has no such parameter"
                f"{did_you_mean(name, every)} (there are {', '.join(every)})"
            )
        try:
            words += param.words(param.parse(_plain(value)))
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
    return words


def _plain(value: Any) -> Any:
    """A value without numpy or pathlib: what a YAML file could hold."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # arrays, and the numbers of numpy and torch
        return value.tolist()
    return (
        list(value) if isinstance(value, Sequence | range) and not isinstance(value, str) else value
    )


@contextlib.contextmanager
def _kept(threads: int | None) -> Iterator[None]:
    """What a run sets for its whole process is afterwards as it was: threads, generators, torch."""
    from toolbox.core import checkpoint, compute, machine

    before = {name: os.environ.get(name) for name in machine.THREAD_VARIABLES}
    generators = checkpoint.rng_states()
    count = threads or machine.default_threads()
    try:
        with compute.threads(count), compute.policy_kept():
            yield
    finally:
        checkpoint.set_rng_states(generators)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _pool(command: str, pool: str, out: Place | None) -> Pool:
    from toolbox.commands.verify import pick

    chosen = pick(*_command(command), pool, _out(out), _warn).chosen
    if len(chosen) != 1:
        ids = ", ".join(each.id for each in chosen)
        raise UsageError(f"pool={pool!r} names {len(chosen)} pools ({ids}); choose one")
    return chosen[0]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
