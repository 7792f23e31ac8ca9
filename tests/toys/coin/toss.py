"""Count the heads."""

from toolbox.core.errors import UsageError
from toolbox.core.run import Run

from .cli import Toss


def toss(run: Run, p: Toss) -> None:
    """One row per replicate and side."""
    if len(p.sides) != 2:
        raise UsageError(f"--sides {','.join(p.sides)}: a coin has two sides; name two")
    for repeat in run.replicates():
        heads = int((run.rng(repeat, "toss").random(p.tosses) < p.bias).sum())
        rows = {"side": list(p.sides), "count": [heads, p.tosses - heads]}
        run.write("counts", {**rows, "share": [heads / p.tosses, 1 - heads / p.tosses]}, repeat)
