"""`refuel theory`: the exact iteration on tables, what it covers, and what its theorem needs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import values
from .cli import Theory
from .data import Floats, Game, Maps, draw_maps

STATES, ANSWERS, FEATURES = 12, 6, 4
"""Sizes of a random log-linear class."""


def theory(run: Run, p: Theory) -> None:
    """Per replicate: values along the iterations, errors of one step, and the two conditions.

    Errors: `ParameterError` if the restricted support forbids nothing that can occur.
    """
    if p.forbidden_from >= p.horizon:
        raise ParameterError(
            "forbidden_from", p.forbidden_from,
            f"is not below {{horizon}} {p.horizon}, so that it forbids nothing", "lower it",
        )  # fmt: skip
    game = Game(p.horizon, p.topics, p.contents, p.bonus)
    for repeat in run.replicates():
        maps = draw_maps(run.rng(repeat, "maps"), game)
        whole = np.ones((game.states, game.answers), bool)
        for support, mask in (
            ("full", whole),
            ("restricted", restricted(game, maps, p.forbidden_from)),
        ):
            log_policy = np.where(mask, 0.0, -np.inf)
            log_policy -= np.log(mask.sum(axis=1, keepdims=True))
            covered = values.value(game, maps, None, p.judge, mask)
            optimum = values.value(game, maps, None, p.judge)
            q, _ = values.action_values(game, maps, np.exp(log_policy), p.judge)
            errors = np.zeros(game.states)
            for s in run.steps(game.states, errors, label=f"regressions on {support} support"):
                errors[s] = step_error(log_policy[s : s + 1], q[s : s + 1], p.eta)
            run.write("step", {"support": support, "error": errors.max()}, repeat)
            rows: list[dict[str, float]] = run.kept([])
            for t in run.steps(max(p.iters), log_policy, label=f"iterations on {support} support"):
                q, _ = values.action_values(game, maps, np.exp(log_policy), p.judge)
                log_policy[:] = exact_step(log_policy, q, p.eta)
                if t + 1 in p.iters:
                    reached = values.value(game, maps, np.exp(log_policy), p.judge)
                    rows.append({"t": t + 1, "value": reached, "gap": covered - reached})
            found = pd.DataFrame(rows).assign(support=support, horizon=p.horizon, optimum=optimum)
            run.write("value", found.assign(best_covered=covered), repeat)
        run.write("condition", conditions(run.rng(repeat, "classes"), p.classes), repeat)


def restricted(game: Game, maps: Maps, level: int) -> np.ndarray:
    """Answers that are tried, (S, A): all but the right clarification at `level` and above."""
    mask = np.ones((game.states, game.answers), bool)
    high = np.flatnonzero(np.repeat(game.level_of, game.topics) >= level)
    mask[high, maps.clarify[high]] = False
    return mask


def exact_step(log_policy: Floats, q: Floats, eta: float) -> Floats:
    """log of pi exp(eta Q) / Z, which minimises the expected loss on exact data; (S, A) each."""
    moved = log_policy + eta * q
    return moved - np.logaddexp.reduce(moved, axis=1, keepdims=True)


def step_error(log_policy: Floats, q: Floats, eta: float) -> float:
    """Largest distance of the policies of the closed form and of the regression solved as such.

    The regression: minimise sum over states and pairs (y, y') of pi(y) pi(y') times the squared
    difference of [z(y) - z(y')] and eta [Q(y) - Q(y')], where z is the log-ratio, by least squares.
    """
    worst = 0.0
    for logs, values_ in zip(log_policy, q, strict=True):
        on = np.flatnonzero(np.isfinite(logs))
        one, two = (each.ravel() for each in np.meshgrid(np.arange(on.size), np.arange(on.size)))
        weight = np.exp(0.5 * (logs[on][one] + logs[on][two]))
        design = np.zeros((one.size, on.size))
        every = np.arange(one.size)
        np.add.at(design, (every, one), weight)
        np.add.at(design, (every, two), -weight)
        goal = weight * eta * (values_[on][one] - values_[on][two])
        z = np.linalg.lstsq(design, goal, rcond=None)[0]
        solved = logs[on] + z
        solved = np.exp(solved - np.logaddexp.reduce(solved))
        closed = np.exp(exact_step(logs[None], values_[None], eta))[0, on]
        worst = max(worst, float(np.abs(solved - closed).max()))
    return worst


def completeness(phi: Floats, q: Floats, policy: Floats) -> tuple[float, float]:
    """The two errors of a log-linear class pi(y|s) with weights exp(w phi(s, y)).

    phi : (X, A, d) ; q, policy : (X, A). States are uniform, answers are drawn from the policy.
    Q-function error, of the natural policy gradient: min over w of E (w phi - Q)^2.
    Policy-completeness error, of REFUEL: min over w of E (w [phi - phi'] - [Q - Q'])^2 / 2, with y'
    an independent second answer. As E_{y, y'} (e - e')^2 / 2 is the variance of e within a state,
    it is never the larger one.
    """
    weight = np.sqrt(policy / len(policy))
    mean = (policy[..., None] * phi).sum(axis=1, keepdims=True)
    q_mean = (policy * q).sum(axis=1, keepdims=True)
    absolute = _least(phi, q, weight)
    relative = _least(phi - mean, q - q_mean, weight)
    return absolute, relative


def _least(phi: Floats, q: Floats, weight: Floats) -> float:
    design = (weight[..., None] * phi).reshape(-1, phi.shape[-1])
    goal = (weight * q).ravel()
    w = np.linalg.lstsq(design, goal, rcond=None)[0]
    return float(((design @ w - goal) ** 2).sum())


def conditions(rng: np.random.Generator, count: int) -> pd.DataFrame:
    """Random classes of two kinds.

    general: Q = w phi + noise + a number of each state, all of size one: Proposition 1's direction.
    offset: Q = w phi + a number of each state. The policies contain the exact step, no linear
    function contains Q: the converse of the proposition fails.
    """
    rows = []
    for kind in ("general", "offset"):
        for index in range(count):
            phi = rng.standard_normal((STATES, ANSWERS, FEATURES))
            policy = rng.dirichlet(np.ones(ANSWERS), size=STATES)
            q = phi @ rng.standard_normal(FEATURES) + rng.standard_normal((STATES, 1))
            if kind == "general":
                q = q + rng.standard_normal(q.shape)
            absolute, relative = completeness(phi, q, policy)
            rows.append(
                {"kind": kind, "class": index, "q_error": absolute, "policy_error": relative}
            )
    return pd.DataFrame(rows)
