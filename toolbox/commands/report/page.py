"""One HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from toolbox.commands.report.collect import NOT_RUN, OUTCOMES, Configuration, Findings
from toolbox.commands.report.picture import span
from toolbox.core import claims
from toolbox.core.pools import Pool
from toolbox.core.show import measured_text, region_text
from toolbox.core.status import Status
from toolbox.core.times import in_words
from toolbox.version import __version__

EMBEDDED = 30_000
"""Bytes up to which a table stands in the page; the path of a larger one is given."""
LISTED = 20
"""Runs of a configuration that are listed one by one."""
LETTERS = {"supported": "S", "refuted": "R", "inconclusive": "I", "not tested": "N", NOT_RUN: "–"}
ORIGINS = {
    "paper": "the paper's own statement",
    "derived": "a law derived here",
    "control": "a control of the method",
    "companion": "a companion, not in the paper",
}


@dataclass(frozen=True)
class Download:
    """A table of a configuration."""

    name: str
    about: str
    rows: int
    size: int
    href: str
    path: str
    """Where the file is, when it is too large for the page."""


def page(findings: Findings, target: Path) -> str:
    """The HTML of a report that will be written to `target`, to which its links are relative."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("toolbox.commands.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source, _, _ = environment.loader.get_source(environment, "report.js")  # type: ignore[union-attr]
    script = source.strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {
        "downloads": functools.partial(_downloads, folder=target.parent),
        "span": span,
        "measured": measured_text,
        "region": region_text,
        "words": in_words,
        "slug": slug,
        "anchor": _anchor,
        "letters": LETTERS,
        "origins": ORIGINS,
        "outcomes": OUTCOMES,
        "listed": LISTED,
        "size_in_words": size_in_words,
        "sentence": _sentence,
    }
    return environment.get_template("report.html").render(
        findings=findings,
        script=Markup(script),
        digest=digest,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=__version__,
        refuted=_with(findings, "refuted"),
        inconclusive=_with(findings, "inconclusive"),
    )


def slug(*parts: str) -> str:
    """An id made of names: what no id may hold becomes a hyphen."""
    return ".".join(re.sub(r"[^\w-]", "-", part) for part in parts)


def _anchor(configuration: Configuration, newest: bool, claim: str) -> str:
    """The id of a claim in a configuration; the matrix leads to that of the newest."""
    pool = configuration.pool
    return slug(pool.study, pool.command, *([] if newest else [pool.id]), claim)


def size_in_words(size: int) -> str:
    """'12 kB'."""
    return f"{size} bytes" if size < 1000 else (
        f"{size / 1e3:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
    )  # fmt: skip


def _sentence(status: Status | None) -> str:
    return status.sentence if status else "at work, or killed"


def _with(findings: Findings, outcome: str) -> list[tuple[str, str, claims.Verdict]]:
    """Study, command and verdict of the claims with this outcome, the papers' own first."""
    verdicts = [
        (each.study, each.command, verdict)
        for each in findings.reproductions
        for newest in each.configurations[:1]
        for verdict in newest.verdicts
        if verdict.verdict == outcome
    ]
    return sorted(verdicts, key=lambda each: claims.ORIGINS.index(each[2].origin))


def _downloads(configuration: Configuration, folder: Path) -> Iterator[Download]:
    """The tables of a configuration: in the page, or where they are."""
    pool = configuration.pool
    for name, table in pool.spec.tables.items():
        described = [run.manifest["tables"][name] for run in pool.runs]
        rows = sum(each["rows"] for each in described)
        size = sum(each["bytes"] for each in described)
        paths = [run.path / f"{name}.csv" for run in pool.runs]
        if size <= EMBEDDED:
            text = _bytes(pool, name, paths)
            href = "data:text/csv;base64," + base64.b64encode(text).decode()
            yield Download(name, table.rows, rows, size, href, "")
        else:
            where = paths[0] if len(paths) == 1 else pool.runs[0].path.parent
            href = quote(os.path.relpath(where, folder))
            yield Download(name, table.rows, rows, size, href, str(where))


def _bytes(pool: Pool, name: str, paths: list[Path]) -> bytes:
    """The file of the only run, or the rows of all runs together."""
    if len(paths) == 1:
        return paths[0].read_bytes()
    text: Any = pool.read(name).to_csv(index=False)
    return str(text).encode()
