"""The names of the encodings; nothing heavy, so that a command line may list them."""

ENCODINGS = (
    "nope", "rope", "randpe", "alibi", "xpos", "fire", "t5", "cope", "yarn",
    "tape", "tape-a", "tape-m", "tape-woeq", "tape-split", "tape-yarn",
)  # fmt: skip


def is_tape(pe: str) -> bool:
    """Whether an encoding has a contextual state: TAPE and its ablations."""
    return pe.startswith("tape")


def known() -> list[str]:
    """For the completion of a shell."""
    return list(ENCODINGS)
