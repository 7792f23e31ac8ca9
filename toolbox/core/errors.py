"""The one error family. Every expected error is one sentence: cause, value received, fix.

An error that is not a `ToolboxError` is a bug of ours and keeps its traceback.
"""


class ToolboxError(Exception):
    """An expected failure; its text is the sentence that the user reads."""

    exit_code = 1


class UsageError(ToolboxError):
    """A flag, environment variable, preset or file that cannot be used as given."""

    exit_code = 2


class TableError(ToolboxError):
    """A table that is missing, truncated or not the one its manifest describes."""


class Diverged(ToolboxError):
    """The first non-finite value of a run; what was measured before it is kept."""


class Interrupted(ToolboxError):
    """A stop was asked for (SIGTERM, SIGUSR1 or Ctrl-C) and the run stopped at a step boundary."""

    exit_code = 75

    def __init__(self, message: str, exit_code: int = 75) -> None:
        super().__init__(message)
        self.exit_code = exit_code
