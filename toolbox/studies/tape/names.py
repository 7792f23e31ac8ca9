"""The names of the encodings; nothing heavy, so that a command line may list them."""

ENCODINGS = (
    "nope", "rope", "randpe", "alibi", "xpos", "fire", "t5", "cope", "yarn",
    "tape", "tape-a", "tape-m", "tape-woeq", "tape-split", "tape-yarn",
)  # fmt: skip

SCRATCH = (*ENCODINGS, "abacus", "abacus-rope")
"""Those that are trained from scratch; Abacus numbers digits, so that it needs numbers."""

METHODS = (
    "none", "interp", "embnorm", "tape", "tape-frozen", "lora", "lora-matched", "longlora", "theta",
    "full",
)  # fmt: skip
"""Ways to adapt a RoPE model to a longer context; the first two train nothing."""


def is_tape(pe: str) -> bool:
    """Whether an encoding has a contextual state: TAPE and its ablations."""
    return pe.startswith("tape")


def scratch() -> list[str]:
    """For the completion of a shell."""
    return list(SCRATCH)


def methods() -> list[str]:
    """For the completion of a shell."""
    return list(METHODS)
