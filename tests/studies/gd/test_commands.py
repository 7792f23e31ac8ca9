"""The commands as a user meets them: refusals, and statistics on tables made by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from toolbox.core.spec import load_study
from toolbox.studies.gd import cli as gd_cli
from toolbox.studies.gd import metrics, model


def test_the_default_c_is_p():
    assert gd_cli.P_BALANCED == model.P


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("anytime --schedules anytim", "did you mean 'anytime'?"),
        ("anytime --schedules constant2", "does not converge"),
        ("anytime --schedules silver,silver", "'silver' twice"),
        ("anytime --schedules pridp --T 1000000", "T <= 20000"),
        ("anytime --two-sided --T 2001", "T <= 2000"),
        ("anytime --T 0", "--T"),
        ("anytime --c 0", "--c"),
        ("strongly --kappas 1", "--kappas"),
        ("strongly --eps 1", "--eps"),
        ("strongly --methods newton", "chebyshev"),
        ("certify --N 61", "--allow-costly"),
        ("certify --metric h", "--metric h"),
        ("certify --mu 1", "--mu"),
        ("schedule --name bronze", "--name bronze"),
        ("train --objectives iris", "--objectives iris"),
        ("anytime --device cuda", "computes on cpu"),
        ("anytime --repeats 2", "exact"),
    ],
)
def test_what_cannot_be_computed_is_refused_in_one_sentence(cli, out, words, said):
    result = cli("gd", *words.split())
    assert result.code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(out.glob("gd/*/*"))


def test_missing_solvers_get_a_hint(cli, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    from toolbox.studies.gd import certify

    with pytest.raises(certify.UsageError, match=r"pip install 'toolbox\[pep\]'"):
        certify.certify(None, gd_cli.Certify(N=(2,)))


def test_divergent_constants_are_computed_when_asked_for(cli):
    result = cli(
        *["gd", "anytime", "--schedules", "constant2.5", "--allow-divergent", "--T", "20", "--json"]
    )
    table = pd.read_csv(json.loads(result.stdout)["tables"]["worst_case"])
    # (h - 1)^(2N) / 2 from the curvature 1
    assert table["tau"].iloc[-1] == pytest.approx(0.5 * 1.5**40)


def test_two_sided_functions_raise_only_lower_bounds(cli):
    tables = []
    for flag in ("--no-two-sided", "--two-sided"):
        result = cli(*f"gd anytime --schedules silver,anytime --T 200 {flag} --json".split())
        tables.append(pd.read_csv(json.loads(result.stdout)["tables"]["worst_case"]))
    plain, raised = tables
    assert (raised["tau"] >= plain["tau"]).all()
    changed = raised["tau"] > plain["tau"]
    assert changed.any()
    assert set(plain.loc[changed, "exactness"]) == {"lower-bound"}


def test_dense_tables_agree_with_the_sparse_ones(cli):
    frames = []
    for flag in ("--no-dense", "--dense"):
        result = cli(*f"gd anytime --schedules silver,anytime --T 3000 {flag} --json".split())
        frames.append(pd.read_csv(json.loads(result.stdout)["tables"]["worst_case"]))
    sparse, dense = frames
    assert len(dense) == 6000
    both = sparse.merge(dense, on=["schedule", "T"])
    assert len(both) == len(sparse) < 6000
    assert np.allclose(both["tau_x"], both["tau_y"], rtol=1e-9, atol=0)


@pytest.mark.parametrize("how", ["lines", "csv"])
def test_printed_stepsizes_read_back_exactly_also_the_second_time(cli, how):
    words = f"gd schedule --name anytime --T 50 --print {how}".split()
    for _ in range(2):
        shown = cli(*words).stdout
        if how == "csv":
            rows = [line.split(",") for line in shown.splitlines()]
            h = [float(row[rows[0].index("h")]) for row in rows[1:]]
        else:
            h = [float(line) for line in shown.splitlines()]
        assert np.array_equal(h, model.schedule("anytime", 50))


def test_a_training_of_the_huber_function_matches_the_closed_form(cli):
    """From x_0 = 1 it stays on the slope d while 1 - A d >= d: the gap is d (1 - A d) - d^2 / 2."""
    result = cli(
        *[
            "gd",
            "train",
            "--objectives",
            "huber",
            "--schedules",
            "constant1",
            "--T",
            "500",
            "--json",
        ]
    )
    table = pd.read_csv(json.loads(result.stdout)["tables"]["curve"])
    d, t = 1e-3, table["t"]
    expected = d * (1 - t * d) - d * d / 2
    assert np.allclose(table["gap"], expected, rtol=1e-9)


# ------------------------------------------------------------------------------- statistics


def worst_case_table(**tau_of):
    """A worst_case table from functions of T, by schedule."""
    T = np.arange(1, 20_001)
    parts = []
    for schedule, tau in tau_of.items():
        values = np.array([tau(t) for t in T.tolist()])
        parts.append(
            pd.DataFrame(
                {
                    "schedule": schedule.replace("_", "."),
                    "T": T,
                    "tau": values,
                    "scaled": T**model.THETA * values,
                    "endpoint": True,
                }
            )
        )
    return {"worst_case": pd.concat(parts, ignore_index=True)}


def in_region(name: str, value: float, command: str = "anytime") -> bool:
    low, high = load_study("gd").commands[command].claims[name].region
    return (low is None or value >= low) and (high is None or value <= high)


def test_claims_pass_on_laws_that_hold_and_fail_on_laws_that_do_not():
    holds = worst_case_table(
        anytime=lambda t: 0.33 * t**-1.1195452,
        dynamic=lambda t: 1 / (8 * t + 2),
        constant1=lambda t: 1 / (4 * t + 2),
        silver=lambda t: 0.0858 if t & (t - 1) == 0 else 0.2 * t**-1.2716,
    )
    fails = worst_case_table(
        anytime=lambda t: 0.33 * t**-1.03,
        dynamic=lambda t: 0.3 * t**-1.2,
        constant1=lambda t: 0.25 * t**-1.1,
        silver=lambda t: t**-1.05,
    )
    claims = load_study("gd").commands["anytime"].claims
    for name, claim in claims.items():
        statistic = getattr(metrics, claim.statistic)
        assert in_region(name, statistic(holds)) or name == "C3-endpoint", name
        assert not in_region(name, statistic(fails)), name
    # 0.33 T^-1.1195 over 1/(8 T) at 10,000 is 0.88: the claim is about the endpoints' 0.15.
    assert metrics.anytime_over_dynamic(holds) == pytest.approx(
        0.33 * 8 * 1e4**-0.1195452, rel=1e-4
    )


def test_statistics_are_undefined_without_their_schedule():
    only = worst_case_table(dynamic=lambda t: 1 / (8 * t))
    for claim in load_study("gd").commands["anytime"].claims.values():
        assert math.isnan(getattr(metrics, claim.statistic)(only)), claim.statistic


def test_kappa_exponents_leave_small_condition_numbers_out():
    kappa = np.array([10.0, 100.0, 1000.0, 10000.0])
    table = pd.DataFrame({"method": "anytime", "kappa": kappa, "T_eps": kappa**0.9})
    table.loc[0, "T_eps"] = 1e6
    assert metrics.anytime_kappa_exponent({"iterations": table}) == pytest.approx(0.9)
    assert math.isnan(metrics.silver_kappa_exponent({"iterations": table}))
