"""The statistics of the claims: tables of one replicate -> one number, NaN if undefined."""

from __future__ import annotations

import math
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


def _mean(tables: Tables, table: str, pe: str, metric: str, **where: object) -> float:
    """Mean of a metric over the rows of one encoding; NaN where it was not trained."""
    rows = tables[table]
    rows = rows[rows["pe" if "pe" in rows else "method"] == pe]
    for column, wanted in where.items():
        rows = rows[rows[column].isin(wanted if isinstance(wanted, list | tuple) else [wanted])]
    return float(rows[metric].mean()) if len(rows) else math.nan


BEYOND = {"pointer": (48, 64, 96), "passkey": (32, 48, 64)}


def _gain(lengths: tuple[int, ...], over: str, of: str) -> Callable[[Tables], float]:
    def statistic(tables: Tables) -> float:
        mine, theirs = (
            _mean(tables, "accuracy", pe, "accuracy", length=lengths) for pe in (of, over)
        )
        return mine - theirs

    return statistic


pointer_gain = _gain(BEYOND["pointer"], "rope", "tape")
pointer_alibi = _gain(BEYOND["pointer"], "tape", "alibi")
passkey_gain = _gain(BEYOND["passkey"], "rope", "tape")
passkey_alibi = _gain(BEYOND["passkey"], "tape", "alibi")


def learned(tables: Tables) -> float:
    """The least accuracy of RoPE and TAPE on validation data of the training length."""
    rows = tables["runs"]
    return float(rows[rows.chosen & rows.pe.isin(["rope", "tape"])]["val_accuracy"].min())


def _outside(tables: Tables, pe: str) -> float:
    return _mean(tables, "means", pe, "accuracy", part="out of distribution")


def add_gain(tables: Tables) -> float:
    """Out-of-distribution accuracy of TAPE minus RoPE's."""
    return _outside(tables, "tape") - _outside(tables, "rope")


def add_abacus(tables: Tables) -> float:
    """Out-of-distribution accuracy of RoPE with Abacus embeddings minus TAPE's."""
    return _outside(tables, "abacus-rope") - _outside(tables, "tape")


def _log_ratio(a: str, b: str, beyond: bool) -> Callable[[Tables], float]:
    """Mean ln(perplexity of a / of b), at the longest two lengths, or at the one before them."""

    def statistic(tables: Tables) -> float:
        lengths = sorted(tables["perplexity"]["length"].unique())
        at = lengths[-2:] if beyond else lengths[-3:-2]
        logs = tables["perplexity"].assign(log=np.log(tables["perplexity"]["ppl"]))
        changed = {"perplexity": logs}
        return _mean(changed, "perplexity", a, "log", length=at) - _mean(
            changed, "perplexity", b, "log", length=at
        )

    return statistic


lm_parity = _log_ratio("tape", "rope", beyond=False)
lm_gain = _log_ratio("tape", "rope", beyond=True)
lm_alibi = _log_ratio("alibi", "tape", beyond=True)


def _worse(rows: pd.DataFrame, metric: str, loser: str, winner: str, low: bool) -> pd.DataFrame:
    """Rows in which, cell by cell, `loser` has the worse of both values and `winner` the better.

    low : whether a low value is good
    """
    metrics = {"accuracy", "loss", "ppl", "ppl_last32", "n"}
    keys = [column for column in rows.columns if column not in metrics | {"pe"}]
    wide = rows.pivot_table(index=keys, columns="pe", values=metric, dropna=False)
    both = wide[[loser, winner]]
    bad, good = (
        (both.max(axis=1), both.min(axis=1)) if low else (both.min(axis=1), both.max(axis=1))
    )
    keyed = rows.set_index(keys)
    value = keyed[metric].copy()
    value = value.where(keyed.pe != loser, bad.reindex(keyed.index))
    value = value.where(keyed.pe != winner, good.reindex(keyed.index))
    return keyed.assign(**{metric: value}).reset_index()[list(rows.columns)]


def _control(
    table: str, metric: str, loser: str, winner: str, low: bool = False
) -> Callable[[Tables], dict[str, pd.DataFrame]]:
    def change(tables: Tables) -> dict[str, pd.DataFrame]:
        return {**tables, table: _worse(tables[table], metric, loser, winner, low)}

    return change


tape_loses = _control("accuracy", "accuracy", "tape", "rope")
alibi_loses = _control("accuracy", "accuracy", "alibi", "tape")
tape_adds_worse = _control("means", "accuracy", "tape", "rope")
abacus_adds_worse = _control("means", "accuracy", "abacus-rope", "tape")
tape_reads_worse = _control("perplexity", "ppl", "tape", "rope", low=True)
alibi_reads_worse = _control("perplexity", "ppl", "alibi", "tape", low=True)


def nothing_learned(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: validation accuracies at the level of guessing."""
    return {**tables, "runs": tables["runs"].assign(val_accuracy=0.1)}


def tape_twice_as_perplexed(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: twice the perplexity of TAPE."""
    rows = tables["perplexity"]
    return {
        **tables,
        "perplexity": rows.assign(ppl=rows.ppl.where(rows.pe != "tape", 2 * rows.ppl)),
    }


def _adapted(tables: Tables, method: str) -> float:
    """Accuracy at 2 N, or minus the logarithm of the perplexity; larger is better."""
    rows = tables["lengths"]
    n = int(tables["base"]["length"].iloc[0])
    rows = rows[(rows.method == method) & (rows.length == 2 * n)]
    if rows.empty:
        return math.nan
    accuracy = float(rows["accuracy"].iloc[0])
    return -math.log(float(rows["ppl"].iloc[0])) if math.isnan(accuracy) else accuracy


def _over(method: str) -> Callable[[Tables], float]:
    return lambda tables: _adapted(tables, "tape") - _adapted(tables, method)


over_lora = _over("lora")
over_matched = _over("lora-matched")
over_embnorm = _over("embnorm")
over_interpolation = _over("interp")
over_longlora = _over("longlora")
over_theta = _over("theta")


def _worse_than(method: str) -> Callable[[Tables], dict[str, pd.DataFrame]]:
    """Control: TAPE a little worse than a method, at every length."""

    def change(tables: Tables) -> dict[str, pd.DataFrame]:
        rows = tables["lengths"]
        mine, theirs = rows.method == "tape", rows.method == method
        keys = ["seed", "repeat", "length"]
        at = pd.MultiIndex.from_frame(rows[mine][keys])
        other = rows[theirs].set_index(keys).reindex(at)
        changed = rows.copy()
        changed.loc[mine, "accuracy"] = other["accuracy"].to_numpy() - 0.01
        changed.loc[mine, "ppl"] = other["ppl"].to_numpy() * 1.02
        return {**tables, "lengths": changed}

    return change


worse_than_lora = _worse_than("lora")
worse_than_matched = _worse_than("lora-matched")
worse_than_embnorm = _worse_than("embnorm")
worse_than_interpolation = _worse_than("interp")
worse_than_longlora = _worse_than("longlora")
worse_than_theta = _worse_than("theta")


def base_accuracy(tables: Tables) -> float:
    """The smaller accuracy of the base model at N, by position and by content."""
    return float(tables["base"][["acc_pointer", "acc_recall"]].to_numpy().min())


def converged(tables: Tables) -> str:
    """Whether the base model can do its task; a language model always can a little."""
    accuracy = float(tables["base"]["accuracy"].iloc[0])
    if accuracy < 0.98:
        return f"the base model has not converged, its accuracy at N is {accuracy:.2f}"
    return ""


def interpolated(tables: Tables) -> float:
    """Accuracy at 2 N with interpolation and without training."""
    return _adapted(tables, "interp")


def lora_accuracy(tables: Tables) -> float:
    """LoRA's accuracy at 2 N."""
    return _adapted(tables, "lora")


def base_unlearnt(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: a base model that recalls but cannot count."""
    return {**tables, "base": tables["base"].assign(acc_pointer=0.125)}


def _set(method: str, accuracy: float) -> Callable[[Tables], dict[str, pd.DataFrame]]:
    def change(tables: Tables) -> dict[str, pd.DataFrame]:
        rows = tables["lengths"]
        changed = rows.accuracy.where(rows.method != method, accuracy)
        return {**tables, "lengths": rows.assign(accuracy=changed)}

    return change


interpolation_harmless = _set("interp", 1.0)
lora_unrepaired = _set("lora", 0.5)


def _exact(fact: str, code: str) -> Callable[[Tables], float]:
    def statistic(tables: Tables) -> float:
        rows = tables["exact"]
        rows = rows[rows.fact.str.startswith(fact) & (rows.code == code)]
        return float(rows["value"].iloc[0])

    return statistic


unused_positions = _exact("positions replaced", "released")
released_is_nope = _exact("difference from NoPE", "released")
transposed_leak = _exact("later tokens changed", "transposed")
frozen_w_a = _exact("movement of W_a", "released")
not_random = _exact("random positions", "released")


def forced_minus_decoded(tables: Tables) -> float:
    """How much better the leaking layer looks in one teacher-forced pass than when it decodes."""
    rows = tables["trained"]
    rows = rows[(rows.code == "transposed") & (rows.part == "in distribution")]
    return float((rows.forced - rows.decoded).iloc[0])


def forced_is_decoded(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: one teacher-forced pass scores what decoding scores, or less."""
    rows = tables["trained"]
    return {**tables, "trained": rows.assign(forced=rows.decoded - 0.01)}


def _hf(*checks: str) -> Callable[[Tables], float]:
    def statistic(tables: Tables) -> float:
        rows = tables["checks"]
        return float(rows[rows.check.isin(checks)]["value"].max())

    return statistic


hf_start = _hf("start")
hf_shift = _hf("shift")
hf_cache = _hf("cache", "generate")
hf_reload = _hf("reload", "padding")


def hf_difference(tables: Tables) -> float:
    """Relative difference of a converted model."""
    return float(tables["converted"]["difference"].iloc[0])


def hf_converted_wrongly(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: logits that differ in the second digit."""
    return {**tables, "converted": tables["converted"].assign(difference=0.05)}


def hf_improvement(tables: Tables) -> float:
    """ln(perplexity after / before) of TAPE."""
    after, before = (
        _mean(tables, "perplexity", "tape", "ppl", moment=moment) for moment in ("after", "before")
    )
    return math.log(after / before)


def hf_frozen(tables: Tables) -> float:
    """Largest change of a weight that is not trained."""
    return float(tables["perplexity"]["frozen_change"].max())


def hf_all_trained(tables: Tables) -> dict[str, pd.DataFrame]:
    """Control: all weights moved."""
    return {**tables, "perplexity": tables["perplexity"].assign(frozen_change=0.01)}
