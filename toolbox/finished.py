"""A finished run as Python sees it, and the frames and figures that are made of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.errors import UsageError
from toolbox.core.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from toolbox.core.claims import Verdict
    from toolbox.core.pools import Pool
    from toolbox.core.spec import CommandSpec, TableSpec
    from toolbox.core.store import RunRecord


class FinishedRun:
    """A complete or diverged run in `outputs/`, as `toolbox.run` and `toolbox.load` return it.

    id : 12 hexadecimal digits, a hash of everything that changes its numbers
    study, command : what was run
    status : "complete" or "diverged"
    path : its folder, with `run.json` and a CSV for each table
    params : every parameter that shaped the numbers, seed and repeats included
    manifest : what `run.json` says: origins, versions, machine, times, hashes
    """

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self.id, self.study, self.command = record.id, record.study, record.command
        self.status = str(record.status)
        self.path, self.params, self.manifest = record.path, record.params, record.manifest

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.study} {self.command}: {self.status}, {self.path}>"

    @property
    def tables(self) -> tuple[str, ...]:
        """The names of its tables."""
        return tuple(self.spec.tables)

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of the figures that `plot` draws."""
        return tuple(self.spec.figures)

    @property
    def line(self) -> str:
        """The command line that makes it again, with every parameter."""
        from toolbox.commands.show import again

        return again(self._record)

    def table(self, name: str | None = None) -> pd.DataFrame:
        """One of its tables, compared with the hash that the run noted.

        name : one of `tables`; None where there is one alone

        The frame's `attrs` hold `rows` (what one row is) and by column `meanings`, `units`,
        `roles` (parameter, index or metric), and the `run`.

        Errors: `UsageError` for an unknown name; `TableError` for a file that was cut or changed.
        """
        name = table_name(name, self.spec, f"{self.study} {self.command}")
        frame = self._record.read(name, self.spec)
        return described(frame, self.spec.tables[name], run=self.id)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """The verdicts of this run alone, one row for each claim; columns as `toolbox.verdicts`."""
        from toolbox.core.execute import verdicts_of

        return verdict_frame([(self._pool, verdicts_of(self._record))])

    def plot(self, figure: str | None = None, **changes: Any) -> Figure:
        """One of its declared figures.

        figure : one of `figures`; None where there is one alone
        changes : parts of the figure, as the flags of `toolbox plot`: x, y, hue, style, col, row,
            kind, logx, logy, where, title, estimate, band, references=[{"slope": -1}], ...

        Errors: `UsageError` for an unknown figure and for parts that do not fit together.
        """
        return draw(self._pool, figure, changes)

    def file(self, name: str) -> Path:
        """The path of a file that the run published beside its tables, compared with its hash.

        Errors: `TableError` naming the file.
        """
        return self._record.file(name)

    @property
    def spec(self) -> CommandSpec:
        """What `study.yaml` declares for the command."""
        from toolbox.core.spec import load_command

        return load_command(self.study, self.command)

    @property
    def _pool(self) -> Pool:
        from toolbox.core.pools import Pool

        return Pool(self.study, self.command, self.id, (self._record,), self.spec)


def table_name(name: str | None, spec: CommandSpec, whose: str) -> str:
    """The table that is asked for; the only one where no name is given.

    Errors: `UsageError` listing what there is.
    """
    if name is None and len(spec.tables) == 1:
        return next(iter(spec.tables))
    if name not in spec.tables:
        asked = "name the table" if name is None else f"no table {name!r}"
        hint = did_you_mean(str(name), spec.tables)
        raise UsageError(f"{asked}{hint}; {whose} has {', '.join(spec.tables)}")
    return name


def described(frame: pd.DataFrame, spec: TableSpec, **made: Any) -> pd.DataFrame:
    """The frame with what its columns mean."""
    columns = spec.all_columns.items()
    about: dict[Any, Any] = {
        "rows": spec.rows,
        "meanings": {name: column.meaning for name, column in columns},
        "units": {name: column.unit for name, column in columns if column.unit},
        "roles": {name: column.role for name, column in columns},
    }
    frame.attrs = about | made
    return frame


def verdict_frame(judged: Sequence[tuple[Pool, list[Verdict]]]) -> pd.DataFrame:
    """One row for each claim of each pool."""
    import pandas as pd

    first = ["study", "command", "pool", "runs"]
    own = ["claim", "verdict", "measured", "low", "high", "region_low", "region_high", "paper",
           "replicates", "diverged", "origin", "reference", "statement", "reason", "remedy",
           "scaled_down"]  # fmt: skip
    rows: list[dict[str, Any]] = []
    for pool, verdicts in judged:
        about: dict[str, Any] = dict(
            zip(first, (pool.study, pool.command, pool.id, len(pool.runs)), strict=True)
        )
        for verdict in verdicts:
            low, high = verdict.region
            rows.append({**about, **verdict.as_dict(), "region_low": low, "region_high": high})
    frame = pd.DataFrame(rows, columns=[*first, *own])
    numbers = ["measured", "low", "high", "region_low", "region_high"]
    return frame.astype({name: "float64" for name in numbers})


def draw(pool: Pool, figure: str | None, changes: Mapping[str, Any]) -> Figure:
    """A declared figure of a pool; the only one where no name is given.

    Errors: `UsageError` listing what there is.
    """
    from toolbox.commands.footer import Footer
    from toolbox.commands.plot import known, of_pool

    figures = pool.spec.figures
    whose = f"{pool.study} {pool.command}"
    if figure is None and len(figures) != 1:
        raise UsageError(f"name the figure; {whose} declares {', '.join(figures) or 'none'}")
    figure = figure or next(iter(figures))
    known(figure, set(figures), whose)
    spec, frame, columns = of_pool(pool, figure, changes)
    return render_frame(frame, spec, columns, Footer(pool).lines(spec))


def render_frame(
    frame: pd.DataFrame, spec: Any, columns: Mapping[str, Any], footer: Sequence[str] | None
) -> Figure:
    """A figure of any frame; `notes` of it say what was masked, left out or averaged."""
    from toolbox.commands.render import render

    figure, notes = render(frame, spec, columns, footer)
    figure.notes = notes  # type: ignore[attr-defined]
    return figure
