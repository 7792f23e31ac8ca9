"""Confidence limits over replicates, by scipy: once for verdicts and for the bands of figures."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

CONFIDENCE = 0.95


def mean(values: Array, level: float = CONFIDENCE) -> tuple[Array, Array, Array]:
    """Mean and limits of Student's t over the rows of `values : (R, P)`, NaN left out: each (P,).

    Limits need two values; where they do not exist they are NaN.
    """
    import numpy as np
    from scipy import stats

    count = np.sum(~np.isnan(values), axis=0)
    some = np.maximum(count, 1)
    with np.errstate(invalid="ignore"):  # infinite values have no mean
        centre = np.where(count > 0, np.nansum(values / some, axis=0), np.nan)
        # Scaled by the largest deviation: squares of tiny or huge values leave the floats.
        off = np.sort(values - centre, axis=0)  # NaN goes last
    scale = np.max(np.where(np.isnan(off), 0.0, np.abs(off)), axis=0)
    scale = np.where((scale > 0) & np.isfinite(scale), scale, 1.0)
    low, high = np.full_like(centre, np.nan), np.full_like(centre, np.nan)
    for n in np.unique(count[count > 1]):
        of = count == n
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # equal values: no test, but an interval of width 0
            ci = stats.ttest_1samp(off[:n, of] / scale[of], 0.0).confidence_interval(level)
        low[of], high[of] = centre[of] + scale[of] * ci.low, centre[of] + scale[of] * ci.high
    return centre, low, high


def median(values: Array, level: float = CONFIDENCE) -> tuple[Array, Array, Array]:
    """Median and order statistics as limits over the rows of `values : (R, P)`: each (P,).

    NaN is left out. Limits need six values at 95 %; where they do not exist they are NaN.
    """
    import numpy as np

    count = np.sum(~np.isnan(values), axis=0)
    some = np.maximum(count, 1)
    ordered = np.sort(values, axis=0)  # NaN goes last
    columns = np.arange(values.shape[1])
    centre = ordered[[(some - 1) // 2, some // 2], columns].mean(axis=0)
    low, high = np.full_like(centre, np.nan), np.full_like(centre, np.nan)
    for n in np.unique(count):
        if ranks := median_ranks(int(n), level):
            of = count == n
            low[of], high[of] = ordered[ranks[0], of], ordered[ranks[1], of]
    return centre, low, high


@functools.cache
def median_ranks(count: int, level: float = CONFIDENCE) -> tuple[int, int] | None:
    """Which of `count` sorted values, counted from 0, are the limits of their median."""
    import numpy as np
    from scipy import stats

    if count < 2:
        return None
    interval = stats.quantile_test(np.arange(float(count)), p=0.5).confidence_interval(level)
    exist = np.isfinite(interval.low) and np.isfinite(interval.high)
    return (int(interval.low), int(interval.high)) if exist else None


def proportion(successes: int, count: int, level: float = CONFIDENCE) -> tuple[float, float, float]:
    """Share and limits of Clopper and Pearson."""
    from scipy import stats

    interval = stats.binomtest(successes, count).proportion_ci(level, method="exact")
    return successes / count, float(interval.low), float(interval.high)
