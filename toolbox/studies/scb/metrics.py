"""What is measured, in words, and the statistics that the claims test.

A statistic takes the tables of one replicate and returns one number, NaN where it is not defined.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

Tables = Mapping[str, pd.DataFrame]

ITERATES = ("raw", "averaged", "rounded", "refitted")
CLEAR = 0.8
"""One side is called ahead when the ratio of excess losses is below this, or above its inverse."""


# ------------------------------------------------------------------------------------- compare


def best_of_each_side(final: pd.DataFrame) -> pd.DataFrame:
    """Lowest excess of the proximal method and of SGD, per iterate and decay, and their ratio.

    SGD's side is the better of projected, preconditioned SGD and plain SGD. A configuration that
    diverged cannot be the best; a side of which all diverged has no best, and then no ratio.
    """
    rows = []
    for (iterate, decay), part in final.groupby(["iterate", "decay"], sort=False):
        alive = part[~part["diverged"]]
        ours, theirs = alive[alive["alg"] == "prox"], alive[alive["alg"] != "prox"]
        prox, sgd = _lowest(ours, "excess"), _lowest(theirs, "excess")
        rows.append(
            {
                "iterate": iterate,
                "decay": decay,
                "prox": prox,
                "sgd": sgd,
                "ratio": _ratio(prox, sgd),
                "ratio_err_a": _ratio(_lowest(ours, "err_a"), _lowest(theirs, "err_a")),
                "prox_diverged": int((part["diverged"] & (part["alg"] == "prox")).sum()),
                "sgd_diverged": int((part["diverged"] & (part["alg"] == "sgd")).sum()),
                "raw_diverged": int((part["diverged"] & (part["alg"] == "sgd-raw")).sum()),
            }
        )
    return pd.DataFrame(rows)


def _ratio(ours: float, theirs: float) -> float:
    """NaN where theirs is 0: with one token per context no attention can be wrong."""
    return ours / theirs if theirs != 0.0 else math.nan


def comparison_sentence(best: pd.DataFrame) -> str:
    """What the ratios of one replicate say, in one sentence."""

    def least(side: str, *iterates: str) -> float:
        return float(best.loc[best["iterate"].isin(iterates), side].min())

    ratio = {name: least("prox", name) / least("sgd", name) for name in ITERATES}
    numbers = ", ".join(f"{name} {ratio[name]:.3g}" for name in ITERATES)
    untouched = least("prox", "raw", "averaged") / least("sgd", "raw", "averaged")
    said = {
        ("ahead", "ahead"): "ahead without post-processing and also after rounding and refitting",
        ("ahead", "level"): "ahead without post-processing; rounding and refitting remove the win",
        ("ahead", "behind"): "ahead without post-processing, behind after rounding and refitting",
        ("level", "ahead"): "level without post-processing, ahead after rounding and refitting",
        ("level", "level"): "level with SGD, with and without post-processing",
        ("level", "behind"): "level without post-processing, behind after rounding and refitting",
        ("behind", "ahead"): "behind without post-processing, ahead after rounding and refitting",
        ("behind", "level"): "behind without post-processing, level after rounding and refitting",
        ("behind", "behind"): "behind with and without post-processing",
    }.get((_place(untouched), _place(ratio["refitted"])), "not comparable: a side diverged")
    return f"the proximal method is {said} (excess over SGD's, each at its best: {numbers})"


def _place(ratio: float) -> str:
    if not math.isfinite(ratio):
        return "undefined"
    return "ahead" if ratio < CLEAR else "behind" if ratio > 1 / CLEAR else "level"


def _lowest(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].min()) if len(rows) else math.nan


def untouched_ratio(tables: Tables) -> float:
    """Best proximal raw iterate over SGD's best raw or averaged one, any decay, excess loss."""
    best = best_of_each_side(tables["final"])
    raw = best[best["iterate"] == "raw"]
    either = best[best["iterate"].isin(["raw", "averaged"])]
    return float(raw["prox"].min() / either["sgd"].min())


def constant_step_ratio(tables: Tables) -> float:
    """Best raw proximal iterate over best raw SGD iterate, constant steps on both sides."""
    best = best_of_each_side(tables["final"])
    rows = best[(best["iterate"] == "raw") & (best["decay"] == "none")]
    return float(rows["ratio"].iloc[0]) if len(rows) else math.nan


def refitted_ratio(tables: Tables) -> float:
    """The same after rounding and refitting, each side at its better decay."""
    best = best_of_each_side(tables["final"])
    refitted = best[best["iterate"] == "refitted"]
    return float(refitted["prox"].min() / refitted["sgd"].min())


def decay_gain(tables: Tables) -> float:
    """Best raw proximal excess with linearly decaying steps over that with constant ones."""
    best = best_of_each_side(tables["final"])
    raw = best[best["iterate"] == "raw"].set_index("decay")["prox"]
    return float(raw["linear"] / raw["none"]) if {"linear", "none"} <= set(raw.index) else math.nan


# --------------------------------------------------------------------------------------- train


def final_relative_excess(tables: Tables) -> float:
    """Excess loss at the end of all stages over that of the trivial predictor."""
    return float(tables["curve"]["relative_excess"].iloc[-1])


def unrounded_relative_excess(tables: Tables) -> float:
    """Excess loss of the last iterate before rounding over that of the trivial predictor."""
    rows = tables["curve"]
    both = rows[rows["stage"] == "both"]
    return float(both["relative_excess"].iloc[-1])


def exact_support(tables: Tables) -> float:
    """1 when the positions found at the end are exactly the true ones, else 0."""
    return float(tables["curve"]["misplaced"].iloc[-1] == 0)


# -------------------------------------------------------------------------------------- stages


def loglog_slope(x: ArrayLike, y: ArrayLike) -> float:
    """Least-squares slope of log y on log x; NaN for fewer than two different x."""
    u, v = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    if np.unique(u).size < 2:
        return math.nan
    return float(np.polyfit(u, v, 1)[0])


def phase_one_exponent(tables: Tables) -> float:
    """Exponent of T in the samples that phase 1 needs for the target correlation."""
    rows = tables["need"][tables["need"]["source"] == "measured"]
    rows = rows.dropna(subset="samples")
    return loglog_slope(rows["T"], rows["samples"])


def law_error(tables: Tables) -> float:
    """Mean deviation of the measured mean corr_V from the closed-form law, in standard errors."""
    rows = tables["phase1"]
    rows = rows[rows["source"] == "measured"]
    return float(((rows["corr_v"] - rows["law"]) / rows["standard_error"]).mean())


def law_gap(tables: Tables) -> float:
    """Largest distance of measured and predicted mean corr_V over all T and n."""
    rows = tables["phase1"]
    rows = rows[rows["source"] == "measured"]
    return float((rows["corr_v"] - rows["law"]).abs().max())


def phase_two_exponent(tables: Tables) -> float:
    """Exponent of T in the samples of phase 2 under the threshold condition (largest margin)."""
    return _phase_two_exponent(tables, "above")


def broken_exponent(tables: Tables) -> float:
    """The same beyond the condition, at the fixed batch; a censored run counts as its cap."""
    return _phase_two_exponent(tables, "fixed")


def support_exponent(tables: Tables) -> float:
    """Exponent of T in the samples until the exact support, under the threshold condition."""
    return _phase_two_exponent(tables, "above", "support")


def one_shot_exponent(tables: Tables) -> float:
    """Exponent of T in the samples of one averaged gradient that finds nine columns in ten."""
    rows = tables["oneshot_need"].dropna(subset="samples")
    rows = rows[rows["share"] == rows["share"].max()]
    return loglog_slope(rows["T"], rows["samples"])


def _phase_two_exponent(tables: Tables, arm: str, goal: str = "correlation") -> float:
    rows = tables["phase2"]
    rows = rows[(rows["arm"] == arm) & (rows["goal"] == goal)]
    return loglog_slope(rows["T"], rows["samples"])


# ------------------------------------------------------------------------------------ transfer


def high_correlation_ratio(tables: Tables) -> float:
    """Transfer at the largest rho below 1 over scratch at its best, at the longest context."""
    rows = _at_longest(tables["best"])
    rho = rows.loc[(rows["init"] == "transfer") & (rows["rho"] < 1), "rho"].max()
    return _over_scratch(rows, rho)


def low_correlation_ratio(tables: Tables) -> float:
    """Transfer at the smallest positive rho over scratch at its best, at the longest context."""
    rows = _at_longest(tables["best"])
    rho = rows.loc[(rows["init"] == "transfer") & (rows["rho"] > 0), "rho"].min()
    return _over_scratch(rows, rho)


def transfer_exponent(tables: Tables) -> float:
    """Exponent of T in the samples of transfer at the largest rho below 1."""
    rows = tables["best"]
    rows = rows[(rows["init"] == "transfer") & (rows["rho"] < 1)]
    rows = rows[rows["rho"] == rows["rho"].max()]
    return loglog_slope(rows["T"], rows["samples"])


def _at_longest(rows: pd.DataFrame) -> pd.DataFrame:
    longest: pd.DataFrame = rows[rows["T"] == rows["T"].max()]
    return longest


def _over_scratch(rows: pd.DataFrame, rho: float) -> float:
    ours = rows.loc[(rows["init"] == "transfer") & (rows["rho"] == rho), "samples"]
    scratch = rows.loc[rows["init"] == "scratch", "samples"]
    return float(ours.iloc[0] / scratch.min()) if len(ours) and len(scratch) else math.nan


# ------------------------------------------------------------------------------ softmax and fit


def map_correlation(tables: Tables) -> float:
    """Correlation of the softmax attention map with the proximal one (last iterates)."""
    maps = _attention_maps(tables)
    return float(maps["softmax"].corr(maps["prox"]))


def softmax_mass(tables: Tables) -> float:
    """Share of softmax attention on the true positions, over all last tokens."""
    maps = _attention_maps(tables)
    weight = maps["softmax"].abs()
    return float(weight[maps["truth"] > 0].sum() / weight.sum())


def _attention_maps(tables: Tables) -> pd.DataFrame:
    """Attention of every model, a column each; a row is one last token and one position."""
    rows = tables["maps"][tables["maps"]["map"] == "attention"]
    return rows.pivot(index=["row", "column"], columns="model", values="weight")


def softmax_over_rounded(tables: Tables) -> float:
    """Softmax excess loss over that of the rounded proximal iterate, each at its best steps."""
    rows = tables["models"]
    return _model_value(rows, "softmax", "excess") / _model_value(rows, "prox-rounded", "excess")


def softmax_over_decayed(tables: Tables) -> float:
    """Softmax excess loss over that of the proximal iterate with decaying steps."""
    rows = tables["models"]
    return _model_value(rows, "softmax", "excess") / _model_value(rows, "prox-decay", "excess")


def _model_value(rows: pd.DataFrame, name: str, column: str) -> float:
    values = rows.loc[rows["model"] == name, column]
    return float(values.iloc[0]) if len(values) else math.nan


def scb_over_unigram(tables: Tables) -> float:
    """Test loss of the contextual bigram over that of the unigram."""
    return _text_ratio(tables, "unigram")


def scb_over_bigram(tables: Tables) -> float:
    """Test loss of the contextual bigram over that of the previous-token bigram."""
    return _text_ratio(tables, "bigram")


def scb_over_trigram(tables: Tables) -> float:
    """Test loss of the contextual bigram over that of the trigram."""
    return _text_ratio(tables, "trigram")


def minibatch_over_exact(tables: Tables) -> float:
    """Test loss of minibatch training over that of the exact least squares."""
    loss = tables["losses"].set_index("model")["test"]
    return float(loss["minibatch"] / loss["scb"])


def penalty_gain(tables: Tables) -> float:
    """Lowest minibatch test loss with a penalty over the lowest one without, any step size."""
    rows = tables["minibatch"]
    return float(rows.loc[rows["lam"] > 0, "test"].min() / rows.loc[rows["lam"] == 0, "test"].min())


def _text_ratio(tables: Tables, other: str) -> float:
    loss = tables["losses"].set_index("model")["test"]
    return float(loss["scb"] / loss[other])


def several_classes(tables: Tables) -> str:
    """Why a text does not test the model: one class holds more than half of its characters."""
    share = float(tables["reading"]["frequency"].max())
    return f"one class holds {share:.0%} of the characters" if share > 0.5 else ""


# ------------------------------------------------------------------------------------ controls


def untrained(tables: Tables) -> dict[str, pd.DataFrame]:
    """Every iterate replaced by the start."""
    rows = tables["curve"]
    start = rows[rows["stage"] == "start"].set_index(["seed", "repeat"])
    keys = pd.MultiIndex.from_frame(rows[["seed", "repeat"]])
    columns = {
        name: start[name].reindex(keys).to_numpy() for name in ("relative_excess", "misplaced")
    }
    return {**tables, "curve": rows.assign(**columns)}


def win_kept(tables: Tables) -> dict[str, pd.DataFrame]:
    """The proximal method a hundred times better also after rounding and refitting."""
    rows = tables["final"]
    ours = (rows["alg"] == "prox") & (rows["iterate"] == "refitted")
    return {**tables, "final": rows.assign(excess=rows["excess"].mask(ours, rows["excess"] / 100))}


def one_shot_linear(tables: Tables) -> dict[str, pd.DataFrame]:
    """Samples of one-shot recovery that grow by one more power of T."""
    rows = tables["oneshot_need"]
    return {**tables, "oneshot_need": rows.assign(samples=rows["samples"] * rows["T"])}


def phase_two_linear(tables: Tables) -> dict[str, pd.DataFrame]:
    """Samples of phase 2 that grow by one more power of T."""
    rows = tables["phase2"]
    return {**tables, "phase2": rows.assign(samples=rows["samples"] * rows["T"])}


def scb_worse(tables: Tables) -> dict[str, pd.DataFrame]:
    """A contextual bigram whose loss on unseen text is twice as large."""
    rows = tables["losses"]
    worse = rows["test"].mask(rows["model"] == "scb", rows["test"] * 2)
    return {**tables, "losses": rows.assign(test=worse)}


def transfer_dearer(tables: Tables) -> dict[str, pd.DataFrame]:
    """Transfer that costs a hundred times as much as it did."""
    rows = tables["best"]
    dearer = rows["samples"].mask(rows["init"] == "transfer", rows["samples"] * 100)
    return {**tables, "best": rows.assign(samples=dearer)}


def transfer_linear(tables: Tables) -> dict[str, pd.DataFrame]:
    """Transfer whose samples grow by one more power of T."""
    rows = tables["best"]
    grown = rows["samples"].mask(rows["init"] == "transfer", rows["samples"] * rows["T"])
    return {**tables, "best": rows.assign(samples=grown)}


def maps_shifted(tables: Tables) -> dict[str, pd.DataFrame]:
    """Softmax attention moved by one position, so that it looks beside the true ones."""
    rows = tables["maps"].copy()
    softmax = (rows["model"] == "softmax") & (rows["map"] == "attention")
    length = rows.loc[softmax, "column"].max() + 1
    rows.loc[softmax, "column"] = (rows.loc[softmax, "column"] + 1) % length
    return {**tables, "maps": rows}


def softmax_worse(tables: Tables) -> dict[str, pd.DataFrame]:
    """A softmax excess loss that is a hundred times as large."""
    rows = tables["models"]
    worse = rows["excess"].mask(rows["model"] == "softmax", rows["excess"] * 100)
    return {**tables, "models": rows.assign(excess=worse)}
