"""Every generator against the definition of its task, read off the tokens."""

import numpy as np
import pytest

from toolbox.studies.tape import tasks


def rng(seed=0):
    return np.random.default_rng(seed)


def pairs_of(row, n):
    return row[n:].reshape(-1, 2)


@pytest.mark.parametrize("n", [9, 12, 24, 40])
def test_a_pointer_asks_for_the_symbol_behind_the_marker(n):
    batch = tasks.pointer(rng(), 50, n)
    assert batch.tokens.shape == (50, n + 24)
    for row, answers in zip(batch.tokens, batch.answers, strict=True):
        (p,) = np.flatnonzero(row[:n] == tasks.MARKER)
        assert p < n - 8
        for asked, answer in pairs_of(row, n):
            assert answer == row[p + asked - tasks.OFFSETS]
        assert answers.nonzero()[0].tolist() == list(range(n + 1, n + 24, 2))


@pytest.mark.parametrize("n", [18, 21, 32, 64])
def test_pointer_recall_asks_by_position_or_by_content(n):
    batch = tasks.pointer_recall(rng(1), 80, n)
    assert batch.tokens.shape == (80, n + 25)
    for row, kinds in zip(batch.tokens, batch.kinds, strict=True):
        content = row[1 : n + 1]
        assert row[0] == tasks.BOS
        (p,) = np.flatnonzero(content == tasks.MARKER)
        keys = np.flatnonzero(content >= tasks.KEYS)
        assert len(set(content[keys])) == 4
        assert (keys % 2 == 0).all()
        assert not set(keys) & set(range(p - 1, p + 8))
        for (asked, answer), kind in zip(pairs_of(row, n + 1), kinds[n + 2 :: 2], strict=True):
            assert answer < tasks.SYMBOLS
            if kind:
                (at,) = np.flatnonzero(content == asked)
                assert answer == content[at + 1]
            else:
                assert answer == content[p + asked - tasks.OFFSETS]
    share = batch.kinds[batch.answers].mean()
    assert 0.4 < share < 0.6
    assert not tasks.pointer_recall(rng(), 5, n, pointer_only=True).kinds.any()


@pytest.mark.parametrize("depth", [None, 0.0, 0.5, 1.0])
def test_a_passkey_is_hidden_and_asked_for(depth):
    batch = tasks.passkey(rng(2), 30, 20, 4, depth)
    for row, answers in zip(batch.tokens, batch.answers, strict=True):
        (at,) = np.flatnonzero(row == tasks.KEY)
        assert depth is None or at == round(depth * 15)
        assert row[20] == tasks.ASK
        assert row[at + 1 : at + 5].tolist() == row[21:].tolist()
        assert answers.nonzero()[0].tolist() == [21, 22, 23, 24]


@pytest.mark.parametrize("lengths", [3, (2, 5), (4, 1), (6, 6)])
def test_additions_add_up(lengths):
    batch = tasks.addition(rng(3), 200, lengths)
    seen = set()
    for row, answers in zip(batch.tokens, batch.answers, strict=True):
        text = "".join("0123456789+=;."[token] for token in row)
        left, _, right = text.partition("=")
        a, b = left.split("+")
        c = right.partition(";")[0]
        assert int(a[::-1]) + int(b[::-1]) == int(c[::-1])
        for number in (a, b, c):
            assert number == "0" or number[-1] != "0"  # no leading zero
        seen.add((len(a), len(b)))
        first = len(left) + 1
        assert answers.nonzero()[0].tolist() == list(range(first, first + len(c) + 1))
    if isinstance(lengths, int):
        assert len(seen) == lengths**2
    else:
        assert seen == {lengths}


def test_abacus_counts_digits_inside_their_number():
    row = np.array([[1, 2, tasks.PLUS, 3, tasks.EQUALS, 4, 5, 6, tasks.END, tasks.PAD]])
    assert tasks.abacus(row).tolist() == [[1, 2, 0, 1, 0, 1, 2, 3, 0, 0]]
