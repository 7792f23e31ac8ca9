"""Processor seconds of the parts of `marl game`, against the dense way and against loops.

Run it as

    python benchmarks/marl.py [--agents 7] [--seeds 60] [--large]

from the repository. All ways run in this one process on one thread, in turns, and the median of
five is printed, in processor seconds, with the ratio to ours:

    averaged   Q of all agents at one policy, rank 2: pairwise contractions against the dense joint
               table of the same rewards
    seeds      one iteration (values, true values, update) of all seeds at once, against the same
               code one seed at a time, and against a plain loop over seeds, agents and others with
               the update's level found by bisection
    fit        the ridge regression of rank 2 and 3, one for each own action, against one for each
               context
    large      (with --large) fits, 50 iterations and gaps with 10 agents and 100,000 samples
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    averaged(args.agents)
    seeds(args.agents, args.seeds)
    fits(args.agents)
    if args.large:
        large()


def compare(title: str, ways: dict[str, Callable[[], object]]) -> None:
    """The first way is ours."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(TURNS):
        for name, way in ways.items():
            count, start = 0, time.process_time()
            while (spent := time.process_time() - start) < 0.1:
                way()
                count += 1
            times[name].append(spent / count)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = next(iter(medians.values()))
    print(title)
    for name, value in medians.items():
        print(f"  {name:44s} {1e3 * value:10.3f} ms   x {value / ours:.1f}")


def a_game(agents: int, replicates: int, rank: int = 2):
    import numpy as np

    from toolbox.studies.marl import data

    rng = np.random.default_rng(0)
    tables = np.array([data.random_tables(rng, agents, rank, 2, 3) for _ in range(replicates)])
    nu = np.array([data.behaviour(rng, agents, 2, 3, 10.0)[0] for _ in range(replicates)])
    return rng, data.Rewards(tables, data.subsets(agents, rank)), nu


def averaged(agents: int) -> None:
    import numpy as np

    from toolbox.studies.marl import data

    _, truth, nu = a_game(agents, 1)
    # The same rewards as one table of all joint actions, the own action first.
    every = np.indices((3,) * agents).reshape(agents, -1).T
    dense = np.empty((1, agents, 1, 2, *[3] * agents))
    for c in range(2):
        values = truth.values(0, np.full(len(every), c), every)
        for i in range(agents):
            dense[0, i, 0, c] = np.moveaxis(values[:, i].reshape([3] * agents), i, 0)
    joint = data.Rewards(dense, data.subsets(agents, agents))
    gap = np.abs(joint.averaged(nu) - truth.averaged(nu)).max()
    compare(
        f"Q of all agents at one policy, M = {agents} (largest difference {gap:.0e})",
        {
            "pairwise contractions": lambda: truth.averaged(nu),
            "dense joint table": lambda: joint.averaged(nu),
        },
    )


def seeds(agents: int, replicates: int) -> None:
    from toolbox.studies.marl import data, model

    _, truth, nu = a_game(agents, replicates)
    _, critic, _ = a_game(agents, replicates)

    def step(truth: data.Rewards, critic: data.Rewards, nu) -> None:
        truth.averaged(nu)
        model.update(nu, critic.averaged(nu), nu, 10.0, 2e-4)

    alone = [
        (
            data.Rewards(truth.tables[r : r + 1], truth.others),
            data.Rewards(critic.tables[r : r + 1], critic.others),
            nu[r : r + 1],
        )
        for r in range(replicates)
    ]

    def one_by_one() -> None:
        for each in alone:
            step(*each)

    compare(
        f"an iteration of {replicates} seeds, M = {agents}",
        {
            "all seeds at once": lambda: step(truth, critic, nu),
            "the same code, one seed at a time": one_by_one,
            "a plain loop over seeds, agents and others": lambda: plain(truth, critic, nu),
        },
    )


def plain(truth, critic, nu) -> None:
    """An iteration as one writes it down: loops, and the level of the update by bisection."""
    import numpy as np

    eta, lam = 10.0, 2e-4
    replicates, agents, contexts, _ = nu.shape
    for r in range(replicates):
        for rewards in (truth, critic):
            q = np.zeros(nu.shape[1:])
            for i in range(agents):
                for s, (j,) in enumerate(rewards.others[i]):
                    for c in range(contexts):
                        q[i, c] += rewards.tables[r, i, s, c] @ nu[r, j, c]
        for i in range(agents):
            for c in range(contexts):
                own = nu[r, i, c]
                alpha = (lam + 1 / eta) / own
                beta = q[i, c] + 2 * own / (eta * own)
                low, high = beta.min() - 2 * alpha.max(), beta.max()
                for _ in range(50):
                    level = (low + high) / 2
                    total = np.maximum(0, (beta - level) / (2 * alpha)).sum()
                    low, high = (level, high) if total > 1 else (low, level)


def fits(agents: int) -> None:
    import numpy as np

    from toolbox.studies.marl import data, model

    rng, truth, nu = a_game(agents, 1)
    log = data.log(rng, truth, 0, nu[0], 1000, 0.2)

    def by_context(rank: int) -> np.ndarray:
        others = data.subsets(agents, rank)
        width = 3**rank
        out = np.zeros((agents, 2, others.shape[1] * width))
        mean = log.rewards.mean(axis=0)
        for i in range(agents):
            cell = model.cells(log.actions, i, others[i], 3)
            for c in range(2):
                rows = log.context == c
                hot = model.one_hot(cell[rows], width)
                gram = (hot.T @ hot).toarray() + 0.01 * np.eye(hot.shape[1])
                out[i, c] = np.linalg.solve(gram, hot.T @ (log.rewards[rows, i] - mean[i]))
        return out

    for rank in (2, 3):
        compare(
            f"a fit of rank {rank} for {agents} agents, 1000 samples",
            {
                "one system for each own action": lambda r=rank: model.fit(log, r, 2, 3, 0.01),
                "one system for each context": lambda r=rank: by_context(r),
            },
        )


def large() -> None:
    from toolbox.studies.marl import data, model

    rng, truth, nu = a_game(10, 1)
    start = time.process_time()
    log = data.log(rng, truth, 0, nu[0], 100_000, 0.2)
    print(f"M = 10, N = 100,000: log {time.process_time() - start:.1f} s")
    for name, rank in (("IR1", 1), ("IR2", 2), ("IR3", 3), ("joint", 10)):
        start = time.process_time()
        fit = model.fit(log, rank, 2, 3, 0.01)
        critic = data.Rewards(fit[None], data.subsets(10, rank))
        fitted = time.process_time()
        policy = nu
        for _ in range(50):
            truth.averaged(policy)
            policy = model.update(policy, critic.averaged(policy), nu, 10.0, 2e-4)
        end = time.process_time()
        print(f"  {name:6s} fit {fitted - start:6.2f} s   50 iterations {end - fitted:6.2f} s")


if __name__ == "__main__":
    main()
