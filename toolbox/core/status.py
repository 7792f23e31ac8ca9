"""The closed set of outcomes of a run. The values are what a user reads in `toolbox runs`."""

from enum import StrEnum


class Status(StrEnum):
    """How a run ended; only `COMPLETE` runs are pooled by `plot` and `verify`."""

    COMPLETE = "complete"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def sentence(self) -> str:
        """What the status means, for people."""
        return {
            Status.COMPLETE: "every table was written and verified",
            Status.DIVERGED: "a value was not finite; the rows before it are kept",
            Status.INTERRUPTED: "stopped at a step boundary; the same line resumes it",
            Status.FAILED: "ended by an error; the same line starts it again",
        }[self]
