"""`multiindex flow`: the exact population flow, its times against d, the closed forms beside it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolbox.core.run import Run

from . import data, metrics, theory
from .cli import Flow
from .link import Link, parse_link, parse_links

BLOCK = 2000
"""Neurons whose flow is computed together."""


def flow(run: Run, p: Flow) -> None:
    """Per replicate, link and d: times of every neuron, their medians, and the fits.

    Errors: `ParameterError` for a link that cannot be read and for P > d.
    """
    parsed = parse_links(p.links)
    for d in p.dims:
        data.check_sizes(p.P, d, p.neurons, "neurons")
    for link in parsed:
        run.say(link.describe())
    cells = [(link, d) for link in parsed for d in sorted(p.dims)]
    for repeat in run.replicates():
        medians: list[dict[str, object]] = run.kept([])
        for link, d in run.cells(cells, "cells"):
            u0 = data.coupled_starts(run, repeat, p.neurons, d, p.P)[:, : p.P]
            parts: list[dict[str, list[object]]] = run.kept([])
            for start in run.cells(range(0, p.neurons, BLOCK), "blocks of neurons"):
                part = _neurons(link, d, start, u0[start : start + BLOCK], p.level)
                parts.append({str(name): list(column) for name, column in part.items()})
            table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
            run.write("neurons", table, repeat)
            medians += _medians(table)
        run.write("medians", pd.DataFrame(medians), repeat)
        run.write("fit", _fits(pd.DataFrame(medians)), repeat)


def _neurons(link: Link, d: int, start: int, u0: np.ndarray, level: float) -> pd.DataFrame:
    """Times of neurons `start` and on; the flow ends when three in five of them have arrived."""
    P = u0.shape[1]
    end = theory.longest_time(link, P, d)
    found = theory.flow(link, u0, end, level, share=0.6)
    square = u0**2
    return pd.DataFrame(
        {
            "link": link.name, "d": d, "P": P, "neuron": start + np.arange(len(u0)),
            "s0": square.sum(axis=1), "largest0": square.max(axis=1),
            "t_sub": found.subspace, "t_dir": found.direction,
            "t_theory": theory.leading_time(link, u0, level),
        }
    )  # fmt: skip


def _medians(table: pd.DataFrame) -> list[dict[str, object]]:
    """Medians over the neurons, one that has not arrived standing for infinity; none over half.

    Samples are flow time over the step per sample `theory.step_unit`.
    """
    first = table.iloc[0]
    link, d, P = str(first["link"]), int(first["d"]), int(first["P"])
    eta1 = theory.step_unit(parse_link(link), P, d)
    rows: list[dict[str, object]] = []
    for target in ("sub", "dir", "theory"):
        time = float(np.median(table[f"t_{target}"].fillna(np.inf)))
        if np.isfinite(time):
            samples = time / eta1
            rows.append({"link": link, "d": d, "P": P, "target": target, "time": time,
                         "eta1": eta1, "samples": samples})  # fmt: skip
    return rows


def _fits(medians: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for (link, target), rows in medians.groupby(["link", "target"], sort=False):
        logd = np.log(rows["d"].astype(float))
        several = len(np.unique(logd)) > 1
        parts.append(
            {
                "link": link, "target": target,
                "time_per_log": float(np.polyfit(logd, rows["time"], 1)[0]) if several else np.nan,
                "time_exponent": metrics.loglog_slope(rows["d"], rows["time"]),
                "sample_exponent": metrics.loglog_slope(rows["d"], rows["samples"]),
            }
        )  # fmt: skip
    return pd.DataFrame(parts)
