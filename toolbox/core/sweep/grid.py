"""A sweep file, read strictly against its command's signature, and the cells it stands for.

    command: gd train          # one command
    preset: smoke              # the layer under everything below, as on a command line
    fixed: {T: 500}            # the same in every cell
    axes:                      # the grid is their product, the last axis fastest
      lr: {logspace: {from: 1e-3, to: 1, num: 7}}
      zip: {width: [64, 128], depth: [2, 4]}    # these advance together; or a list of such
    exclude: width < depth     # cells to leave out; or a list of such filters
    repeats: 3                 # repetitions inside each run
    seeds: 5                   # runs at each point of the grid, each with a seed of its own
    seed: 0                    # root of every derived seed
    memory: 200 + 4e-6 * d**3  # of a cell, in MB, for `sweep script` and `sweep submit`
    time: 5 + T / 1000         # of a cell, in minutes, likewise

A cell is what `toolbox STUDY COMMAND --preset P --flag value ...` would run: the same parsing, the
same run id, the same folder. The environment is not read: a file means one thing everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolbox.core import strict_yaml
from toolbox.core.cli import contents_of
from toolbox.core.command import Command
from toolbox.core.errors import UsageError
from toolbox.core.formula import Formula, compile_formula
from toolbox.core.options import SHARED_PARAMS
from toolbox.core.params import Param, run_id
from toolbox.core.presets import preset_values
from toolbox.core.spec import load_command
from toolbox.core.studies import registered
from toolbox.core.suggest import did_you_mean
from toolbox.core.sweep.axes import MAX_VALUES, values_of
from toolbox.core.sweep.cells import Cell, Sweep
from toolbox.core.sweep.seeds import cell_seed
from toolbox.core.where import Where, compile_where, unknown

KEYS = (
    "command",
    "preset",
    "fixed",
    "axes",
    "exclude",
    "repeats",
    "seeds",
    "seed",
    "memory",
    "time",
)
_SEEDS = Param("seeds", int, 1, "")

Point = dict[str, Any]


def load_sweep(file: Path) -> Sweep:
    """Read a sweep file and expand its grid; nothing runs.

    Errors: `UsageError` beginning with file:line for an unknown key, command, preset, parameter or
    a value that the command's signature refuses.
    """
    mapping = strict_yaml.load_mapping(file)
    for key in mapping:
        if key not in KEYS:
            raise UsageError(
                f"{mapping.where(key)}: {key}: no such key{did_you_mean(key, KEYS)} "
                f"(there are {', '.join(KEYS)})"
            )
    return _Reader(mapping).sweep()


class _Reader:
    """Turns the mapping of a file to a `Sweep`; every error names the file and a line."""

    def __init__(self, mapping: strict_yaml.Mapping) -> None:
        self.mapping = mapping
        self.study, self.command = self._command()
        self.defined: Command = self._at("command", lambda: registered(self.study, self.command))
        self.spec = load_command(self.study, self.command)
        self._known: dict[tuple[str, ...], dict[str, str]] = {}
        numeric = {k: p for k, p in self.defined.params.items() if k not in self.defined.display}
        self.params: dict[str, Param] = {**numeric, **SHARED_PARAMS}
        self.preset = self._word("preset", "small")
        self.below: Point = self._at(
            "preset",
            lambda: preset_values(
                self.study, self.command, self.preset, {**self.defined.params, **SHARED_PARAMS}
            ),
        )

    def sweep(self) -> Sweep:
        fixed = self._fixed()
        axes = self._axes(fixed)
        if "repeats" in self.mapping:
            self._free("repeats", "repeats", fixed, axes)
            fixed["repeats"] = self._parsed(self.mapping, "repeats", SHARED_PARAMS["repeats"])
        root, seeds = self._seeds(fixed, axes)
        grid = tuple(self._cells(fixed, axes, root, seeds))
        self._distinct(grid)
        cells = self._kept(grid)
        if self.spec.deterministic:
            for cell in cells:
                if cell.params["repeats"] > 1:
                    raise self._error(
                        "repeats" if "repeats" in self.mapping else "command",
                        f"{self.study} {self.command} is exact, repetitions would be copies; "
                        "leave repeats at 1",
                    )
        return Sweep(
            self.mapping.file.resolve(),
            self.study,
            self.command,
            self.preset,
            self.spec,
            self.defined,
            self.params,
            cells,
            excluded=len(grid) - len(cells),
            memory=self._formula("memory", cells),
            time=self._formula("time", cells),
        )

    # ------------------------------------------------------------------------- the keys

    def _contents(self, params: Point) -> dict[str, str]:
        """The contents of the files that a cell reads; each file is read once for all cells."""
        files = {name: params[name] for name in self.defined.files}
        key = tuple(files.values())
        if key not in self._known:
            self._known[key] = contents_of(files, self.defined.within)
        return self._known[key]

    def _command(self) -> tuple[str, str]:
        words = self._word("command", "").split()
        if len(words) != 2:
            raise self._error(
                "command",
                f"expected `command: STUDY COMMAND`, got {self.mapping.get('command')!r}; "
                "`toolbox list` shows them",
            )
        return words[0], words[1]

    def _word(self, key: str, default: str) -> str:
        value = self.mapping.get(key, default)
        if not isinstance(value, str):
            raise self._error(key, f"expected text, got {value!r}")
        return value

    def _fixed(self) -> Point:
        written = self._section("fixed")
        return {key: self._parsed(written, key, self._param(written, key)) for key in written}

    def _axes(self, fixed: Point) -> list[list[Point]]:
        """Each axis as the list of what it sets: one parameter, or those of a zip."""
        written = self._section("axes")
        axes: list[list[Point]] = []
        for key, value in written.items():
            if key == "zip":
                for group in value if isinstance(value, list) else [value]:
                    axes.append(self._zip(written, group))
            else:
                values = self._axis(written, key)
                axes.append([{key: one} for one in values])
        seen: set[str] = set()
        for axis in axes:
            for name in axis[0]:
                if name in seen or name in fixed:
                    where = "`fixed` and `axes`" if name in fixed else "two axes"
                    raise self._error("axes", f"{name} stands in {where}; keep one")
                seen.add(name)
        return axes

    def _zip(self, written: strict_yaml.Mapping, group: Any) -> list[Point]:
        if not isinstance(group, strict_yaml.Mapping) or len(group) < 2:
            raise UsageError(
                f"{written.where('zip')}: zip: expected two or more axes that advance together, "
                "{zip: {width: [64, 128], depth: [2, 4]}}"
            )
        columns = {name: self._axis(group, name, repeats=True) for name in group}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} has {n}" for name, n in lengths.items())
            raise UsageError(f"{written.where('zip')}: zip: axes of unequal length: {shown}")
        rows = list(zip(*columns.values(), strict=True))
        if len(set(rows)) < len(rows):
            row = next(row for row in rows if rows.count(row) > 1)
            shown = ", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True))
            raise UsageError(f"{written.where('zip')}: zip: {shown} stands there more than once")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _axis(self, written: strict_yaml.Mapping, key: str, repeats: bool = False) -> list[Any]:
        param = self._param(written, key)
        try:
            return values_of(param, written[key], repeats)
        except ValueError as error:
            raise UsageError(f"{written.where(key)}: {key}: {error}") from None

    def _seeds(self, fixed: Point, axes: list[list[Point]]) -> tuple[int, int]:
        seeds = 1
        root: int = self._parsed(self.mapping, "seed", SHARED_PARAMS["seed"], 0)
        for key in ("seeds", "seed"):
            if key in self.mapping:
                self._free(key, "seed", fixed, axes)
        if "seeds" in self.mapping:
            seeds = self._parsed(self.mapping, "seeds", _SEEDS)
            if isinstance(self.mapping["seeds"], list) or not 1 <= seeds <= MAX_VALUES:
                raise self._error(
                    "seeds",
                    f"expected a count from 1 to {MAX_VALUES}, got {self.mapping['seeds']!r}; "
                    "for seeds of your own write `axes: {seed: [...]}`",
                )
            if seeds > 1 and self.spec.deterministic:
                raise self._error(
                    "seeds", f"{self.study} {self.command} is exact: no number depends on the seed"
                )
        return root, seeds

    def _cells(
        self, fixed: Point, axes: list[list[Point]], root: int, seeds: int
    ) -> Iterator[Cell]:
        size = seeds
        for axis in axes:
            size *= len(axis)
        if size > MAX_VALUES:
            raise self._error("axes", f"{size} cells; the limit is {MAX_VALUES}")
        defaults = {name: param.default for name, param in self.params.items()}
        base = {**defaults, **{k: v for k, v in self.below.items() if k in defaults}, **fixed}
        origins = dict.fromkeys(defaults, "default")
        origins.update(dict.fromkeys(self.below, f"preset {self.preset}"))
        origins.update(dict.fromkeys(fixed, "sweep"))
        given = "seed" in fixed or any("seed" in axis[0] for axis in axes)
        # An exact command's numbers depend on no seed: its cells are the plain command's runs.
        derived = not given and not self.spec.deterministic
        index = 0
        for chosen in itertools.product(*axes):
            point = {name: value for part in chosen for name, value in part.items()}
            for replicate in range(seeds):
                params = {**base, **point}
                contents = self._contents(params)
                params |= contents
                if derived:
                    params["seed"] = cell_seed(root, self.study, self.command, params, replicate)
                shown = {**point, "seed": params["seed"]} if seeds > 1 else point
                touched = [*point, "seed"] if derived else point
                yield Cell(
                    index,
                    run_id(self.study, self.command, params),
                    params,
                    {
                        **origins,
                        **dict.fromkeys(contents, "file"),
                        **dict.fromkeys(touched, "sweep"),
                    },
                    shown,
                )
                index += 1

    def _kept(self, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        """The cells that no filter of `exclude` names, counted anew from 0."""
        written = self.mapping.get("exclude", [])
        filters = [
            self._filter(each) for each in (written if isinstance(written, list) else [written])
        ]
        kept = [
            cell
            for cell in cells
            if not self._at(
                "exclude",
                lambda: any(each.test(cell.params) for each in filters),
            )
        ]
        if not kept:
            raise self._error("exclude", f"leaves out all {len(cells)} cells")
        return tuple(replace(cell, index=index) for index, cell in enumerate(kept))

    def _filter(self, text: Any) -> Where:
        if not isinstance(text, str):
            raise self._error(
                "exclude", f'expected a filter such as "width < depth", or a list, got {text!r}'
            )
        condition: Where = self._at("exclude", lambda: compile_where(text))
        for name in condition.names:
            if name not in self.params:
                raise self._error("exclude", unknown(name, self.params, "parameter"))
        return condition

    def _formula(self, key: str, cells: tuple[Cell, ...]) -> Formula | None:
        """The formula of `memory` or `time`, tried on every cell."""
        if key not in self.mapping:
            return None
        text = self.mapping[key]
        if isinstance(text, bool) or not isinstance(text, str | int | float):
            raise self._error(key, f"expected a number or a formula, got {text!r}")
        formula: Formula = self._at(key, lambda: compile_formula(str(text), self.params))
        self._at(key, lambda: [formula.value(cell.params) for cell in cells])
        return formula

    def _distinct(self, cells: tuple[Cell, ...]) -> None:
        seen: dict[str, int] = {}
        for cell in cells:
            if cell.id in seen:
                raise self._error("axes", f"cells {seen[cell.id]} and {cell.index} are one run")
            seen[cell.id] = cell.index

    # ------------------------------------------------------------------------- helpers

    def _section(self, key: str) -> strict_yaml.Mapping:
        value = self.mapping.get(key)
        if value is None:
            value = strict_yaml.Mapping()
            value.file, value.lines = self.mapping.file, {}
        if not isinstance(value, strict_yaml.Mapping):
            raise self._error(key, f"expected `name: value` lines, got {value!r}")
        return value

    def _param(self, written: strict_yaml.Mapping, key: str) -> Param:
        if key in self.defined.display:
            raise UsageError(f"{written.where(key)}: {key}: only for display, no part of a run")
        if key not in self.params:
            raise UsageError(
                f"{written.where(key)}: {key}: {self.study} {self.command} has no such parameter"
                f"{did_you_mean(key, self.params)} (there are {', '.join(self.params)})"
            )
        return self.params[key]

    def _parsed(
        self, written: strict_yaml.Mapping, key: str, param: Param, default: Any = None
    ) -> Any:
        if key not in written and default is not None:
            return default
        try:
            return param.parse(written[key])
        except ValueError as error:
            raise UsageError(f"{written.where(key)}: {key}: {error}") from None

    def _free(self, key: str, name: str, fixed: Point, axes: list[list[Point]]) -> None:
        if name in fixed or any(name in axis[0] for axis in axes):
            raise self._error(key, f"{name} also stands in `fixed` or `axes`; keep one")

    def _at(self, key: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except UsageError as error:
            raise self._error(key, str(error)) from None

    def _error(self, key: str, text: str) -> UsageError:
        return UsageError(f"{self.mapping.where(key)}: {key}: {text}")
