"""Tables for programs and papers: CSV, Markdown and LaTeX, each with its own escapes."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence

from toolbox.commands.options import FORMATS
from toolbox.core.errors import UsageError

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "≤": r"$\le$", "≥": r"$\ge$", "±": r"$\pm$", "×": r"$\times$", "−": "-", "→": r"$\to$",
}  # fmt: skip


_LONG = 24
"""Characters beyond which a column of LaTeX breaks its lines."""
_LINE = 200
"""Characters of small print on a line of a page that lies on its side."""
_ONE_PAGE = 15
"""Rows beyond which a table of LaTeX goes over several pages."""


def chosen(format: str, as_json: bool) -> str:
    """The format that `--format` and `--json` ask for.

    Errors: `UsageError` for an unknown format, and where the two differ.
    """
    if format not in FORMATS:
        raise UsageError(f"--format {format}: expected {', '.join(FORMATS)}")
    if as_json and format not in ("table", "json"):
        raise UsageError(f"--format {format} and --json differ; drop one")
    return "json" if as_json else format


def written(format: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as csv, markdown or latex, without a line break at its end."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    return {"csv": _csv, "markdown": markdown, "latex": _latex}[format](columns, cells)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue().rstrip("\n")


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in GitHub's Markdown, whose cells show their text as it is."""
    lines = [
        columns,
        ["---"] * len(columns),
        *([in_markdown(cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line; what stands between backticks is code."""
    parts = re.split(r"(`[^`]+`)", " ".join(text.split()))
    parts[::2] = map(_escaped, parts[::2])
    parts[1::2] = (code.replace("|", r"\|") for code in parts[1::2])
    return "".join(parts)


def _escaped(text: str) -> str:
    text = re.sub(r"([\\`*_\[\]|~$^])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    long = len(rows) > _ONE_PAGE
    kind, packages = (
        ("longtable", "array,booktabs,longtable") if long else ("tabular", "array,booktabs")
    )
    lines = [
        rf"% needs \usepackage[T1]{{fontenc}} and \usepackage{{{packages}}}",
        rf"\begin{{{kind}}}{{{_latex_columns(columns, rows)}}}",
        r"\toprule",
        _latex_row(columns),
        r"\midrule",
        *([r"\endhead"] if long else []),
        *map(_latex_row, rows),
        r"\bottomrule",
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines)


def _latex_columns(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Short columns as wide as they are; the long ones share what is left and break their lines."""
    longest = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    shares = [min(length, 4 * _LONG) if length > _LONG else 0 for length in longest]
    short = sum(length for length in longest if length <= _LONG)
    left = max(0.4, 0.9 - short / _LINE)
    return "".join(
        rf">{{\raggedright\arraybackslash}}p{{{left * share / sum(shares):.2f}\linewidth}}"
        if share
        else "l"
        for share in shares
    )


def _latex_row(row: Sequence[str]) -> str:
    return " & ".join(map(in_latex, row)) + r" \\"


def in_latex(text: str) -> str:
    """Text that LaTeX shows as it is; a Greek letter becomes its command in mathematics."""
    return "".join(
        _LATEX.get(character) or _greek(character) for character in " ".join(text.split())
    )


def _greek(character: str) -> str:
    name = unicodedata.name(character, "")
    letter = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", name)
    if not letter:
        return character
    word = {"LAMDA": "lambda"}.get(letter[2], letter[2].lower())
    return f"$\\{word if letter[1] == 'SMALL' else word.capitalize()}$"
