"""The exact shift coefficient of interaction rank K, by formula and by linear algebra."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np

from .data import Floats, Ints, subsets
from .model import cells, one_hot


def kappa(agents: int, rank: int, conc: float) -> float:
    """sup f(a*)^2 / E_nu f^2 over functions of interaction rank K, where own action and all others
    have probability 1 / conc at a*: conc * sum_{k<K} binom(M - 1, k) (conc - 1)^k.
    """
    return conc * sum(comb(agents - 1, k) * (conc - 1) ** k for k in range(rank))


def kappa_by_algebra(policy: Floats, target: Ints, rank: int) -> float:
    """phi(a*)' G^+ phi(a*) with G = E_nu phi phi', phi the one-hot blocks of (a_0, a_S).

    The blocks are redundant, hence the pseudo-inverse.  policy : (M, A), target : (M,)
    """
    agents, count = policy.shape
    others = subsets(agents, rank)[0]
    every = np.array(list(product(range(count), repeat=agents)))
    weight = np.prod(policy[np.arange(agents), every], axis=1)
    features = one_hot(cells(every, 0, others, count), count**rank)
    at = one_hot(cells(target[None], 0, others, count), count**rank).toarray()[0]
    if len(others) == 1:  # one block: G is diagonal
        diagonal = features.T @ weight
        return float((at**2 / diagonal).sum())
    gram = (features.T @ features.multiply(weight[:, None]).tocsr()).toarray()
    values, vectors = np.linalg.eigh(gram)
    along = (vectors.T @ at) ** 2
    kept = values > 1e-10 * values[-1]
    return float((along[kept] / values[kept]).sum())
