"""Times as people write them."""


def in_words(seconds: float) -> str:
    """A duration in the unit that suits it: '0.8 s', '85 s', '6.2 min'."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.2g} min"
