"""Critics by ridge regression, the regularised policy update, and equilibrium gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import linalg, sparse

from .data import Floats, Ints, Log, subsets

DENSE = 200_000
"""Features with so many entries at most are dense arrays."""


def cells(actions: Ints, own_action: int, others: Ints, count: int) -> Ints:
    """Index of the one-hot block's cell (a_i, a_S).

    actions : (n, M), others : (P, K - 1)  ->  (n, P)
    """
    index = np.repeat(actions[:, own_action, None], len(others), axis=1)
    for k in range(others.shape[1]):
        index = index * count + actions[:, others[:, k]]
    return index


def one_hot(cell: Ints, width: int) -> sparse.csr_matrix:
    """P one-hot blocks side by side.  cell : (n, P)  ->  (n, P * width)"""
    n, blocks = cell.shape
    columns = (cell + width * np.arange(blocks)).ravel()
    return sparse.csr_matrix(
        (np.ones(n * blocks), columns, np.arange(0, n * blocks + 1, blocks)),
        shape=(n, blocks * width),
    )


def hot(cell: Ints, width: int) -> Floats | sparse.csr_matrix:
    """The same blocks, dense where they are small: starting a sparse product costs more then."""
    n, blocks = cell.shape
    if n * blocks * width > DENSE:
        return one_hot(cell, width)
    dense = np.zeros((n, blocks * width))
    dense[np.arange(n)[:, None], cell + width * np.arange(blocks)] = 1.0
    return dense


def ridge_fit(features: Floats | sparse.csr_matrix, targets: Floats, ridge: float) -> Floats:
    """argmin |features w - targets|^2 + ridge |w|^2.  targets : (n, m)  ->  (width, m)"""
    rows, width = features.shape
    gram: Any
    if rows < width:  # the smaller system: w = F' (F F' + ridge)^-1 y
        gram = features @ features.T
    else:
        gram = features.T @ features
        targets = features.T @ targets
    if sparse.issparse(gram):
        gram = gram.toarray()
    gram[np.diag_indices_from(gram)] += ridge
    solved = linalg.cho_solve(linalg.cho_factor(gram, overwrite_a=True), targets)
    return np.asarray(features.T @ solved if rows < width else solved)


def fit(log: Log, rank: int, contexts: int, count: int, ridge: float) -> Floats:
    """The critic of interaction rank K of every agent, around its mean reward.

    All terms of an agent contain the context and its own action, so the regression falls into one
    for each of them. With one block (the joint table, and rank 1) the solution is the shrunken mean
    of each cell.
    ->  (M, P, X, A, ..., A)
    """
    agents = log.actions.shape[1]
    others, width = subsets(agents, rank), count ** (rank - 1)
    terms = others.shape[1]
    mean = log.rewards.mean(axis=0)
    out = np.zeros((agents, terms, contexts, count, width))
    for i in range(agents):
        target = log.rewards[:, i] - mean[i]
        group = log.context * count + log.actions[:, i]
        cell = cells(log.actions, i, others[i], count) % width
        if terms == 1:
            flat, size = group * width + cell[:, 0], contexts * count * width
            hits = np.bincount(flat, minlength=size)
            means = np.bincount(flat, target, size) / (hits + ridge)
            out[i, 0] = means.reshape(contexts, count, width)
        else:
            for each in np.unique(group):
                ours = group == each
                solved = ridge_fit(hot(cell[ours], width), target[ours, None], ridge)
                out[i, :, each // count, each % count] = solved.reshape(terms, width)
        out[i] += mean[i] / terms
    return out.reshape(agents, terms, contexts, *[count] * rank)


def fit_vdn(log: Log, contexts: int, count: int, ridge: float) -> Floats:
    """Value decomposition: agent i's reward is a sum over agents j of f_ij(c, a_j).

    ->  (M, M - 1, X, A, A): the same function as tables of rank 2, so that it is used like them
    """
    agents = log.actions.shape[1]
    mean = log.rewards.mean(axis=0)
    out = np.zeros((agents, agents - 1, contexts, count, count))
    for x in range(contexts):
        in_context = log.context == x
        features = one_hot(log.actions[in_context], count)
        solved = ridge_fit(features, log.rewards[in_context] - mean, ridge)
        f = solved.reshape(agents, count, agents)  # [j, a, i]
        for i in range(agents):
            of_agent = f[i, :, i] / (agents - 1)
            for s, j in enumerate(k for k in range(agents) if k != i):
                out[i, s, x] = of_agent[:, None] + f[j, :, i] + mean[i] / (agents - 1)
    return out


def update(policy: Floats, q: Floats, nu: Floats, eta: float, lam: float) -> Floats:
    """The next policy: on the simplex, the argmax over p of
    <q, p> - lam sum p^2 / nu - (1 / eta) sum (p - policy)^2 / nu.

    With w = nu / (2 (lam + 1/eta)) and b = q + 2 policy / (eta nu) it is p = max(0, w (b - m)); the
    level m is found exactly: sorted by b, the actions that stay are a prefix. An action outside the
    behaviour's support has w = 0 and is never played. All arrays : (..., A)
    """
    seen = nu > 0
    w = nu / (2 * (lam + 1 / eta))
    b = np.where(seen, q + 2 / eta * policy / np.where(seen, nu, 1), -np.inf)
    order = np.argsort(-b, axis=-1, kind="stable")
    high = np.take_along_axis(b, order, axis=-1)
    weight = np.take_along_axis(w, order, axis=-1)
    finite = np.where(np.isfinite(high), high, 0)
    levels = ((weight * finite).cumsum(axis=-1) - 1) / weight.cumsum(axis=-1)
    last = (high > levels).sum(axis=-1, keepdims=True) - 1
    level = np.take_along_axis(levels, last, axis=-1)
    p = w * np.maximum(0, np.where(seen, b, level) - level)
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def cce_gaps(policies: Floats, q: Floats) -> Floats:
    """What agent i gains at most by one policy of its own against the mixture of the first t
    products, for every t; the deviation does not see the member of the mixture.

    policies, q : (T, R, M, X, A), q the true rewards against the others' policies  ->  (T, R, M)
    """
    count = np.arange(1, len(q) + 1).reshape(-1, 1, 1)
    best = q.cumsum(axis=0).max(axis=-1).mean(axis=-1)
    reached = (policies * q).sum(axis=-1).mean(axis=-1).cumsum(axis=0)
    return np.asarray((best - reached) / count)


def nash_gaps(policy: Floats, q: Floats) -> Floats:
    """The same for one product policy.  (R, M, X, A)  ->  (R, M)"""
    return np.asarray((q.max(axis=-1) - (policy * q).sum(axis=-1)).mean(axis=-1))


def chi_square(policy: Floats, nu: Floats) -> Floats:
    """Mean over contexts of chi^2(policy, nu) = sum p^2 / nu - 1.  (..., X, A)  ->  (...)"""
    ratio = np.where(nu > 0, policy**2 / np.where(nu > 0, nu, 1), 0)
    return np.asarray(ratio.sum(axis=-1).mean(axis=-1) - 1)
