"""Options by the environment: which variables mean something, and which were meant to.

Only the options of commands can be set this way. A variable that looks like one and is none is
named, with the nearest that is; and a value that is refused is blamed on the variable it came from.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

ROOT = "TOOLBOX_"


def prefix_of(*words: str) -> str:
    """The beginning of a command's variables: ("gd", "anytime") -> TOOLBOX_GD_ANYTIME_."""
    return "".join([ROOT, *(f"{word}_".upper().replace("-", "_") for word in words)])


def source(ctx: Any, param: Any) -> str | None:
    """The variable that a parameter's value came from, None if it came from elsewhere."""
    if param is None or not param.envvar:
        return None
    origin = ctx.get_parameter_source(param.name)
    return str(param.envvar) if origin is not None and origin.name == "ENVIRONMENT" else None


def blamed(ctx: Any, message: str) -> str:
    """A message that begins with a flag and its value, on the variable that gave the value.

    "--device tpu: expected ..." becomes "TOOLBOX_DEVICE=tpu: expected ...".
    """
    for param in ctx.command.params:
        variable = source(ctx, param)
        for flag in (*param.opts, str(param.name).upper()):
            if variable is not None and message.startswith(f"{flag} "):
                return f"{variable}={message[len(flag) + 1 :]}"
    return message


def warnings(ctx: Any, prefix: str, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """One sentence for each variable that seems to be meant for this command and is no option.

    prefix : the beginning of this command's variables
    """
    known = [str(param.envvar) for param in ctx.command.params if param.envvar]
    path = tuple(parent.info_name for parent in reversed(_parents(ctx)[:-1]))
    group = prefix_of(*path)
    others = tuple(prefix_of(*words) for words in _beside(ctx, path))
    for name in sorted(environ):
        if not name.startswith(ROOT) or name in known:
            continue
        beginnings = [each for each in (prefix, group, *others) if name.startswith(each)]
        owner = max(beginnings, key=len, default=ROOT)
        if owner in others:
            continue
        of_a_command = owner != ROOT
        near = _nearest(
            name, known, prefix if of_a_command else ROOT, 0.5 if of_a_command else 0.75
        )
        if (
            of_a_command or near
        ):  # a container file may set TOOLBOX_VERSION: what is not near is not meant
            hint = f"; did you mean {near}?" if near else ""
            yield (
                f"{name} is set, but {ctx.command_path} has no such option, so it is ignored{hint}"
            )


def _nearest(name: str, known: Iterable[str], prefix: str, cutoff: float) -> str | None:
    """The known variable whose part behind the prefix is nearest to the name's."""
    tail = name.removeprefix(prefix) if name.startswith(prefix) else name.rpartition("_")[2]
    words = {each.removeprefix(prefix): each for each in known if each.startswith(prefix)}
    if prefix == ROOT:  # the variables of all commands: TOOLBOX_OUT, TOOLBOX_THREADS
        words = {word: each for word, each in words.items() if "_" not in word}
    from toolbox.core.suggest import nearest

    nearest_word = nearest(tail, words, cutoff)
    return words[nearest_word] if nearest_word else None


def _beside(ctx: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths of the groups and commands that are not on the way to this one."""
    for depth, parent in enumerate(reversed(_parents(ctx))):
        for name in getattr(parent.command, "commands", ()):
            if (*path, ctx.info_name)[depth] != name:
                yield (*path[:depth], name)


def _parents(ctx: Any) -> list[Any]:
    parents = []
    while ctx.parent is not None:
        ctx = ctx.parent
        parents.append(ctx)
    return parents
