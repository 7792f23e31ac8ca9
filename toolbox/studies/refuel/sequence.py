"""The iterations of `learn`, with transformers in place of tables: all replicates at once.

Members are the methods at each strength, of each replicate (replicates outermost): E = R M.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolbox.core import memory
from toolbox.core.crew import Worker
from toolbox.core.errors import ParameterError
from toolbox.core.run import Run

from . import methods as m
from .data import (
    Floats,
    Ints,
    base_policy,
    cumulative,
    draw_luck,
    draw_maps,
    draw_turns,
    roll,
)
from .learn import (
    SUPERVISED_DIALOGUES,
    SUPERVISED_STEPS,
    Member,
    PairGroup,
    Setting,
    WholeGroup,
    members_of,
)
from .play import CHUNK, Chance, Played, Right, law_of, play, tokens_of
from .transformer import CapturedStep, Transformers

SUPERVISED_BATCH = 256
SUPERVISED_RATE = 0.003
PRODUCTS = 1e10
"""Multiplications in a second on one core of a CPU, for the guard against long runs."""
LONGEST = 6 * 3600.0


@dataclass(frozen=True)
class Plan:
    """Replicates that are trained together."""

    setting: Setting
    names: tuple[str, ...]
    repeats: tuple[int, ...]
    layers: int
    evaluated: int


@dataclass
class Laws:
    """Laws of (level, bonus) after each turn, as in `values.reward_law`.

    law : (T + 1, M, H, H + 1, 2) ; base : (H, H + 1, 2), of the supervised policy
    ended : (M,) iteration in which a member had no pair left, or -1
    """

    law: Floats
    base: Floats
    ended: Ints


class World:
    """What the groups of a plan share: the replicates' games and the base policy."""

    def __init__(self, worker: Worker, plan: Plan) -> None:
        self.worker, self.plan, self.game = worker, plan, plan.setting.game
        self.maps = [draw_maps(self.rng(r, "maps"), self.game) for r in plan.repeats]
        self.base = self.transformers()

    def rng(self, repeat: int, *name: str | int) -> np.random.Generator:
        """A stream of one replicate."""
        return self.worker.rng(repeat, *name)

    def rngs(self, *name: str | int) -> list[np.random.Generator]:
        """The same of every replicate."""
        return [self.rng(repeat, *name) for repeat in self.plan.repeats]

    def transformers(self) -> Transformers:
        """No members yet."""
        s = self.plan.setting
        return Transformers(self.game, s.width, self.plan.layers, self.worker.device)

    def right(self, members: int) -> Right:
        """The right answers of M members of each replicate."""
        return Right.of(self.maps, members, self.worker.device)

    def expanded(self, rows: list[np.ndarray], members: int) -> Tensor:
        """One array (N, ...) for each replicate -> (R M, N, ...)."""
        return torch.from_numpy(np.stack(rows).repeat(members, axis=0)).to(self.worker.device)


class SequencePairs(PairGroup):
    """Members that learn from pairs of answers."""

    def __init__(self, members: list[Member], world: World) -> None:
        replicates = len(world.plan.repeats)
        super().__init__(members * replicates, world.plan.setting, world.transformers())
        self.world, self.each = world, len(members)
        device = world.worker.device
        shape = (len(self.members), self.size)
        self.said = torch.zeros((2, *shape, world.base.words.length), dtype=torch.int16)
        self.said = self.said.to(device)
        self.row, self.turn = (torch.zeros(shape, dtype=torch.int64) for _ in range(2))
        names = ("first", "second", "target", "old", "row", "turn", "strength", "valid", "dpo")
        for name in names:
            setattr(self, name, getattr(self, name).to(device))

    def pool(self) -> list[Tensor]:
        """Answers, eta (R - R'), the old log-ratio, the dialogue's row in `said`, the turn."""
        return [self.first, self.second, self.target, self.old, self.row, self.turn]

    @property
    def changing(self) -> list[object]:
        """The dialogues too."""
        return [*super().changing, self.said]

    @torch.no_grad()
    def collect_sequences(self, t: int) -> None:
        """Pairs whose two answers differ, packed to the front of each member's row."""
        if self.fixed and t > 0:
            return
        s, world = self.setting, self.world
        kept = self.policies
        if self.fixed:  # one data set, of the base policy, serves all its members
            kept = world.base
        for part in range(s.iterations if self.fixed else 1):
            columns = slice(part * s.pairs, (part + 1) * s.pairs)
            rngs = world.rngs("fixed" if self.fixed else "pairs", t + part)
            self._collect(kept, rngs, columns)
        for at in range(0, self.size, CHUNK):
            some = slice(at, at + CHUNK)
            self.old[:, some] = self._ratio(self.row[:, some], self.turn[:, some])
        self._settle(t)

    def _collect(
        self, policies: Transformers, rngs: list[np.random.Generator], columns: slice
    ) -> None:
        s, world, game = self.setting, self.world, self.setting.game
        device, each = world.worker.device, 1 if self.fixed else self.each
        turns = [draw_turns(rng, game, s.pairs, s.judge) for rng in rngs]
        luck = [Chance.draw(rngs, game, s.pairs, device) for _ in range(2)]
        errors = world.expanded([rng.standard_normal((s.pairs, 2)) for rng in rngs], each)
        n = world.expanded([judged for judged, _ in turns], each)
        any_turn = world.expanded([learned for _, learned in turns], each)
        methods = [method for method, _ in self.members][: each * len(rngs)]
        last = torch.tensor([method.last_turn for method in methods], device=device)[:, None]
        h = torch.where(last, n, any_turn)
        begins = torch.tensor(
            [method.base_begins != (s.labels == "swapped") for method in methods], device=device
        )
        written = play(world.base, world.right(1), luck[0]).tokens.repeat_interleave(each, 0)
        right, mine = world.right(each), [one.to_members(each) for one in luck]
        one = play(policies, right, mine[0], written, torch.where(begins[:, None], h, 0))
        two = play(policies, right, mine[1], one.tokens, h)
        reward = torch.stack([played.reward(game, n) for played in (one, two)])
        if s.labels == "shuffled":
            order = world.expanded([rng.permutation(2 * s.pairs) for rng in rngs], each)
            flat = torch.cat([reward[0], reward[1]], dim=1).gather(1, order)
            reward = torch.stack([flat[:, : s.pairs], flat[:, s.pairs :]])
        reward = reward + s.noise * errors.permute(2, 0, 1).float()
        again = self.each // each
        rows = torch.arange(columns.start, columns.stop, device=device)

        def spread(values: Tensor) -> Tensor:
            return values.repeat_interleave(again, 0)

        self.said[:, :, columns] = torch.stack([spread(p.tokens) for p in (one, two)]).short()
        self.row[:, columns], self.turn[:, columns] = rows, spread(h)
        for name, played in (("first", one), ("second", two)):
            answer = played.answer.gather(2, h[..., None])[..., 0]
            getattr(self, name)[:, columns] = spread(answer).int()
        self.target[:, columns] = self.strength * spread(reward[0] - reward[1])

    def _ratio(self, row: Tensor, turn: Tensor) -> Tensor:
        """log pi(y) - log pi(y') of pairs in `said`, (E, B); row, turn : (E, B)."""
        members = torch.arange(len(row), device=row.device)[:, None]
        tokens = torch.cat([self.said[i][members, row] for i in range(2)], dim=1).long()
        logs: Tensor = self.policies.chosen(tokens)
        logs = logs.gather(2, torch.cat([turn, turn], dim=1)[..., None])[..., 0]
        return logs[:, : row.shape[1]] - logs[:, row.shape[1] :]

    def batch_loss(self, uniform: Tensor) -> Tensor:
        """The regression or DPO; members without pairs stay where they are."""
        chosen = self.entries(uniform)
        _, _, target, old, row, turn = (each.gather(1, chosen) for each in self.pool())
        delta = self._ratio(row, turn) - old
        return (m.pair_loss(delta, target, self.dpo) * (self.valid > 0)).sum()


class SequenceWhole(WholeGroup):
    """Members that learn from whole dialogues: RLOO and PPO."""

    def __init__(self, members: list[Member], world: World) -> None:
        super().__init__(members * len(world.plan.repeats), world.plan.setting,
                         world.transformers())  # fmt: skip
        self.world, self.each = world, len(members)
        device, (rows, count, _) = world.worker.device, self.gain.shape
        self.said = torch.zeros((rows, count, world.base.words.length), dtype=torch.int32)
        for name in ("said", "gain", "old", "clip", "valid"):
            setattr(self, name, getattr(self, name).to(device))

    @torch.no_grad()
    def collect_sequences(self, t: int) -> None:
        """Two dialogues for each first message; as many judged dialogues as the pairs have."""
        s, world, game = self.setting, self.world, self.setting.game
        rngs = world.rngs("whole", t)
        judged = [draw_turns(rng, game, s.pairs, s.judge)[0] for rng in rngs]
        luck = [Chance.draw(rngs, game, s.pairs, world.worker.device) for _ in range(2)]
        luck[1].topics[..., 0] = luck[0].topics[..., 0]
        errors = [s.noise * rng.standard_normal((2, s.pairs)) for rng in rngs]
        orders = [rng.permutation(2 * s.pairs) for rng in rngs]
        n, right = world.expanded(judged, self.each), world.right(self.each)
        both = [play(self.policies, right, one.to_members(self.each)) for one in luck]
        reward = torch.stack([each.reward(game, n) for each in both], dim=1).double().cpu().numpy()
        states = torch.stack([each.state for each in both], dim=1).cpu().numpy()
        for i, (each, _) in enumerate(self.members):
            replicate = i // self.each
            mine = reward[i]
            if s.labels == "shuffled":
                mine = mine.ravel()[orders[replicate]].reshape(2, -1)
            mine = mine + errors[replicate]
            gain = m.advantages(each.loss, judged[replicate], states[i], mine, game.states)
            gain = gain / max(float(gain.std()), 1e-8)
            self.gain[i] = torch.from_numpy(gain.reshape(-1, game.horizon)).float()
        self.said[:] = torch.cat([each.tokens for each in both], dim=1)
        for at in range(0, self.said.shape[1], CHUNK):
            some = slice(at, at + CHUNK)
            self.old[:, some] = self.policies.chosen(self.said[:, some].long())
        self.valid[:] = s.pairs

    def batch_loss(self, uniform: Tensor) -> Tensor:
        """The clipped surrogate on both dialogues of each pair in the batch."""
        chosen = self.entries(uniform)
        both = torch.cat([chosen, chosen + self.setting.pairs], dim=1)
        rows = torch.arange(len(both), device=both.device)[:, None]
        new = self.policies.chosen(self.said[rows, both].long())
        gain, old = self.gain[rows, both], self.old[rows, both]
        return m.clipped_loss(new - old, gain, self.clip).sum()


Sequences = SequencePairs | SequenceWhole


def supervised(world: World) -> None:
    """Fit the base policy of each replicate to dialogues of the fixed chances."""
    s, game, base = world.plan.setting, world.game, world.base
    base.start(torch.stack([base.draw(rng) for rng in world.rngs("initial")]))
    written = []
    for maps, rng in zip(world.maps, world.rngs("supervised"), strict=True):
        table = cumulative(base_policy(game, maps, s.clarify, s.answer))[None]
        luck = draw_luck(rng, game, SUPERVISED_DIALOGUES)
        made = roll(game, maps, table, luck, np.zeros((1, 1, 1), int))
        written.append(tokens_of(game, made, luck.topics)[0])
    dialogues = torch.stack(written).to(base.device)
    rows = torch.arange(len(written), device=base.device)[:, None]

    def fit(chosen: Tensor, rate: Tensor) -> None:
        base.step(-base.chosen(dialogues[rows, chosen]).mean(dim=(1, 2)).sum(), rate)

    step_of = CapturedStep(fit, base.device)
    rngs = world.rngs("supervised batches")
    drawn = [rng.integers(SUPERVISED_DIALOGUES, size=(SUPERVISED_STEPS, SUPERVISED_BATCH))
             for rng in rngs]  # fmt: skip
    chosen = torch.from_numpy(np.stack(drawn, axis=1)).to(base.device)
    left = 1.0 - torch.arange(SUPERVISED_STEPS, device=base.device) / SUPERVISED_STEPS
    rates = SUPERVISED_RATE * left
    for step in world.worker.steps(SUPERVISED_STEPS, *base.changing, label="supervised steps"):
        step_of(chosen[step], rates[step])


def step_of(group: Sequences) -> CapturedStep:
    """One step of a group: uniform numbers (R, B) that choose the batch, and the step size."""

    def step(uniform: Tensor, rate: Tensor) -> None:
        spread = uniform.repeat_interleave(group.each, 0)
        group.policies.step(group.batch_loss(spread), rate)

    return CapturedStep(step, group.policies.device)


def learn_sequences(worker: Worker, plan: Plan) -> list[Laws]:
    """All methods and strengths of the plan's replicates, each from its supervised start."""
    s, device = plan.setting, worker.device
    world = World(worker, plan)
    supervised(world)
    every = members_of(plan.names, s.strengths)
    groups: list[Sequences] = []
    for kind in ("pairs", "offline", "whole"):
        members = [member for member in every if member[0].group == kind]
        if members:
            make = SequenceWhole if kind == "whole" else SequencePairs
            groups.append(make(members, world))
            start = world.base.flat.detach().repeat_interleave(len(members), 0)
            groups[-1].policies.start(start)
    luck = Chance.draw(world.rngs("evaluation"), s.game, plan.evaluated, device)

    def law(policies: Transformers, members: int) -> Floats:
        made: Played = play(policies, world.right(members), luck.to_members(members))
        found = law_of(s.game, made)
        return found.reshape(len(plan.repeats), members, *found.shape[1:])

    base = law(world.base, 1)
    trace = [np.empty((s.iterations + 1, *law(g.policies, g.each).shape)) for g in groups]
    for noted in trace:
        noted[0] = base
    changing = [state for group in groups for state in group.changing]
    steps = [step_of(group) for group in groups]
    for t in worker.cells(range(s.iterations), "iterations", *changing, *trace):
        for index in worker.steps(len(groups), *changing, label="collections"):
            groups[index].collect_sequences(t)
        drawn = [
            rng.random((s.steps, s.batch), dtype=np.float32) for rng in world.rngs("batches", t)
        ]
        uniform = torch.from_numpy(np.stack(drawn, axis=1)).to(device)
        done = torch.arange(s.steps, device=device) / s.steps
        for step in worker.steps(s.steps, *changing):
            for group, one_step in zip(groups, steps, strict=True):
                offline = isinstance(group, SequencePairs) and group.fixed
                if step == 0 and not offline:
                    group.policies.reset()
                passed = (t + done[step]) / s.iterations if offline else done[step]
                one_step(uniform[step], s.rate * (1.0 - passed))
        for group, noted in zip(groups, trace, strict=True):
            noted[t + 1] = law(group.policies, group.each)
    found = [member for group in groups for member in group.members[: group.each]]
    order = sorted(range(len(found)), key=lambda i: every.index(found[i]))
    both = np.concatenate(trace, axis=2)[:, :, order]
    replicates = len(plan.repeats)
    ended = np.concatenate([g.ended.reshape(replicates, -1) for g in groups], axis=1)[:, order]
    return [Laws(both[:, r], base[r, 0], ended[r]) for r in range(replicates)]


def learned_sequences(
    run: Run, setting: Setting, names: tuple[str, ...], layers: int, evaluated: int
) -> Iterator[tuple[int, Laws]]:
    """(replicate, its laws). On CUDA all replicates at once; on a CPU one on each core.

    Errors: `ParameterError` for a width that is no multiple of the width of a head, and for sizes
    that this machine cannot hold or, unless `allow_costly`, that would take a CPU many hours.
    """
    if setting.width % 16:
        raise ParameterError("width", setting.width, "is no multiple of 16", "round it")
    together = run.repeats if run.device != "cpu" else 1
    members = together * len(names) * len(setting.strengths)
    sized = Transformers(setting.game, setting.width, layers)
    parameters, places = sum(sized.sizes), sized.words.length
    wide = 14 * layers * setting.width + 2 * setting.width // 16 * layers * places
    batch = 2 * max(setting.batch, CHUNK)
    pool = setting.iterations * setting.pairs * (4 * places + 48)
    size = members * (16 * parameters + 4 * batch * places * wide + pool)
    memory.need(size * min(run.threads, run.repeats // together), "the transformers",
                "batch", setting.batch, run.device)  # fmt: skip
    work = run.repeats * len(names) * len(setting.strengths) * setting.iterations
    work *= 2 * places * parameters * (3 * setting.steps * setting.batch + 2 * setting.pairs)
    seconds = work / PRODUCTS / min(run.threads, run.repeats)
    if run.device == "cpu" and seconds > LONGEST and not run.allow_costly:
        raise ParameterError(
            "policy", "transformer",
            f"would take about {seconds / 3600:.0f} hours on this CPU",
            "give fewer {methods}, {strengths} or {steps}, a CUDA device, or say {allow_costly}",
        )  # fmt: skip
    replicates = range(run.repeats)
    plans = [
        Plan(setting, names, tuple(replicates[at : at + together]), layers, evaluated)
        for at in range(0, run.repeats, together)
    ]
    with run.crew() as crew:
        for plan, laws in crew.map(learn_sequences, plans, "replicates"):
            yield from zip(plan.repeats, laws, strict=True)
