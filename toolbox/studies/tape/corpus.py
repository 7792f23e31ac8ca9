"""Texts as characters, without a download."""

from __future__ import annotations

import hashlib
import sysconfig
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from toolbox.core.errors import ParameterError

TOPICS, STDLIB = "pydoc_data.topics", "stdlib"
PARTS = (0.85, 0.07)
"""Shares of the text for training and for validation; the rest is for the test."""
MOST_CHARACTERS = 127
"""Characters with a token of their own; all others share one more."""


@dataclass(frozen=True)
class Corpus:
    """Token ids of the three parts, and the number of tokens."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    vocab: int


def read(source: str) -> str:
    """The text.

    source : `pydoc_data.topics` (help texts that come with Python), `stdlib` (the source of the
             Python standard library on this machine, sorted by name, tests left out), or a UTF-8
             file

    Errors: `ParameterError` when there is no such file, or it is no UTF-8 text.
    """
    if source == TOPICS:
        topics = import_module("pydoc_data.topics").topics
        return "\n".join(topics[name] for name in sorted(topics))
    if source == STDLIB:
        root = Path(sysconfig.get_paths()["stdlib"])
        files = [
            path for path in sorted(root.rglob("*.py"))
            if not {"site-packages", "dist-packages", "test", "tests"} & set(path.parts)
        ]  # fmt: skip
        return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    try:
        return Path(source).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ParameterError("text", source, "this is no UTF-8 text", "convert it first") from None
    except OSError as error:
        raise ParameterError(
            "text", source, error.strerror or "cannot be read",
            f"give a text file, {TOPICS} or {STDLIB}",
        ) from None  # fmt: skip


def corpus(source: str, longest: int) -> Corpus:
    """The text as tokens: the most frequent characters of the training part, and one for the rest.

    longest : tokens of the longest window that is taken from a part

    Errors: `ParameterError` when a part is shorter than that.
    """
    points = np.frombuffer(read(source).encode("utf-32-le"), dtype=np.uint32)
    ends = np.cumsum([int(share * points.size) for share in PARTS])
    parts = np.split(points, ends)
    if min(map(len, parts)) < 2 * longest:
        raise ParameterError(
            "text", source, f"its test part has {min(map(len, parts))} characters, fewer than two "
            f"windows of {longest}", "give a longer text or shorter windows",
        )  # fmt: skip
    characters, counts = np.unique(parts[0], return_counts=True)
    kept = np.sort(characters[np.argsort(-counts, kind="stable")[:MOST_CHARACTERS]])

    def ids(part: np.ndarray) -> np.ndarray:
        at = np.searchsorted(kept, part).clip(max=kept.size - 1)
        return np.where(kept[at] == part, at, kept.size)

    return Corpus(ids(parts[0]), ids(parts[1]), ids(parts[2]), kept.size + 1)


def facts(source: str) -> dict[str, object]:
    """How long the text is, and its SHA-256."""
    text = read(source)
    return {"characters": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def windows(rng: np.random.Generator, tokens: np.ndarray, batch: int, n: int) -> np.ndarray:
    """Windows of n tokens and the token behind them, (batch, n + 1), at random places."""
    first = rng.integers(tokens.size - n, size=batch)
    return np.asarray(tokens[first[:, None] + np.arange(n + 1)])


def ending(tokens: np.ndarray, count: int, longest: int, n: int) -> np.ndarray:
    """`count` windows (count, n + 1) that end at the same characters whatever n up to `longest`."""
    ends = np.linspace(longest + 1, tokens.size, count).astype(np.int64)
    return np.asarray(tokens[ends[:, None] - n - 1 + np.arange(n + 1)])
