"""A sweep file, resolved: the cells that it stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolbox.core.command import Command
from toolbox.core.execute import Request
from toolbox.core.formula import Formula
from toolbox.core.params import Param
from toolbox.core.spec import CommandSpec


@dataclass(frozen=True)
class Cell:
    """One run of the sweep."""

    index: int
    id: str
    params: dict[str, Any]
    """Every parameter that changes numbers, `seed` and `repeats` included."""
    origins: dict[str, str]
    point: dict[str, Any]
    """Its place on the axes: what makes it differ from its siblings."""


@dataclass(frozen=True)
class Sweep:
    """A sweep file, resolved: every cell with its run id."""

    file: Path
    study: str
    command: str
    preset: str
    spec: CommandSpec
    defined: Command
    """The command's experiment: (run, **parameters)."""
    signature: dict[str, Param]
    cells: tuple[Cell, ...]
    excluded: int = 0
    """Cells of the grid that `exclude` leaves out."""
    memory: Formula | None = None
    """Megabytes of a cell."""
    time: Formula | None = None
    """Minutes of a cell."""

    @property
    def name(self) -> str:
        """The file's name without its ending, to name jobs by."""
        return self.file.stem

    def label(self, cell: Cell) -> str:
        """`T=100 c=1.27`: the cell's place, as it would be typed."""
        return " ".join(f"{name}={self.text(name, v)}" for name, v in cell.point.items()) or "-"

    def text(self, name: str, value: Any) -> str:
        """A parameter's value as it would be typed."""
        return self.signature[name].text(value)

    def megabytes(self, cell: Cell) -> int | None:
        """The memory that the file's formula gives a cell, rounded up; None without a formula."""
        return math.ceil(self.memory.value(cell.params)) if self.memory else None

    def minutes(self, cell: Cell) -> int | None:
        """The time limit that the file's formula gives a cell, rounded up; None without one."""
        return math.ceil(self.time.value(cell.params)) if self.time else None

    def request(
        self,
        cell: Cell,
        out: Path,
        device: str,
        threads: int | None,
        scratch: Path | None,
        limit: float | None = None,
    ) -> Request:
        """The cell as a command line's request."""
        return Request(
            study=self.study,
            command=self.command,
            params=cell.params,
            origins=cell.origins,
            preset=self.preset,
            out=out,
            device=device,
            threads=threads,
            again=False,
            allow_costly=False,
            quiet=False,
            scratch=scratch,
            limit=limit,
        )
