"""A real text as tokens: characters grouped into classes, shuffled blocks, windows."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np

from toolbox.core.errors import ParameterError

from .data import Floats, Ints

REST = "(rest)"
LINGUISTIC = (
    "ae", "iou", "t", "ns", "rl", "hwy", "dcgk", "fvpbm", "jqxz", r"\s", r"\n", ".,;:!?",
    "0123456789", "'\"`‘’“”", "()[]{}<>",
)  # fmt: skip
"""Fifteen classes; every other character is of the sixteenth, `(rest)`."""
DISTINCT = 64  # characters that automatic classes start from
NAMES = {" ": "space", "\n": "newline"}


def read(source: str) -> list[str]:
    """The blocks of a text: topics of `pydoc_data.topics`, else paragraphs of a UTF-8 file.

    Errors: `ParameterError` when there is no such file, or it is no UTF-8 text.
    """
    if source == "pydoc_data.topics":
        topics = import_module("pydoc_data.topics").topics
        return [topics[name].lower() for name in sorted(topics)]
    try:
        whole = Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ParameterError("file", source, "this is no UTF-8 text", "convert it first") from None
    except OSError as error:
        raise ParameterError(
            "file",
            source,
            error.strerror or "cannot be read",
            "give a text file or pydoc_data.topics",
        ) from None
    blocks = re.split(r"\n[ \t]*\n+", whole.lower())
    return [block + "\n" for block in blocks if block.strip()]


def split(blocks: list[str], rng: np.random.Generator) -> tuple[str, str]:
    """Shuffled blocks, 80 % of the characters for training and the rest for testing.

    Neighbouring blocks resemble each other, so that an unshuffled split compares two subjects.
    """
    order = [blocks[i] for i in rng.permutation(len(blocks))]
    ends = np.cumsum([len(block) for block in order])
    cut = int(np.searchsorted(ends, 0.8 * ends[-1])) if ends.size else 0
    cut = min(max(cut, 1), len(order) - 1)
    return "".join(order[:cut]), "".join(order[cut:])


def class_map(classes: str, automatic: int, text: str) -> tuple[dict[str, int], list[str]]:
    """Character -> class, and the names of the classes; automatic ones come from the text.

    classes : `linguistic`, `automatic`, or groups of characters separated by spaces, in which
              backslash-s is the space and backslash-n the newline; the others are `(rest)`
    Errors: `ParameterError` for a character in two groups.
    """
    if classes == "automatic":
        return _automatic(automatic, text)
    groups = LINGUISTIC if classes == "linguistic" else tuple(classes.split())
    class_of: dict[str, int] = {}
    names: list[str] = []
    for group in groups:
        shown = group.replace("\\s", " ").replace("\\n", "\n")
        for character in shown.lower():
            if character in class_of and class_of[character] != len(names):
                raise ParameterError(
                    "classes", classes, f"{character!r} is in two groups", "name it once"
                )
            class_of[character] = len(names)
        names.append(_name(shown.lower()))
    return class_of, [*names, REST]


def encode(text: str, mapping: dict[str, int], N: int) -> Ints:
    """Class of every character, the last class for characters that the mapping lacks."""
    points = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    table = np.full(int(points.max()) + 1 if points.size else 1, N - 1, dtype=np.int64)
    for character, index in mapping.items():
        if ord(character) < table.size:
            table[ord(character)] = index
    return table[points]


def _automatic(count: int, text: str) -> tuple[dict[str, int], list[str]]:
    """Greedy merging of characters that loses the least mutual information of neighbours.

    Bottom-up clustering of Brown et al., Computational Linguistics 18 (1992), on characters. The
    64 most frequent characters are clustered, the others are `(rest)`.
    """
    points, inverse, occurrences = np.unique(
        np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32),
        return_inverse=True,
        return_counts=True,
    )
    top = np.argsort(-occurrences, kind="stable")[:DISTINCT]
    rank = np.full(points.size, top.size)
    rank[top] = np.arange(top.size)
    ids, M = rank[inverse], top.size
    joint = np.bincount(ids[:-1] * (M + 1) + ids[1:], minlength=(M + 1) ** 2).astype(float)
    joint = joint.reshape(M + 1, M + 1)[:M, :M] / max(1, ids.size - 1)
    groups = [[chr(points[i])] for i in top]
    while len(groups) > max(1, count - 1):
        a, b = _cheapest_merge(joint)
        joint[a] += joint[b]
        joint[:, a] += joint[:, b]
        joint = np.delete(np.delete(joint, b, axis=0), b, axis=1)
        groups[a] += groups.pop(b)
    class_of = {character: i for i, group in enumerate(groups) for character in group}
    return class_of, [*(_name("".join(sorted(group))) for group in groups), REST]


def _cheapest_merge(joint: Floats) -> tuple[int, int]:
    """The pair whose merging loses the least mutual information."""
    left, right = joint.sum(axis=1), joint.sum(axis=0)

    def terms(j: Floats, row: Floats, column: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(j > 0, j * np.log(j / (row * column)), 0.0)

    whole = terms(joint, left[:, None], right[None, :])
    best, least = (0, 1), np.inf
    for a in range(len(joint) - 1):
        b = np.arange(a + 1, len(joint))
        rows = terms(joint[a] + joint[b], (left[a] + left[b])[:, None], right[None, :])
        columns = terms((joint[:, [a]] + joint[:, b]).T, left, (right[a] + right[b])[:, None])
        square = joint[a, a] + joint[a, b] + joint[b, a] + joint[b, b]
        both = terms(square, left[a] + left[b], right[a] + right[b])
        index = np.arange(b.size)
        new = (
            rows.sum(axis=1) - rows[:, a] - rows[index, b]
            + columns.sum(axis=1) - columns[:, a] - columns[index, b] + both
        )  # fmt: skip
        old = whole[a].sum() + whole[b].sum(axis=1) + whole[:, a].sum() + whole[:, b].sum(axis=0)
        old -= whole[a, a] + whole[a, b] + whole[b, a] + whole[b, b]
        loss = old - new
        if loss.min() < least:
            best, least = (a, int(b[np.argmin(loss)])), float(loss.min())
    return best


def _name(group: str) -> str:
    """A class's name in tables: its characters; commas and blanks in words."""
    if group in NAMES:
        return NAMES[group]
    if group in ("na", "n/a", "nan", "null", "none"):  # would read back as a missing value
        return f"({group})"
    return "".join({" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}.get(ch, ch) for ch in group)


def windows(
    tokens: Ints, T: int, include_last: bool, count: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Windows of a text: contexts (n, T), last tokens (n,), outputs (n,).

    Column t of the context is t positions back from the last token when it is included, t + 1
    otherwise. Without replacement; all of them when the text has no more than `count`.
    """
    back = T if not include_last else T - 1
    ends = np.arange(back, tokens.size - 1)  # place of the last token
    if ends.size > count:
        ends = np.sort(rng.choice(ends, size=count, replace=False))
    offsets = np.arange(T) + (0 if include_last else 1)
    return tokens[ends[:, None] - offsets], tokens[ends], tokens[ends + 1]
