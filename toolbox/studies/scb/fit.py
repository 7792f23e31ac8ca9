"""`scb fit`: the sparse contextual bigram on a real text, beside n-grams and a linear map.

The model V X a^(k) is fitted by alternating exact least squares on second moments. Losses are half
the mean squared error of the one-hot next class on blocks that no model has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import minibatch, text
from .cli import Fit
from .common import quiet_numerics
from .data import Floats, Ints
from .model import Attention

SWEEPS, POSITIONS, RANDOM_STARTS = 15, 4, 2
RIDGES = (1e-3, 1.0, 10.0, 100.0)
"""Ridge penalties in counts; each model that has one takes the best on a tenth of the training
windows."""
KEPT = 0.1  # of uniform attention: a smaller weight counts as none
LIMIT = 4e8  # bytes of second moments


@dataclass(frozen=True)
class Moments:
    """Second moments of windows, per last token k, as sums over windows.

    xx : (N, TN, TN) of the one-hot context, index t N + token; yx : (N, N, TN) of output and
    context; yy : how many windows
    """

    xx: Floats
    yx: Floats
    yy: int

    def loss(self, W: Floats) -> float:
        """Half mean squared error of the predictor W[k] x, W : (N, N, TN)."""
        fitted = np.einsum("koi,koi->", W @ self.xx, W) - 2 * np.einsum("koi,koi->", W, self.yx)
        return float(0.5 * (self.yy + fitted) / self.yy)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.xx + other.xx, self.yx + other.yx, self.yy + other.yy)


def moments(X: Ints, last: Ints, out: Ints, N: int) -> Moments:
    """Second moments from token ids; only the pairs that occur are counted."""
    T = X.shape[1]
    size = T * N
    xx, yx = np.zeros((N, size, size)), np.zeros((N, N, size))
    slots = X + N * np.arange(T)
    for k in range(N):
        mine = last == k
        rows = np.zeros((int(mine.sum()), size), dtype=np.float32)
        np.put_along_axis(rows, slots[mine], 1.0, axis=1)
        target = np.zeros((rows.shape[0], N), dtype=np.float32)
        target[np.arange(rows.shape[0]), out[mine]] = 1.0
        xx[k], yx[k] = rows.T @ rows, target.T @ rows  # counts: exact in float32 below 2^24
    return Moments(xx, yx, len(out))


def predictor(V: Floats, a: Floats) -> Floats:
    """W[k] = a^(k) (x) V as a map of the one-hot context, (N, N, TN); V (N, N), a (N, T)."""
    N, T = a.shape
    W: Floats = np.einsum("kt,on->kotn", a, V).reshape(N, N, T * N)
    return W


def fit_value(m: Moments, a: Floats, ridge: float) -> Floats:
    """The least-squares V for given attention, (N, N)."""
    N, T = a.shape
    xx = m.xx.reshape(N, T, N, T, N)
    gram = np.einsum("kt,ktnsm,ks->nm", a, xx, a, optimize=True)
    cross = np.einsum("kotn,kt->on", m.yx.reshape(N, N, T, N), a, optimize=True)
    return np.linalg.solve(gram + ridge * np.eye(N), cross.T).T


def fit_attention(m: Moments, V: Floats, T: int, ridge: float) -> Floats:
    """The least-squares a^(k) for a given value, (N, T)."""
    N = V.shape[0]
    gram = np.einsum("ktnsm,nm->kts", m.xx.reshape(N, T, N, T, N), V.T @ V, optimize=True)
    cross = np.einsum("kotn,on->kt", m.yx.reshape(N, N, T, N), V, optimize=True)
    return np.linalg.solve(gram + ridge * np.eye(T), cross[:, :, None])[:, :, 0]


def fit_scb(m: Moments, T: int, ridge: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Alternating least squares from several starts; the lowest training loss counts.

    Attention starts uniform, on each of the first positions, and at random: the problem has local
    minima. Returns V (N, N) and a (N, T) scaled to a mean column sum of 1: the model determines
    only their product.
    """
    N = m.yx.shape[0]
    starts = [np.full((N, T), 1.0 / T)]
    starts += [np.tile(0.9 * np.eye(T)[t] + 0.1 / T, (N, 1)) for t in range(min(T, POSITIONS))]
    starts += [rng.dirichlet(np.ones(T), size=N) for _ in range(RANDOM_STARTS)]
    solutions = []
    for a in starts:
        V, a = _alternate(m, a, ridge, SWEEPS)
        solutions.append((m.loss(predictor(V, a)), V, a))
    _, V, a = min(solutions, key=lambda each: each[0])
    return _alternate(m, a, ridge, 4 * SWEEPS)


def _alternate(m: Moments, a: Floats, ridge: float, sweeps: int) -> tuple[Floats, Floats]:
    """Least squares in V and in a by turns, `sweeps` times each, ending with V."""
    V = fit_value(m, a, ridge)
    for _ in range(sweeps):
        a = fit_attention(m, V, a.shape[1], ridge)
        scale = float(a.sum(axis=1).mean())
        if abs(scale) > 1e-9:
            a = a / scale
        V = fit_value(m, a, ridge)
    return V, a


def fit_linear(m: Moments, ridge: float) -> Floats:
    """A free linear map per last token, (N, N, TN)."""
    eye = ridge * np.eye(m.xx.shape[1])
    W = np.linalg.solve(m.xx + eye, m.yx.swapaxes(1, 2)).swapaxes(1, 2)
    return np.asarray(W, dtype=np.float64)


def table_loss(train: tuple[Ints, Ints], test: tuple[Ints, Ints], cells: int, N: int) -> float:
    """Half squared error of predicting each cell's training frequencies, (cell, output) pairs.

    An unseen cell predicts the overall frequencies, with the weight of one observation in all.
    """
    counts = np.bincount(train[0] * N + train[1], minlength=cells * N).reshape(cells, N)
    overall = counts.sum(axis=0) / counts.sum()
    p = (counts + overall) / (counts.sum(axis=1, keepdims=True) + 1)
    chosen = p[test[0]]
    hit = chosen[np.arange(len(test[1])), test[1]]
    return float(0.5 * ((chosen**2).sum(axis=1) - 2 * hit + 1).mean())


def fit(run: Run, p: Fit) -> None:
    """One split per replicate: losses of every model, the attention and the value of the fit.

    Errors: `ParameterError` for a text that cannot be read, is too short or has one class alone,
    and for moments that would not fit.
    """
    blocks = text.read(p.file)
    whole = "".join(blocks)
    mapping, names = text.class_map(p.classes, p.automatic, whole)
    N, T = len(names), p.T
    size = 8 * N * (N * T) ** 2
    if size > LIMIT:
        raise ParameterError(
            "T",
            T,
            f"with {N} classes the second moments would take {size / 1e6:.0f} MB",
            "take a shorter context or fewer classes",
        )
    if len(blocks) < 5 or len(whole) < 50 * (T + 2):
        raise ParameterError(
            "file",
            p.file,
            f"too short for a context of {{T}} {T} (characters: {len(whole.strip())}, paragraphs: "
            f"{len(blocks)})",
            "take a longer text with blank lines between paragraphs",
        )
    with quiet_numerics():
        for repeat in run.replicates(label="splits"):
            sides = text.split(blocks, run.rng(repeat, "split"))
            rng = run.rng(repeat, "windows")
            train, test = (
                text.windows(text.encode(side, mapping, N), T, p.include_last, count, rng)
                for side, count in zip(sides, (p.train_windows, p.test_windows), strict=True)
            )
            if min(len(train[2]), len(test[2])) < 10:
                raise ParameterError(
                    "file",
                    p.file,
                    f"a split leaves fewer than 10 windows of {{T}} {T}",
                    "take a longer text or a shorter context",
                )
            fitted = _fit_all(train, test, N, T, p.include_last, run.rng(repeat, "als"))
            draws = run.rng(repeat, "minibatches")
            V, A = minibatch.start(train, N)
            for step in run.steps(p.steps, V, A, draws, label="minibatch steps"):
                minibatch.step(V, A, train, 1.0 - step / p.steps, p.batch, draws)
            _write_minibatch(run, repeat, fitted, V, A)
            _write(run, repeat, fitted, names, p.include_last)


def _fit_all(
    train: tuple[Ints, Ints, Ints], test: tuple[Ints, Ints, Ints], N: int, T: int,
    include_last: bool, rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    X, last, out = train
    held = np.arange(len(out)) % 10 == 9  # windows are in order of place: every tenth
    fit_part = moments(X[~held], last[~held], out[~held], N)
    held_part = moments(X[held], last[held], out[held], N)
    both, tested = fit_part + held_part, moments(*test, N)
    als_seed = int(rng.integers(2**62))

    def scb(m: Moments, ridge: float) -> tuple[Floats, Floats]:
        return fit_scb(m, T, ridge, np.random.default_rng(als_seed))

    ridge = min(RIDGES, key=lambda r: held_part.loss(predictor(*scb(fit_part, r))))
    linear_ridge = min(RIDGES, key=lambda r: held_part.loss(fit_linear(fit_part, r)))
    V, a = scb(both, ridge)
    uniform = np.full((N, T), 1.0 / T)
    W = {
        "uniform": predictor(fit_value(both, uniform, ridge), uniform),
        "scb": predictor(V, a),
        "linear": fit_linear(both, linear_ridge),
    }
    losses = {name: (both.loss(w), tested.loss(w)) for name, w in W.items()}
    # Column of the context that holds the token before the last one.
    before = min(1 if include_last else 0, T - 1)

    def key(side: tuple[Ints, Ints, Ints], name: str) -> tuple[Ints, Ints]:
        """The cell of a table that each window falls into, and its output."""
        cell = {
            "unigram": np.zeros_like(side[1]),
            "bigram": side[1],
            "trigram": side[1] * N + side[0][:, before],
        }[name]
        return cell, side[2]

    for name, cells in (("unigram", 1), ("bigram", N), ("trigram", N * N)):
        seen = key(train, name)
        losses[name] = (
            table_loss(seen, seen, cells, N),
            table_loss(seen, key(test, name), cells, N),
        )
    share = np.bincount(train[1], minlength=N) / len(train[1])
    return {
        "losses": losses, "V": V, "a": a, "share": share, "ridges": (ridge, linear_ridge),
        "moments": (both, tested),
    }  # fmt: skip


def _write_minibatch(
    run: Run, repeat: int, fitted: dict[str, Any], V: Floats, A: Attention
) -> None:
    """Losses of every step size and penalty; the lowest training loss joins the other models."""
    both, tested = fitted["moments"]
    sizes = minibatch.grid()
    W = [predictor(v, a) for v, a in zip(V, A.swapaxes(0, 1), strict=True)]
    train, test = ([m.loss(w) for w in W] for m in (both, tested))
    finite = np.isfinite(train)
    run.write(
        "minibatch",
        {
            "eta_a": sizes.eta_a,
            "lam": sizes.lam,
            "train": np.where(finite, train, np.nan),
            "test": np.where(finite, test, np.nan),
            "over_exact": np.where(finite, test, np.nan) - fitted["losses"]["scb"][1],
            "kept": (np.abs(A) > KEPT / A.shape[2]).mean(axis=(0, 2)),
        },
        repeat,
    )
    best = int(np.argmin(np.where(finite, train, np.inf)))
    fitted["losses"]["minibatch"] = (train[best], test[best])


def _write(
    run: Run, repeat: int, fitted: dict[str, Any], names: list[str], include_last: bool
) -> None:
    losses, V, a = fitted["losses"], fitted["V"], fitted["a"]
    order = ("unigram", "uniform", "bigram", "minibatch", "scb", "trigram", "linear")
    bigram = losses["bigram"][1]
    ridge = {
        "scb": fitted["ridges"][0],
        "uniform": fitted["ridges"][0],
        "linear": fitted["ridges"][1],
    }
    run.write(
        "losses",
        {
            "model": order,
            "train": [losses[name][0] for name in order],
            "test": [losses[name][1] for name in order],
            "over_bigram": [losses[name][1] - bigram for name in order],
            "ridge": [ridge.get(name, np.nan) for name in order],
        },
        repeat,
    )
    k, t = np.indices(a.shape)
    weight = np.abs(a) / np.maximum(np.abs(a).sum(axis=1, keepdims=True), 1e-300)
    run.write(
        "attention",
        {
            "last": np.array(names)[k.ravel()],
            "back": t.ravel() + (0 if include_last else 1),
            "weight": a.ravel(),
            "share": weight.ravel(),
        },
        repeat,
    )
    run.write(
        "reading",
        {
            "last": names,
            "frequency": fitted["share"],
            "first_back": weight.argmax(axis=1) + (0 if include_last else 1),
            "first_share": weight.max(axis=1),
            "effective_positions": 1.0 / (weight**2).sum(axis=1),
        },
        repeat,
    )
    seen, out = np.indices(V.shape)[::-1]
    run.write(
        "value",
        {
            "seen": np.array(names)[seen.ravel()],
            "output": np.array(names)[out.ravel()],
            "weight": V.ravel(),
        },
        repeat,
    )
    lines = ", ".join(f"{name} {losses[name][1]:.4f}" for name in order)
    run.say(f"split {repeat}: half squared error on unseen blocks: {lines}")
    if repeat == 0:
        back = weight.argmax(axis=1) + (0 if include_last else 1)
        often = np.argsort(-fitted["share"])[:6]
        for index in often[fitted["share"][often] > 0]:
            run.say(
                f"  after {names[index]}: looks {back[index]} back with "
                f"{weight[index].max():.0%} of its attention"
            )
