"""A figure as data: what `study.yaml` declares and what the flags of `toolbox plot` spell.

Nothing here draws. A spec names columns of one tidy table; the renderer turns table and spec into
a picture, so one grammar serves every study and any CSV of the user.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from toolbox.core.errors import UsageError
from toolbox.core.where import compile_where

Kind = Literal["line", "scatter", "heatmap", "bar", "step", "envelope"]
Name = Annotated[str, Field(min_length=1)]
Label = bool | int | float | str
Limits = tuple[FiniteFloat | None, FiniteFloat | None]

REPLICATE = ("seed", "repeat")
"""The columns whose pair names a replicate; statistics run over replicates alone."""


def _check_filter(text: str | None) -> str | None:
    if text is not None:
        try:
            compile_where(text)
        except (
            UsageError
        ) as error:  # pydantic turns a ValueError into a message with the field's name
            raise ValueError(str(error)) from None
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(_Part):
    """One guide: exactly one of `slope`, `y` (horizontal line) and `x` (vertical line).

    `slope` is measured on the axes as drawn: on log-log axes it is the exponent p of y = c x^p, on
    plain axes dy/dx, on a single log axis decades per unit. The guide passes `through` (x, y) in
    data units; without it, through the last point of the lowest curve of each panel. Such a guide
    spans the panel; one that passes a point is a short line beside the curves unless `whole`.
    """

    slope: FiniteFloat | None = None
    y: FiniteFloat | None = None
    x: FiniteFloat | None = None
    through: tuple[FiniteFloat, FiniteFloat] | None = None
    whole: bool = False
    label: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(each is not None for each in (self.slope, self.y, self.x)) != 1:
            raise ValueError("a reference gives exactly one of slope, y, x")
        if self.through is not None and self.slope is None:
            raise ValueError("through belongs to a slope")
        if self.whole and self.through is None:
            raise ValueError("whole belongs to a slope through a point; the others are whole")
        return self


class Highlight(_Part):
    """Rows that pass the filter `where` get a marker on top, named `label` in the legend."""

    where: Name
    label: Name

    _filter = field_validator("where")(_check_filter)


class Caveat(_Part):
    """What the title adds, in brackets, when one of the drawn rows passes the filter `where`."""

    where: Name
    label: Name

    _filter = field_validator("where")(_check_filter)


class FigureSpec(_Part):
    """A declarative plot of one table.

    Column names stand in `x y value hue style col row`; everything else says how they are shown.
    """

    title: str = ""
    table: str = Field(
        "", description="table of the study; empty for a CSV named on the command line"
    )
    kind: Kind = Field(
        "line",
        description="envelope: the curve without its spikes, and each recorded value above it as a "
        "stem, for curves that are known at separate times",
    )
    x: Name
    y: Name
    value: Name | None = Field(None, description="heat map only: the column that colours the cells")
    hue: Name | None = Field(None, description="one colour per label")
    style: Name | None = Field(None, description="one dash pattern and marker per label")
    col: Name | None = Field(None, description="one panel per value, side by side")
    row: Name | None = Field(None, description="one panel per value, on top of each other")
    logx: bool = False
    logy: bool = False
    logvalue: bool = Field(False, description="heat map only: logarithmic colours")
    where: str | None = Field(None, description="rows that are drawn, see toolbox.core.where")
    order: tuple[Label, ...] = Field(
        (),
        description="hue labels; each keeps its colour when others are absent; without a hue, "
        "the categories on x from left to right",
    )
    col_order: tuple[Label, ...] = Field(
        (), description="values of col whose panels come first, from left to right"
    )
    labels: dict[str, str] = Field({}, description="column or label -> the text shown for it")
    xlabel: str | None = None
    ylabel: str | None = None
    caption: str = Field("", description="stands under the figure and in the file's metadata")
    claim: str | None = Field(
        None, description="id of the claim that the figure shows; its verdict stands under it"
    )
    estimate: Literal["mean", "median"] = "mean"
    band: Literal["ci95", "replicates", "none"] = Field(
        "ci95",
        description="95 % confidence interval over replicates; or each of them as a thin line",
    )
    bounds: Limits = Field(
        (None, None),
        description="what the measured quantity cannot leave: intervals are cut there. Without it "
        "[0, 1] where all values are in it",
    )
    references: tuple[Reference, ...] = ()
    xlim: Limits = (None, None)
    ylim: Limits = (None, None)
    vlim: Limits = Field((None, None), description="heat map only: range of the colours")
    highlight: Highlight | None = None
    caveat: Caveat | None = None
    contours: tuple[FiniteFloat, ...] = Field(
        (), description="heat map only: levels drawn as lines"
    )

    _filter = field_validator("where")(_check_filter)

    @field_validator("order", "col_order")
    @classmethod
    def _each_once(cls, order: tuple[Any, ...]) -> tuple[Any, ...]:
        if len({str(label) for label in order}) < len(order):
            raise ValueError("a label stands twice")
        return order

    @field_validator("xlim", "ylim", "vlim", "bounds")
    @classmethod
    def _rising(cls, limits: Limits) -> Limits:
        low, high = limits
        if low is not None and high is not None and low >= high:
            raise ValueError(f"limits must rise, got {low:g} and {high:g}")
        return limits

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.kind == "heatmap":
            self._fits_heatmap()
        else:
            only: dict[str, object] = {
                "value": self.value,
                "logvalue": self.logvalue,
                "contours": self.contours,
            }
            if any(self.vlim[i] is not None for i in (0, 1)):
                only["vlim"] = self.vlim
            for name in (name for name, given in only.items() if given):
                raise ValueError(
                    f"{name} belongs to kind heatmap, this figure is of kind {self.kind}"
                )
        for axis, log in (("x", self.logx), ("y", self.logy)):
            low = getattr(self, f"{axis}lim")[0]
            if log and low is not None and low <= 0:
                raise ValueError(f"{axis}lim starts at {low:g}, which a log axis cannot show")
        for each in self.references:
            if self.kind == "bar" and each.y is None:
                raise ValueError("a bar plot takes references with y only")
            px, py = each.through or (1.0, 1.0)
            if (self.logx and px <= 0) or (self.logy and py <= 0):
                raise ValueError("a slope cannot pass through a non-positive point of a log axis")
        if self.col_order and self.col is None:
            raise ValueError("col_order belongs to col")
        if self.kind == "bar" and self.logx:
            raise ValueError("bars stand side by side at equal distances: drop logx")
        return self

    def _fits_heatmap(self) -> None:
        if self.value is None:
            raise ValueError("a heat map needs value, the column that colours its cells")
        for name in ("hue", "style", "order", "references", "highlight"):
            if getattr(self, name):
                raise ValueError(f"a heat map takes no {name}")
        if self.logx or self.logy:
            raise ValueError(
                "a heat map spaces its cells evenly, whatever their values: drop logx and logy"
            )
        if any(limit is not None for limit in self.xlim + self.ylim):
            raise ValueError(
                "a heat map shows all its cells: choose them by where instead of xlim and ylim"
            )

    @property
    def measured(self) -> str:
        """The column that statistics are taken of."""
        return self.value if self.value is not None else self.y

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the table must have, filters aside."""
        names = (self.x, self.y, self.value, self.hue, self.style, self.col, self.row)
        return tuple(dict.fromkeys(name for name in names if name is not None))
