"""Count the heads."""

from toolbox.core.errors import UsageError
from toolbox.core.run import Run


def toss(run: Run, *, tosses: int, bias: float, sides: tuple[str, ...]) -> None:
    """One row per replicate and side."""
    if len(sides) != 2:
        raise UsageError(f"--sides {','.join(sides)}: a coin has two sides; name two")
    for repeat in range(run.repeats):
        heads = int((run.rng(repeat, "toss").random(tosses) < bias).sum())
        rows = {"side": list(sides), "count": [heads, tosses - heads]}
        run.write("counts", {**rows, "share": [heads / tosses, 1 - heads / tosses]}, repeat)
        run.checkpoint(lambda: None)
