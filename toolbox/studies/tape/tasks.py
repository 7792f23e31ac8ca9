"""Batches of the tasks: tokens, and which of them are answers that must be predicted.

All generators take a numpy generator and return a `Batch`. Everything is teacher-forced: whether
all tokens of an answer are the most likely ones is then the same as greedy decoding of the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Ints = np.ndarray
SYMBOLS, MARKER, QUESTIONS = 8, 8, 12
"""Symbols 0 to 7, the marker, and the pairs (question, answer) behind the content."""
OFFSETS = 8
"""Offset r = 1..7 is token OFFSETS + r, 9 to 15."""
KEYS, KEY_COUNT, BOS = 16, 16, 32
POINTER_VOCAB, RECALL_VOCAB = 16, 33
DIGITS, FILLER, FILLERS, KEY, ASK = 10, 10, 5, 15, 16
PASSKEY_VOCAB = 17
PLUS, EQUALS, END, PAD = 10, 11, 12, 13
ADD_VOCAB = 14


@dataclass(frozen=True)
class Batch:
    """tokens (B, L); answers (B, L) bool, the tokens that must be predicted; kinds (B, L) int, what
    sort of answer they are (0 where there is one sort)."""

    tokens: Ints
    answers: np.ndarray
    kinds: Ints | None = None


def pointer(rng: np.random.Generator, batch: int, n: int) -> Batch:
    """n symbols with a marker at p in [0, n - 8); then 12 pairs of an offset r in 1..7 and the
    symbol r places behind the marker. Chance is 1/8."""
    content = rng.integers(SYMBOLS, size=(batch, n))
    p = rng.integers(n - SYMBOLS, size=batch)
    content[np.arange(batch), p] = MARKER
    r = rng.integers(1, SYMBOLS, size=(batch, QUESTIONS))
    answer = np.take_along_axis(content, p[:, None] + r, axis=1)
    pairs = np.stack([OFFSETS + r, answer], axis=2).reshape(batch, -1)
    return _behind(content, pairs)


def _behind(content: Ints, pairs: Ints, kinds: Ints | None = None) -> Batch:
    tokens = np.concatenate([content, pairs], axis=1)
    answers = np.zeros(tokens.shape, dtype=bool)
    answers[:, content.shape[1] + 1 :: 2] = True
    if kinds is None:
        return Batch(tokens, answers)
    wide = np.zeros(tokens.shape, dtype=np.int64)
    wide[:, content.shape[1] + 1 :: 2] = kinds
    return Batch(tokens, answers, wide)


def pointer_recall(
    rng: np.random.Generator, batch: int, n: int, pointer_only: bool = False
) -> Batch:
    """BOS and n symbols, with 4 distinct keys at even places away from the marker; then 12 pairs,
    each with probability 1/2 a pointer's (kind 0, needs position) or a key and the symbol behind it
    (kind 1, recall: needs content)."""
    content = rng.integers(SYMBOLS, size=(batch, n))
    p = rng.integers(n - SYMBOLS, size=batch)
    even = np.arange(0, n - 1, 2)
    # A random order of the even places; those near the marker go last, the first four are taken.
    order = rng.random((batch, even.size))
    # A key at even e and the symbol at e + 1 keep out of [p - 1, p + 7].
    near = (even[None] >= p[:, None] - 2) & (even[None] <= p[:, None] + 7)
    places = even[np.argsort(order + near, axis=1)[:, :4]]
    keys = np.argsort(rng.random((batch, KEY_COUNT)), axis=1)[:, :4] + KEYS
    rows = np.arange(batch)[:, None]
    content[rows, places] = keys
    content[rows[:, 0], p] = MARKER
    r = rng.integers(1, SYMBOLS, size=(batch, QUESTIONS))
    which = rng.integers(4, size=(batch, QUESTIONS))
    recall = np.zeros((batch, QUESTIONS), dtype=bool)
    if not pointer_only:
        recall = rng.random((batch, QUESTIONS)) < 0.5
    asked = np.where(recall, keys[rows, which], OFFSETS + r)
    answer = np.where(recall, content[rows, places[rows, which] + 1], content[rows, p[:, None] + r])
    pairs = np.stack([asked, answer], axis=2).reshape(batch, -1)
    start = np.full((batch, 1), BOS)
    return _behind(np.concatenate([start, content], axis=1), pairs, recall.astype(np.int64))


def passkey(
    rng: np.random.Generator, batch: int, n: int, digits: int, depth: float | None = None
) -> Batch:
    """A key of some digits in n tokens, the rest of which repeats a filler of five tokens; behind
    them the question and the digits again.

    depth : share of the filler before the key; None draws it
    """
    room = n - digits - 1
    tokens = np.broadcast_to(FILLER + np.arange(n + digits + 1) % FILLERS, (batch, n + digits + 1))
    tokens = tokens.copy()
    at = (
        rng.integers(room + 1, size=batch) if depth is None else np.full(batch, round(depth * room))
    )
    key = rng.integers(DIGITS, size=(batch, digits))
    rows = np.arange(batch)[:, None]
    tokens[rows[:, 0], at] = KEY
    tokens[rows, at[:, None] + 1 + np.arange(digits)] = key
    tokens[:, n], tokens[:, n + 1 :] = ASK, key
    answers = np.zeros(tokens.shape, dtype=bool)
    answers[:, n + 1 :] = True
    return Batch(tokens, answers)


def addition(rng: np.random.Generator, batch: int, lengths: tuple[int, int] | int) -> Batch:
    """a+b=c, every number written from its least significant digit and without leading zeros; the
    answer is c and the end token, behind which there is padding.

    lengths : of a and b; one number draws both uniformly from 1 up to it, for each row
    """
    if isinstance(lengths, int):
        most = lengths
        sizes = rng.integers(1, most + 1, size=(batch, 2))
    else:
        most = max(lengths)
        sizes = np.tile(lengths, (batch, 1))
    digits = rng.integers(10, size=(batch, 2, most))
    top = sizes - 1
    leading = rng.integers(1, 10, size=(batch, 2))
    # A number of one digit may be 0.
    leading = np.where(sizes == 1, rng.integers(10, size=(batch, 2)), leading)
    np.put_along_axis(digits, top[:, :, None], leading[:, :, None], axis=2)
    digits[np.arange(most) >= sizes[:, :, None]] = 0
    total = np.zeros((batch, most + 1), dtype=np.int64)
    carry = np.zeros(batch, dtype=np.int64)
    for place in range(most):
        column = digits[:, 0, place] + digits[:, 1, place] + carry
        total[:, place], carry = column % 10, column // 10
    total[:, most] = carry
    used = np.where(total > 0, np.arange(1, most + 2), 1).max(axis=1)
    tokens = np.full((batch, 3 * most + 4), PAD)
    answers = np.zeros(tokens.shape, dtype=bool)
    at = np.arange(tokens.shape[1])
    a, b = sizes[:, 0], sizes[:, 1]
    _place(tokens, at, np.zeros(batch, dtype=np.int64), a, digits[:, 0])
    tokens[np.arange(batch), a] = PLUS
    _place(tokens, at, a + 1, b, digits[:, 1])
    tokens[np.arange(batch), a + 1 + b] = EQUALS
    _place(tokens, at, a + b + 2, used, total)
    tokens[np.arange(batch), a + b + 2 + used] = END
    first = (a + b + 2)[:, None]
    answers[(at >= first) & (at <= first + used[:, None])] = True
    return Batch(tokens, answers)


def _place(tokens: Ints, at: Ints, first: Ints, size: Ints, digits: Ints) -> None:
    """Write `size` digits from column `first` on, row by row."""
    inside = (at >= first[:, None]) & (at < (first + size)[:, None])
    wanted = np.arange(digits.shape[1]) < size[:, None]
    tokens[inside] = digits[wanted]


def abacus(tokens: Ints) -> Ints:
    """Index of each digit inside its number, 1 at the least significant; 0 at other tokens."""
    index = np.zeros(tokens.shape, dtype=np.int64)
    running = np.zeros(tokens.shape[0], dtype=np.int64)
    for column in range(tokens.shape[1]):
        running = np.where(tokens[:, column] < 10, running + 1, 0)
        index[:, column] = running
    return index
