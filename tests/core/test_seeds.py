"""Every stream is its own, and a replicate does not depend on how many ran beside it."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.core.seeds import seed_sequence

seeds = st.integers(0, 10**15)
streams = st.lists(st.one_of(st.integers(0, 2**32 - 1), st.text()), max_size=3)


def words(seed, repeat, *stream):
    return tuple(seed_sequence(seed, repeat, *stream).generate_state(4, np.uint64).tolist())


@settings(max_examples=50, deadline=None)
@given(seed=seeds, repeat=st.integers(0, 10_000), stream=streams)
def test_the_same_name_is_the_same_stream(seed, repeat, stream):
    assert words(seed, repeat, *stream) == words(seed, repeat, *stream)


def test_no_two_of_seed_repeat_and_stream_share_a_state():
    names = [(), ("data",), ("init",), ("data", 0), ("data", 1), ("datb",), (0, "data")]
    cases = list(itertools.product(range(8), range(8), names))
    assert len({words(seed, repeat, *name) for seed, repeat, name in cases}) == len(cases)


def test_seed_plus_one_is_not_repeat_plus_one():
    assert words(0, 1, "data") != words(1, 0, "data")


def test_neighbouring_streams_are_uncorrelated():
    draws = np.array(
        [np.random.Generator(np.random.PCG64(seed_sequence(s, r, "x"))).random(4000)
         for s in range(4) for r in range(4)]
    )  # fmt: skip
    off_diagonal = np.corrcoef(draws)[~np.eye(16, dtype=bool)]
    # Standard error 1/sqrt(4000) = 0.016; 0.08 is five of them, over 120 pairs.
    assert np.abs(off_diagonal).max() < 0.08


def test_a_large_seed_is_not_its_remainder():
    assert words(2**32, 0) != words(0, 0)
    assert words(2**32 + 1, 0) != words(1, 0)


def test_a_replicate_is_the_same_among_two_and_among_five(cli):
    def rows(repeats, repeat):
        folder = cli("coin", "toss", "--repeats", repeats, "--seed", 7).folder
        lines = (folder / "counts.csv").read_bytes().splitlines()
        return [line for line in lines if line.startswith(b"7,%d," % repeat)]

    for repeat in (0, 1):
        assert len(rows(2, repeat)) == 2
        assert rows(2, repeat) == rows(5, repeat)


def test_streams_of_a_run_do_not_disturb_each_other(launch):
    seen = {}

    def experiment(run, extra):
        if extra:
            run.rng(0, "data").random(100)
            run.torch_generator(0, "init").seed()
        import torch

        generator = run.torch_generator(0, "init")
        seen[extra] = (run.rng(0, "init").random(), float(torch.rand((), generator=generator)))
        run.write("curve", {"step": [0], "loss": [0.0]}, 0)

    for extra in (False, True):
        launch(lambda run, extra=extra: experiment(run, extra), extra=extra)
    assert seen[False] == seen[True]


def test_seeds_of_one_run_and_repeats_of_another_share_no_row(cli):
    first = pd.read_csv(
        cli("coin", "toss", "--tosses", 90_000, "--seed", 0, "--repeats", 3).folder / "counts.csv"
    )
    second = pd.read_csv(
        cli("coin", "toss", "--tosses", 90_000, "--seed", 1, "--repeats", 3).folder / "counts.csv"
    )
    assert not set(first["count"]) & set(second["count"])


@pytest.mark.parametrize("seed", ["-1", "1.5", str(10**15 + 1), "a"])
def test_a_seed_out_of_range_is_refused(cli, seed):
    result = cli("coin", "toss", "--seed", seed)
    assert result.code == 2
    assert "--seed" in result.stderr
