"""`toolbox report`: all results in one HTML file, or as pages of Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolbox.core.atomic import refused, replacing
from toolbox.core.errors import ToolboxError, UsageError
from toolbox.core.pools import left_out_text

if TYPE_CHECKING:
    from toolbox.commands.report.collect import Findings

MARK = b'<meta name="generator" content="toolbox report">'


def report(
    study: str | None, command: str | None, to: Path | None, markdown: Path | None, out: Path
) -> None:
    """Write the report and print its path.

    to : the HTML file; by default report.html in `out`, unless pages of Markdown are asked for
    markdown : a folder for pages of Markdown with figures

    Errors: `UsageError` where there is no run to show, or the file is somebody else's;
    `ToolboxError` after the report was written, when a run had to be left out.
    """
    from toolbox.commands.report.collect import collect

    target = to or (out / "report.html" if markdown is None else None)
    if target is not None:
        _refuse_foreign(target)
    if markdown is not None and command is not None:
        raise UsageError("--markdown writes pages of whole papers; leave out the command")
    findings = collect(out, study, command)
    shown = [each for each in findings.reproductions if each.configurations or each.unused]
    if not shown and not findings.strangers:
        asked = " ".join(filter(None, (study, command))) or "any study"
        raise UsageError(
            f"no run of {asked} under {out}; run a command first (toolbox list) or name the place "
            "with --out"
        )
    if markdown is not None:
        from toolbox.commands.report.gallery import write

        for path in write(findings, markdown):
            print(path)
    if target is not None:
        _write_page(findings, target)
    if findings.left_out:
        raise ToolboxError(left_out_text(findings.left_out))
    for each in findings.reproductions:
        if each.error:
            print(f"{each.study} {each.command}: {each.error}", file=sys.stderr)


def _write_page(findings: Findings, target: Path) -> None:
    from toolbox.commands.report.page import page

    text = page(findings, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(target.parent, error, "--to") from None
    with replacing(target, "--to") as handle:
        handle.write(text.encode("utf-8", "replace"))
    print(target)


def _refuse_foreign(target: Path) -> None:
    """Errors: `UsageError` when something is there that is no report of ours."""
    if target.is_dir():
        raise UsageError(f"--to {target}: it is a folder; name a file, such as report.html")
    if target.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--to {target}: a report is an HTML file; let its name end with .html")
    if target.is_file() and MARK not in target.read_bytes()[:2000]:
        raise UsageError(
            f"{target} is there and is no report by toolbox, so it is not replaced; --to names "
            "another file"
        )
