"""`toolbox plot`: the declared figures of a study, or any tidy table by flags. Knows no study."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from toolbox.commands import figurefile, render
from toolbox.commands.footer import Footer
from toolbox.commands.reading import Reading, read, source_name
from toolbox.core import code, text
from toolbox.core import manifest as manifests
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.figure import FigureSpec
from toolbox.core.pools import Pool, choose, left_out_text, survey
from toolbox.core.spec import load_command, selected
from toolbox.core.status import Status
from toolbox.core.store import RunRecord
from toolbox.core.studies import study_names
from toolbox.core.table import read_table

if TYPE_CHECKING:
    import pandas as pd

_TABLES = (".csv", ".tsv", ".txt", ".dat", ".parquet", ".gz", ".bz2", ".xz")
_PICTURES = ("jpg", "jpeg", "gif", "tif", "tiff", "eps", "ps", "bmp", "webp")


@dataclass(frozen=True)
class Request:
    """What a command line, or a figure's YAML file, asks for."""

    target: str
    out: Path
    command: str | None = None
    figure: str | None = None
    pool: str = "newest"
    reading: Reading = field(default_factory=Reading)
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `FigureSpec`, over what the study declares."""

    @property
    def is_study(self) -> bool:
        """Whether the target names a study rather than a file."""
        return self.target in study_names() or not (
            self.target == "-" or Path(self.target).exists() or self.target.endswith(_TABLES)
        )


class Show:
    """Draws figures, to files or to the terminal, and says what was left out."""

    def __init__(
        self, formats: tuple[str, ...] | None, terminal: bool, to: Path | None = None
    ) -> None:
        named = to.suffix.lstrip(".").lower() if to is not None else ""
        if to is not None and named in render.FORMATS:
            if formats not in (None, (named,)):
                raise UsageError(f"-o {to} and --format {','.join(formats or ())} differ; drop one")
            formats, to = (named,), to.with_suffix("")
        elif to is not None and named in _PICTURES:
            raise UsageError(f"-o {to}: a picture is png, svg or pdf; choose one of them")
        formats = formats or ("png",)
        unknown = [part for part in formats if part not in render.FORMATS]
        if unknown:
            raise UsageError(f"--format {unknown[0]}: expected {', '.join(render.FORMATS)}")
        self.formats, self.terminal, self.to = formats, terminal, to
        self._drawn = 0

    def __call__(
        self,
        frame: pd.DataFrame,
        spec: FigureSpec,
        columns: Mapping[str, Any],
        stem: Path,
        provenance: Mapping[str, Any],
        footer: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """Print the paths of the files (or the text), and what there is to note on stderr.

        stem : the path of the files without their suffix, where no `-o` names another
        """
        if self.to is not None and self._drawn and not self.terminal:
            raise UsageError(f"-o {self.to} names one file; --figure chooses one figure")
        if self.terminal:
            size = shutil.get_terminal_size((100, 30))
            drawn, more = render.terminal(
                frame,
                spec,
                columns,
                width=size.columns,
                height=min(size.lines, 30),
                colour=text.coloured(sys.stdout),
                braille=text.can_show(render.BRAILLE, sys.stdout),
                footer=footer,
            )
            print(drawn)
        else:
            figure, more = render.render(frame, spec, columns, footer)
            if footer:
                provenance = {**provenance, "footer": list(footer)}
            if self.to is not None:  # asked for by name: another source may replace it
                provenance = {k: v for k, v in provenance.items() if k != "source"}
            flag = "--out" if "source" not in provenance and self.to is None else "-o"
            for path in render.save(figure, self.to or stem, self.formats, provenance, flag):
                print(path)
        self._drawn += 1
        for note in (*notes, *more):
            print(f"{stem.name}: {note}", file=sys.stderr)


def plot(request: Request, show: Show, save_spec: Path | None = None) -> None:
    """Draw what is asked for; with `save_spec`, keep it in a file that draws it again.

    Errors: `UsageError` for what cannot be drawn as asked; `ToolboxError` after all others were
    drawn, when a run had to be left out.
    """
    if request.target.endswith(figurefile.SUFFIXES) and Path(request.target).is_file():
        request = _from_file(request)
    if request.is_study:
        _plot_study(request, show)
    elif request.command is not None:
        raise UsageError(
            f"{request.target} is no study, so it takes no command; drop {request.command!r}"
        )
    elif Path(request.target).is_dir():
        _plot_run(request, show)
    else:
        _plot_file(request, show)
    if save_spec is not None:
        place = {
            "target": request.target, "command": request.command, "figure": request.figure,
            "pool": None if request.pool == "newest" else request.pool, **vars(request.reading),
        }  # fmt: skip
        figurefile.save(save_spec, place, request.changes, is_path=not request.is_study)


def _from_file(request: Request) -> Request:
    """The request that a figure's file holds; what the command line says goes before it."""
    place, changes = figurefile.load(Path(request.target))
    given = vars(request.reading)
    kept = {key: place.get(key) for key in ("sep", "decimal", "thousands")}
    return Request(
        target=place["target"],
        out=request.out,
        command=request.command or place.get("command"),
        figure=request.figure or place.get("figure"),
        pool=request.pool if request.pool != "newest" else place.get("pool", "newest"),
        reading=Reading(**{key: given[key] or kept[key] for key in kept}),
        changes={**changes, **request.changes},
    )


def _plot_study(request: Request, show: Show) -> None:
    """Draw declared figures, each over one pool of complete runs."""
    study, command, figure = request.target, request.command, request.figure
    drawn, left_out, there = 0, [], []
    figures = {key for _, _, spec in selected(study, command) for key in spec.figures}
    known(figure, figures, study)
    for _, name, _ in selected(study, command):
        surveyed = survey(request.out, study, name)
        left_out += surveyed.left_out
        there += [each.id for each in surveyed.pools]
        for chosen in _choose(surveyed.pools, request.pool):
            if other := code.other_code(study, [run.manifest for run in chosen.runs]):
                print(f"{study} {name}: {other}", file=sys.stderr)
            folder = request.out / study / name / "figures" / chosen.id
            drawn += _draw_pool(chosen, figure, request.changes, show, folder)
    if drawn == 0 and there and request.pool not in ("newest", "all"):
        asked = f"{study} {command or ''}".strip()
        raise UsageError(
            f"--pool {request.pool}: no pool of {asked} begins so; there are {', '.join(there)}"
        )
    if left_out:
        raise ToolboxError(left_out_text(left_out))
    if drawn == 0:
        raise UsageError(
            f"no complete run of {study} {command or ''} under {request.out} has a figure to draw; "
            f"run it first (toolbox list {study}) or name the place with --out"
        )


def _plot_run(request: Request, show: Show) -> None:
    """Draw the declared figures of the one run whose folder is named."""
    folder = Path(request.target)
    try:
        manifest = manifests.finished(folder)
    except manifests.BadManifest as error:
        raise UsageError(f"{folder}: no folder of a finished run ({error}); name one") from None
    study, name = manifest["study"], manifest["command"]
    spec = load_command(study, name)
    known(request.figure, set(spec.figures), f"{study} {name}")
    status = Status(manifest["status"])
    run = RunRecord(study, name, manifest["id"], status, folder, manifest).checked()
    if wrong := run.damage or run.mismatch(spec):
        raise ToolboxError(f"{folder} cannot be drawn: {wrong}")
    target = folder.resolve().parent / "figures" / run.id
    pool = Pool(study, name, run.id, (run,), spec)
    if not _draw_pool(pool, request.figure, request.changes, show, target):
        raise UsageError(f"{study} {name} declares no figure; name a table in {folder} instead")


def _draw_pool(
    pool: Pool, figure: str | None, changes: Mapping[str, Any], show: Show, folder: Path
) -> int:
    """Draw the figures of one pool into a folder; how many there were."""
    footer, drawn = Footer(pool), 0
    for key in pool.spec.figures:
        if figure in (None, key):
            spec, frame, columns = of_pool(pool, key, changes)
            provenance = {
                "title": spec.title,
                "caption": spec.caption,
                "command": f"toolbox {pool.study} {pool.command}",
                "runs": [run.id for run in pool.runs],
            }
            show(frame, spec, columns, folder / key, provenance, footer.lines(spec))
            drawn += 1
    return drawn


def of_pool(
    pool: Pool, figure: str, changes: Mapping[str, Any]
) -> tuple[FigureSpec, pd.DataFrame, Mapping[str, Any]]:
    """A declared figure with its changes, the rows that it draws, and their columns.

    Errors: `UsageError` for changes that do not fit together.
    """
    spec = _changed(pool.spec.figures[figure], changes)
    return spec, pool.read(spec.table), pool.spec.tables[spec.table].all_columns


def of_frame(title: str, changes: Mapping[str, Any]) -> FigureSpec:
    """A figure that no study declares.

    Errors: `UsageError` for changes that do not fit together.
    """
    try:
        return FigureSpec.model_validate({"title": title, **changes})
    except ValidationError as error:
        raise _sentence(error) from None


def known(figure: str | None, figures: set[str], whose: str) -> None:
    """Errors: `UsageError` for a figure that is not declared."""
    if figure is not None and figure not in figures:
        there = ", ".join(sorted(figures)) or "none"
        raise UsageError(f"--figure {figure}: {whose} declares {there}")


def _choose(pools: list[Pool], asked: str) -> list[Pool]:
    if asked == "newest" and len(pools) > 1:
        print(
            f"{pools[-1].command}: {len(pools)} configurations have complete runs; drawing the "
            "newest (--pool all draws each)",
            file=sys.stderr,
        )
    return choose(pools, asked)


def _changed(spec: FigureSpec, changes: Mapping[str, Any]) -> FigureSpec:
    try:
        return FigureSpec.model_validate({**spec.model_dump(), **changes})
    except ValidationError as error:
        raise _sentence(error) from None


def _sentence(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    flag = "--" + str(first["loc"][0]) if first["loc"] else "the figure"
    if first["type"] == "missing":
        return UsageError(f"{flag} is missing; name the column to draw")
    if first["type"] == "literal_error":
        expected = first["ctx"]["expected"].replace("'", "")
        return UsageError(f"{flag} {first['input']}: expected {expected}")
    return UsageError(f"{flag}: {first['msg'].removeprefix('Value error, ')}")


def _plot_file(request: Request, show: Show) -> None:
    """Draw any tidy table; the picture is put beside it.

    Errors: `UsageError` for what is no table, `TableError` for a run's altered one.
    """
    source = request.target
    if request.figure is not None:
        raise UsageError(f"--figure {request.figure}: {source} is a table, which declares none")
    path = Path("stdin" if source == "-" else source)
    stem = path if source == "-" else path.with_name(_stem(path))
    if source != "-" and not path.is_file() and path.exists():
        stem = Path("pipe")  # /dev/fd takes no picture, and its name is a number
    spec = of_frame(stem.name, request.changes)
    frame, columns, notes = _read(source, path, spec, request.reading)
    provenance = {"title": spec.title, "source": source_name(source)}
    if source != "-":
        provenance["source"] = path.name
    show(frame, spec, columns, stem, provenance, notes=notes)


def _stem(path: Path) -> str:
    """The name without what says that it is a table: loss.csv.gz becomes loss, T=0.5.csv T=0.5."""
    name = path.name
    while name.endswith(_TABLES) and not name.startswith("."):
        name = name.rpartition(".")[0]
    return name


def _read(
    source: str, path: Path, spec: FigureSpec, reading: Reading
) -> tuple[pd.DataFrame, Mapping[str, Any], list[str]]:
    """A table of a run is checked against its manifest; any other is taken as it is."""
    manifest = manifests.read(path.parent) if source != "-" else None
    if manifest is not None and path.stem in manifest.get("tables", {}):
        tables = load_command(manifest["study"], manifest["command"]).tables
        if path.stem in tables:
            columns = tables[path.stem].all_columns
            return read_table(path, columns, manifest["tables"][path.stem]), columns, []
    labels = {name for name in (spec.hue, spec.style, spec.col, spec.row) if name}
    if spec.kind in ("heatmap", "bar"):
        labels.add(spec.x)
    if spec.kind == "heatmap":
        labels.add(spec.y)
    frame, notes = read(source, reading, labels)
    return frame, {}, notes
