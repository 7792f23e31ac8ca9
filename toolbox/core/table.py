"""Tidy CSVs: written as declared in study.yaml, read back only if they are what was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolbox.core.errors import TableError
from toolbox.core.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from toolbox.core.spec import ColumnSpec, TableSpec

# pandas reads each of these words as a missing value; a method must not bear such a name.
_UNSAFE_TEXT = {"", "nan", "NaN", "NA", "N/A", "n/a", "null", "NULL", "None", "<NA>", "#N/A"}
_DTYPE = {"int": "int64", "float": "float64", "str": "str", "bool": "bool"}


class TableWriter:
    """Appends rows to one CSV inside a run's temporary folder and counts them."""

    def __init__(self, path: Path, spec: TableSpec, rows: int = 0) -> None:
        self.path, self.spec, self.rows = path, spec, rows
        if not path.exists():
            path.write_text(",".join(spec.all_columns) + "\n", encoding="utf-8")
        self._handle = path.open("ab")

    def write(self, rows: pd.DataFrame | Mapping[str, Any], **constant: Any) -> None:
        """Append rows (a frame, or columns by name; scalars are repeated).

        Errors: `ValueError` where rows and declaration differ; that is a bug of the experiment.
        """
        import pandas as pd

        columns = {**dict(rows), **constant}
        declared = self.spec.all_columns
        if set(columns) != set(declared):
            raise ValueError(_differing(set(columns), set(declared)))
        _check_lengths(columns)
        alone = not any(pd.api.types.is_list_like(values) for values in columns.values())
        frame = pd.DataFrame(columns, index=[0] if alone else None)
        typed = {name: _typed(frame[name], column) for name, column in declared.items()}
        text = pd.DataFrame(typed).to_csv(index=False, header=False, lineterminator="\n")
        self._handle.write(text.encode())
        self.rows += len(frame)

    def flush(self) -> None:
        """Hand everything written so far to the file."""
        self._handle.flush()

    def close(self) -> dict[str, Any]:
        """Close the file and describe it for the manifest: rows, bytes, sha256."""
        self.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()
        return {"rows": self.rows, "bytes": self.path.stat().st_size, "sha256": sha256(self.path)}

    def abandon(self) -> None:
        """Close without care for what was written."""
        try:
            self._handle.close()
        except OSError:  # a full disk refuses the buffered tail; the folder goes anyway
            self._handle.raw.close()


def _differing(given: set[str], declared: set[str]) -> str:
    extra = [f"no column {n!r} is declared{did_you_mean(n, declared)}" for n in given - declared]
    missing = [f"the declared column {name!r} is missing" for name in declared - given]
    return ", ".join([*sorted(extra), *sorted(missing)])


def _check_lengths(columns: Mapping[str, Any]) -> None:
    """Errors: `ValueError` naming two columns of different lengths."""
    lengths = {name: len(v) for name, v in columns.items() if getattr(v, "shape", 1) != ()
               and hasattr(v, "__len__") and not isinstance(v, str)}  # fmt: skip
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"the columns differ in length: {told}")


def _typed(values: pd.Series, column: ColumnSpec) -> pd.Series:
    """Cast to the declared type, so that a column's text does not depend on the chunk it is in."""
    if values.isna().any() and not column.optional and column.type != "float":
        raise ValueError(f"column {values.name}: empty cells, but it is not declared optional")
    if column.type == "str":
        present = values.dropna().astype(str)
        if unsafe := _UNSAFE_TEXT & set(present.unique()):
            raise ValueError(f"column {values.name}: {unsafe.pop()!r} would read back as missing")
        if present.str.contains("\r", regex=False).any():  # the writer does not quote it
            raise ValueError(f"column {values.name}: a carriage return would read back changed")
        return values
    if column.optional and column.type in ("int", "bool"):
        return values.astype("Int64" if column.type == "int" else "boolean")
    typed = values.astype(_DTYPE[column.type])  # type: ignore[call-overload]
    # astype turns 1.5 to 1 and the text "False" to True without a word.
    if column.type in ("int", "bool") and not (typed == values).all():
        raise ValueError(f"column {values.name}: a value is no {column.type}")
    return typed  # type: ignore[no-any-return]


def read_table(
    path: Path, columns: Mapping[str, ColumnSpec], expected: Mapping[str, Any]
) -> pd.DataFrame:
    """Read a run's CSV after checking it against its manifest entry.

    Errors: `TableError` naming the file when it is missing, cut or altered. pandas would read a
    file cut by a full disk without a word.
    """
    import pandas as pd

    if wrong := difference(path, expected) or header_difference(path, columns):
        raise TableError(f"{wrong}; make it again with --again")
    try:
        frame: pd.DataFrame = pd.read_csv(
            path,
            dtype={name: _read_dtype(column) for name, column in columns.items()},
            keep_default_na=False,
            na_values=[""],
            **_exact_floats(pd.__version__),
        )
    except ValueError as error:  # another version may have declared other types
        raise TableError(
            f"{path}: not a table of the declared types ({' '.join(str(error).split())}); make it "
            "again with --again"
        ) from None
    return frame


def difference(path: Path, written: Mapping[str, Any], whole: bool = True) -> str:
    """In what a file is not what the run wrote, or nothing.

    written : its entry in the manifest;  whole : compare the hash, and not the size alone
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            return f"{path} is no file"
        if size != written["bytes"]:
            return (
                f"{path} has {size} bytes, the run wrote {written['bytes']} (truncated or edited)"
            )
        if whole and sha256(path) != written["sha256"]:
            return f"{path} holds other bytes than the run wrote (edited)"
    except FileNotFoundError:
        return f"{path} is missing"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror})"
    return ""


def header_difference(path: Path, columns: Mapping[str, ColumnSpec]) -> str:
    """How the columns of a run's table differ from the declared ones, or nothing."""
    with path.open(encoding="utf-8", errors="replace") as handle:
        header = handle.readline().rstrip("\n").split(",")
    if header == list(columns):
        return ""
    return (
        f"{path}: its columns {', '.join(header)} are not the declared {', '.join(columns)}; "
        "it was made by another version"
    )


def _exact_floats(pandas_version: str) -> dict[str, Any]:
    """Before pandas 3.1 floats read by default are off by one bit now and then; after it the
    option is deprecated."""
    release = tuple(int(part) for part in pandas_version.split(".")[:2])
    return {} if release >= (3, 1) else {"float_precision": "round_trip"}


def _read_dtype(column: ColumnSpec) -> str:
    if column.optional and column.type in ("int", "bool"):
        return "Int64" if column.type == "int" else "boolean"
    return _DTYPE[column.type]


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
