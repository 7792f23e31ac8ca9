"""The same results as pages of Markdown with figures: one per paper, and an index."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from toolbox.commands.formats import in_markdown, markdown
from toolbox.commands.report.collect import Configuration, Findings, Paper, Reproduction
from toolbox.core.atomic import refused, replacing
from toolbox.core.claims import ORIGIN_NAMES, Verdict
from toolbox.core.errors import UsageError
from toolbox.core.show import measured_text, region_text
from toolbox.core.times import in_words
from toolbox.version import __version__

MARK = "<!-- Written by `toolbox report --markdown`; it is written again, not edited. -->"
INDEX = "README.md"
HEAD = ("paper", "headline", "supported", "refuted", "inconclusive", "not tested", "time")
_MATERIAL = ("python", "torch", "numpy", "scipy")


class Row(NamedTuple):
    """A paper in the index."""

    paper: str
    headline: str
    supported: str
    refuted: str
    inconclusive: str
    not_tested: str
    time: str


def write(findings: Findings, folder: Path) -> list[Path]:
    """Write a page for each paper with a run, its figures, and the index; returns the pages.

    Errors: `UsageError` where a page of that name is somebody else's.
    """
    shown = [paper for paper in findings.papers if any(each.configurations
             for each in paper.reproductions)]  # fmt: skip
    pages = {f"{paper.name}.md": _page(paper) for paper in shown}
    if len(findings.papers) > 1:
        pages[INDEX] = _index(findings, shown)
    for name in pages:
        _refuse_foreign(folder / name)
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(folder, error, "--markdown") from None
    for paper in shown:
        for each in paper.reproductions:
            for newest in each.configurations[:1]:
                _draw(newest, folder / "figures")
    for name, parts in pages.items():
        with replacing(folder / name, "--markdown") as handle:
            handle.write("\n\n".join([MARK, *parts, ""]).encode("utf-8", "replace"))
    return [folder / name for name in pages]


def row(paper: Paper) -> Row:
    """What the index says of a paper: verdicts of all its claims, and the time of the runs."""
    counts: Counter[str] = paper.count()
    untested = counts["not tested"] + counts["not run"]
    name = f"[{paper.name}]({paper.name}.md)"
    headline = paper.spec.guide.headline if paper.spec.guide else ""
    return Row(
        f"{name}: {in_markdown(paper.spec.title)}",
        in_markdown(headline or paper.spec.commands[next(iter(paper.spec.commands))].about),
        str(counts["supported"]),
        str(counts["refuted"]),
        str(counts["inconclusive"]),
        str(untested),
        in_words(paper.seconds),
    )


def _index(findings: Findings, shown: list[Paper]) -> list[str]:
    made = datetime.now(UTC).strftime("%Y-%m-%d")
    total = in_words(sum(paper.seconds for paper in shown))
    machines = in_markdown("; ".join(findings.machines))
    lines = [HEAD, ("---",) * len(HEAD), *map(row, shown)]
    return [
        "# Results",
        f"Written {made} by toolbox {__version__} from {_presets(shown)}, computed on {machines} "
        f"in {total} altogether. Verdicts are those of the newest configuration of every command; "
        "what is refuted or inconclusive is shown as such.",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
    ]


def _presets(papers: list[Paper]) -> str:
    used = {str(run.manifest["preset"]) for paper in papers for each in paper.reproductions
            for newest in each.configurations[:1] for run in newest.pool.runs}  # fmt: skip
    return "runs of the preset" + ("s " if len(used) > 1 else " ") + ", ".join(
        f"`{name}`" for name in sorted(used)
    )  # fmt: skip


def _page(paper: Paper) -> list[str]:
    spec, guide = paper.spec, paper.spec.guide
    counts = paper.count()
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
    parts = [
        f"# `{paper.name}`: {in_markdown(spec.title)}",
        f"{in_markdown(spec.authors)}. [arXiv:{spec.arxiv}](https://arxiv.org/abs/{spec.arxiv}) "
        f"{spec.venue}".rstrip(),
        f"Claims: {told}. Computed in {in_words(paper.seconds)}.",
    ]
    if guide and guide.findings:
        parts += ["## Findings noted with the study", *map(in_markdown, guide.findings)]
    else:
        parts += map(in_markdown, paper.about)
    for each in paper.reproductions:
        for newest in each.configurations[:1]:
            parts += _command(each, newest)
    return parts


def _command(each: Reproduction, newest: Configuration) -> Iterator[str]:
    manifest = newest.newest.manifest
    machine, versions = manifest["machine"], manifest["versions"]
    yield f"## `toolbox {each.study} {each.command}`"
    yield f"{in_markdown(each.spec.about[:1].upper() + each.spec.about[1:])}."
    material = ", ".join(f"{name} {versions[name]}" for name in _MATERIAL if name in versions)
    yield in_markdown(
        f"{newest.heading}; {in_words(newest.seconds)} on {machine['cpu']}, {machine['threads']} "
        f"threads; toolbox {manifest['toolbox']}, {material}."
    )
    for note in newest.notes:
        yield f"Note: {in_markdown(note)}"
    if newest.verdicts:
        yield markdown(
            ("claim", "whose", "statement", "paper", "measured [95 % CI]", "region", "verdict"),
            [
                (v.claim, ORIGIN_NAMES[v.origin], f"{v.statement} [{v.reference}]", v.paper,
                 measured_text(v), region_text(v.region), v.verdict)
                for v in newest.verdicts
            ],
        )  # fmt: skip
    differing = [_differs(v) for v in newest.verdicts if v.scaled_down or v.verdict != "supported"]
    if differing:
        yield "What differs from the paper, or was not decided:\n\n" + "\n".join(differing)
    for picture in newest.pictures:
        if not picture.svg:
            yield in_markdown(f"Figure {picture.name} was not drawn: {picture.error}")
            continue
        yield f"![{in_markdown(picture.title)}](figures/{_stem(newest, picture.name)}.svg)"
        words = " ".join(filter(None, [f"*{in_markdown(picture.title)}.*",
                                       in_markdown(picture.caption)]))  # fmt: skip
        yield words


def _differs(verdict: Verdict) -> str:
    said = [f"- `{verdict.claim}` is {verdict.verdict}"]
    if verdict.verdict in ("inconclusive", "not tested"):
        said.append(f": {in_markdown(verdict.reason)}")
        if verdict.remedy:
            said.append(f"; `{verdict.remedy}` would decide")
    if verdict.scaled_down:
        said.append(f". At this scale: {in_markdown(verdict.scaled_down)}")
    return "".join(said)


def _stem(configuration: Configuration, figure: str) -> str:
    pool = configuration.pool
    return re.sub(r"[^\w-]", "-", f"{pool.study}-{pool.command}-{figure}")


def _draw(configuration: Configuration, folder: Path) -> None:
    """The figures as files: those of the HTML page on a white ground."""
    for picture in configuration.pictures:
        if picture.svg:
            head = (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{picture.width:g}pt" '
                f'height="{picture.height:g}pt" font-family="DejaVu Sans, Verdana, sans-serif" '
                'stroke-linejoin="round" '
            )
            svg = re.sub(r'^<svg style="[^"]*" ', head, picture.svg)
            first, rest = svg.split(">", 1)
            path = folder / f"{_stem(configuration, picture.name)}.svg"
            with replacing(path, "--markdown") as handle:
                ground = '<rect width="100%" height="100%" fill="white"/>'
                handle.write(f"{first}>{ground}{rest}\n".encode())


def _refuse_foreign(path: Path) -> None:
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UsageError(
            f"{path} is there and was not written by toolbox, so it is not replaced; --markdown "
            "names another folder"
        )
