"""Counting over all curves of a figure, told as a few sentences at the end."""

from __future__ import annotations

from toolbox.core.figure import FigureSpec

from .statistics import ENOUGH

MAX_SAME_NOTES = 3


def counted(number: int, adjective: str, noun: str) -> str:
    """`3 missing values`, `1 row`."""
    words = [str(number), adjective, noun if number == 1 else noun + "s"]
    return " ".join(word for word in words if word)


class Tally:
    """Counts over all curves, told as few sentences at the end."""

    def __init__(self, spec: FigureSpec) -> None:
        self.spec = spec
        self.sizes: set[int] = set()
        self.raw = self.hidden = self.filled = self.empty = 0
        self.any_pooled = self.too_few = False
        self.bounded = 0
        self.shorter: list[str] = []

    def replicates(self, number: int) -> None:
        """One curve or cell stands on this many replicates."""
        self.sizes.add(number)

    def masked(self, raw: int, hidden: int, pooled: bool) -> None:
        """`raw` non-positive values, of which `hidden` drawn points; `pooled` into estimates."""
        self.raw += raw
        self.hidden += hidden
        self.any_pooled |= pooled and raw > 0

    def notes(self) -> list[str]:
        """The sentences."""
        spec, notes = self.spec, []
        where = f"of {spec.measured!r} on the log {'colours' if spec.logvalue else 'axis'}"
        if self.raw and not self.any_pooled:
            notes.append(f"masked {counted(self.hidden, 'non-positive', 'value')} {where}")
        elif self.raw:
            notes.append(
                f"{counted(self.raw, 'non-positive', 'value')} {where}: kept in the "
                f"{spec.estimate}, masked {counted(self.hidden, 'non-positive', 'estimate')}"
            )
        notes += self.shorter[:MAX_SAME_NOTES]
        if (more := len(self.shorter) - MAX_SAME_NOTES) > 0:
            notes.append(f"the same in {counted(more, 'more', 'curve')}")
        if self.bounded:
            what = counted(self.bounded, "", "curve")
            notes.append(f"the interval of {what} is cut at the bounds of {spec.measured!r}")
        if self.filled:
            what = counted(self.filled, "", "curve")
            notes.append(f"aligned the replicates of {what} on one grid of {spec.x!r} by forward "
                         "fill within each replicate")  # fmt: skip
        if self.empty:
            notes.append(f"{counted(self.empty, 'empty', 'cell')}")
        return notes + [text for text in (self.summary(),) if text]

    def summary(self) -> str:
        """What is drawn: how spikes are, and what stands for several replicates."""
        parts = [self._of_replicates()]
        if self.spec.kind == "envelope":
            parts.append("line: the curve below its spikes; dots: recorded values above it")
        return "; ".join(part for part in parts if part)

    def _of_replicates(self) -> str:
        if not self.sizes or max(self.sizes) == 1:
            return ""
        low, high = min(self.sizes), max(self.sizes)
        size = f"{low}" if low == high else f"{low} to {high}"
        if self.spec.kind == "heatmap":
            return f"each cell: {self.spec.estimate} of {size} replicates"
        if high < ENOUGH:
            return f"{size} replicates: drawn one by one, no interval"
        text = f"{self.spec.estimate} of {size} replicates"
        if self.spec.band == "replicates":
            return f"thick: {text}; thin: each of them"
        if self.too_few:
            return f"{text}; a 95 % interval of the median needs 6, so replicates are drawn too"
        if self.spec.band == "ci95":
            law = "Student-t" if self.spec.estimate == "mean" else "order-statistic"
            bar = "bar" if self.spec.kind == "bar" else "band"
            text += f"; {bar}: pointwise 95 % {law} interval"
        return f"{text}; thin: each one where not all are there" if self.shorter else text
