"""The one error family. Every expected error is one sentence: cause, value received, fix.

An error that is not a `ToolboxError` is a bug of ours and keeps its traceback.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any


class ToolboxError(Exception):
    """An expected failure; its text is the sentence that the user reads."""

    exit_code = 1


class UsageError(ToolboxError):
    """A flag, environment variable, preset or file that cannot be used as given."""

    exit_code = 2


class ParameterError(UsageError):
    """A value that the science refuses, told without a word about flags.

    field : name of the parameter;  value : what was received
    reason, remedy : what is wrong and what to do; `{name}` in them refers to another parameter

    In Python the text is "tasks='parity3': with d 3 ...; ..."; a command line turns every field
    into its flag: "--tasks parity3: with --d 3 ...; ...".
    """

    def __init__(self, field: str, value: Any, reason: str, remedy: str = "") -> None:
        self.field, self.value, self.reason, self.remedy = field, value, reason, remedy
        super().__init__(f"{field}={value!r}: {self._advice(lambda name: name)}")

    def with_flags(self, flag: Callable[[str], str], text: Callable[[Any], str] = str) -> str:
        """The same sentence for a command line.

        flag : name of a field -> its flag;  text : the value -> as it is typed
        """
        return f"{flag(self.field)} {text(self.value)}: {self._advice(flag)}"

    def _advice(self, name: Callable[[str], str]) -> str:
        told = "; ".join(part for part in (self.reason, self.remedy) if part)
        # Only names of fields: a brace of another kind is left as it stands.
        return re.sub(r"\{([A-Za-z_]\w*)\}", lambda match: name(match[1]), told)


class StudyError(ToolboxError):
    """A mistake in a study's own files, said to its author: file, line and what is wrong."""


class TableError(ToolboxError):
    """A table that is missing, truncated or not the one its manifest describes."""


class Diverged(ToolboxError):
    """The first non-finite value of a run; what was measured before it is kept.

    step : where it was seen, when that is known;  path : the loops that were under way
    """

    step: int | None = None
    path: Sequence[Any] = ()


class Interrupted(ToolboxError):
    """A stop was asked for (SIGTERM, SIGUSR1 or Ctrl-C) and the run stopped at a step boundary."""

    exit_code = 75

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code
