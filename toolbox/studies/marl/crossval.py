"""Cross-validated errors of fits of interaction rank K to a log.

All fits shrink towards the behaviour mean: the mean reward of an agent in a context, whatever the
actions. Every term of an agent's reward holds its own action, so the ridge regression of rank K
falls into one for each context and own action, which makes the systems smaller without changing
the solution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
from scipy import sparse, stats

from .data import Floats, Ints
from .recorded import Recorded


def folds_of(episode: Ints, folds: int, rng: np.random.Generator) -> Ints:
    """The fold of every row, (N,): whole episodes, whose steps depend on each other."""
    fold = np.empty(episode.max() + 1, dtype=np.int64)
    fold[rng.permutation(len(fold))] = np.arange(len(fold)) % folds
    return fold[episode]


def behaviour_mean(context: Ints, target: Floats, asked: Ints) -> Floats:
    """Mean target of each asked context; of all rows where the context is new.

    context, target : (n,), asked : (m,)  ->  (m,)
    """
    size = int(max(context.max(), asked.max())) + 1
    hits = np.bincount(context, minlength=size)
    total = np.bincount(context, target, size)
    means = np.where(hits > 0, total / np.maximum(hits, 1), target.mean())
    return np.asarray(means[asked])


def features(log: Recorded, rank: int) -> list[sparse.csr_matrix]:
    """For each agent, one-hot blocks of all sets of K - 1 others, (N, w): a column for each cell
    that occurs. Empty for the behaviour mean, rank 0."""
    agents = log.actions.shape[1]
    return [
        _blocks(np.delete(log.actions, i, axis=1), rank) for i in range(agents if rank > 0 else 0)
    ]


def _blocks(others: Ints, rank: int) -> sparse.csr_matrix:
    """others : (N, W)  ->  (N, w)"""
    n, base = len(others), int(others.max()) + 1
    columns, start = [], 0
    for chosen in combinations(range(others.shape[1]), rank - 1):
        cell = np.zeros(n, dtype=np.int64)
        for j in chosen:
            # Codes anew after each factor, so that they stay below N times base.
            cell = np.unique(cell * base + others[:, j], return_inverse=True)[1].reshape(-1)
        columns.append(start + cell)
        start += int(cell.max()) + 1
    blocks = len(columns)
    at = np.array(columns).T.ravel()
    return sparse.csr_matrix((np.ones(n * blocks), at, np.arange(n + 1) * blocks), (n, start))


def ridge_paths(
    seen: sparse.csr_matrix, target: Floats, asked: sparse.csr_matrix, ridges: Sequence[float]
) -> Floats:
    """Predictions of the ridge regression at several penalties.

    seen : (n, w) one-hot blocks, target : (n,), asked : (m, w)  ->  (len(ridges), m)
    """
    lam = np.asarray(ridges)[:, None]
    if seen.nnz == len(target):  # one block: shrunken cell means
        hits = np.asarray(seen.sum(axis=0)).reshape(-1)
        return np.asarray((asked @ ((seen.T @ target) / (hits + lam)).T).T)
    if seen.shape[1] <= len(target):
        values, vectors = np.linalg.eigh((seen.T @ seen).toarray())
        weights = (vectors.T @ (seen.T @ target)) / (np.maximum(values, 0) + lam)
        return np.asarray((asked @ (vectors @ weights.T)).T)
    # Fewer rows than cells: the dual. An inner product is the number of sets that agree.
    values, vectors = np.linalg.eigh((seen @ seen.T).toarray())
    duals = (vectors.T @ target) / (np.maximum(values, 0) + lam)
    return np.asarray((asked @ (seen.T @ (vectors @ duals.T))).T)


def predictions(
    log: Recorded,
    blocks: Sequence[sparse.csr_matrix],
    rewards: Floats,
    train: Ints,
    test: Ints,
    ridges: Sequence[float],
) -> Floats:
    """Rewards of all agents predicted at the rows `test` from the rows `train`.

    blocks : `features` of the rank;  rewards : (N, M);  train : (n,), test : (m,) row numbers
    ->  (len(ridges), m, M)
    """
    agents = log.actions.shape[1]
    out = np.empty((len(ridges), len(test), agents))
    for i in range(agents):
        context, target = log.context[train], rewards[train, i]
        out[:, :, i] = behaviour_mean(context, target, log.context[test])
        if not blocks:
            continue
        residual = target - behaviour_mean(context, target, context)
        group = log.context * (log.actions[:, i].max() + 1) + log.actions[:, i]
        for each in np.unique(group[test]):
            ours, asked = np.flatnonzero(group[train] == each), np.flatnonzero(group[test] == each)
            if len(ours):  # else an own action that was never seen: the behaviour mean
                out[:, asked, i] += ridge_paths(
                    blocks[i][train[ours]], residual[ours], blocks[i][test[asked]], ridges
                )
    return out


def held_out(
    log: Recorded,
    blocks: Sequence[sparse.csr_matrix],
    rewards: Floats,
    fold: Ints,
    this: int,
    ridges: Sequence[float],
) -> tuple[Floats, float]:
    """Squared errors at the rows of one fold, (m, M), and the ridge penalty.

    The penalty is the one that predicts a quarter of the training episodes best from the others;
    the fit is then repeated on all of them.
    """
    train, test = np.flatnonzero(fold != this), np.flatnonzero(fold == this)
    ridge = ridges[0]
    if blocks and len(ridges) > 1:
        aside = log.episode[train] % 4 == this % 4
        if aside.any() and not aside.all():
            tried = predictions(log, blocks, rewards, train[~aside], train[aside], ridges)
            errors = ((tried - rewards[train[aside]]) ** 2).mean(axis=(1, 2))
            ridge = ridges[int(np.argmin(errors))]
    fitted = predictions(log, blocks, rewards, train, test, [ridge])[0]
    return (fitted - rewards[test]) ** 2, ridge


def widest(log: Recorded, rank: int) -> int:
    """Unknowns of the largest system that a fit of this rank solves; 1 where cells are averaged."""
    agents = log.actions.shape[1]
    if rank in (0, 1, agents):
        return 1
    most = 1
    for i in range(agents):
        group = log.context * (log.actions[:, i].max() + 1) + log.actions[:, i]
        rows = int(np.bincount(group).max())
        labels = sorted(int(column.max()) + 1 for column in np.delete(log.actions, i, 1).T)
        cells = comb(agents - 1, rank - 1) * int(np.prod([float(a) for a in labels[1 - rank :]]))
        most = max(most, min(rows, cells))
    return most


def interval(values: Floats, episode: Ints) -> tuple[float, float, float]:
    """Mean of a value of each row, and its 95 % limits over episodes (Student's t): the rows of an
    episode depend on each other, so their sums are what varies.  values, episode : (N,)"""
    rows = np.bincount(episode)
    total = np.bincount(episode, values)
    count, mean = len(rows), float(values.mean())
    deviation = total - rows * mean
    error = np.sqrt(count / (count - 1) * (deviation**2).sum()) / len(values)
    half = float(stats.t.ppf(0.975, count - 1) * error)
    return mean, mean - half, mean + half
