"""What the shell offers behind TAB: names that are cheap to list, each with a few words of help.

The functions are called by Typer with the context of the command line so far. They import nothing
heavy, and whatever goes wrong in them offers nothing: a shell's prompt is no place for a message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Offer = list[tuple[str, str]]
"""(value, what it is)"""
Complete = Callable[[Any, str], Offer]
"""(context, the word so far) -> what may stand there."""


def quietly(complete: Complete) -> Callable[[Any, list[str], str], Offer]:
    """A completion as Typer calls it, silent where it fails."""

    def offer(ctx: Any, args: list[str], incomplete: str) -> Offer:
        try:
            return complete(ctx, incomplete)
        except Exception:
            return []

    return offer


def words(known: Iterable[str] | Callable[[], Iterable[str]], many: bool = False) -> Complete:
    """These words, told now or when asked for; with `many`, behind every comma of a list."""

    def offer(ctx: Any, incomplete: str) -> Offer:
        offered = [str(word) for word in (known() if callable(known) else known)]
        before, comma, _ = incomplete.rpartition(",") if many else ("", "", "")
        given = before.split(",")
        return [(f"{before}{comma}{word}", "") for word in offered if word not in given]

    return offer


def presets(study: str, command: str) -> Complete:
    """The presets of a command with their times."""

    def offer(ctx: Any, incomplete: str) -> Offer:
        from toolbox.core.studies import preset_times

        return list(preset_times(study, command).items())

    return offer


def study_words(ctx: Any, incomplete: str) -> Offer:
    """The studies, each with the first line of its description."""
    from toolbox.core.studies import docstring_of, study_file, study_names

    return [
        (name, docstring_of(study_file(name).with_name("cli.py")).partition("\n")[0])
        for name in study_names()
    ]


def command_words(ctx: Any, incomplete: str) -> Offer:
    """The commands of the study that stands before."""
    commands = _described(ctx)["commands"]
    return [(name, str(described.get("about", ""))) for name, described in commands.items()]


def figure_words(ctx: Any, incomplete: str) -> Offer:
    """The declared figures of the study, or of the one command that is named."""
    commands = _described(ctx)["commands"]
    named = ctx.params.get("command") or "".join(ctx.args[1:2]) or None
    return [
        (name, str(figure.get("title", "")))
        for command, described in commands.items()
        if named in (None, command)
        for name, figure in (described.get("figures") or {}).items()
    ]


def study_or_file_words(ctx: Any, incomplete: str) -> Offer:
    """The studies, and the tables and folders that begin like the word so far."""
    begun = Path(incomplete)
    folder, name = (begun, "") if incomplete.endswith("/") else (begun.parent, begun.name)
    files = [
        (f"{path}/" if path.is_dir() else str(path), "")
        for path in sorted(folder.glob(f"{name}*"))
        if path.is_dir() or path.suffix in (".csv", ".tsv", ".gz", ".parquet", ".txt")
    ]
    return [*study_words(ctx, incomplete), *files]


def run_words(ctx: Any, incomplete: str) -> Offer:
    """The ids of the runs that are there, with their study and command."""
    out = Path(ctx.params.get("out") or "outputs")
    return [
        (path.name, f"{path.parts[-3]} {path.parts[-2]}")
        for path in sorted(out.glob("*/*/*/"))
        if len(path.name) == 12 and not path.name.startswith(".")
    ]


def _described(ctx: Any) -> dict[str, Any]:
    from toolbox.core.studies import described

    # Of a line that ends in an option without its value, Typer leaves the words unassigned.
    named = ctx.params.get("study") or ctx.params.get("target") or ctx.args[0]
    return described(str(named))
