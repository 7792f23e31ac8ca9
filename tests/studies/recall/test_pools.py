"""Runs with other sizes are no further replicates of the same curve."""

import json

from toolbox.app import run


def verdict(out, capsys, claim):
    assert run(["verify", "recall", "curve", "--json", "--out", str(out)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return next(each for each in found["verdicts"] if each["claim"] == claim)


def curve(out, sizes, *words):
    argv = ["recall", "curve", "--kind", "superposition", "--d", "15", "--sizes", sizes]
    assert run([*argv, *words, "--quiet", "--threads", "1", "--out", str(out)]) == 0


def test_a_largest_error_sees_the_same_sizes_in_every_replicate(tmp_path, capsys):
    """The largest of two errors is smaller than that of four: such replicates are left out."""
    for seed in range(5):
        curve(tmp_path, "6,9,14,22", "--seed", str(seed), "--repeats", "1")
    capsys.readouterr()
    alone = verdict(tmp_path, capsys, "C1-finite")
    assert alone["replicates"] == 5
    curve(tmp_path, "9,14", "--repeats", "4")
    capsys.readouterr()
    pooled = verdict(tmp_path, capsys, "C1-finite")
    assert (pooled["measured"], pooled["replicates"]) == (alone["measured"], 5)
    assert pooled["left_out"] == [[0, 1], [0, 2], [0, 3]]
