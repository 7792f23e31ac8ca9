"""The statistics of the claims: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

Tables = Mapping[str, pd.DataFrame]


def _worst(check: str, variant: str, dtype: str = "float32") -> Callable[[Tables], float]:
    """The largest difference of one fact."""

    def statistic(tables: Tables) -> float:
        rows = tables["checks"]
        rows = rows[(rows.check == check) & (rows.variant == variant) & (rows.dtype == dtype)]
        return float(rows["value"].max())

    return statistic


start = _worst("start", "tape")
shift = _worst("shift", "tape")
states = _worst("shift", "states")
causality = _worst("causality", "tape")
literal = _worst("literal", "tape")
cache = _worst("cache", "tape")


def ablations(tables: Tables) -> float:
    """The least difference that a shift makes without equivariance; of each variant the largest."""
    return float(np.min([_worst("shift", v)(tables) for v in ("tape-woeq", "tape-split")]))


def bfloat16(tables: Tables) -> float:
    """The largest difference of all facts in 16 bits, as a share of its limit."""
    rows = tables["checks"]
    rows = rows[(rows.dtype == "bfloat16") & rows.variant.isin(["tape", "states"])]
    return float((rows["value"] / rows["limit"]).max())


def all_formats_alike(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: what must break in float32 is called TAPE in bfloat16."""
    rows = tables["checks"]
    broken = rows[rows.must == "break"].drop_duplicates(["seed", "repeat", "check"])
    broken = broken.assign(dtype="bfloat16", variant="tape")
    return {**tables, "checks": pd.concat([rows[rows.dtype == "float32"], broken])}


def _formula(tables: Tables, column: str, form: str) -> float:
    rows = tables["formula"]
    rows = rows[(rows["shape"] == "155M") & (rows.pe == "tape") & (rows.form == form)]
    return float(rows[column].iloc[0])


def parameter_ratio(tables: Tables) -> float:
    """TAPE's parameters over RoPE's at the paper's shape."""
    return _formula(tables, "params_ratio", "fast")


def literal_flops_ratio(tables: Tables) -> float:
    """FLOPs of the literal form over RoPE's at the paper's shape."""
    return _formula(tables, "flops_ratio", "literal")


def fast_flops_ratio(tables: Tables) -> float:
    """FLOPs of the fast form over RoPE's at the paper's shape."""
    return _formula(tables, "flops_ratio", "fast")


def parameter_difference(tables: Tables) -> float:
    """Largest difference between counted parameters and those of the formula."""
    formula = tables["formula"]
    formula = formula[formula["shape"] == "own"].drop_duplicates("pe").set_index("pe")
    counted = tables["counted"]
    return float((counted["params"] - counted["pe"].map(formula["params"])).abs().max())


def saved_ratio(tables: Tables) -> float:
    """Memory that the fast form keeps over that of the literal one."""
    rows = tables["counted"]
    by_form = rows[rows.pe == "tape"].set_index("form")["saved_mb"]
    return float(by_form["fast"] / by_form["literal"])
