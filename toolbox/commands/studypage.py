"""The page of one study in the documentation, written from `study.yaml` and the flags alone."""

from __future__ import annotations

from collections.abc import Iterator

from toolbox.commands.formats import in_markdown, markdown
from toolbox.core.claims import ORIGIN_NAMES
from toolbox.core.show import region_text
from toolbox.core.spec import CommandSpec, Guide, load_study
from toolbox.core.studies import registered
from toolbox.core.times import preset_time

_MADE = (
    "<!-- Written by `toolbox list {study} --format markdown` from study.yaml; a test compares "
    "them. -->"
)


def page(study: str) -> str:
    """Markdown: what the paper says, what is built, what is missing, and every command."""
    loaded = load_study(study)
    parts = [
        _MADE.format(study=study),
        f"# `{study}`: {in_markdown(loaded.title)}",
        f"{in_markdown(loaded.authors)}. "
        f"[arXiv:{loaded.arxiv}](https://arxiv.org/abs/{loaded.arxiv}) {loaded.venue}".rstrip(),
        *(_guide(loaded.guide) if loaded.guide else ()),
        "## The commands",
        markdown(
            ("command", "what it does", "claims", "time of `small`"),
            [
                (f"{study} {key}", spec.about, str(len(spec.claims)), _time(spec, "small"))
                for key, spec in loaded.commands.items()
            ],
        ),
    ]
    for key, spec in loaded.commands.items():
        parts += _command(study, key, spec)
    return "\n\n".join(parts)


def _guide(guide: Guide) -> Iterator[str]:
    for title, paragraphs in (
        ("What the paper says", guide.says),
        ("What is built here", guide.built),
        ("What is scaled down", guide.scaled_down),
        ("Findings noted with the study", guide.findings),
    ):
        if paragraphs:
            yield f"## {title}"
            yield from map(in_markdown, paragraphs)
    if guide.not_here:
        yield "## Experiments of the paper that are not here"
        yield markdown(("experiment", "why"), [(gap.what, gap.why) for gap in guide.not_here])
    if guide.flags:
        yield "## Flags that matter"
        yield markdown(("flag", "what it changes"), list(guide.flags.items()))
    if guide.next:
        yield "## What to try next"
        yield "```\n" + "\n".join(guide.next) + "\n```"


def _command(study: str, key: str, spec: CommandSpec) -> Iterator[str]:
    yield f"## `toolbox {study} {key}`"
    yield f"{in_markdown(spec.about[:1].upper() + spec.about[1:])}."
    if spec.claims:
        yield markdown(
            ("claim", "whose", "statement", "where", "paper", "pass region"),
            [
                (name, ORIGIN_NAMES[claim.origin], _statement(claim.statement, claim.scaled_down),
                 claim.reference, claim.paper, region_text(claim.region))
                for name, claim in spec.claims.items()
            ],
        )  # fmt: skip
    presets = [
        (name, _time(spec, name) or "-", " ".join(f"{k}={_value(v)}" for k, v in values.items()))
        for name, values in spec.presets.items()
        if name != "contract"
    ]
    yield markdown(("preset", "time on two cores", "values"), presets)
    yield markdown(
        ("flag", "default", "meaning"),
        [
            (param.flag or name, _value(param.default), param.help)
            for name, param in registered(study, key).params.items()
        ],
    )
    yield markdown(
        ("table", "one row is", "columns"),
        [
            (f"{name}.csv", table.rows, ", ".join(table.columns))
            for name, table in spec.tables.items()
        ],
    )


def _statement(statement: str, scaled_down: str) -> str:
    return f"{statement} (At this scale: {scaled_down})" if scaled_down else statement


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_value, value))
    return "-" if value is None else str(value)


def _time(spec: CommandSpec, preset: str) -> str:
    return preset_time(preset, spec.seconds, spec.projected)
